// Has the package @transmute/rfc9162 judge a published log: tiles, inclusion and consistency. It knows no signatures; those are checked with
// Node's own Ed25519.
//
//   node check.mjs FOLDER KEY     what lies in FOLDER is described in ../README.md; KEY holds a vkey
//
// Exit code: 0 everything holds, 1 something does not, 2 it could not be checked.
import { createHash, createPublicKey, verify } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import rfc9162 from '@transmute/rfc9162'

const RFC9162 = rfc9162.RFC9162 ?? rfc9162
// The package asks for a browser's crypto first.
globalThis.window ??= globalThis
// It makes roots and proofs from all entries, slowly: of a taller tree only the proofs that lie there are verified.
const WHOLE = 1024

class Refused extends Error {}
const need = (holds, what) => { if (!holds) throw new Refused(what) }
const same = (one, other) => Buffer.compare(one, other) === 0

const decode = (text) => {
  const bytes = Buffer.from(text, 'base64')
  need(bytes.toString('base64') === text, 'not base64')
  return bytes
}

const parseKey = (vkey) => {
  const [, name, id, base64] = /^([^+\s]+)\+([0-9a-f]{8})\+(\S+)$/.exec(vkey) ?? []
  need(name, 'not a vkey')
  const raw = decode(base64)
  need(raw.length === 33 && raw[0] === 1, 'not an Ed25519 key')
  const hash = createHash('sha256').update(`${name}\n`).update(raw).digest('hex')
  need(hash.startsWith(id), 'the key id is not that of the key')
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: raw.subarray(1).toString('base64url') }
  return { name, id: Buffer.from(id, 'hex'), public: createPublicKey({ key: jwk, format: 'jwk' }) }
}

const openCheckpoint = (note, key) => {
  const end = note.lastIndexOf('\n\n')
  need(end >= 0 && note.endsWith('\n'), 'not a note')
  const text = note.slice(0, end + 1)
  let signed = false
  for (const line of note.slice(end + 2, -1).split('\n')) {
    const [dash, name, base64] = line.split(' ')
    need(dash === '\u2014' && base64, 'not a signature line')
    const field = decode(base64)
    if (name !== key.name || !same(field.subarray(0, 4), key.id)) continue
    need(verify(null, Buffer.from(text), key.public, field.subarray(4)), 'the signature does not verify')
    signed = true
  }
  const [origin, size, root, rest, ...more] = text.split('\n')
  need(signed && origin === key.name && rest === '' && more.length === 0, 'no checkpoint that this key signed')
  need(/^(0|[1-9][0-9]{0,14})$/.test(size), 'not a size')
  return { size: Number(size), root: decode(root) }
}

const pathOf = (prefix, index, width) => {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, '0')
  const groups = digits.match(/.{3}/g)
  const last = groups.pop() + (width < 256 ? `.p/${width}` : '')
  return [prefix, ...groups.map((group) => `x${group}`), last].join('/')
}

class Checker {
  trees = new Map()

  constructor(folder, key) {
    this.folder = folder
    this.key = key
  }

  read(path, item, count) {
    const bytes = readFileSync(join(this.folder, path))
    need(bytes.length === item * count, `${path} has ${bytes.length} bytes`)
    return Array.from({ length: count }, (_, at) => bytes.subarray(item * at, item * at + item))
  }

  entryHash(position, size) {
    const index = Math.floor(position / 256)
    const width = Math.min(256, size - 256 * index)
    const record = this.read(pathOf('tile/entries', index, width), 34, width)[position % 256]
    need(record[0] === 0 && record[1] === 32, 'not a record of a bundle')
    return new Uint8Array(record.subarray(2))
  }

  // Every hash of every tile is made anew from the entries below it, and the root from all of them.
  async tree(name, note) {
    const tree = openCheckpoint(note, this.key)
    need(name === String(tree.size), 'it is of another size')
    this.trees.set(tree.size, tree)
    if (tree.size > WHOLE) return
    const entries = Array.from({ length: tree.size }, (_, position) => this.entryHash(position, tree.size))
    need(same(await RFC9162.treeHead(entries), tree.root), 'the entries give another root')
    for (let level = 0, span = 1; tree.size >= span; level++, span *= 256) {
      const count = Math.floor(tree.size / span)
      for (let index = 0; 256 * index < count; index++) {
        const width = Math.min(256, count - 256 * index)
        const path = pathOf(`tile/${level}`, index, width)
        const hashes = this.read(path, 32, width)
        for (const [at, hash] of hashes.entries()) {
          const first = (256 * index + at) * span
          const made = await RFC9162.treeHead(entries.slice(first, first + span))
          need(same(made, hash), `${path}: hash ${at} is another`)
        }
      }
    }
    for (const index of new Set([0, tree.size >> 1, tree.size - 1])) {
      const proof = await RFC9162.inclusionProof(entries[index], entries)
      need(await this.includes(tree, index, entries[index], proof.inclusion_path), `position ${index}`)
    }
  }

  async includes(tree, index, entry, hashes) {
    // The package lets an index one past the end pass.
    need(index < tree.size, 'beyond the tree')
    const leaf = await RFC9162.leaf(entry)
    return RFC9162.verifyInclusionProof(tree.root, leaf, { tree_size: tree.size, leaf_index: index, inclusion_path: hashes })
  }

  async continues(old, tree, hashes) {
    if (old.size === tree.size) return hashes.length === 0 && same(old.root, tree.root)
    // RFC 9162 section 2.1.4.2, step 2, which the package leaves to its caller.
    const whole = (old.size & (old.size - 1)) === 0 ? [old.root, ...hashes] : hashes
    const proof = { tree_size_1: old.size, tree_size_2: tree.size, consistency_path: whole }
    return RFC9162.verifyConsistencyProof(old.root, tree.root, proof)
  }

  async proof(text, inclusion) {
    const end = text.indexOf('\n\n')
    const lines = text.slice(0, end).split('\n')
    const tree = openCheckpoint(text.slice(end + 2), this.key)
    if (inclusion) need(lines.shift() === 'c2sp.org/tlog-proof@v1', 'not a proof of inclusion')
    const [word, number] = lines.shift().split(' ')
    need(word === (inclusion ? 'index' : 'old') && /^[0-9]+$/.test(number), 'not a proof')
    const hashes = lines.map(decode)
    if (inclusion) {
      const entry = this.entryHash(Number(number), tree.size)
      return need(await this.includes(tree, Number(number), entry, hashes), 'it proves nothing')
    }
    const old = this.trees.get(Number(number))
    need(old, 'it starts from no checkpoint of this folder')
    need(await this.continues(old, tree, hashes), 'it proves nothing')
  }

  async all() {
    const names = readdirSync(join(this.folder, 'checkpoints'))
    need(names.length > 0, 'no checkpoints')
    const proofs = readdirSync(join(this.folder, 'proofs'))
    const at = async (path, check) => {
      try {
        await check(readFileSync(join(this.folder, path), 'utf8'))
      } catch (error) {
        throw new Refused(`${path}: ${error.message}`)
      }
    }
    for (const name of names) await at(`checkpoints/${name}`, (note) => this.tree(name, note))
    for (const name of proofs) await at(`proofs/${name}`, (text) => this.proof(text, name.endsWith('.tlog-proof')))
    return `ok: ${names.length} checkpoints, ${proofs.length} proofs`
  }
}

const [folder, keyFile] = process.argv.slice(2)
let checker
try {
  checker = new Checker(folder, parseKey(readFileSync(keyFile, 'utf8').trim()))
} catch (error) {
  console.error(`could not check: ${error.message}`)
  process.exit(2)
}
try {
  console.log(await checker.all())
} catch (error) {
  console.log(`refused: ${error.message}`)
  process.exitCode = 1
}
