// Drives `/audit` in a real headless Chromium: what it shows, what it says about each receipt, and what it asks for meanwhile.
//
// usage: node audit.mjs BASE CASES.json SCREENSHOTS
// CASES.json is a list of {name, receipt, policy?}; prints one JSON object: what was shown, and for each case the verdict, the steps and
// the requests. NODE_MODULES names the folder that holds playwright-core; CHROMIUM the browser.

import { createRequire } from "node:module";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.NODE_MODULES, "x"))("playwright-core");
const [base, casesFile, screenshots] = process.argv.slice(2);
const cases = JSON.parse(readFileSync(casesFile, "utf8"));
const profile = mkdtempSync(join(tmpdir(), "ghpage."));
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, args: flags, viewport: { width: 1180, height: 900 },
});
const told = { requests: [], errors: [], cases: [] };
try {
  const page = await browser.newPage();
  page.on("request", (request) => told.requests.push(request.url()));
  page.on("pageerror", (error) => told.errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && told.errors.push(message.text()));
  await page.goto(`${base}/audit`);
  await page.waitForFunction(() => document.getElementById("origin").textContent !== "…" && document.getElementById("policy").value !== "");
  const text = (id) => page.locator(`#${id}`).innerText();
  told.shown = { origin: await text("origin"), summary: await text("summary"), size: await text("size"), quorum: await text("quorum"), words: await text("quorum-words"), witnesses: await text("witnesses"), anchored: await text("anchored"), anchor: await text("anchor"), warning: await text("policy-words") };
  told.marks = await page.locator("#timeline button").count();
  await page.screenshot({ path: join(screenshots, "audit.png"), fullPage: true });
  for (const { name, receipt, policy } of cases) {
    await page.fill("#receipt", receipt);
    if (policy) await page.fill("#policy", policy);
    const before = told.requests.length;
    await page.evaluate(() => document.getElementById("result").replaceChildren());
    await page.click("#check");
    await page.waitForSelector("#result .verdict");
    told.cases.push({
      name, verdict: await page.locator("#result .verdict").innerText(), tone: await page.getAttribute("#result", "data-verdict"),
      steps: await page.locator("#result .steps li").allInnerTexts(), requests: told.requests.slice(before),
    });
    await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
  }
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize({ width: 420, height: 900 });
  await page.screenshot({ path: join(screenshots, "narrow-dark.png"), fullPage: true });
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(told));
