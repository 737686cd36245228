#!/usr/bin/env python3
"""Has the package aics-tlog judge a published log: signatures, tiles, bundles, inclusion and consistency.

    check.py FOLDER KEY     what lies in FOLDER is described in ../README.md; KEY holds a vkey

Exit code: 0 everything holds, 1 something does not, 2 it could not be checked.
"""
import itertools, pathlib, sys
from aics_tlog import (VerifiedTileReader, audit_tiles, consistency_proof_from_tiles,
                       inclusion_proof_from_tiles, verify_checkpoint, verify_consistency, verify_leaf_inclusion)
from aics_tlog.checkpoint import checkpoint_from_note
from aics_tlog.note import b64_decode, parse_vkey
from aics_tlog.tiles import FileSystemTileReader

class Refused(Exception):
    pass

def need(holds, what):
    if not holds:
        raise Refused(what)

class Checker:
    def __init__(self, folder, key):
        self.folder, self.key = folder, key
        self.trees, self.readers = {}, {}

    def open(self, note):
        checkpoint, parsed = checkpoint_from_note(note)
        result = verify_checkpoint(parsed, self.key, expected_origin=self.key.name)
        need(result.ok, result.error)
        return checkpoint

    def tree(self, name, note):
        tree = self.open(note)
        need(name == str(tree.size), "it is of another size")
        tiles = FileSystemTileReader(self.folder)
        audit_tiles(tiles, tree.size, tree.root)
        reader = VerifiedTileReader(tiles, tree.size, tree.root)
        for index in {0, tree.size // 2, tree.size - 1}:
            proof = inclusion_proof_from_tiles(tiles, index, tree.size)
            need(verify_leaf_inclusion(reader.entry(index), index, tree.size, proof, tree.root), f"position {index}")
        self.trees[tree.size], self.readers[tree.size] = tree, reader

    def proof(self, text, heads):
        before, _, note = text.partition("\n\n")
        lines = before.split("\n")
        return lines[:heads], [b64_decode(line) for line in lines[heads:]], self.open(note)

    def inclusion(self, text):
        (header, index), hashes, tree = self.proof(text, 2)
        need(header == "c2sp.org/tlog-proof@v1" and index.startswith("index "), "not a proof of inclusion")
        position = int(index.removeprefix("index "))
        need(tree.size in self.readers, "its checkpoint is none of this folder")
        entry = self.readers[tree.size].entry(position)
        need(verify_leaf_inclusion(entry, position, tree.size, hashes, tree.root), "it proves nothing")

    def consistency(self, text):
        (old,), hashes, tree = self.proof(text, 1)
        old = self.trees[int(old.removeprefix("old "))]
        need(verify_consistency(old.size, tree.size, old.root, tree.root, hashes), "it proves nothing")

    def all(self):
        names = sorted((self.folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
        need(names, "no checkpoints")
        for path in names:
            at(path, self.tree, path.name, path.read_text())
        tiles = FileSystemTileReader(self.folder)
        for old, new in itertools.combinations_with_replacement(self.trees.values(), 2):
            proof = consistency_proof_from_tiles(tiles, old.size, new.size)
            need(verify_consistency(old.size, new.size, old.root, new.root, proof), f"from {old.size} to {new.size}")
        proofs = sorted((self.folder / "proofs").iterdir())
        for path in proofs:
            at(path, self.consistency if path.suffix == ".consistency" else self.inclusion, path.read_text())
        return f"ok: {len(names)} checkpoints, {len(proofs)} proofs"

def at(path, check, *args):
    try:
        check(*args)
    except (Refused, ValueError, LookupError, OSError) as error:
        raise Refused(f"{path}: {error}") from error

def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        checker = Checker(pathlib.Path(sys.argv[1]), parse_vkey(pathlib.Path(sys.argv[2]).read_text().strip()))
    except (ValueError, OSError) as error:
        print(f"could not check: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        print(checker.all())
    except (Refused, ValueError, LookupError, OSError) as error:
        print(f"refused: {error}")
        sys.exit(1)

if __name__ == "__main__":
    main()
