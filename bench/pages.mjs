// pages.mjs - how long the pages of `conceptome serve` take in a real browser, by the clock.
//
//     build/conceptome serve STUDY --no-browser &          # prints the address
//     node bench/pages.mjs http://127.0.0.1:8765 [STUDY] [RUNS]
//
// STUDY is the study's id in the address (default: the first one served), RUNS how often the page is opened
// with a new profile (default 7). Wants the modules of ui/ (`cd ui && npm ci`) and Chromium, or what CHROMIUM
// names. Frames are drawn by software (SwiftShader) unless GPU=1. Prints one line per measure: median, best
// and worst in milliseconds (frames: per second), and of how many.
//
//   paint   from the address to anything on the screen        table   ... to the first row of concepts
//   maps    ... to both maps                                   filter  a filter typed, to the table redrawn
//   click   a concept clicked in the table, to its cells on the map      key   the same by j
//   frames  while zooming the map of cells
//
// `filter`, `click` and `key` end one frame after the page shows the answer: what the eye waits for.
import { chromium } from "../ui/node_modules/@playwright/test/index.mjs";

const [address, named, count = "7"] = process.argv.slice(2);
if (!address) {
  console.error("usage: node bench/pages.mjs ADDRESS [STUDY] [RUNS]");
  process.exit(2);
}
const runs = Number(count);
const study = named ?? (await (await fetch(new URL("/api/v1/info", address))).json()).studies[0].id;
const software = process.env.GPU ? [] : ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-background-networking", ...software],
});

// In the page before anything of it runs: notes when the first row and both maps are there.
function watch() {
  const seen = (window.seen = {});
  const look = () => {
    if (!seen.table && document.querySelector("tbody tr:not(.gap) a")) seen.table = performance.now();
    const canvases = document.querySelectorAll(".map-frame canvas").length;
    if (!seen.asked && canvases >= 2) {
      seen.asked = true;
      requestAnimationFrame(() => setTimeout(() => (seen.maps = performance.now())));
    }
    if (!seen.asked || !seen.table) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

async function open() {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.addInitScript(watch);
  const page = await context.newPage();
  await page.goto(new URL(`/#/${study}`, address).href);
  await page.waitForFunction(() => window.seen.maps && window.seen.table);
  const times = await page.evaluate(() => ({
    paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
    table: window.seen.table,
    maps: window.seen.maps,
  }));
  return { context, page, times };
}

// Runs in the page.
async function handle() {
  const LIMIT = 5000;
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const timed = async (act, done) => {
    const began = performance.now();
    act();
    while (!done() && performance.now() - began < LIMIT) await frame();
    await frame();
    return performance.now() - began;
  };
  const input = document.querySelector("input.filter");
  const type = (text) => {
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, text);
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const count = () => document.querySelector(".table-tools .rows").textContent;
  const filter = [];
  for (const text of ["c1", "", "c2", ""]) {
    const before = count();
    filter.push(await timed(() => type(text), () => count() !== before));
  }
  const title = () => document.querySelector(".cell-map .legend-title").textContent;
  const shown = (before) => title() !== before && !document.querySelector(".cell-map.waiting");
  const click = [], key = [];
  for (const row of [...document.querySelectorAll("tbody tr:not(.gap)")].slice(2, 12)) {
    const before = title();
    click.push(await timed(() => row.querySelector("td:last-child").click(), () => shown(before)));
  }
  for (let i = 0; i < 10; i++) {
    const before = title(), press = new KeyboardEvent("keydown", { key: "j", bubbles: true });
    key.push(await timed(() => document.dispatchEvent(press), () => shown(before)));
  }
  const map = document.querySelector(".cell-map .map-frame"), box = map.getBoundingClientRect();
  const at = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true, cancelable: true };
  const began = performance.now();
  let n = 0;
  for (; performance.now() - began < 4000; n++) {
    map.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: Math.floor(n / 40) % 2 ? 8 : -8 }));
    await new Promise((done) => requestAnimationFrame(done));
  }
  const frames = (1000 * n) / (performance.now() - began);
  return { filter, click, key, frames: [frames], renderer: document.querySelector(".cell-map canvas").dataset.renderer };
}

function say(name, values) {
  const sorted = values.filter((x) => x !== undefined).sort((a, b) => a - b).map((x) => Math.round(x));
  console.log([name, sorted[sorted.length >> 1], sorted[0], sorted.at(-1), sorted.length].join("\t"));
}

const times = [];
let worked;
for (let i = 0; i < runs; i++) {
  const { context, page, times: t } = await open();
  times.push(t);
  if (i === runs - 1) {
    await page.waitForTimeout(1000);
    worked = await page.evaluate(handle);
  }
  await context.close();
}
await browser.close();
console.log(`# ${study}, drawn by ${worked.renderer}\nmeasure\tmedian\tbest\tworst\tn`);
for (const name of ["paint", "table", "maps"]) say(name, times.map((t) => t[name]));
for (const name of ["filter", "click", "key", "frames"]) say(name, worked[name]);
