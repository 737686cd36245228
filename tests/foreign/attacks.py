#!/usr/bin/env python3
"""Tampers with exports in every way and shows that verify.py refuses each copy and names the place.

    attacks.py                                        on logs that it writes and signs
    attacks.py EXPORT --key POLICY [--auditor BIN]    on copies of a real export; names what the auditor says otherwise
"""
import argparse, base64, contextlib, io, json, os, random, re, shutil, subprocess, sys, tempfile
import verify
from verify import entry_hash, files_of, leaf, path_of, sha, tree, write
from writer import ORIGIN, Log, Signer, b64

RANDOM = random.Random(7)

def store(folder, files):
    for path, content in files.items():
        os.makedirs(os.path.dirname(os.path.join(folder, path)), exist_ok=True)
        with open(os.path.join(folder, path), "wb") as file:
            file.write(content)

def load(folder):
    files = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            with open(path, "rb") as file:
                files[os.path.relpath(path, folder)] = file.read()
    return files

class Run:
    """Judges copies. A copy that is accepted, that ends in a traceback, or that is refused elsewhere, is a failure."""

    def __init__(self, key, auditor=None, quiet=False):
        self.folder, self.key, self.auditor, self.quiet = tempfile.mkdtemp(), key, auditor, quiet
        self.done = self.failed = self.differ = 0

    def judge(self, folder, *options):
        out = io.StringIO()
        sys.argv = ["verify.py", folder, "--key", self.key, *options]
        with contextlib.redirect_stdout(out):
            try:
                verify.main()
            except SystemExit as exit_:
                return exit_.code, out.getvalue().strip()

    def ask_auditor(self, folder):
        try:
            ran = subprocess.run(
                [self.auditor, "verify", folder, "--policy", self.key], capture_output=True, timeout=20
            )
            return ran.returncode
        except subprocess.TimeoutExpired:
            return "hangs"

    def expect(self, name, files, place, *options, code=1, prepare=None):
        folder = os.path.join(self.folder, "copy")
        shutil.rmtree(folder, ignore_errors=True)
        store(folder, files)
        if prepare:
            prepare(folder)
        try:
            got, text = self.judge(folder, *options)
        except Exception as error:
            got, text = "traceback", repr(error)
        good = got == code and re.search(place, text)
        if self.auditor and not options:
            other = self.ask_auditor(folder)
            if other != got:
                text += f" | the auditor: {other}"
                self.differ += 1
        self.done, self.failed = self.done + 1, self.failed + (not good)
        if not self.quiet or not good:
            print(
                f"{'ok  ' if good else 'FAIL'} {name:<58} {text}"
                + ("" if good else f"   [{got}, wanted {code} at {place}]")
            )

def flip(content, at, bit=None):
    changed = bytearray(content)
    changed[at] ^= 1 << (RANDOM.randrange(8) if bit is None else bit)
    return bytes(changed)

def records(pack):
    found, at = [], 0
    while at < len(pack):
        end = at + 44 + int.from_bytes(pack[at + 40:at + 44], "big")
        found.append(pack[at:end])
        at = end
    return found

def renumber(items, first): return [(first + i).to_bytes(8, "big") + record[8:] for i, record in enumerate(items)]

def refit(files, origin, items):
    """Files for these records with every hash made anew; checkpoint, policy and anchors stay."""
    log = Log.__new__(Log)
    log.records = items
    log.hashes = [entry_hash(origin, record[8:40], record[44:]) for record in items]
    kept = {path: c for path, c in files.items() if path in ("checkpoint", "policy") or path.startswith("anchors/")}
    return kept | log.contents(files_of(len(items), True))

def tamper(run, files):
    """What anybody can do who can write files, and has no key."""
    def change(path, content): return files | {path: content}
    def without(*paths): return {path: c for path, c in files.items() if path not in paths}
    origin, size = files["checkpoint"].decode().split("\n")[:2]
    size = int(size)
    packs = sorted(
        (p for p in files if p.startswith("pack/")), key=lambda p: int(re.sub("[^0-9]", "", p.split(".p/")[0]))
    )
    anchors = sorted(p for p in files if p.startswith("anchors/"))
    items = [record for path in packs for record in records(files[path])]
    first, last = packs[0], packs[-1]
    where = {prefix: path_of(prefix, 0, min(256, size)) for prefix in ("tile/0", "tile/entries", "pack")}
    def packed(some, n=0): return b"".join(some[256 * n:256 * n + 256])

    run.expect("nothing is changed", files, "^ok: ", code=0)
    victim = min(130, size - 2)
    edited = items[victim][:44] + items[victim][44:].replace(b'"via":"', b'"via":"x', 1)
    edited = edited[:40] + (len(edited) - 44).to_bytes(4, "big") + edited[44:]
    new = items[:victim] + [edited] + items[victim + 1:]
    hash_ = entry_hash(origin, edited[8:40], edited[44:])
    tile, bundle = files[where["tile/0"]], files[where["tile/entries"]]
    new_bundle = bundle[:34 * victim + 2] + hash_ + bundle[34 * victim + 34:]
    new_tile = tile[:32 * victim] + leaf(hash_) + tile[32 * victim + 32:]
    here = f"^refused: {re.escape(first)}, position {victim}: "
    run.expect("entry edited", change(first, packed(new)), here)
    run.expect(
        "entry edited, its hash in the bundle too",
        change(first, packed(new)) | {where["tile/entries"]: new_bundle},
        "position %d" % victim,
    )
    run.expect(
        "entry edited, its leaf in the tile too",
        change(first, packed(new)) | {where["tile/0"]: new_tile},
        "position %d" % victim,
    )
    both = change(first, packed(new)) | {where["tile/entries"]: new_bundle, where["tile/0"]: new_tile}
    run.expect("entry edited, bundle and tile too", both, "position \d+|tile/1|anchors/|checkpoint")
    run.expect(
        "entry edited, the whole tree made anew", refit(files, origin, new), r"^refused: (pack|anchors/|checkpoint)"
    )
    tail = [items[-1][:44] + items[-1][44:].replace(b'"version":', b'"version":1', 1)]
    cut = items[:-1] + [tail[0][:40] + (len(tail[0]) - 44).to_bytes(4, "big") + tail[0][44:]]
    run.expect(
        "last entry edited, the whole tree made anew", refit(files, origin, cut), f"^refused: .*, position {size - 1}: "
    )
    run.expect(
        "nonce of the last entry, the whole tree made anew",
        refit(files, origin, items[:-1] + [re.sub(rb'"nonce":"..', b'"nonce":"ff', items[-1])]),
        "^refused: checkpoint, position ",
    )
    run.expect("entry deleted from its pack", change(first, packed(items[:victim] + items[victim + 1:256])), here)
    gone = renumber(items[:victim] + items[victim + 1:], 0)
    run.expect("entry deleted, the rest renumbered", change(first, packed(gone[:min(256, size) - 1])), here)
    run.expect("entry deleted, the whole tree made anew", refit(files, origin, gone), r"^refused: \S+")
    more = renumber(items[:victim] + [items[victim]] + items[victim:], 0)
    run.expect(
        "entry inserted into its pack",
        change(first, packed(more)),
        f"^refused: {re.escape(first)}, position {victim + 1}: ",
    )
    run.expect("entry inserted, the whole tree made anew", refit(files, origin, more), r"^refused: \S+")
    swapped = items[:victim] + [items[victim + 1], items[victim]] + items[victim + 2:]
    run.expect("two entries swapped", change(first, packed(swapped)), here)
    run.expect("two entries swapped and renumbered", change(first, packed(renumber(swapped, 0))), here)
    run.expect(
        "two entries swapped, the whole tree made anew", refit(files, origin, renumber(swapped, 0)), r"^refused: \S+"
    )
    run.expect(
        "last entry cut off its pack",
        change(last, files[last][: -len(items[-1])]),
        f"^refused: {re.escape(last)}, position {size - 1}: ",
    )
    run.expect("last entries cut off, the tree made anew", refit(files, origin, items[:-2]), "^refused: ")
    if anchors:
        old = next(a for a in anchors if re.search("-0*[1-9]", a))
        note = verify.json.loads(files[old])["checkpoint"].encode()
        back = refit(files, origin, items[:int(old[-25:-5])]) | {"checkpoint": note}
        run.expect(
            "log cut off at an anchor's checkpoint",
            back,
            f"^refused: anchors/0*{anchors.index(old) + 1}-" if old != anchors[-1] else "^refused|^ok",
        )
        back = {path: c for path, c in back.items() if path not in anchors[anchors.index(old) + 1:]}
        store(run.folder, {"remembered": files["checkpoint"]})
        remember = os.path.join(run.folder, "remembered")
        run.expect("log and anchors cut off, without a memory (rollback)", back, "^ok: ", code=0)
        run.expect("log and anchors cut off, with a memory", back, "^refused: .*remembered", "--remember", remember)
        run.expect("log that continues what is remembered", files, "^ok: ", "--remember", remember, code=0)

    # Every kind of file, every region of it.
    for path in sorted(
        {
            where["tile/0"],
            where["tile/entries"],
            first,
            last,
            path_of("tile/0", (size - 1) // 256, (size - 1) % 256 + 1),
            path_of("tile/entries", (size - 1) // 256, (size - 1) % 256 + 1),
        }
        | {p for p in files if re.match("tile/[1-9]", p)}
    ):
        content = files[path]
        regions = {"first byte": 0, "middle": len(content) // 2, "last byte": len(content) - 1}
        if path.startswith("pack/"):
            regions |= {
                "position": 7,
                "prev": 20,
                "length": 42,
                "entry": 44,
                "second record": len(records(content)[0]) + 50,
            }
        if "entries" in path:
            regions |= {"length, high": 34, "length, low": 35, "hash": 40}
        for region, at in regions.items():
            run.expect(
                f"{path}, {region}: a bit flipped", change(path, flip(content, at)), f"^refused: {re.escape(path)}"
            )
    note = files["checkpoint"].decode()
    starts = {
        "origin": 0,
        "size": note.index("\n") + 1,
        "root": note.index("\n", note.index("\n") + 1) + 1,
        "empty line": note.index("\n\n") + 1,
        "dash": note.index("\u2014"),
        "key name": note.index("\u2014") + 3,
        "signature": len(note) - 60,
        "last line end": len(note) - 1,
    }
    for region, at in starts.items():
        at = len(note[:at].encode())
        for bit in range(8):
            run.expect(
                f"checkpoint, {region}: bit {bit} flipped",
                change("checkpoint", flip(files["checkpoint"], at, bit)),
                "^refused: checkpoint: ",
            )
    for path in anchors[:1] + anchors[-1:]:
        text = files[path].decode()
        for key in ("at", "checkpoint", "files", "origin", "previous", "seq", "signature", "software", "v"):
            if f'"{key}":' in text:
                at = len(text[:text.rindex(f'"{key}":')].encode())
                run.expect(
                    f"anchor, {key}: a bit of the key flipped",
                    change(path, flip(files[path], at + 1, 0)),
                    f"^refused: {path}: ",
                )
                at = at + len(key) + (4 if text[text.rindex(f'"{key}":') + len(key) + 3] in '"{' else 3)
                run.expect(
                    f"anchor, {key}: a bit of the value flipped",
                    change(path, flip(files[path], at, 0)),
                    "^refused: anchors/",
                )

    # Anchors.
    for name, path in (
        (("first", anchors[0]), ("last", anchors[-1]), ("middle", anchors[len(anchors) // 2])) if anchors else ()
    ):
        run.expect(f"anchor removed, the {name}", without(path), "^refused: anchors")
    if len(anchors) > 1:
        one, two = anchors[0], anchors[1]
        run.expect("anchor replaced by another", change(two, files[one]), f"^refused: {two}: ")
        run.expect(
            "anchors with their contents exchanged", change(one, files[two]) | {two: files[one]}, f"^refused: {one}: "
        )
        run.expect(
            "anchors with their seqs exchanged",
            without(one, two) | {two[:8] + "0" * 20 + two[28:]: files[two], one[:27] + "1" + one[28:]: files[one]},
            "^refused: anchors/",
        )
        run.expect(
            "anchor renamed to another size",
            without(two) | {two[:-6] + ("8" if two[-6] == "9" else "9") + ".json": files[two]},
            "^refused: anchors/",
        )
    run.expect(
        "anchor from nowhere",
        change(f"anchors/{len(anchors):020}-{size:020}.json", b"{}"),
        f"^refused: anchors/{len(anchors):020}",
    )

    # Whoever can write to a store, and has no key, lays a stray there: it is named, and no anchor of the log is.
    def around(anchor, **keys):
        """An anchor of somebody's making around a checkpoint that the log signed: its name, and its bytes."""
        a = verify.json.loads(files[anchor]) | keys
        name = f"anchors/{a['seq']:020}-{int(a['checkpoint'].split()[1]):020}.json"
        return name, write(dict(sorted(a.items()))).encode()
    def named(anchor): return {"key": anchor, "sha256": sha(files[anchor]).hex()}
    strays = {}
    if len(anchors) > 1:
        one, two, end = anchors[0], anchors[1], anchors[-1]
        other = Signer(8, "other.example/log")
        foreign = {"origin": other.name, "checkpoint": other.checkpoint([[b"x" * 32]], 1)}
        strays = {
            "a copy of an anchor under the same number": (one[:29] + two[29:], files[one]),
            "a copy of an anchor under the next number": (two[:29] + one[29:], files[one]),
            "a copy of an anchor under a high number": (f"anchors/{10**15:020}{one[28:]}", files[one]),
            "another log's anchor": around(one, seq=1, previous=named(one), **foreign),
            "an old checkpoint under a number that is taken": around(one, seq=1, previous=named(one), files={}),
            "an old checkpoint under a high number": around(one, seq=10**15, previous=named(one)),
            "an old checkpoint after the newest": around(one, seq=10**15, previous=named(end)),
        }
        large = change(one, files[one] + b" " * (5 << 20))
        run.expect("anchor larger than one can be", large, f"^refused: {one}: .* bytes, not ")
    for name, (path, content) in strays.items():
        assert path not in files, path
        run.expect(f"stray: {name}", change(path, content), f"^refused: {path}: ")

    # Files of any kind.
    for path in [
        "checkpoint",
        "policy",
        first,
        last,
        where["tile/0"],
        where["tile/entries"],
        *anchors[:1],
        *(p for p in files if re.match("tile/[1-9]", p)),
    ]:
        named = f"^refused: {re.escape(path)}"
        # Without a checkpoint the newest anchor's is taken, and an export has no files of that size.
        place = "anchors" if path in anchors else "tile/" if path == "checkpoint" and anchors else re.escape(path)
        run.expect(f"{path} is missing", without(path), "^refused: " + place)
        run.expect(f"{path} is empty", change(path, b""), named)
        run.expect(
            f"{path} is cut off",
            change(path, files[path][:-1]) if path != "policy" else change(path, files[path][:-3]),
            named,
        )
        run.expect(f"{path} has a byte more", change(path, files[path] + b"\0"), named)
        run.expect(f"{path} is binary garbage", change(path, RANDOM.randbytes(len(files[path]))), named)
        run.expect(f"{path} is garbage of another length", change(path, RANDOM.randbytes(97)), named)
    for path in (
        "extra",
        "pack/999",
        "pack/001.p/999",
        "pack/000.p/007x",
        "pack/x000/000",
        "tile/0/000.p/0",
        "tile/9/000",
        "tile/entries/junk",
        "anchors/junk.json",
        "tile/0/0",
        "pack/000.p/\udcff",
        "anchors/\u2028",
    ):
        run.expect(f"a file too many: {ascii(path)}", change(path, b"x"), "^refused: ")
    run.expect("a stale partial file", change("pack/000.p/1", items[0]), "^ok: ", code=0) if size > 1 else None
    run.expect(
        "a stale partial file that is no beginning",
        change("pack/000.p/1", flip(items[0], 50)),
        "^refused: pack/000.p/1: ",
    )
    run.expect(
        "a folder instead of a file",
        without("checkpoint"),
        "^refused: checkpoint",
        prepare=lambda f: os.mkdir(f + "/checkpoint"),
    )
    run.expect(
        "a symbolic link instead of a file",
        without(first),
        "^refused: pack",
        prepare=lambda f: (
            os.symlink("/etc/hostname", f"{f}/{first}")
            if os.path.isdir(os.path.dirname(f"{f}/{first}"))
            else os.symlink("/etc", f + "/pack")
        ),
    )
    run.expect(
        "a pipe instead of a file",
        without("checkpoint"),
        "^refused: checkpoint",
        prepare=lambda f: os.mkfifo(f + "/checkpoint"),
    )

    # A store of anchors: no checkpoint, no policy, and every file at every width that an anchor lists.
    if anchors:
        def beginning(path):
            base, _, width = path.partition(".p/")
            whole = files[next(p for p in files if p.split(".p/")[0] == base)]
            if path.startswith("pack/"):
                return b"".join(records(whole)[:int(width or 256)])
            return whole[:int(width or 256) * (34 if path.startswith("tile/entries") else 32)]

        listed = [path for anchor in anchors for path in verify.json.loads(files[anchor])["files"]]
        kept = {path: beginning(path) for path in listed} | {anchor: files[anchor] for anchor in anchors}
        newest = next(path for path in reversed(listed) if path.startswith("pack/"))
        run.expect("a store of anchors", kept, f"^ok: .* at {re.escape(anchors[-1])}$", code=0)
        edited = kept | {newest: flip(kept[newest], 60)}
        run.expect("a store of anchors: an entry edited", edited, f"^refused: {re.escape(newest)}")
        junk = f"anchors/{len(anchors):020}-{size:020}.json"
        run.expect("a store of anchors: a newest one that is none", kept | {junk: b"{}"}, f"^refused: {junk}")
        for name, (path, content) in strays.items():
            run.expect(f"a store of anchors: {name}", kept | {path: content}, f"^refused: {path}: ")
        cut = {path: c for path, c in kept.items() if path != anchors[0]}
        run.expect("a store of anchors: the first is missing", cut, "^refused: anchors/")

    # The checkpoint's signature.
    text = note[:note.index("\n\n") + 1]
    other, named = Signer(8, origin), Signer(8, "other.example/log")
    line = note[note.index("\n\n") + 2:]
    for name, signed in {
        "signed by another key": other.note(text),
        "signed by another key under another name": named.note(text),
        "the key's name exchanged": note.replace(f"\u2014 {origin}", "\u2014 other.example/log"),
        "its own key id, another's signature": text
        + f"\n\u2014 {origin} "
        + b64(base64.b64decode(line.split()[2])[:4] + other.private.sign(text.encode()))
        + "\n",
        "another origin, signed by another key": named.note(text.replace(origin, "other.example/log")),
        "no signature": text + "\n",
        "no signature lines": text,
        "a second line by the key that fails": note + line[:-12] + "AAAAAAAAAA=\n",
        "101 lines": text + "\n" + line * 101,
        "CR LF": note.replace("\n", "\r\n"),
        "one more root line": text + "x\n\n" + line,
        "spare bits in the base64": note[:-3] + chr(ord(note[-3]) + 1) + note[-2:] if note.endswith("=\n") else "x",
        "size with a leading zero": note.replace(f"\n{size}\n", f"\n0{size}\n"),
    }.items():
        run.expect(f"checkpoint: {name}", change("checkpoint", signed.encode()), "^refused: checkpoint: ")
    run.expect(
        "checkpoint: one more line by somebody unknown",
        change("checkpoint", (note + named.line(text)).encode()),
        "^ok: ",
        code=0,
    )
    run.expect(
        "policy of the export gives another key",
        change("policy", f"log {other.vkey}\nquorum none\n".encode()),
        "^refused: policy: ",
    )

def forge(folder):
    """What the log itself can do, with its key: every hash and signature is right, the log is not."""
    signer, anchors = Signer(7), (3, 280, 500)
    store(folder, {"key": signer.vkey.encode()})
    run = Run(os.path.join(folder, "key"))
    def entry(name, position, spoil, rule):
        log = Log(600, anchors, spoil={position: spoil})
        run.expect(f"signed: {name}", log.files, f"^refused: pack/\\S+, position {position}: .*{rule}")
    def sets(**keys): return lambda e, prev, n: (e.update(keys), (None, prev, n))[1]
    def raw(change): return lambda e, prev, n: (change(write(dict(sorted(e.items()))).encode()), prev, n)
    entry("prev is another hash", 310, lambda e, prev, n: (None, b"\1" * 32, n), "prev")
    entry("prev of version 0 is not zero", 1, lambda e, prev, n: (None, b"\1" * 32, n), "prev")
    entry("prev of a later version is zero", 100, lambda e, prev, n: (None, bytes(32), n), "prev")
    entry(
        "a version is left out",
        300,
        lambda e, prev, n: (e.update(version=e["version"] + 1), (None, prev, n))[1],
        "version",
    )
    entry(
        "a version twice", 300, lambda e, prev, n: (e.update(version=e["version"] - 1), (None, prev, n))[1], "version"
    )
    entry("moved to another stream", 300, sets(stream="stream1"), "version")
    entry("time goes back", 300, sets(at="2026-07-04T09:00:00.000000Z"), "at goes back")
    entry("a cause that is itself", 300, sets(cause=300), "cause")
    entry("a day that does not exist", 300, sets(at="2026-02-30T09:00:00.000000Z"), "day is out of range")
    entry("a position of another", 300, lambda e, prev, n: (None, prev, 301), "position 301")
    entry("null for an absent key", 300, sets(cause=None), "cause")
    entry("a key more", 300, sets(extra=1), "extra")
    entry("true for a number", 300, sets(v=True), "value of v")
    entry("empty sealed", 300, sets(sealed={}), "sealed")
    entry("a space", 300, raw(lambda r: r.replace(b":1,", b": 1,", 1)), "canonical")
    entry("a final newline", 300, raw(lambda r: r + b"\n"), "canonical")
    entry("a key twice", 300, raw(lambda r: r.replace(b'"v":1', b'"v":1,"v":1')), "ascend")
    entry("a fraction", 300, raw(lambda r: r.replace(b'"n":300', b'"n":300.0')), "no integer")
    entry("bad UTF-8", 300, raw(lambda r: r.replace("\u00e9".encode(), b"\xff")), "utf-8")
    entry("an escape that is not needed", 300, raw(lambda r: r.replace("\u00e9".encode(), b"\\u00e9")), "canonical")
    entry("17 deep", 300, raw(lambda r: r.replace(b'"n":300', b'"n":' + b"[" * 16 + b"]" * 16)), "16 deep")
    entry(
        "100000 deep", 300, raw(lambda r: r.replace(b'"n":300', b'"n":' + b"[" * 100000 + b"]" * 100000)), "recursion"
    )
    entry("a number of 5000 digits", 300, raw(lambda r: r.replace(b'"n":300', b'"n":' + b"9" * 5000)), "2.53-1")
    entry("more than 1 MiB", 300, raw(lambda r: r.replace(b'"n":300', b'"n":"' + b"x" * verify.MIB + b'"')), "length")
    entry("no JSON", 300, raw(lambda r: b"x"), "read")
    entry("an array", 300, raw(lambda r: b"[]"), "not an object")

    # What the log says of its second anchor, at position 280.
    for version in "v1", "v2":
        def recorded(type_=f"log.anchored.{version}", **changed):
            def spoil(e, prev, n):
                e.update(type=type_, data=dict(sorted((e["data"] | {"mode": "compliance"} | changed).items())))
                return None, prev, n
            return Log(600, anchors, spoil={280: spoil}).files
        run.expect(f"signed: log.anchored.{version}, with a key more", recorded(), "^ok: ", code=0)
        for key, value in {"root": "4" * 64, "sha256": "5" * 64, "size": 281, "seq": 2, "key": "anchors/x.json"}.items():
            run.expect(
                f"signed: log.anchored.{version} with another {key}",
                recorded(**{key: value}),
                "^refused: anchors/.*not the anchor which position 280 records",
            )
        run.expect(
            f"signed: log.anchored.{version} of an anchor that nobody has",
            recorded(seq=3),
            "^refused: anchors: no anchor 3, which position 280 records",
        )
    run.expect("signed: a kind of entry that is not known", recorded("log.lock_tried.v1"), "^ok: ", code=0)

    def anchor(name, seq, spoil, place="", rule="", whole=False):
        log = Log(600, anchors, spoil_anchor={seq: spoil}, whole=whole)
        run.expect(f"signed: {name}", log.files, f"^refused: {place or f'anchors/{seq:020}-'}.*{rule}")
    def keys(**changed): return lambda a, log: a.update(changed)
    anchor(
        "anchor lists another digest",
        1,
        lambda a, log: a["files"].update({"pack/000": "0" * 64}),
        rule="SHA-256 of pack/000",
    )
    anchor(
        "anchor lists another digest of a partial file",
        1,
        lambda a, log: a["files"].update({"tile/0/001.p/24": "0" * 64}),
        rule="SHA-256",
    )
    anchor("anchor leaves out a file", 1, lambda a, log: a["files"].pop("tile/0/000"), rule="files")
    anchor("anchor lists a file too many", 1, lambda a, log: a["files"].update({"tile/2/000": "0" * 64}), rule="files")
    anchor("anchor chained to another", 1, lambda a, log: a["previous"].update(sha256="0" * 64), rule="previous")
    anchor("anchor chained to another name", 1, lambda a, log: a["previous"].update(key="x"), rule="previous")
    anchor("anchor without previous", 1, lambda a, log: a.pop("previous"), rule="previous")
    anchor("first anchor with a previous", 0, keys(previous={"key": "x", "sha256": "0" * 64}), rule="previous")
    anchor("anchor with another seq", 1, keys(seq=2), rule="seq")
    anchor("anchor's time goes back", 1, keys(at="2026-01-01T00:00:00.000000Z"), rule="goes back")
    anchor("anchor of another origin", 1, keys(origin="x"), rule="origin")
    run.expect("signed: anchors with all they may have", Log(600, anchors, whole=True).files, "^ok: ", code=0)
    for v in 0, 1, 2, 4:
        anchor(f"anchor of v {v}", 1, keys(v=v), rule="value of v")
    for name in "heads", "time":
        anchor(f"anchor with other {name}", 1, keys(**{name: {"x": 1}}), rule=name, whole=True)
    def previous(**changed): return lambda a, log: a["previous"].update(changed)
    anchor("anchor, previous with a key more", 1, previous(x="x"), rule="previous")
    anchor("anchor with a version, chained to another", 1, previous(sha256="0" * 64), rule="previous", whole=True)
    anchor("anchor, token not base64", 1, keys(time={"token": "x"}), whole=True)
    anchor("anchor with a key more", 1, keys(x=1), rule="x")

    # Of 500 entries the last is of 09:08:19.000499; clocks may be 300 s apart.
    for at, place, code in (("09:03:19.000000", "^ok: ", 0), ("09:03:18.999999", "^refused: anchors/.*300 s", 1)):
        log = Log(600, (500,), spoil_anchor={0: keys(at=f"2026-07-04T{at}Z")})
        run.expect(f"signed: anchor of {at}, before what it covers", log.files, place, code=code)
    # The second anchor names the version of the first, "version0"; position 3 records it.
    def versions(version):
        def spoil(e, prev, n):
            e.update(type="log.anchored.v2", data=dict(sorted((e["data"] | {"version": version}).items())))
            return None, prev, n
        return Log(600, anchors, spoil={3: spoil}, whole=True).files
    run.expect("signed: both name the same version of an anchor", versions("version0"), "^ok: ", code=0)
    run.expect(
        "signed: the record names another version of an anchor",
        versions("version9"),
        "^refused: anchors/0*1-.*previous.version .*position 3 ",
    )
    anchor(
        "anchor whose checkpoint another key signed",
        1,
        lambda a, log: a.update(checkpoint=Signer(8).checkpoint(tree(list(map(leaf, log.hashes))), 280)),
        rule="signature",
    )
    anchor(
        "anchor of another history of the same size",
        1,
        lambda a, log: a.update(checkpoint=log.signer.checkpoint(tree([leaf(b"x")] * 280), 280)),
        rule="root",
    )
    anchor("anchor under another name", 1, lambda a, log: a and "anchors/%020d-%020d.json" % (1, 281), rule="name")
    good = Log(600, anchors).files
    # Checkpoints are public: whoever may write can put one into an anchor of their own, and signs it with no key of the log.
    second = sorted(path for path in good if path.startswith("anchors/"))[1]
    def remade(name, rule, by=signer, **changed):
        made = json.loads(good[second]) | changed
        old = made.pop("signature")
        made = by.anchor(made) if by else write(dict(sorted((made | {"signature": old}).items())))
        run.expect(f"copied: {name}", good | {second: made.encode()}, f"^refused: {second}: .*{rule}")
    remade("another key's signature", "signature", by=Signer(8))
    own = json.loads(good[second])["signature"]
    for name, lines_ in {"twice": own + own, "with a stranger's": own + Signer(8).line("x")}.items():
        made = json.loads(good[second]) | {"signature": lines_}
        files = good | {second: write(dict(sorted(made.items()))).encode()}
        # What another key of this name is, only the log's rotations tell; the next anchor names other bytes.
        run.expect(f"copied: its own line, {name}", files, "^refused: anchors/.*(no signature of it|previous)")
    remade("another log's signature", "no signature of it by the log's key", by=Signer(8, "foreign.example/other"))
    for name, value in {"software": "x", "files": {}, "at": "2026-07-04T09:59:59.000000Z"}.items():
        remade(f"signed before {name} was changed", "does not verify", by=None, **{name: value})
    for name, signature in {"none": None, "an empty one": "", "no line": "x\n", "a checkpoint's": good["checkpoint"].decode().split("\n\n")[1]}.items():
        made = json.loads(good[second]) | {"signature": signature}
        made = {key: value for key, value in made.items() if value is not None}
        files = good | {second: write(dict(sorted(made.items()))).encode()}
        run.expect(f"copied: signature, {name}", files, f"^refused: {second}: ")
    def checkpoint(name, text, rule, code=1, place="checkpoint"):
        run.expect(
            f"signed: {name}",
            good | {"checkpoint": signer.note(text).encode()},
            f"^refused: {place}.*{rule}",
            code=code,
        )
    lines = good["checkpoint"].decode().split("\n")[:3]
    checkpoint("an extension line", "\n".join(lines) + "\nmore\n", "three lines")
    checkpoint("two lines", "\n".join(lines[:2]) + "\n", "three lines")
    checkpoint("another root", f"{lines[0]}\n600\n{b64(b'x' * 32)}\n", "root")
    checkpoint("a short root", f"{lines[0]}\n600\n{b64(b'x' * 31)}\n", "root")
    checkpoint("a size of 2^53", f"{lines[0]}\n{2**53}\n{lines[2]}\n", "fewer files", place="tile")
    checkpoint("a size of 2^53+1", f"{lines[0]}\n{2**53 + 1}\n{lines[2]}\n", "decimal")
    checkpoint("a size of 599", f"{lines[0]}\n599\n{lines[2]}\n", "", place="")
    checkpoint("a size of 601", f"{lines[0]}\n601\n{lines[2]}\n", "", place="")
    checkpoint("a negative size", f"{lines[0]}\n-1\n{lines[2]}\n", "decimal")
    checkpoint("another origin", f"other\n600\n{lines[2]}\n", "signature by the log")
    for text in good["checkpoint"].decode(), :
        head, line = text.split("\n\n")
        field = base64.b64decode(line.split()[2])
        order = 2**252 + 27742317777372353535851937790883648493
        grown = field[:36] + (int.from_bytes(field[36:], "little") + order).to_bytes(32, "little")
        run.expect(
            "signature with S above the order",
            good | {"checkpoint": f"{head}\n\n\u2014 {ORIGIN} {b64(grown)}\n".encode()},
            "^refused: checkpoint: .*verify",
        )
    other = Log(600, anchors, spoil={590: sets(command="another")})
    store(folder, {"remembered": good["checkpoint"]})
    remember = os.path.join(folder, "remembered")
    run.expect(
        "another history after the last anchor, with a memory",
        other.files,
        "^refused: .*remembered",
        "--remember",
        remember,
    )
    run.expect("another history after the last anchor, without one", other.files, "^ok: ", code=0)
    run.expect("an empty log", Log(0, ()).files, "^ok: 0 entries", code=0)
    run.expect(
        "packs are left out",
        {p: c for p, c in good.items() if not p.startswith("pack/")},
        "^ok: ",
        "--no-packs",
        code=0,
    )
    for name, key in (
        ("a key of order 1", b"\1" + bytes([1]) + bytes(31)),
        ("a key of order 8", b"\1" + verify.ORDER_8.to_bytes(32, "little")),
        ("a key in another encoding", b"\1" + (2**255 - 18).to_bytes(32, "little")),
    ):
        id_ = sha(ORIGIN.encode(), b"\n", key)[:4]
        vkey = f"{ORIGIN}+{id_.hex()}+{b64(key)}"
        store(folder, {"key": vkey.encode()})
        note = "\n".join(lines) + f"\n\n\u2014 {ORIGIN} " + b64(id_ + bytes([1]) + bytes(63)) + "\n"
        run.expect(
            f"signature under {name}",
            good | {"checkpoint": note.encode(), "policy": f"log {vkey}\nquorum none\n".encode()},
            "^refused: checkpoint: .*verify",
        )
    store(folder, {"key": signer.vkey.encode()})
    for name, key in (
        ("is empty", b""),
        ("is garbage", RANDOM.randbytes(100)),
        ("has another key id", signer.vkey.replace(signer.id.hex(), "0" * 8).encode()),
        ("is cut off", signer.vkey[:-3].encode()),
    ):
        store(folder, {"key": key})
        run.expect(f"the key file {name}", good, "^refused: .*key", code=2)
    store(folder, {"key": Signer(8).vkey.encode()})
    run.expect("the key file holds another key", good, "^refused: checkpoint: ")
    os.remove(os.path.join(folder, "key"))
    run.expect("no key file", good, "^could not check", code=2)
    return run

def exhaust(folder):
    """One bit of every byte of every file of a small log."""
    store(folder, {"key": Signer(7).vkey.encode()})
    run = Run(os.path.join(folder, "key"), quiet=True)
    files = Log(6, (2, 4)).files
    for path, content in files.items():
        for at in range(len(content)):
            run.expect(f"{path}, byte {at}: a bit flipped", files | {path: flip(content, at)}, "^refused: ")
    return run

def receipts():
    """One bit of every byte of each kind of receipt. Of an answer, stream and version are not signed (section 6.4)."""
    from receipts import check_file, parse_policy
    from vectors import inclusion
    signer, log = Signer(7), Log(20, ())
    policy = parse_policy(f"log {signer.vkey}\nquorum none\n".encode())
    path = inclusion(log.levels, 10, 20)
    proof = (
        "c2sp.org/tlog-proof@v1\nindex 10\n"
        + "".join(b64(h) + "\n" for h in path)
        + "\n"
        + signer.checkpoint(log.levels, 20)
    )
    promised = [{"stream": "stream0", "version": 2, "position": 10, "entry_hash": log.hashes[10].hex()}]
    signature = signer.private.sign(f"guildhall/receipt/v1\n{ORIGIN}\n10 {log.hashes[10].hex()}\n".encode())
    receipt = {
        "origin": ORIGIN,
        "position": 10,
        "prev": log.records[10][8:40].hex(),
        "entry": log.records[10][44:].decode(),
    }
    kinds = {
        "answer": write(
            {"origin": ORIGIN, "entries": promised, "key_id": signer.id.hex(), "signature": b64(signature)}
        ),
        "proof": proof,
        "with its entry": write(receipt | {"proof": proof}),
    }
    run = Run(None)
    for kind, text in kinds.items():
        raw, accepted = text.encode(), []
        tries = [
            (at, flip(raw, at, bit)) for at in range(len(raw)) for bit in (range(8) if kind == "answer" else (None,))
        ]
        tries += [(len(raw) - n, raw[:-n]) for n in range(1, len(raw), 9)] + [
            (0, RANDOM.randbytes(n)) for n in range(99)
        ]
        assert check_file(raw, policy, log.hashes[10])
        for at, changed in tries:
            try:
                verify.at(kind, None, check_file, changed, policy, log.hashes[10])
                accepted.append(at)
            except verify.Refused:
                pass
        unsigned = [
            text[:at].rindex('"stream"') < at < text.index(',"position"') for at in accepted if kind == "answer"
        ]
        good = len(unsigned) == len(accepted) and all(unsigned)
        run.done, run.failed = run.done + len(tries), run.failed + (not good)
        print(f"{'ok  ' if good else 'FAIL'} receipt, {kind}: {len(tries)} copies, {len(accepted)} unsigned")
    return run

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", nargs="?")
    parser.add_argument("--key")
    parser.add_argument("--auditor")
    args = parser.parse_args()
    # Every copy lies in here, and goes with it.
    scratch = tempfile.TemporaryDirectory()
    tempfile.tempdir = scratch.name
    if args.export:
        runs = [Run(args.key, args.auditor)]
        tamper(runs[0], load(args.export))
    else:
        folder = tempfile.mkdtemp()
        signer = Signer(7)
        store(folder, {"key": f"log {signer.vkey}\nquorum none\n".encode()})
        runs = [Run(os.path.join(folder, "key"))]
        tamper(runs[0], Log(600, (3, 280, 500)).files)
        runs += [forge(tempfile.mkdtemp()), receipts(), exhaust(tempfile.mkdtemp())]
    done, failed = sum(run.done for run in runs), sum(run.failed for run in runs)
    differ = sum(run.differ for run in runs)
    print(f"{done} cases, {failed} failed" + (f"; the auditor answers {differ} differently" if args.auditor else ""))
    sys.exit(1 if failed else 0)

if __name__ == "__main__":
    main()
