#!/usr/bin/env python3
"""Heads of streams, computed from FORMAT.md section 11 alone: the slow way, level by level, with nothing kept.

    heads.py check FILE...   each file of vectors: the root, and every proof, are as they are said to be
    heads.py make            prints the vectors of eventlog/chain/vectors/heads/ as one JSON object, by the name of the file
"""

import hashlib
import json
import sys

ZERO = bytes(32)


def sha256(data):
    return hashlib.sha256(data).digest()


def key_of(stream):
    return sha256(stream.encode())


def leaf_of(key, version, entry_hash):
    return sha256(b"guildhall/head/v1\n" + key + version.to_bytes(8, "big") + entry_hash)


def node_of(left, right):
    return sha256(b"guildhall/heads/v1\n" + left + right)


def bit(key, depth):
    return int.from_bytes(key, "big") >> (255 - depth) & 1


def subtree(leaves, depth):
    """The hash over these {key: (version, hash)}, all of which begin with the same `depth` bits."""
    if not leaves:
        return ZERO
    if len(leaves) == 1:
        [(key, (version, entry_hash))] = leaves.items()
        return leaf_of(key, version, entry_hash)
    halves = [{key: head for key, head in leaves.items() if bit(key, depth) == side} for side in (0, 1)]
    return node_of(subtree(halves[0], depth + 1), subtree(halves[1], depth + 1))


def prove(leaves, key):
    siblings = []
    while len(leaves) > 1:
        depth = len(siblings)
        side = bit(key, depth)
        other = {there: head for there, head in leaves.items() if bit(there, depth) != side}
        leaves = {there: head for there, head in leaves.items() if bit(there, depth) == side}
        siblings.append(subtree(other, depth + 1).hex())
    proof = {"siblings": siblings}
    for there, (version, entry_hash) in leaves.items():
        if there == key:
            proof["head"] = {"version": version, "hash": entry_hash.hex()}
        else:
            proof["other"] = {"key": there.hex(), "version": version, "hash": entry_hash.hex()}
    return proof


def verify(proof, key, root):
    """The head, or None; raises ValueError when the proof proves neither."""
    siblings = [bytes.fromhex(one) for one in proof["siblings"]]
    head, other = proof.get("head"), proof.get("other")
    if len(siblings) > 256 or (head and other):
        raise ValueError("not a proof")
    end = ZERO
    if head:
        end = leaf_of(key, head["version"], bytes.fromhex(head["hash"]))
    if other:
        there = bytes.fromhex(other["key"])
        if there == key or any(bit(there, depth) != bit(key, depth) for depth in range(len(siblings))):
            raise ValueError("the other head stands elsewhere")
        end = leaf_of(there, other["version"], bytes.fromhex(other["hash"]))
    for depth in reversed(range(len(siblings))):
        end = node_of(siblings[depth], end) if bit(key, depth) else node_of(end, siblings[depth])
    if end != root:
        raise ValueError("not the root")
    return head


def leaves_of(vector):
    return {key_of(head["stream"]): (head["version"], bytes.fromhex(head["hash"])) for head in vector["heads"]}


def check(vector):
    leaves, root = leaves_of(vector), bytes.fromhex(vector["root"])
    if subtree(leaves, 0) != root:
        raise ValueError(f"the root is {subtree(leaves, 0).hex()}")
    for one in vector["proofs"]:
        key = key_of(one["stream"])
        if prove(leaves, key) != one["proof"]:
            raise ValueError(f"the proof of {one['stream']} is {json.dumps(prove(leaves, key))}")
        head = verify(one["proof"], key, root)
        wanted = leaves.get(key)
        if (head and (head["version"], bytes.fromhex(head["hash"]))) != wanted:
            raise ValueError(f"the proof of {one['stream']} proves {head}")
    return len(vector["proofs"])


def alike(bits):
    """Two names whose keys begin with the same bits."""
    seen = {}
    number = 0
    while True:
        name = f"stream-{number}"
        prefix = key_of(name)[: bits // 8]
        if prefix in seen:
            return [seen[prefix], name]
        seen[prefix] = name
        number += 1


def vector(streams, absent):
    heads = [
        {"stream": stream, "version": number, "hash": sha256(f"entry {number}".encode()).hex()}
        for number, stream in enumerate(streams)
    ]
    made = {"heads": heads}
    leaves = leaves_of(made)
    made["root"] = subtree(leaves, 0).hex()
    names = streams if len(streams) <= 8 else streams[::16]
    made["proofs"] = [{"stream": name, "proof": prove(leaves, key_of(name))} for name in names + absent]
    return made


def make():
    absent = ["nobody", "no one", "none"]
    return {
        "none": vector([], absent),
        "one": vector(["city"], absent),
        "three": vector(["city", "log", "cit_01ARZ3NDEKTSV4RRFFQ69G5FAV"], absent),
        "alike": vector(["city"] + alike(24), absent),
        "many": vector([f"stream-{number}" for number in range(300)], absent),
    }


def main(arguments):
    if arguments[:1] == ["make"]:
        print(json.dumps(make(), indent=1))
        return 0
    if arguments[:1] != ["check"] or len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    for path in arguments[1:]:
        with open(path, encoding="utf-8") as file:
            try:
                proofs = check(json.load(file))
            except ValueError as wrong:
                print(f"{path}: {wrong}")
                return 1
        print(f"{path}: the root and {proofs} proofs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
