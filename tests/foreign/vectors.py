#!/usr/bin/env python3
"""The test vectors of FORMAT.md: makes them anew, and checks that each stands there. Checks eventlog/chain/vectors too.

    vectors.py            checks, and names what is missing
    vectors.py --print    prints them as FORMAT.md shows them
"""
import json, os, struct, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
import receipts, verify
from receipts import hchacha20, inclusion_root
from verify import Refused, entry_hash, leaf, node, path_of, root, sha, tree, write
from writer import Signer, b64

HOUSE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
ORIGIN, SECONDS = "guildhall.example/city", 1783155600

def read(path):
    with open(os.path.join(HOUSE, path), "rb") as file:
        return file.read()

def inclusion(levels, index, size):
    """RFC 6962 section 2.1.1."""
    def subtree(low, high):
        return root([level[low >> k:] for k, level in enumerate(levels)], high - low)
    def path(low, high):
        if high - low == 1:
            return []
        k = 1 << (high - low - 1).bit_length() - 1
        inside, other = ((low, low + k), (low + k, high)) if index < low + k else ((low + k, high), (low, low + k))
        return path(*inside) + [subtree(*other)]
    return path(0, size)

def consistency(levels, old, new):
    """RFC 6962 section 2.1.2."""
    def subtree(low, high):
        return root([level[low >> k:] for k, level in enumerate(levels)], high - low)
    def proof(m, low, high, whole):
        if low + m == high:
            return [] if whole else [subtree(low, high)]
        k = 1 << (high - low - 1).bit_length() - 1
        if m <= k:
            return proof(m, low, low + k, whole) + [subtree(low + k, high)]
        return proof(m - k, low + k, high, False) + [subtree(low, low + k)]
    return proof(old, 0, new, True)

def consistent(old, new, old_root, new_root, proof):
    """RFC 9162 section 2.1.4.2."""
    path = ([old_root] if old & (old - 1) == 0 else []) + proof
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return (fr, sr, sn) == (old_root, new_root, 0)

def xchacha20poly1305(key, nonce, subject, plaintext):
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], plaintext, subject)

def vectors():
    """(section, line of FORMAT.md), in order."""
    full, smallest = (read(f"eventlog/chain/vectors/entry/{name}.json") for name in ("full", "smallest"))
    zero = bytes(32)
    first, second = entry_hash(ORIGIN, zero, full), entry_hash(ORIGIN, zero, smallest)
    other = bytes.fromhex("1505d8c51c119dce252ec62c609734e3fd980cbafec06c9996dfa2776c208e31")
    for hash_ in (first, second, entry_hash(ORIGIN, other, full)):
        yield "2.4", hash_.hex()

    levels = tree([leaf(first), leaf(second)])
    contents = {"tile/0/000.p/2": b"".join(levels[0]), "tile/entries/000.p/2": b"\0\x20" + first + b"\0\x20" + second}
    records = (struct.pack(">Q32sI", i, zero, len(raw)) + raw for i, raw in enumerate((full, smallest)))
    contents["pack/000.p/2"] = b"".join(records)
    for hash_ in (*levels[0], root(levels, 2), sha(contents["tile/0/000.p/2"]), sha(contents["pack/000.p/2"])):
        yield "3.4", hash_.hex()
    for at in (0, 34):
        yield "3.3", contents["tile/entries/000.p/2"][at:at + 34].hex()

    big = tree([leaf(sha(struct.pack(">Q", i))) for i in range(70000)])
    for size in (0, 1, 3, 7, 255, 256, 257, 65536, 70000):
        yield "3.5", f"    {size:<6} {root(big, size).hex()}"
    for level, n in ((0, 273), (1, 0), (1, 1), (2, 0)):
        tile = big[8 * level][256 * n:256 * n + 256]
        yield "3.5", f"    {path_of(f'tile/{level}', n, len(tile)):<17} {sha(b''.join(tile)).hex()}"
    path = inclusion(big, 69999, 70000)
    assert inclusion_root(big[0][69999], 69999, 70000, path) == root(big, 70000)
    for hash_ in path:
        yield "6.1", f"    {hash_.hex()}"
    proof = consistency(big, 3, 7)
    assert consistent(3, 7, root(big, 3), root(big, 7), proof)
    for hash_ in proof:
        yield "6.2", f"    {hash_.hex()}"

    log, witness = Signer(7, ORIGIN), Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
    text = f"{ORIGIN}\n2\n{b64(root(levels, 2))}\n"
    public = b"\4" + witness.public_key().public_bytes_raw()
    id_ = sha(b"witness.example/w1\n", public)[:4]
    vkey = f"witness.example/w1+{id_.hex()}+{b64(public)}"
    cosigned = struct.pack(">Q", SECONDS) + witness.sign(f"cosignature/v1\ntime {SECONDS}\n{text}".encode())
    yield "5.4", "    " + log.vkey
    yield "5.4", "    " + vkey
    note = log.note(text) + f"\u2014 witness.example/w1 {b64(id_ + cosigned)}\n"
    for line in note.split("\n"):
        yield "5.4", f"    {line}" if line else ""
    signature = log.private.sign(text.encode())
    order = 2**252 + 27742317777372353535851937790883648493
    grown = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    yield "5.4", f"    \u2014 {ORIGIN} {b64(log.id + grown)}"
    for point in (verify.ORDER_8, verify.P + 3):
        key = b"\1" + point.to_bytes(32, "little")
        id_ = sha(ORIGIN.encode(), b"\n", key)[:4]
        yield "5.4", f"    {ORIGIN}+{id_.hex()}+{b64(key)}"

    yield "6.3", b64(levels[0][0])
    receipt = f"guildhall/receipt/v1\n{ORIGIN}\n42 {first.hex()}\n"
    yield "6.4", b64(log.private.sign(receipt.encode()))
    for line in (f"log {log.vkey}", f"witness w1 {vkey}", "group enough 1 w1", "quorum enough"):
        yield "7", f"    {line}"

    files = {path: sha(content).hex() for path, content in sorted(contents.items())}
    anchor = {"at": "2026-07-04T09:10:00.000000Z", "checkpoint": log.note(text), "files": files, "origin": ORIGIN,
              "seq": 0, "software": "guildhall/0.1.0", "v": 3}
    rest = f"guildhall/anchor/v1\n{ORIGIN}\n{sha(write(anchor).encode()).hex()}\n"
    for line in rest.splitlines():
        yield "9.2", f"    {line}"
    body = log.anchor(anchor)
    yield "9.2", f"    {body}"
    yield "9.2", sha(body.encode()).hex()
    link = {"key": f"anchors/{0:020}-{2:020}.json", "sha256": sha(body.encode()).hex()}
    anchor |= {"at": "2026-07-04T10:10:00.000000Z", "files": {}, "previous": link, "seq": 1}
    next_ = log.anchor(anchor)
    yield "9.2", f"    {next_}"
    yield "9.2", sha(next_.encode()).hex()
    link = {"key": f"anchors/{1:020}-{2:020}.json", "sha256": sha(next_.encode()).hex(), "version": "Kq3.x"}
    heads = {"as_of": 1, "root": sha(b"heads").hex()}
    anchor |= {"at": "2026-07-04T11:10:00.000000Z", "heads": heads, "previous": link, "seq": 2}
    second = log.anchor(anchor)
    yield "9.2", f"    {second}"
    yield "9.2", sha(second.encode()).hex()

    new, at = Signer(8, ORIGIN), root(levels, 2)
    rotation = f"guildhall/key-rotation/v1\n{ORIGIN}\n{log.vkey}\n{new.vkey}\n2\n{b64(at)}\n"
    by_from, by_to = (b64(signer.private.sign(rotation.encode())) for signer in (log, new))
    data = {"from": log.vkey, "to": new.vkey, "size": 2, "root": at.hex(), "by_from": by_from, "by_to": by_to}
    assert json.loads(read("eventlog/chain/vectors/rotation/rotation.json")) == data
    for line in rotation.splitlines():
        yield "13.1", f"    {line}"
    yield "13.1", f"`{by_from}`"
    yield "13.1", f"`{by_to}`"

    salt, key, nonce = b"\1" * 32, b"\2" * 32, b"\3" * 24
    text, subject = "The Weavers", "gld_01M8FWB66HT6NE7E3MPK4FGJHA"
    yield "10", sha(b"guildhall/commitment/v1\n", salt, text.encode()).hex()
    ciphertext = nonce + xchacha20poly1305(key, nonce, subject.encode(), salt + text.encode())
    yield "10", f"    {ciphertext.hex()}"
    yield "10", sha(ciphertext).hex()

    two = bytes.fromhex(
        "03" * 24 + "33734a6e5a77922253ad391c7d707a14" + "00" * 15 + "01b7c928f92ec34c36e9321bbadb5f293234c5"
    )
    other = b"\4" * 28 + (64455).to_bytes(4, "big")
    opened = [receipts.decrypt(two, key_, subject) for key_ in (key, other)]
    assert [text for _, text in opened] == [b"10", b"99"]
    yield "10", f"    {two.hex()}"
    sealed = {"ciphertext": sha(two).hex(), "subject": subject}
    sealed["commitment"] = sha(b"guildhall/commitment/v1\n", *opened[0]).hex()
    receipts.check_text({"ciphertext": b64(two), "key": key.hex()}, sealed)
    for second in ({"ciphertext": b64(two), "key": other.hex()}, {"text": "99", "salt": opened[1][0].hex()}):
        try:
            receipts.check_text(second, sealed)
            yield "10", "a second text is taken for the one that was committed to"
        except Refused:
            pass
    for value in (other, *(sha(b"guildhall/commitment/v1\n", *each) for each in opened)):
        yield "10", f"`{value.hex()}`"

def order(y):
    """The order of the points with this y, or None if it is above 8. On edwards25519 2P = (2xy / (y^2 - x^2), ...)."""
    p = verify.P
    d = -121665 * pow(121666, -1, p) % p
    for n in (1, 2, 4, 8):
        if y == 1:
            return n
        xx = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        y = (y * y + xx) * pow(2 + xx - y * y, -1, p) % p
    return None

def self_test():
    """The points of small order, and the vector of draft-irtf-cfrg-xchacha."""
    assert sorted(map(order, verify.SMALL_ORDER)) == [1, 2, 4, 8, 8]
    key = bytes(range(32))
    got = hchacha20(key, bytes.fromhex("000000090000004a0000000031415927"))
    assert got.hex() == "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"

def main():
    self_test()
    if sys.argv[1:] == ["--print"]:
        for section, line in vectors():
            print(f"{section:<4} {line}")
        return
    wrong = []
    for kind, good in (("accept", True), ("reject", False)):
        for name in sorted(os.listdir(os.path.join(HOUSE, "eventlog/chain/vectors", kind))):
            try:
                verify.canonical(read(f"eventlog/chain/vectors/{kind}/{name}"))
                accepted = True
            except (Refused, ValueError, RecursionError):
                accepted = False
            if accepted != good:
                wrong.append(f"{kind}/{name}")
    for name in ("full", "smallest"):
        entry = verify.canonical(read(f"eventlog/chain/vectors/entry/{name}.json"))
        verify.check_keys(entry, verify.ENTRY, verify.ENTRY_MAY, "2.2")
    document = read("FORMAT.md").decode()
    wrong += [f"section {section}: {line}" for section, line in vectors() if line not in document]
    print("\n".join(wrong) or "every vector is as it should be")
    sys.exit(1 if wrong else 0)

if __name__ == "__main__":
    main()
