// Checks receipts of a Guildhall log (FORMAT.md) with the browser's own SHA-256 and Ed25519. It fetches `/checkpoint` and `/tile/...`,
// and believes neither: the keys come from the policy that it is given.

const ENTRY_TAG = "guildhall/entry/v1\n";
const COMMITMENT_TAG = "guildhall/commitment/v1\n";
const WIDTH = 256;

const utf8 = (text) => new TextEncoder().encode(text);
export const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export class No extends Error {}

function need(holds, why) {
  if (!holds) throw new No(why);
}

function bytesOfHex(text, length) {
  need(typeof text === "string" && new RegExp(`^[0-9a-f]{${2 * length}}$`).test(text), `${length} bytes are ${2 * length} hexadecimal digits`);
  return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
}

export function bytesOfBase64(text) {
  // One spelling for each value: what `atob` forgives is refused here.
  need(/^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0, "this is not standard base64");
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  need(btoa(String.fromCharCode(...bytes)) === text, "this is not standard base64");
  return bytes;
}

function join(...parts) {
  const all = parts.map((part) => (typeof part === "string" ? utf8(part) : part));
  const joined = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0));
  all.reduce((at, part) => (joined.set(part, at), at + part.length), 0);
  return joined;
}

const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));
const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
export const leafHash = (entryHash) => sha256([0], entryHash);
const nodeHash = (left, right) => sha256([1], left, right);
export const entryHash = (origin, prev, entry) => sha256(ENTRY_TAG, origin, "\n", prev, entry);

async function ed25519(publicKey, message, signature) {
  const key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", key, signature, message);
}

// --- keys, notes, policies (FORMAT.md sections 5 and 7)

const NAME = /^[^\s+\p{Cc}]+$/u;

export async function readVkey(text) {
  const [name, id, ...rest] = text.split("+");
  need(rest.length > 0 && NAME.test(name), "a key is written name+id+key");
  const bytes = bytesOfBase64(rest.join("+"));
  need(bytes.length === 33 && (bytes[0] === 1 || bytes[0] === 4), "only Ed25519 keys are known here");
  need(hex((await sha256(name, "\n", bytes)).slice(0, 4)) === id, `the id of the key ${name} is not its hash`);
  return { name, id, type: bytes[0], publicKey: bytes.slice(1) };
}

export function readNote(text) {
  const end = text.lastIndexOf("\n\n");
  need(end >= 0 && text.endsWith("\n"), "a signed note has a text, an empty line, and signatures");
  const lines = text.slice(end + 2, -1).split("\n");
  const signatures = lines.map((line) => {
    const found = /^\u2014 (\S+) (\S+)$/u.exec(line);
    need(found && NAME.test(found[1]), "a signature line is a dash, a name, and base64");
    const bytes = bytesOfBase64(found[2]);
    need(bytes.length > 4, "a signature has an id and at least a byte");
    return { name: found[1], id: hex(bytes.slice(0, 4)), bytes: bytes.slice(4) };
  });
  return { text: text.slice(0, end + 1), signatures };
}

export function readCheckpoint(note) {
  const lines = note.text.split("\n");
  need(lines.length === 4 && lines[3] === "", "a checkpoint is three lines");
  const [origin, size, root] = lines;
  need(/^[a-z0-9./-]{1,128}$/.test(origin), "the origin is not one");
  need(/^(0|[1-9][0-9]{0,15})$/.test(size) && Number(size) <= 2 ** 53, "the size is not one");
  const hash = bytesOfBase64(root);
  need(hash.length === 32, "the root is not 32 bytes");
  return { origin, size: Number(size), root: hash };
}

export async function readPolicy(text) {
  const policy = { logs: [], witnesses: [], groups: new Map(), quorum: undefined };
  const names = new Set(), members = new Set();
  const add = (name) => (need(name && name !== "none" && !names.has(name), `the name ${name} is taken`), names.add(name), name);
  for (const line of text.split("\n")) {
    const [word, ...items] = line.split(/[ \t]+/).filter(Boolean);
    if (word === undefined || word.startsWith("#")) continue;
    if (word === "log") {
      const key = await readVkey(items[0] ?? "");
      need(key.type === 1 && items.length <= 2, "a log line is `log <vkey> [<url>]`");
      policy.logs.push(key);
    } else if (word === "witness") {
      const key = await readVkey(items[1] ?? "");
      need(key.type === 4 && items.length <= 3, "a witness line is `witness <name> <vkey> [<url>]`");
      need(!policy.witnesses.some((other) => same(other.key.publicKey, key.publicKey)), "two witnesses have one key");
      policy.witnesses.push({ name: add(items[0]), key });
    } else if (word === "group") {
      const [name, threshold, ...listed] = items;
      for (const member of listed) {
        need(names.has(member) && !members.has(member), `${member} is unknown, or a member already`);
        members.add(member);
      }
      const count = threshold === "all" ? listed.length : threshold === "any" ? 1 : Number(threshold);
      need(Number.isInteger(count) && count >= 1 && count <= listed.length, `the group ${name} has no such number of members`);
      policy.groups.set(add(name), { count, listed });
    } else if (word === "quorum") {
      need(policy.quorum === undefined && items.length === 1, "there is one quorum line");
      need(items[0] === "none" || names.has(items[0]), `nobody is called ${items[0]}`);
      policy.quorum = items[0];
    } else throw new No(`a policy has no line \`${word}\``);
  }
  need(policy.logs.length > 0, "the policy names no log");
  need(policy.quorum !== undefined, "the policy has no quorum line");
  return policy;
}

// A checkpoint of a log of the policy, and what its signatures amount to.
export async function examine(text, policy) {
  const note = readNote(text), checkpoint = readCheckpoint(note);
  const logs = policy.logs.filter((key) => key.name === checkpoint.origin);
  need(logs.length > 0, `the policy knows no log ${checkpoint.origin}`);
  const message = utf8(note.text);
  let signed = false;
  const cosigned = new Map();
  for (const line of note.signatures) {
    const by = (key) => key.name === line.name && key.id === line.id;
    for (const key of logs.filter(by)) {
      need(line.bytes.length === 64 && (await ed25519(key.publicKey, message, line.bytes)), `the signature of ${line.name} does not verify`);
      signed = true;
    }
    for (const witness of policy.witnesses.filter((witness) => by(witness.key))) {
      need(line.bytes.length === 72, `the cosignature of ${line.name} has the wrong length`);
      const time = new DataView(line.bytes.buffer, line.bytes.byteOffset).getBigUint64(0);
      const said = join(`cosignature/v1\ntime ${time}\n`, message);
      need(await ed25519(witness.key.publicKey, said, line.bytes.slice(8)), `the cosignature of ${line.name} does not verify`);
      cosigned.set(witness.name, Number(time));
    }
  }
  need(signed, `no key that the policy gives ${checkpoint.origin} signed this checkpoint`);
  const met = (name) => {
    const group = policy.groups.get(name);
    return group ? group.listed.filter(met).length >= group.count : cosigned.has(name);
  };
  return { ...checkpoint, cosigned, asked: policy.quorum !== "none", witnessed: policy.quorum === "none" || met(policy.quorum) };
}

// --- the tree (RFC 6962), read from tiles (C2SP tlog-tiles)

function tilePath(level, index, width) {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, "0").match(/.../g);
  const path = digits.map((group, at) => (at + 1 < digits.length ? "x" : "") + group).join("/");
  return `/tile/${level}/${path}${width < WIDTH ? `.p/${width}` : ""}`;
}

// The hashes of the tree of `size` leaves; `fetchBytes` brings the bytes of a path.
export function tree(size, fetchBytes) {
  const tiles = new Map();
  const tile = (level, index) => {
    const width = Math.min(WIDTH, Math.floor(size / WIDTH ** level) - index * WIDTH);
    const path = tilePath(level, index, width);
    if (!tiles.has(path)) {
      const loaded = fetchBytes(path).then((bytes) => {
        need(bytes.length === 32 * width, `${path} has ${bytes.length} bytes instead of ${32 * width}`);
        return bytes;
      });
      tiles.set(path, loaded);
    }
    return tiles.get(path);
  };
  const range = async (bytes, from, count) => {
    if (count === 1) return bytes.slice(32 * from, 32 * from + 32);
    return nodeHash(await range(bytes, from, count / 2), await range(bytes, from + count / 2, count / 2));
  };
  // The root over the complete subtree of 2^level leaves with this index.
  const node = async (level, index) => {
    const inner = level % 8, first = index * 2 ** inner;
    const bytes = await tile(Math.floor(level / 8), Math.floor(first / WIDTH));
    return range(bytes, first % WIDTH, 2 ** inner);
  };
  const split = (count) => 2 ** Math.floor(Math.log2(count - 1));
  const root = async (start, end) => {
    const count = end - start, level = Math.round(Math.log2(count));
    if (2 ** level === count) return node(level, start / count);
    const middle = start + split(count);
    return nodeHash(await root(start, middle), await root(middle, end));
  };
  const path = async (index) => {
    const proof = [];
    let start = 0, end = size;
    while (end - start > 1) {
      const middle = start + split(end - start);
      if (index < middle) proof.unshift(await root(middle, end)), (end = middle);
      else proof.unshift(await root(start, middle)), (start = middle);
    }
    return proof;
  };
  return { path, leaf: (index) => node(0, index) };
}

// RFC 9162 section 2.1.3.2. Arithmetic and no bit operations: positions go up to 2^53.
export async function follow(leaf, index, size, proof, root) {
  need(index < size, `position ${index} is not in a tree of ${size} entries`);
  let node = index, last = size - 1, hash = leaf;
  for (const sibling of proof) {
    need(last > 0, "the path is too long");
    if (node % 2 === 1 || node === last) {
      hash = await nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) (node /= 2), (last = Math.floor(last / 2));
    } else hash = await nodeHash(hash, sibling);
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  need(last === 0 && same(hash, root), "the path does not lead to the root that was signed");
}

// --- receipts (FORMAT.md sections 6 and 10)

export function readProof(text) {
  const end = text.indexOf("\n\n");
  need(end >= 0, "a proof has an empty line before its checkpoint");
  const lines = text.slice(0, end).split("\n");
  need(lines.shift() === "c2sp.org/tlog-proof@v1", "the first line is not c2sp.org/tlog-proof@v1");
  if (lines[0]?.startsWith("extra ")) lines.shift();
  const index = /^index (0|[1-9][0-9]{0,15})$/.exec(lines.shift() ?? "");
  need(index && lines.length <= 63, "a proof has an index and at most 63 hashes");
  const hashes = lines.map(bytesOfBase64);
  need(hashes.every((hash) => hash.length === 32), "a hash has 32 bytes");
  return { index: Number(index[1]), hashes, note: text.slice(end + 2) };
}

// What was pasted: a receipt with its entry, a signed promise (or the answer that holds it), or a bare proof.
export function readReceipt(text) {
  if (text.startsWith("c2sp.org/tlog-proof@")) return { kind: "proof", proof: readProof(text) };
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    throw new No("this is neither JSON nor a proof");
  }
  need(document && typeof document === "object", "this is no receipt");
  if (typeof document.entry === "string") {
    const { origin, position, prev, entry, opened = {} } = document;
    need(typeof origin === "string" && Number.isSafeInteger(position) && position >= 0, "a receipt has an origin and a position");
    const proof = readProof(document.proof ?? "");
    need(proof.index === position, "the proof is for another position");
    return { kind: "entry", origin, position, prev: bytesOfHex(prev, 32), entry, opened, proof };
  }
  const promise = "receipt" in document ? document.receipt : document;
  need(promise && Array.isArray(promise.entries) && promise.entries.length > 0, "this is no receipt: it names no entries");
  for (const entry of promise.entries) need(Number.isSafeInteger(entry.position) && entry.position >= 0, "an entry has a position");
  return { kind: "promise", ...promise };
}

export async function checkPromise(promise, policy) {
  const keys = policy.logs.filter((key) => key.name === promise.origin && key.id === promise.key_id);
  need(keys.length > 0, `the policy gives ${promise.origin} no key ${promise.key_id}`);
  const lines = promise.entries.map((entry) => (bytesOfHex(entry.entry_hash, 32), `${entry.position} ${entry.entry_hash}\n`));
  const text = utf8(`guildhall/receipt/v1\n${promise.origin}\n${lines.join("")}`);
  need(await ed25519(keys[0].publicKey, text, bytesOfBase64(promise.signature ?? "")), "the signature of the promise does not verify");
  return Promise.all(promise.entries.map(async (entry) => ({ position: entry.position, leaf: await leafHash(bytesOfHex(entry.entry_hash, 32)) })));
}

// Every opened text against the commitment that the entry holds.
export async function checkOpened(entry, opened) {
  const sealed = JSON.parse(entry).sealed ?? {};
  const texts = [];
  for (const [path, { text, salt }] of Object.entries(opened)) {
    need(sealed[path], `the entry has no sealed text ${path}`);
    const commitment = hex(await sha256(COMMITMENT_TAG, bytesOfHex(salt, 32), text));
    need(commitment === sealed[path].commitment, `the text given for ${path} is not what was committed to`);
    texts.push([path, text]);
  }
  return texts;
}
