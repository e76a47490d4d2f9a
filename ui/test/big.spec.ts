// A study of 300,000 cells and 10,000 concepts, as far as the pages are concerned: the answers are made
// here. Times are printed; the limits are those of the budget where a machine without a GPU can keep them.
import type { Page } from "@playwright/test";
import type { Concepts, Info, Study } from "../src/api";
import { expect, test } from "./server";

const CELLS = 300_000, CONCEPTS = 10_000;

function concepts(): Concepts {
  const each = <T>(f: (c: number) => T) => Array.from({ length: CONCEPTS }, (_, c) => f(c));
  const noise = (c: number) => ((c * 2654435761) % 1000) / 1000;
  return {
    n: CONCEPTS, frequency: each((c) => noise(c) / 10), active: each((c) => c), max: each(noise), mean: each(noise),
    label: each((c) => `cell type ${c % 40}`), label_share: each(noise), label_f1: each(noise), genes: each((c) => [0, 1, 2, 3, 4].map((k) => `GENE${(c * 7 + k * 31) % 16000}`)),
    term: each((c) => ({ id: `GO:${c % 3000}`, name: `regulation of process ${c % 3000}`, q: noise(c) / 20, ranking: "attribution", method: "gsea" })),
    terms_attribution: each((c) => c % 9), terms_expression: each((c) => c % 99), attributed: each((c) => c % 30), distance: each(noise),
    stability: each(noise), faithfulness: each(noise), flags: each((c) => (c % 50 ? [] : ["dense"])), quality: each(noise),
  };
}

async function serve(page: Page): Promise<void> {
  const head = { id: "big", name: "big", cells: CELLS, genes: 16000, concepts: CONCEPTS, model: "scgpt", dictionary: "topk", generation: "1" };
  const study: Study = { ...head, cells_placed: CELLS, columns: [], model_info: {}, dictionary_info: {}, reconstruction: null, attribution: null, expression: { test: "welch" },
    collections: [], methods: ["gsea"], rankings: ["expression"], noise_floor: null, neurons: 512, comparisons: [] };
  const xy = new Uint16Array(2 * CELLS);
  for (let i = 0; i < CELLS; i++) {
    const r = Math.sqrt(((i * 7919) % 100003) / 100003), a = i * 0.618 * 2 * Math.PI, k = i % 12;
    xy[2 * i] = 32767 + 20000 * Math.cos(k) + 9000 * r * Math.cos(a);
    xy[2 * i + 1] = 32767 + 20000 * Math.sin(k) + 9000 * r * Math.sin(a);
  }
  const map = new Float32Array(2 * CONCEPTS).map((_, i) => Math.sin(i * 12.9898) * 10);
  const binary = (type: string, shape: string, bytes: ArrayBuffer, range = "") => ({ status: 200, contentType: "application/octet-stream",
    headers: { "Cpt-Type": type, "Cpt-Shape": shape, "Cpt-Range": range }, body: Buffer.from(bytes) });
  await page.route("**/api/v1/**", (route) => {
    const path = new URL(route.request().url()).pathname;
    if (path.endsWith("/info")) return route.fulfill({ json: { version: "test", studies: [head] } satisfies Info });
    if (path.endsWith("/study")) return route.fulfill({ json: study });
    if (path.endsWith("/concepts")) return route.fulfill({ json: concepts() });
    if (path.endsWith("/state")) return route.fulfill({ json: { generation: "1", notes_revision: 0, running: null } });
    if (path.endsWith("/umap")) return route.fulfill(binary("u16", `${CELLS}x2`, xy.buffer, "0,10,0,10"));
    if (path.endsWith("/conceptmap")) return route.fulfill(binary("f32", `${CONCEPTS}x2`, map.buffer));
    const match = /activation\/(\d+)/.exec(path);
    if (match) {
      const n = 1920, out = new ArrayBuffer(8 * n), c = Number(match[1]);
      new Uint32Array(out, 0, n).forEach((_, i, a) => (a[i] = (i * 149 + c) % CELLS));
      new Float32Array(out, 4 * n, n).forEach((_, i, a) => (a[i] = (i % 100) / 25 + 0.01));
      return route.fulfill(binary("sparse", String(n), out));
    }
    return route.fulfill({ json: { revision: 0, rows: [] } });
  });
}

/** Processor time of the page's main thread while `act` runs: other work on the machine does not count. */
async function busy(page: Page, act: () => Promise<unknown>): Promise<number> {
  const client = await page.context().newCDPSession(page);
  await client.send("Performance.enable", { timeDomain: "threadTicks" });
  const read = async () => (await client.send("Performance.getMetrics")).metrics.find((m) => m.name === "TaskDuration")!.value * 1000;
  const before = await read();
  await act();
  const ms = (await read()) - before;
  await client.detach();
  return ms;
}

/** The page has nothing to do any more: what comes next is not charged with what came before. */
async function atRest(page: Page): Promise<void> {
  await expect.poll(() => busy(page, () => page.waitForTimeout(200))).toBeLessThan(10);
}

for (const renderer of ["webgl", "pixels"]) {
  test(`300,000 cells and 10,000 concepts stay quick (${renderer})`, async ({ page, server }) => {
    await serve(page);
    const rows = page.locator(".table-tools .rows"), title = page.locator(".cell-map .legend-title");
    await page.goto("about:blank");
    const first = await busy(page, async () => {
      await page.goto(`${server.url}/?renderer=${renderer}#/big/landscape`);
      await expect(rows).toContainText("10\u202f000");
      await expect(title).toBeVisible();
    });
    await atRest(page);
    const filter = await busy(page, async () => {
      await page.locator("input.filter").fill("type 13 quality>0.3");
      await expect(rows).not.toContainText("10\u202f000");
    });
    await page.keyboard.press("Escape");
    const box = (await page.locator(".map-frame").nth(1).boundingBox())!;
    await page.mouse.move(box.x + 100, box.y + 100);
    await atRest(page);
    const zoom = await busy(page, async () => {
      for (let i = 0; i < 20; i++) {
        await page.mouse.wheel(0, i < 10 ? -20 : 20);
        await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r))));
      }
    }) / 20;
    const before = await title.innerText();
    const next = await busy(page, async () => {
      await page.keyboard.press("j");
      await expect(title).not.toHaveText(before);
    });
    console.log(`    ${renderer}, processor ms of the page: first view ${first.toFixed(0)}, filter ${filter.toFixed(0)}, frame of a zoom ${zoom.toFixed(1)}, next concept ${next.toFixed(0)}`);
    expect(filter).toBeLessThan(100);
    expect(zoom).toBeLessThan(33);
  });
}
