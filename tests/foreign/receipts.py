#!/usr/bin/env python3
"""Checks receipts of a Guildhall log, and who cosigned it. Written from FORMAT.md alone, like verify.py beside it.

    receipts.py --policy POLICY FILE...        the three kinds of receipt, or a checkpoint
    receipts.py --policy POLICY FILE --entry ENTRY_HASH        a bare proof file proves this hash

Exit code: 0 all of them hold, 1 one does not, 2 it could not be checked.
"""
import argparse, json, re, struct, sys
from collections import namedtuple
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
import verify
from verify import MIB, Refused, at, has, is_count, is_hex, is_object, is_origin, is_text, need, node, sha, un64

Policy = namedtuple("Policy", "logs witnesses groups quorum")

# Section 7
def parse_policy(raw):
    text, members = raw.decode(), set()
    policy = Policy([], {}, {}, [])
    need(not re.search("[\0-\x08\x0b-\x1f\x7f]", text), "a control character (7)")
    for line in text.split("\n"):
        match re.findall("[^ \t]+", line):
            case []: pass
            case [word, *_] if word.startswith("#"): pass
            case ["log", vkey, *url] if is_url(url):
                key = verify.parse_vkey(vkey)
                need(is_origin(key.name), "the name of a log is no origin (7)")
                need(key.public not in [k.public for k in policy.logs], "one key on two log lines (7)")
                policy.logs.append(key)
            case ["witness", name, vkey, *url] if is_url(url):
                key = verify.parse_vkey(vkey, 4)
                check_new(policy, name)
                known = [k.public for k in policy.witnesses.values()]
                need(key.public not in known, "one key on two witness lines (7)")
                policy.witnesses[name] = key
            case ["group", name, count, *names] if names:
                check_new(policy, name)
                for member in names:
                    need(is_given(policy, member), "a member that is not given above (7)")
                    need(member not in members, "a member twice (7)")
                    members.add(member)
                k = {"all": len(names), "any": 1}.get(count) or verify.decimal(count, len(names))
                need(k >= 1, "a group of nobody (7)")
                policy.groups[name] = (k, names)
            case ["quorum", name] if not policy.quorum:
                need(name == "none" or is_given(policy, name), "the quorum is not given above (7)")
                policy.quorum.append(name)
            case _:
                raise Refused(f"not a line of a policy: {line[:80]!a} (7)")
    need(policy.logs and policy.quorum, "no log, or no quorum (7)")
    return policy

def is_url(items): return len(items) < 2 and all("://" in url for url in items)

def is_given(policy, name): return name in policy.witnesses or name in policy.groups

def check_new(policy, name): need(name != "none" and not is_given(policy, name), "a name given twice, or none (7)")

def is_met(policy, name, signers):
    if name in policy.groups:
        k, members = policy.groups[name]
        return sum(is_met(policy, member, signers) for member in members) >= k
    return name == "none" or policy.witnesses[name] in signers

# Section 6
def inclusion_root(hash_, index, size, path):
    """RFC 9162 section 2.1.3.2."""
    need(index < size, "the position is not in the tree (6.1)")
    last = size - 1
    for sibling in path:
        need(last > 0, "a proof that is too long (6.1)")
        if index & 1 or index == last:
            hash_ = node(sibling, hash_)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            hash_ = node(hash_, sibling)
        index, last = index >> 1, last >> 1
    need(last == 0, "a proof that is too short (6.1)")
    return hash_

def check_checkpoint(raw, policy):
    origin, size, top, signers = verify.open_checkpoint(raw, policy.logs + list(policy.witnesses.values()))
    witnessed = is_met(policy, policy.quorum[0], signers)
    return origin, size, top, f"{origin}, {size} entries" + ("" if witnessed else "; NOT WITNESSED as the policy asks")

def check_proof(raw, policy, hash_):
    """Origin and position of the entry that the proof file proves."""
    need(len(raw) <= 2 * MIB, "more than 2 MiB (6.3)")
    head, _, note = raw.partition(b"\n\n")
    lines = head.decode().split("\n")
    need(lines.pop(0) == "c2sp.org/tlog-proof@v1", "not a proof file (6.3)")
    if lines and lines[0].startswith("extra "):
        need(un64(lines.pop(0)[6:]), "extra without data (6.3)")
    need(lines and lines[0].startswith("index "), "no index (6.3)")
    index, path = verify.decimal(lines[0][6:], 2**53 - 1), [un64(line) for line in lines[1:]]
    need(len(path) < 64 and all(len(h) == 32 for h in path), "not a path of hashes (6.3)")
    origin, size, top, text = check_checkpoint(note, policy)
    reached = inclusion_root(verify.leaf(hash_), index, size, path)
    need(reached == top, "the path does not lead to the signed root (6.1)")
    return origin, index, text

def is_entries(v): return isinstance(v, list) and v != [] and all(map(is_entry, v))
def is_entry(v): return has(v, stream=is_text, version=is_count, position=is_count, entry_hash=is_hex)

def check_receipt(value, policy):
    """The signed answer of a command."""
    entries = value["entries"]
    need(has(value, origin=is_text, entries=is_entries, key_id=lambda v: is_hex(v, 8), signature=is_text),
         "the keys of a receipt (6.4)")
    text = f"guildhall/receipt/v1\n{value['origin']}\n"
    text += "".join(f"{e['position']} {e['entry_hash']}\n" for e in entries)
    keys = [k for k in policy.logs if (k.name, k.id.hex()) == (value["origin"], value["key_id"])]
    need(any(k.verifies(un64(value["signature"]), text.encode()) for k in keys), "no signature by the log's key (6.4)")
    return f"{value['origin']} promised position " + ", ".join(str(e["position"]) for e in entries)

# Section 10
def hchacha20(key, nonce):
    state = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key) + struct.unpack("<4I", nonce))
    def quarter(a, b, c, d):
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = state[x] + state[y] & 0xffffffff
            word = state[z] ^ state[x]
            state[z] = (word << turn | word >> 32 - turn) & 0xffffffff
    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<8I", *state[:4], *state[12:])

def decrypt(ciphertext, key, subject):
    """Salt and text, for whoever has the key of the subject."""
    cipher = ChaCha20Poly1305(hchacha20(key, ciphertext[:16]))
    try:
        plaintext = cipher.decrypt(bytes(4) + ciphertext[16:24], ciphertext[24:], subject.encode())
    except InvalidTag:
        need(False, "the ciphertext does not open with this key (10)")
    return plaintext[:32], plaintext[32:]

def open_text(secret, sealed):
    if has(secret, ciphertext=is_text, key=is_hex):
        ciphertext = un64(secret["ciphertext"])
        need(sha(ciphertext).hex() == sealed["ciphertext"], "not the ciphertext that was sealed (10)")
        return decrypt(ciphertext, bytes.fromhex(secret["key"]), sealed["subject"])
    need(has(secret, text=lambda v: isinstance(v, str), salt=is_hex), "not a text that is opened (9.3)")
    return bytes.fromhex(secret["salt"]), secret["text"].encode()

def check_text(secret, sealed):
    commitment = sha(b"guildhall/commitment/v1\n", *open_text(secret, sealed))
    need(commitment.hex() == sealed["commitment"], "not the text that was committed to (10)")

# Section 9.3
def check_with_entry(value, policy):
    opened = value.pop("opened", {})
    need(has(value, origin=is_text, position=is_count, prev=is_hex, entry=is_text, proof=is_text),
         "the keys of a receipt (9.3)")
    raw = value["entry"].encode()
    entry = verify.canonical(raw)
    verify.check_keys(entry, verify.ENTRY, verify.ENTRY_MAY, "2.2")
    hash_ = verify.entry_hash(value["origin"], bytes.fromhex(value["prev"]), raw)
    origin, index, text = check_proof(value["proof"].encode(), policy, hash_)
    need(origin == value["origin"] and index == value["position"], "the proof is for another place (9.3)")
    need(is_object(opened), "opened is no object (9.3)")
    for path, secret in opened.items():
        need(path in entry.get("sealed", {}), f"opened {path!a}, which is not sealed (9.3)")
        at(f"opened {path!a}", None, check_text, secret, entry["sealed"][path])
    return f"position {index} of {text}; {len(opened)} texts opened"

def unrepeated(pairs):
    need(len(dict(pairs)) == len(pairs), "a key occurs twice (9.3)")
    return dict(pairs)

def check_file(raw, policy, hash_):
    if raw.startswith(b"c2sp.org/tlog-proof"):
        need(hash_, "a bare proof needs --entry")
        return "position {1} of {2}".format(*check_proof(raw, policy, hash_))
    if not raw.startswith(b"{"):
        return check_checkpoint(raw, policy)[3]
    value = json.loads(raw.decode(), object_pairs_hook=unrepeated)
    value = value["receipt"] if is_object(value.get("receipt")) else value
    return (check_receipt if "entries" in value else check_with_entry)(value, policy)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--policy", required=True)
    parser.add_argument("--entry", type=bytes.fromhex, metavar="ENTRY_HASH")
    args = parser.parse_args()
    try:
        with open(args.policy, "rb") as file:
            policy = at(args.policy, None, parse_policy, file.read(MIB))
        for path in args.files:
            with open(path, "rb") as file:
                code, text = 0, f"ok: {path}: " + at(path, None, check_file, file.read(64 * MIB), policy, args.entry)
            print(text.encode("ascii", "backslashreplace").decode())
    except Refused as e:
        code, text = (2 if e.file == args.policy else 1), f"refused: {e}"
        print(text.encode("ascii", "backslashreplace").decode())
    except OSError as e:
        code = print(f"could not check: {e}", file=sys.stderr) or 2
    sys.exit(code)

if __name__ == "__main__":
    main()
