// The page: what the server says about itself, and the check of a receipt, which is the browser's own.

import { No, checkOpened, checkPromise, entryHash, examine, follow, hex, leafHash, readPolicy, readReceipt, tree } from "/audit/verify.js";

const $ = (id) => document.getElementById(id);
const number = (value) => (value ?? 0).toLocaleString("en");

// Text goes into text nodes only: nothing that a server or a receipt says becomes markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

function ago(seconds) {
  if (seconds === undefined || seconds === null) return "never";
  if (seconds < 1.5) return "just now";
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]]) {
    if (seconds >= length * 1.5 || length === 1) return `${Math.round(seconds / length)} ${unit}s ago`;
  }
}

const row = (name, ...value) => make("div", {}, make("dt", {}, name), make("dd", {}, ...value));

// --- what the server says

let told;
let toldAt = 0;

async function refresh() {
  try {
    const answer = await fetch("/audit.json");
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
    told = await answer.json();
    toldAt = performance.now();
    show();
  } catch (error) {
    $("summary").replaceChildren(make("span", { class: "bad" }, `This server does not answer: ${error.message}`));
  }
}

function show() {
  const { checkpoint, witnesses, anchors, quorum } = told;
  $("origin").textContent = told.origin;
  document.title = `${told.origin}: check us`;
  $("size").textContent = checkpoint ? number(checkpoint.size) : "–";
  $("root").textContent = checkpoint ? checkpoint.root : "–";
  const behind = told.size - (checkpoint?.size ?? 0);
  $("behind").textContent = behind === 0 ? "nothing" : `${number(behind)} ${behind === 1 ? "entry" : "entries"}`;
  const cosigned = witnesses.filter((witness) => witness.cosigned);
  $("quorum").textContent = witnesses.length ? `${cosigned.length} of ${witnesses.length}` : "none";
  const words = { met: ["good", "the quorum cosigned this checkpoint"], missed: ["bad", "UNWITNESSED: the quorum is missing"], unasked: ["warn", "only the log's own word stands behind it"] };
  const [tone, said] = words[quorum];
  $("quorum-words").replaceChildren(make("span", { class: tone }, said));
  $("witnesses").replaceChildren(...witnesses.map(witnessRow));
  const newest = anchors[anchors.length - 1];
  $("anchored").textContent = newest ? `#${number(newest.seq)}` : "none yet";
  $("store").textContent = told.store ? `${told.store.name}: ${told.store.guarantee}` : "";
  $("locks").replaceChildren(...lockRows(), timeRow(told.store), ...mirrorRows(told.store));
  // Left alone while nothing is new: whoever looks at an older one is not sent back to the end.
  const marks = JSON.stringify(anchors.map(({ seq, mode }) => [seq, mode]));
  if (marks !== drawn) {
    drawn = marks;
    chosen = newest?.seq;
    $("timeline").replaceChildren(...anchors.map(mark));
    detail();
    $("timeline").scrollLeft = $("timeline").scrollWidth;
  }
  summary(tone);
}

function summary(tone) {
  const age = told.checkpoint ? ago(elapsed(told.checkpoint.age_seconds)) : "never";
  $("age").textContent = age;
  const witnessed = { good: "witnessed", bad: "unwitnessed", warn: "without witnesses" }[tone ?? $("summary").dataset.tone];
  if (tone) $("summary").dataset.tone = tone;
  const anchor = told.anchors[told.anchors.length - 1];
  $("summary").replaceChildren(
    "Signed ", make("b", {}, age), ", ", make("b", { class: $("summary").dataset.tone }, witnessed), ", ",
    anchor ? `anchored ${ago(elapsed(anchor.age_seconds))}` : "not anchored yet", ".",
    told.read_only ? make("b", { class: "bad" }, " This server only reads: it found that the log is not what was signed.") : "");
}

const elapsed = (seconds) => seconds + (performance.now() - toldAt) / 1000;

function witnessRow(witness) {
  const tone = witness.cosigned ? "good" : witness.trouble ? "bad" : "warn";
  const when = witness.cosigned_at ? ago(Date.now() / 1000 - witness.cosigned_at) : "never seen";
  return make("li", {},
    make("span", { class: `dot ${tone}`, title: witness.cosigned ? "cosigned the newest checkpoint" : "has not cosigned the newest checkpoint" }),
    make("span", {}, witness.name), make("time", {}, when), make("small", {}, witness.trouble ?? witness.key));
}

function lockRows() {
  // The log says how every store's lock was found; the server itself may have tried its own since, or know why there is nothing to try.
  const locks = { ...told.locks };
  const { name, lock: own } = told.store ?? {};
  if (own && (own.at || !locks[name])) locks[name] = { ...locks[name], ...own };
  const rows = Object.entries(locks).map(([store, lock]) => {
    const tone = lock.verdict === "proven" ? "good" : lock.verdict === "yielded" ? "bad" : "warn";
    const why = (lock.says ?? "").split(": ").slice(1).join(": ");
    const attacks = lock.attempts?.length ? `, ${lock.attempts.length} attacks tried` : "";
    const when = lock.at ? `${attacks}, ${ago(elapsed(lock.age_seconds))}` : "";
    return row(`Lock of ${store}`, make("b", { class: tone }, lock.verdict), why ? `: ${why}` : "", when);
  });
  return rows.length ? rows : [row("Lock", make("span", { class: "warn" }, "not tried"))];
}

function timeRow({ time } = {}) {
  if (!time) return row("Time", make("span", { class: "warn" }, "only this server's own clock"));
  const { newest, trouble } = time;
  const seen = newest ? `anchor #${number(newest.seq)} seen ${ago(elapsed(newest.age_seconds))} by ${newest.by}` : "no anchor seen yet";
  return row("Time", make("span", { class: trouble ? "bad" : newest ? "good" : "warn" }, seen), trouble ? ": the newest anchor has no token" : "");
}

function mirrorRows({ mirrors } = {}) {
  return (mirrors ?? []).map(({ name, newest, behind, failing }) => {
    const tone = failing ? "bad" : behind > 1 ? "warn" : "good";
    const far = newest === null ? "nothing seen there yet" : `has anchor #${number(newest)}`;
    return row(`Mirror ${name}`, make("span", { class: tone }, far), behind ? `, ${number(behind)} behind` : "", failing ? ", failing" : "");
  });
}

let chosen, drawn;

function mark(anchor) {
  const day = anchor.at.slice(0, 10), time = anchor.at.slice(11, 16);
  const button = make("button", { type: "button", role: "listitem", "aria-pressed": String(anchor.seq === chosen), ...(anchor.mode ? { class: "locked" } : {}) },
    make("b", {}, `#${number(anchor.seq)}`), `${day} ${time}`, make("br"), `${number(anchor.size)} entries`);
  button.dataset.seq = anchor.seq;
  button.addEventListener("click", () => ((chosen = anchor.seq), detail()));
  return button;
}

function detail() {
  for (const button of $("timeline").children) button.setAttribute("aria-pressed", String(Number(button.dataset.seq) === chosen));
  const anchor = told.anchors.find((anchor) => anchor.seq === chosen);
  if (!anchor) return $("anchor").replaceChildren();
  const lock = anchor.mode ? `${anchor.mode}, until ${anchor.retain_until}` : undefined;
  const rows = [
    row("Anchor", `#${number(anchor.seq)}, recorded ${anchor.at.replace("T", " ").slice(0, 19)} UTC at position ${number(anchor.position)}`),
    row("Covers", `${number(anchor.size)} entries`), row("Root", make("code", {}, anchor.root)), row("Object", make("code", {}, anchor.key)),
    row("SHA-256", make("code", {}, anchor.sha256)), row("Store", anchor.store),
    row("Retention lock", lock ? make("span", { class: "good" }, lock) : "none that the log speaks of"),
  ];
  const known = new Set(["seq", "size", "root", "key", "sha256", "store", "at", "position", "age_seconds", "mode", "retain_until"]);
  const more = Object.entries(anchor).filter(([name]) => !known.has(name));
  $("anchor").replaceChildren(make("dl", {}, ...rows, ...more.map(([name, value]) => row(name, make("code", {}, String(value))))));
}

// --- the check

async function fetched(path, read) {
  const answer = await fetch(path, { cache: path === "/checkpoint" ? "no-store" : "default" });
  if (!answer.ok) throw new No(`${path} cannot be had: ${answer.status}`);
  return read(answer);
}
const bytesOf = (path) => fetched(path, async (answer) => new Uint8Array(await answer.arrayBuffer()));

// Adds to `steps` as it goes, so that a refusal stands after what still held.
async function check(steps) {
  const step = (text, tone = "good") => steps.push([tone, text]);
  const receipt = readReceipt($("receipt").value.trim() + ($("receipt").value.trimStart().startsWith("c2sp") ? "\n" : ""));
  const policy = await readPolicy($("policy").value);
  const facts = [];
  const checkpoint = await examine(await fetched("/checkpoint", (answer) => answer.text()), policy);
  step(`The log ${checkpoint.origin} signed a checkpoint of ${number(checkpoint.size)} entries.`);
  const hashes = tree(checkpoint.size, bytesOf);
  let entries;
  if (receipt.kind === "entry") {
    need(receipt.origin === checkpoint.origin, "the receipt is of another log");
    const leaf = await leafHash(await entryHash(receipt.origin, receipt.prev, receipt.entry));
    const own = await examine(receipt.proof.note, policy);
    await follow(leaf, receipt.position, own.size, receipt.proof.hashes, own.root);
    step(`The proof in the receipt leads from its entry to a signed root of ${number(own.size)} entries.`);
    for (const [path, text] of await checkOpened(receipt.entry, receipt.opened)) facts.push([`${path} (as committed)`, text]);
    entries = [{ position: receipt.position, leaf }];
    const entry = JSON.parse(receipt.entry);
    facts.unshift(["What", entry.type], ["Where", `${entry.stream}, version ${entry.version}`], ["When", entry.at], ["Who", `${entry.actor.kind} ${entry.actor.id}`], ["Data", JSON.stringify(entry.data)]);
  } else if (receipt.kind === "promise") {
    need(receipt.origin === checkpoint.origin, "the receipt is of another log");
    entries = await checkPromise(receipt, policy);
    step(`The log's signature stands under this promise of ${entries.length === 1 ? "one entry" : `${entries.length} entries`}.`);
  } else {
    const own = await examine(receipt.proof.note, policy);
    need(own.origin === checkpoint.origin, "the proof is of another log");
    const { index } = receipt.proof;
    need(index < checkpoint.size, `position ${index} is not covered yet: come back in a second`);
    const leaf = await hashes.leaf(index);
    await follow(leaf, index, own.size, receipt.proof.hashes, own.root);
    step("The proof leads from the published leaf to a signed root. It does not say which entry that is: a receipt with its entry does.", "warn");
    entries = [{ position: index, leaf }];
  }
  for (const { position, leaf } of entries) {
    need(position < checkpoint.size, `position ${position} is not covered yet: come back in a second`);
    await follow(leaf, position, checkpoint.size, await hashes.path(position), checkpoint.root);
    step(`Position ${number(position)}: the tiles of this server lead from this very entry to the signed root.`);
  }
  if (!checkpoint.asked) step("The policy asks for no witnesses: only the log's own word stands behind the checkpoint.", "warn");
  else if (checkpoint.witnessed) step(`Cosigned by the quorum of the policy: ${[...checkpoint.cosigned.keys()].join(", ")}.`);
  else step("UNWITNESSED: the quorum of the policy did not cosign this checkpoint.", "warn");
  facts.push(["Leaf", hex(entries[0].leaf)], ["Signed root", hex(checkpoint.root)]);
  return facts;
}

function need(holds, why) {
  if (!holds) throw new No(why);
}

async function run() {
  const steps = [];
  let facts = [], verdict;
  $("check").disabled = true;
  try {
    facts = await check(steps);
    const weak = steps.some(([tone]) => tone === "warn");
    verdict = weak ? ["warn", "It is in the log. Mind what is marked below."] : ["good", "It is in the log, and witnesses saw it."];
  } catch (error) {
    steps.push(["bad", error instanceof No ? error.message : `this could not be read: ${error.message}`]);
    verdict = ["bad", "This receipt does not hold."];
  }
  $("result").dataset.verdict = verdict[0];
  $("result").replaceChildren(
    make("p", { class: `verdict ${verdict[0]}` }, verdict[1]),
    make("ul", { class: "steps" }, ...steps.map(([tone, text]) => make("li", { class: tone }, text))),
    make("dl", {}, ...facts.map(([name, value]) => row(name, make("code", {}, value)))));
  $("check").disabled = false;
}

// --- beginning

if (!crypto.subtle) {
  $("secure").textContent = "Browsers lend their cryptography only to pages that came over https, or from this machine.";
  $("check").disabled = true;
}
$("check").addEventListener("click", run);
$("policy").addEventListener("input", () => ($("policy-words").hidden = true), { once: true });
$("receipt").addEventListener("dragover", (event) => (event.preventDefault(), $("receipt").classList.add("over")));
$("receipt").addEventListener("dragleave", () => $("receipt").classList.remove("over"));
$("receipt").addEventListener("drop", async (event) => {
  event.preventDefault();
  $("receipt").classList.remove("over");
  const [file] = event.dataTransfer.files;
  $("receipt").value = file ? await file.text() : event.dataTransfer.getData("text");
});
fetch("/policy").then(async (answer) => answer.ok && !$("policy").value && ($("policy").value = await answer.text()), () => {});
await refresh();
setInterval(refresh, 5000);
setInterval(() => told && summary(), 1000);
