"""Writes logs as FORMAT.md describes them, right ones and wrong ones."""
import base64
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from verify import entry_hash, files_of, leaf, root, sha, tree, write

ORIGIN = "foreign.example/log"
TIME = "2026-07-04T09:{:02}:{:02}.{:06}Z"

def b64(raw): return base64.b64encode(raw).decode()

class Signer:
    def __init__(self, seed, name=ORIGIN):
        self.private, self.name = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), name
        self.public = b"\1" + self.private.public_key().public_bytes_raw()
        self.id = sha(name.encode(), b"\n", self.public)[:4]
        self.vkey = f"{name}+{self.id.hex()}+{b64(self.public)}"

    def line(self, text): return f"\u2014 {self.name} {b64(self.id + self.private.sign(text.encode()))}\n"
    def note(self, text): return text + "\n" + self.line(text)
    def checkpoint(self, levels, size): return self.note(f"{self.name}\n{size}\n{b64(root(levels, size))}\n")

    def anchor(self, anchor):
        """The anchor with this key's signature."""
        rest = sha(write(dict(sorted(anchor.items()))).encode()).hex()
        signature = self.line(f"guildhall/anchor/v1\n{self.name}\n{rest}\n")
        return write(dict(sorted((anchor | {"signature": signature}).items())))

class Log:
    """`spoil` maps a position to a function that spoils its entry; `spoil_anchor` maps a seq to one that spoils its
    anchor. All hashes and signatures that follow are made to fit. `whole` gives anchors what they may have."""

    def __init__(self, size, anchors, signer=Signer(7), spoil={}, spoil_anchor={}, whole=False):
        self.signer, self.spoil, self.records, self.hashes, self.streams = signer, spoil, [], [], {}
        self.anchors, self.whole = [], whole
        for position in range(size):
            if position in anchors:
                self.anchor(spoil_anchor.get(len(self.anchors)))
                last, text = self.anchors[-1]
                data = {
                    "key": last,
                    "root": root(tree(list(map(leaf, self.hashes))), position).hex(),
                    "seq": len(self.anchors) - 1,
                    "sha256": sha(text).hex(),
                    "size": position,
                    "store": "directory",
                }
                self.append("log", "log.anchored.v1", data)
            else:
                self.append(
                    f"stream{position % 5}", "thing.happened.v1", {"n": position, "text": 'caf\u00e9 "\\\n\u2028'}
                )
        self.levels = tree(list(map(leaf, self.hashes)))
        self.files = {
            "checkpoint": signer.checkpoint(self.levels, size).encode(),
            "policy": f"log {signer.vkey}\nquorum none\n".encode(),
        }
        self.files |= self.contents(files_of(size, True)) | dict(self.anchors)

    def append(self, stream, type_, data):
        position = len(self.records)
        version, prev = self.streams.get(stream, (-1, bytes(32)))
        entry = {
            "actor": {"id": "c", "kind": "human"},
            "at": TIME.format(position // 60 % 60, position % 60, position),
            "command": f"cmd{position}",
            "data": data,
            "nonce": f"{position:032x}",
            "stream": stream,
            "type": type_,
            "v": 1,
            "version": version + 1,
            "via": "k",
        }
        if position % 7 == 3:
            sealed = {"ciphertext": "c" * 64, "commitment": "d" * 64, "subject": "c"}
            entry |= {"cause": 0, "on_behalf_of": "x", "sealed": {"text": sealed}}
        raw, number = None, position
        if position in self.spoil:
            raw, prev, number = self.spoil[position](entry, prev, position)
        raw = raw if raw is not None else write(dict(sorted(entry.items()))).encode()
        hash_ = entry_hash(self.signer.name, prev, raw)
        self.records.append(number.to_bytes(8, "big") + prev + len(raw).to_bytes(4, "big") + raw)
        self.hashes.append(hash_)
        self.streams[stream] = (version + 1, hash_)

    def contents(self, paths):
        levels = tree(list(map(leaf, self.hashes)))
        def content(prefix, n, width):
            if prefix == "pack":
                return b"".join(self.records[256 * n:256 * n + width])
            if prefix == "tile/entries":
                return b"".join(b"\0\x20" + h for h in self.hashes[256 * n:256 * n + width])
            return b"".join(levels[8 * int(prefix[5:])][256 * n:256 * n + width])
        return {path: content(*what) for path, what in paths.items()}

    def anchor(self, spoil):
        size, seq = len(self.records), len(self.anchors)
        before = int(self.anchors[-1][0][29:49]) if seq else 0
        files = {path: sha(content).hex() for path, content in self.contents(files_of(size, True, before)).items()}
        note = self.signer.checkpoint(tree(list(map(leaf, self.hashes))), size)
        anchor = {
            "at": TIME.format(size // 60 % 60, size % 60, size),
            "checkpoint": note,
            "files": dict(sorted(files.items())),
            "origin": self.signer.name,
            "seq": seq,
            "software": "attacks",
            "v": 3,
        }
        if seq:
            anchor["previous"] = {"key": self.anchors[-1][0], "sha256": sha(self.anchors[-1][1]).hex()}
        if seq and self.whole:
            anchor["previous"]["version"] = f"version{seq - 1}"
            anchor |= {"heads": {"as_of": size, "root": "e" * 64}, "time": {"token": b64(b"token")}}
        name = f"anchors/{seq:020}-{size:020}.json"
        if spoil:
            spoiled = spoil(anchor, self)
            anchor["files"] = dict(sorted(anchor["files"].items()))
            name = spoiled if str(spoiled).startswith("anchors/") else name
        self.anchors.append((name, self.signer.anchor(anchor).encode()))
