#!/usr/bin/env python3
"""Checks an export of a Guildhall log. Written from FORMAT.md alone; Python 3.11 and the package `cryptography`.

    verify.py EXPORT --key KEY [--remember CHECKPOINT] [--no-packs] [--json]

KEY holds the log's public key: a vkey, or a policy with its log line. Take it from somebody you trust, not from EXPORT.
EXPORT may be a store of anchors, without a checkpoint: then the newest anchor's is taken (9.1).
CHECKPOINT is one that was seen before: the log must continue it. --no-packs is for an export without entries.
What entries mean (8, 13, 14), a quorum of witnesses, and tokens of time (9.5) are not judged. Receipts: receipts.py.
Exit code: 0 everything holds, 1 something does not (the first place is named), 2 it could not be checked.
"""
import argparse, base64, datetime, hashlib, json, os, re, stat, struct, sys, unicodedata
from collections import namedtuple
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MIB, LARGEST = 1 << 20, 256 * (44 + (1 << 20))
class Refused(Exception):
    def __init__(self, rule, file=None, position=None): self.rule, self.file, self.position = rule, file, position
    def __str__(self):
        return f"{self.file}{'' if self.position is None else f', position {self.position}'}: {self.rule}"

def need(holds, rule, file=None, position=None):
    if not holds: raise Refused(rule, file, position)
def at(file, position, check, *args):
    """check(*args); what it refuses, it refuses at this place."""
    try: return check(*args)
    except Refused as refused:
        place = position if refused.position is None else refused.position
        raise Refused(refused.rule, refused.file or file, place) from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"cannot be read: {error}", file, position) from None

# Section 1: hashes and spellings
def sha(*parts): return hashlib.sha256(b"".join(parts)).digest()
def leaf(hash_): return sha(b"\0", hash_)
def node(left, right): return sha(b"\1", left, right)
def entry_hash(origin, prev, raw): return sha(b"guildhall/entry/v1\n", origin.encode(), b"\n", prev, raw)
def is_object(v): return isinstance(v, dict)
def is_text(v): return isinstance(v, str) and v != ""
def is_count(v): return type(v) is int and v >= 0
def is_hex(v, digits=64): return isinstance(v, str) and re.fullmatch("[0-9a-f]{%d}" % digits, v) is not None
def is_origin(v): return re.fullmatch("[a-z0-9./-]{1,128}", v) is not None
def is_time(v):
    shape = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
    return is_text(v) and re.fullmatch(shape, v, re.ASCII) and datetime.datetime(*map(int, re.split("[-T:.]", v[:-1])))

def un64(text):
    need(base64.b64encode(raw := base64.b64decode(text, validate=True)).decode() == text, "not its one base64 (1)")
    return raw
def decimal(text, limit):
    need(re.fullmatch("0|[1-9][0-9]{0,19}", text) and int(text) <= limit, f"not a decimal number up to {limit} (1)")
    return int(text)

# Section 2: entries
def ascending(pairs):
    keys = [key for key, _ in pairs]
    need(keys == sorted(set(keys)), "keys that do not ascend (2.1)")
    need(all(re.fullmatch(r"[ !#-\[\]-~]*", key) for key in keys), "a key with another character (2.1)")
    return dict(pairs)
def no_integer(_): need(False, "a number that is no integer (2.1)")
def integer(digits):
    need(len(digits) < 18 and abs(int(digits)) < 2**53, "a number beyond 2^53-1 (2.1)")
    return int(digits)
def depth(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)
def write(value): return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
def canonical(raw):
    value = json.loads(raw.decode(), object_pairs_hook=ascending, parse_int=integer, parse_float=no_integer,
                       parse_constant=no_integer)
    need(depth(value) <= 16, "nested more than 16 deep (2.1)")
    need(write(value) == raw.decode(), "not the canonical form (2.1)")
    return value
def check_keys(value, required, optional, section):
    need(is_object(value), f"not an object ({section})")
    for key in required: need(key in value, f"the key {key} is missing ({section})")
    for key, v in value.items():
        holds = required.get(key) or optional.get(key)
        need(holds, f"the key {ascii(key)} is not allowed ({section})")
        need(holds(v), f"the value of {key} ({section})")
def has(v, **keys): return is_object(v) and v.keys() == keys.keys() and all(keys[key](v[key]) for key in keys)
def is_actor(v): return has(v, id=is_text, kind=is_text)
def is_sealed(v): return is_object(v) and v != {} and all(map(is_sealed_text, v.values()))
def is_sealed_text(v): return has(v, ciphertext=is_hex, commitment=is_hex, subject=is_text)

ENTRY = {"actor": is_actor, "at": is_time, "command": is_text, "data": is_object, "nonce": lambda v: is_hex(v, 32),
         "stream": is_text, "type": is_text, "v": lambda v: is_count(v) and v == 1, "version": is_count, "via": is_text}
ENTRY_MAY = {"cause": is_count, "on_behalf_of": is_text, "sealed": is_sealed}

# Section 3: tree and tiles
def tree(leaves):
    """Every complete node: levels[k][i] is the node (k, i)."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return levels
def root(levels, size):
    top = None
    for level, nodes in enumerate(levels):
        if size >> level & 1:
            left = nodes[(size >> level) - 1]
            top = left if top is None else node(left, top)
    return sha() if top is None else top

def path_of(prefix, n, width):
    digits = str(n).zfill(-(-len(str(n)) // 3) * 3)
    groups = [digits[i:i + 3] for i in range(0, len(digits), 3)]
    return "/".join([prefix, *("x" + g for g in groups[:-1]), groups[-1]]) + (f".p/{width}" if width < 256 else "")
def files_of(size, packs, since=0, level=0):
    """What a log of this size has and one of the size since has not: path -> (prefix, index, width)."""
    files = {}
    while size > 0:
        for prefix in [f"tile/{level}"] + (["tile/entries"] + ["pack"] * packs if level == 0 else []):
            for n in range(since // 256, -(-size // 256)):
                width = min(256, size - 256 * n)
                if width > since - 256 * n: files[path_of(prefix, n, width)] = (prefix, n, width)
        size, since, level = size // 256, since // 256, level + 1
    return files

# Section 5: keys, notes, checkpoints
P, ORDER_8 = 2**255 - 19, int("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16)
SMALL_ORDER = {0, 1, P - 1, ORDER_8, P - ORDER_8}

class Key(namedtuple("Key", "name id type public")):
    def verifies(self, signature, message):
        """The library checks S and the equation; it lets points of small order and other encodings pass."""
        ys = [int.from_bytes(point, "little") % 2**255 for point in (self.public, signature[:32])]
        if len(signature) != 64 or any(y >= P or y in SMALL_ORDER for y in ys): return False
        try: return Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message) is None
        except InvalidSignature: return False

def is_key_name(name):
    return name != "" and not any(c == "+" or c.isspace() or unicodedata.category(c) == "Cc" for c in name)
def parse_vkey(text, type_=1):
    name, id_, key = (text.split("+", 2) + ["", ""])[:3]
    need(is_key_name(name) and is_hex(id_, 8), "not a vkey (5.1)")
    raw = un64(key)
    need(len(raw) == 33 and raw[0] == type_, f"not an Ed25519 key of type {type_} (5.1)")
    need(sha(name.encode(), b"\n", raw)[:4].hex() == id_, "the key id is not that of the key (5.1)")
    return Key(name, bytes.fromhex(id_), type_, raw[1:])
def log_keys(raw):
    """The log keys of a policy, or of a file that holds a vkey."""
    lines = [re.findall("[^ \t]+", line) for line in raw.decode().split("\n")]
    lines = [items for items in lines if items and not items[0].startswith("#")]
    if len(lines) == 1 and len(lines[0]) == 1: return [parse_vkey(lines[0][0])]
    known = {"log": (), "witness": (), "group": (), "quorum": ()}
    for word, *items in lines:
        need(word in known and items, "not a line of a policy (7)")
        known[word] += (items[0],)
    met = [name in ("none", *known["witness"], *known["group"]) for name in known["quorum"]]
    need(met == [True], "not one quorum that is given above (7)")
    keys = [parse_vkey(items[1]) for items in lines if items[0] == "log"]
    need(keys and all(is_origin(key.name) for key in keys), "no log, or one whose name is no origin (7)")
    return keys

def open_note(raw, keys):
    """The text, and those of the keys that signed."""
    need(len(raw) <= MIB, "a note of more than 1 MiB (5.1)")
    note = raw.decode()
    need(not re.search("[\0-\x09\x0b-\x1f]", note), "a control character in a note (5.1)")
    end = note.rfind("\n\n")
    need(end >= 0 and note.endswith("\n"), "no empty line, or no last line end (5.1)")
    text, lines, signers = note[:end + 1], note[end + 2:-1].split("\n"), set()
    need(len(lines) <= 100, "more than 100 signature lines (5.1)")
    for line in lines:
        dash, name, encoded = (line.split(" ") + ["", ""])[:3]
        need(line.count(" ") == 2 and dash == "\u2014" and is_key_name(name), "not a signature line (5.1)")
        field = un64(encoded)
        need(len(field) > 4, "a signature line without a signature (5.1)")
        for key in keys:
            if (key.name, key.id) == (name, field[:4]):
                message, signature = text, field[4:]
                if key.type == 4:
                    need((time := int.from_bytes(signature[:8], "big")) < 2**63, "a time beyond 2^63-1 (5.3)")
                    signature = signature[8:]
                    message = f"cosignature/v1\ntime {time}\n{text}"
                need(key.verifies(signature, message.encode()), f"the signature of {name} does not verify (5.1)")
                signers.add(key)
    return text, signers
def open_checkpoint(raw, keys):
    """Origin, size, root, and those of the keys that signed."""
    text, signers = open_note(raw, keys)
    lines = text.split("\n")
    need(len(lines) == 4 and is_origin(lines[0]), "a checkpoint is three lines (5.2)")
    size, top = decimal(lines[1], 2**53), un64(lines[2])
    need(len(top) == 32, "a root of other than 32 bytes (5.2)")
    need(any(key.type == 1 and key.name == lines[0] for key in signers), "no signature by the log's key (5.2)")
    return lines[0], size, top, signers

# Section 9: a published log
Anchor = namedtuple("Anchor", "key sha256 origin seq previous at size root files")
ANCHOR = {"at": is_time, "checkpoint": is_text, "files": lambda v: is_object(v) and all(map(is_hex, v.values())),
          "origin": is_text, "seq": is_count, "signature": is_text, "software": lambda v: isinstance(v, str),
          "v": lambda v: is_count(v) and v == 3}
NAMED = {"key": is_text, "sha256": is_hex}
PREVIOUS = {"previous": lambda v: has(v, **NAMED) or has(v, version=is_text, **NAMED)}
MAY = {"heads": lambda v: has(v, as_of=is_count, root=is_hex),
       "time": lambda v: has(v, token=lambda token: is_text(token) and un64(token))}

def most_of(name):
    size = re.fullmatch(r"anchors/[0-9]{20}-([0-9]{20})\.json", name)
    return min(4 * MIB + 2 * int(size[1]), LARGEST) if size else 4 * MIB

class Export:
    def __init__(self, folder, keys, packs):
        self.folder, self.keys, self.packs, self.sizes = folder, keys, packs, {}
        self.hashes, self.streams, self.last_at, self.recorded, self.older = [], {}, "", [], 0
        self.wanted, self.digests, self.anchors, self.covered = {}, {}, [], {}
        need(os.path.isdir(folder), "no such folder", folder)
        for base, folders, names in os.walk(folder):
            for name in names + [f for f in folders if os.path.islink(os.path.join(base, f))]:
                path = os.path.relpath(os.path.join(base, name), folder)
                info = os.lstat(os.path.join(base, name))
                need(stat.S_ISREG(info.st_mode), "not a regular file", path)
                self.sizes[path] = info.st_size
    def read(self, path, least, most):
        need(path in self.sizes, "the file is missing", path)
        need(least <= self.sizes[path] <= most, f"{self.sizes[path]} bytes, not {least} to {most}", path)
        with open(os.path.join(self.folder, path), "rb") as file: return file.read(most)

    def check(self):
        names = sorted(path for path in self.sizes if path.startswith("anchors/"))
        self.store = names != [] and not os.path.lexists(os.path.join(self.folder, "checkpoint"))
        if not self.store:
            self.end, note = "checkpoint", self.read("checkpoint", 1, MIB)
            self.origin, self.size, self.root, _ = at(self.end, None, open_checkpoint, note, self.keys)
            own = [key for key in at("policy", None, log_keys, self.read("policy", 1, MIB)) if key in self.keys]
            need(any(key.name == self.origin for key in own), "not the log's key (9.1)", "policy")
        under = [at(name, None, self.parse_anchor, name, self.read(name, 1, most_of(name))) for name in names]
        if self.store:
            newest = max(under, key=lambda a: (a.size, a.key))
            self.origin, self.end, self.size, self.root = newest.origin, newest.key, newest.size, newest.root
        need(self.size <= 256 * len(self.sizes), f"fewer files than a log of {self.size} entries has (9.1)", "tile")
        self.beside = self.follow(under)
        self.plan()
        for n in range(-(-self.size // 256)): self.read_256(n, min(256, self.size - 256 * n))
        self.levels = tree([leaf(h) for h in self.hashes])
        self.check_tiles()
        self.check_roots()
    def parse_anchor(self, name, raw):
        a = canonical(raw)
        check_keys(a, ANCHOR | (PREVIOUS if is_object(a) and a.get("seq") != 0 else {}), MAY, "9.2")
        origin, size, top, _ = open_checkpoint(a["checkpoint"].encode(), self.keys)
        need(a["origin"] == origin, "another origin (9.2)")
        rest = sha(write({key: v for key, v in a.items() if key != "signature"}).encode()).hex()
        text = f"guildhall/anchor/v1\n{origin}\n{rest}\n"
        signed, signers = open_note(f"{text}\n{a['signature']}".encode(), self.keys)
        ids = [(name, un64(field)[:4]) for _, name, field in map(str.split, a["signature"][:-1].split("\n"))]
        own = signed == text and len({*ids}) == len(ids) < 3 and {name for name, _ in ids} == {origin}
        need(own and signers, "no signature of it by the log's key, or another line (9.2)")
        need(name == f"anchors/{a['seq']:020}-{size:020}.json", "not the name for this seq and size (9.2)")
        return Anchor(name, sha(raw).hex(), origin, a["seq"], a.get("previous", {}), a["at"], size, top, a["files"])
    def follow(self, under):
        """The chain leads back from the highest seq (9.2). Answers with the keys of what is not in it."""
        rows, chain = {}, under[-1:]
        for a in under:
            need(a.origin == self.origin, "another origin (9.2)", a.key)
            before = rows.get((a.previous.get("key"), a.previous.get("sha256")))
            need(a.seq == (before.seq + 1 if before else 0), "previous is not the one before (9.2)", a.key)
            need(not before or before.size <= a.size and before.at <= a.at, "size or time goes back (9.2)", a.key)
            need(a.size <= self.size, f"anchors {a.size} entries, the checkpoint has {self.size}: cut off (9.1)", a.key)
            rows[a.key, a.sha256] = a
        while chain and chain[-1].seq: chain.append(rows[chain[-1].previous["key"], chain[-1].previous["sha256"]])
        self.anchors, since = chain[::-1], 0
        for a in self.anchors:
            new, since, self.covered[a.size] = files_of(a.size, True, since), a.size, None
            need(new.keys() == a.files.keys(), "files lists others than the new ones (9.2)", a.key)
            self.want(new)
        return sorted({a.key for a in under} - {a.key for a in chain})
    def want(self, files):
        for path, (prefix, n, width) in files.items(): self.wanted.setdefault((prefix, n), {})[path] = width
    def plan(self):
        """Which files there must be. A narrower partial file may have stayed: it is the beginning of the wider one."""
        files = files_of(self.size, self.packs)
        widest = {path.split(".p/")[0]: what for path, what in files.items()}
        for path in self.sizes:
            if path not in files and path not in ("checkpoint", "policy") and not path.startswith("anchors/"):
                base, _, width = path.partition(".p/")
                older = base in widest and re.fullmatch("[1-9][0-9]{0,2}", width) and int(width) < widest[base][2]
                need(older or self.store, "no file of a log of this size (9.1)", path)
                if older: self.want({path: (*widest[base][:2], int(width))})
    def digest(self, prefix, n, content, end):
        self.digests |= {path: sha(content[:end(w)]).hex() for path, w in self.wanted.get((prefix, n), {}).items()}
    def read_256(self, n, width):
        """Leaf tile, bundle and pack say the same of every position; where one differs, it is named."""
        names = [path_of(prefix, n, width) for prefix in ("tile/0", "tile/entries", "pack")]
        tile, bundle = self.read(names[0], 32 * width, 32 * width), self.read(names[1], 34 * width, 34 * width)
        pack = self.read(names[2], 45 * width, (44 + MIB) * width) if self.packs else b""
        ends = [0]
        for i in range(width):
            position, told, stored = 256 * n + i, tile[32 * i:32 * i + 32], bundle[34 * i + 2:34 * i + 34]
            need(bundle[34 * i:34 * i + 2] == b"\0\x20", "a record without 00 20 (3.3)", names[1], position)
            if self.packs:
                raw, prev = at(names[2], position, self.record, pack, ends, position)
                computed = entry_hash(self.origin, prev, raw)
                right = (leaf(computed) == told, computed == stored)
                need(any(right), "the entry does not hash to its leaf (4)", names[2], position)
                need(right[1], "not the hash of the entry (3.3)", names[1], position)
                need(right[0], "not the leaf of the entry (3.2)", names[0], position)
                at(names[2], position, self.check_entry, raw, prev, computed, position)
            need(leaf(stored) == told, f"not the hash of the leaf in {names[0]} (3.3)", names[1], position)
            self.hashes.append(stored)
        need(ends[-1] == len(pack), "bytes after the last record (4)", names[2])
        self.digest("tile/entries", n, bundle, lambda w: 34 * w)
        self.digest("pack", n, pack, lambda w: ends[w] if self.packs else 0)

    def record(self, pack, ends, position):
        start = ends[-1] + 44
        need(start <= len(pack), "the pack is cut off (4)")
        number, prev, length = struct.unpack_from(">Q32sI", pack, start - 44)
        need(number == position, f"a record of position {number} (4)")
        need(1 <= length <= MIB and start + length <= len(pack), "the length of the entry (4)")
        ends.append(start + length)
        return pack[start:start + length], prev
    def check_entry(self, raw, prev, hash_, position):
        entry = canonical(raw)
        check_keys(entry, ENTRY, ENTRY_MAY, "2.2")
        version, before = self.streams.get(entry["stream"], (-1, bytes(32)))
        need(entry["version"] == version + 1, f"version {entry['version']} follows {version} in its stream (2.2)")
        need(prev == before, "prev is not the hash of the version before (2.4)")
        need(entry["at"] >= self.last_at, "at goes back (2.2)")
        need(entry.get("cause", -1) < max(position, self.older), "a cause that is not before it (2.2, 14)")
        self.streams[entry["stream"]], self.last_at = (entry["version"], hash_), entry["at"]
        if position == 0 and entry["type"] == "log.continued.v1" and is_count(size := entry["data"].get("size")): self.older = size
        if position + 1 in self.covered: self.covered[position + 1] = entry["at"]
        if entry["type"].startswith("log.anchored.v"): self.recorded.append((position, entry["data"]))

    def check_tiles(self):
        for level in range(0, len(self.levels), 8):
            for n in range(-(-len(self.levels[level]) // 256)):
                nodes = self.levels[level][256 * n:256 * n + 256]
                prefix, content = f"tile/{level // 8}", b"".join(nodes)
                path = path_of(prefix, n, len(nodes))
                tile = self.read(path, len(content), len(content))
                wrong = next((i for i in range(len(nodes)) if tile[32 * i:32 * i + 32] != nodes[i]), None)
                need(wrong is None, f"hash {wrong} is not the node above its leaves (3.2)", path)
                self.digest(prefix, n, content, lambda w: 32 * w)
        for path in sorted(self.digests.keys() & self.sizes.keys()):
            found = sha(self.read(path, 1, LARGEST)).hex()
            need(found == self.digests[path], "not the beginning of the wider file (9.1)", path)

    def check_roots(self, low=0):
        for anchor in self.anchors:
            for path, digest in anchor.files.items():
                need(self.digests[path] == digest or path.startswith("pack/") and not self.packs,
                     f"the SHA-256 of {path} is another (9.2)", anchor.key)
            self.check_root(anchor.key, low, anchor.size, anchor.root)
            low, times = anchor.size, (anchor.at, self.covered[anchor.size] or anchor.at)
            made, last = (datetime.datetime.fromisoformat(time[:19]) for time in times)
            need((last - made).total_seconds() <= 300, "at is 300 s before what it covers (9.2)", anchor.key)
        self.check_root(self.end, low, self.size, self.root)
        for position, data in self.recorded:
            seq, place = data.get("seq"), f"which position {position} records (8.9)"
            need(is_count(seq) and seq < len(self.anchors), f"no anchor {seq}, {place}", "anchors")
            a = self.anchors[seq]
            same = {"key": a.key, "root": a.root.hex(), "seq": seq, "sha256": a.sha256, "size": a.size}
            need(data | same == data, f"not the anchor {place}", a.key)
            for after in self.anchors[seq + 1:seq + 2]:
                named = {after.previous.get("version", data.get("version")), data.get("version")} - {None}
                need(len(named) < 2, f"previous.version is not what position {position} records (9.2)", after.key)
        for key in self.beside: need(False, "another anchor of this seq is in the chain: a stray (9.2)", key)
    def check_root(self, file, low, size, signed):
        need(root(self.levels, size) == signed, f"the first {size} entries have another root; they have the signed one"
             f" up to {low} (9.1)", file, low if low < size else None)

def run(args):
    with open(args.key, "rb") as file: keys = at(args.key, None, log_keys, file.read(MIB))
    export = Export(args.export, keys, not args.no_packs)
    export.check()
    if args.remember:
        with open(args.remember, "rb") as file: note = file.read(MIB + 1)
        origin, size, top, _ = at(args.remember, None, open_checkpoint, note, keys)
        need(origin == export.origin and size <= export.size, "of another log, or a longer one", args.remember)
        export.check_root(args.remember, 0, size, top)
    return {"ok": True, "origin": export.origin, "size": export.size, "root": export.root.hex(), "end": export.end,
            "anchors": len(export.anchors), "streams": len(export.streams)}

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", metavar="EXPORT")
    parser.add_argument("--key", required=True)
    parser.add_argument("--remember", metavar="CHECKPOINT")
    for flag in ("--no-packs", "--json"): parser.add_argument(flag, action="store_true")
    args = parser.parse_args()
    try:
        code, report = 0, at(None, None, run, args)
        text = "ok: {size} entries of {origin} in {streams} streams, {anchors} anchors, at {end}".format(**report)
    except Refused as e:
        code, text = (2 if e.file == args.key else 1), f"refused: {e}"
        report = {"ok": False, "file": e.file, "position": e.position, "rule": e.rule}
    except (OSError, MemoryError) as e:
        code, text, report = 2, f"could not check: {e}", {"ok": None, "error": str(e)}
    print(json.dumps(report) if args.json else text.encode("ascii", "backslashreplace").decode())
    sys.exit(code)

if __name__ == "__main__":
    main()
