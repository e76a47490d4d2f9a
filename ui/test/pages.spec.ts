// Every page, on every study at hand: it appears, holds what it should, and the console stays empty.
import { execFileSync } from "node:child_process";
import type { Concepts, Found, State, Study } from "../src/api";
import { copyOfStudy, expect, open, program, Server, studies, test } from "./server";

const rows = ".table-scroll tbody tr:not(.gap)";

for (const study of studies) {
  test(`${study}: landscape`, async ({ page, server, troubles }) => {
    void troubles;
    const table = (await (await fetch(`${server.url}/api/v1/s/${study}/concepts`)).json()) as Concepts;
    const start = Date.now();
    await page.goto(`${server.url}/#/${study}`);
    await expect(page.locator(rows).first()).toBeVisible();
    console.log(`    ${study}: table on screen after ${Date.now() - start} ms`);
    await expect(page.locator(".table-tools .rows")).toHaveText(`${table.n} rows`);
    await expect(page.locator(".map-frame canvas")).toHaveCount(2);
    await expect(page.locator(".map-frame canvas").first()).toHaveAttribute("data-renderer", /webgl2|pixels/);
  });

  test(`${study}: every tab of a concept`, async ({ page, server, troubles }) => {
    void troubles;
    await open(page, server, `${study}/concept/1`);
    await expect(page.locator("h1")).toHaveText("c1");
    await expect(page.locator("svg.histogram")).toBeVisible();
    for (const name of ["Genes", "Terms", "Cells", "Composition", "Similar", "Trust", "Notes"]) {
      await page.getByRole("tab", { name }).click();
      await expect(page.getByRole("tab", { name })).toHaveAttribute("aria-selected", "true");
      await expect(page.locator("#tab-panel").locator(".fill, .notes-tab").first()).toBeVisible();
      await expect(page.locator("#tab-panel .stale, #tab-panel .spinner")).toHaveCount(0);
      await expect(page.locator(".failed")).toHaveCount(0);
    }
  });

  test(`${study}: selection, compare, gene, cell, help`, async ({ page, server, troubles }) => {
    void troubles;
    // A concept of some cells and not of all: which those are hangs on how the model was trained.
    const { frequency } = (await (await fetch(`${server.url}/api/v1/s/${study}/concepts`)).json()) as Concepts;
    const common = frequency.map((f, concept) => ({ concept, off: Math.abs(f - 0.3) })).sort((a, b) => a.off - b.off)[0]!.concept;
    await open(page, server, `${study}/selection?a=c.${common}`);
    await expect(page.locator(rows).first()).toBeVisible();
    await page.getByRole("button", { name: "Genes that differ" }).click();
    await expect(page.locator(`${rows} .gene`).first()).toBeVisible();
    await open(page, server, `${study}/compare?a=${study}:1&b=${study}:2`);
    await expect(page.locator(".facts-row")).toContainText("Jaccard");
    await open(page, server, `${study}/gene/3`);
    await expect(page.locator(rows).first()).toBeVisible();
    await open(page, server, `${study}/cell/3`);
    await expect(page.locator("h1.cell-id")).toBeVisible();
    await open(page, server, `${study}/help`);
    await expect(page.getByText("What the numbers mean")).toBeVisible();
    await expect(page.locator(".failed")).toHaveCount(0);
  });

  test(`${study}: a term that was found`, async ({ page, server, troubles }) => {
    void troubles;
    const table = (await (await fetch(`${server.url}/api/v1/s/${study}/concepts`)).json()) as Concepts;
    const term = table.term.find((t) => t !== null);
    test.skip(!term, "no term was found in this study");
    await open(page, server, `${study}/term/${term!.id}`);
    await expect(page.locator("h1")).toHaveText(term!.name);
    await expect(page.locator(rows).first()).toBeVisible();
  });

  test(`${study}: what is not there says so`, async ({ page, server, troubles }) => {
    void troubles;
    await open(page, server, `${study}/concept/99999`);
    await expect(page.getByText("has no concept")).toBeVisible();
    await open(page, server, `${study}/gene/99999999`);
    await expect(page.locator(".failed")).toBeVisible();
    await open(page, server, `${study}/landscape?q=nothingiscalledthis`);
    await expect(page.getByText("No concept matches")).toBeVisible();
    await page.goto(`${server.url}/#/nosuchstudy`);
    await expect(page.locator(".failed")).toContainText("nosuchstudy");
  });
}

test("two studies of other cells can be compared by their genes", async ({ page, server }) => {
  test.skip(studies.length < 2, "one study only");
  await open(page, server, `${studies[0]}/compare?a=${studies[0]}:1&b=${studies[1]}:1`);
  await expect(page.locator(".facts-row")).toContainText("share no cell ids");
  await expect(page.locator(".map-frame canvas")).toHaveCount(2);
});

test("a saved comparison of two models: matches, chance, and a pair on one map", async ({ page }) => {
  const folder = copyOfStudy("simulated"), other = copyOfStudy("simulated", "other");
  execFileSync(program, ["compare", folder, other, "--save", "--null", "20", "-q"], { stdio: "ignore" });
  const server = new Server([folder, other]);
  await server.start();
  await open(page, server, "simulated/compare");
  await expect(page.locator(".comparison")).toContainText("pairs matched one to one");
  await expect(page.locator(".measures tbody tr")).toHaveCount(4);
  await expect(page.locator(".measures")).toContainText("chance");
  await page.locator(rows).first().locator("td").nth(3).locator("a").click();
  await expect(page.locator(".facts-row")).toContainText("Jaccard 1.000");
  await expect(page.locator(".legend-title").first()).toContainText("A (c");
  await expect(page.locator(".map-frame canvas")).toHaveCount(2);
  await page.getByText("all matches").click();
  await expect(page.locator(".measures")).toBeVisible();
  await server.stop("SIGTERM");
  const alone = new Server(folder); // the other study is not served: its name stays, its links go
  await alone.start();
  await open(page, alone, "simulated/compare");
  await expect(page.locator(".comparison")).toContainText("serve both");
  await alone.stop("SIGTERM");
});

test("while the index is made the page says so, then shows it by itself", async ({ page }) => {
  const folder = copyOfStudy("simulated");
  const server = new Server(folder);
  await server.start();
  let made = false;
  await page.route("**/state", async (route) => {
    const now = (await (await route.fetch()).json()) as State;
    return route.fulfill({ json: made ? { ...now, generation: "new" } : { ...now, running: "index of genes, 43 %", indexing: true } });
  });
  await page.route("**/conceptmap", (route) => (made ? route.continue() : route.fulfill({ status: 404, json: { error: "the index is not there yet" } })));
  await open(page, server, "simulated/landscape");
  await expect(page.locator(".banner")).toContainText("index of genes, 43 %");
  await expect(page.locator(".maps")).toContainText("when the index is made");
  made = true;
  await expect(page.locator(".map-frame canvas")).toHaveCount(2);
  await server.stop("SIGTERM");
});

test("the search box finds and opens", async ({ page, server, troubles }) => {
  void troubles;
  const study = studies[0]!;
  const head = (await (await fetch(`${server.url}/api/v1/s/${study}/concept/0/genes?limit=1`)).json()) as { rows: { symbol: string }[] };
  const symbol = head.rows[0]!.symbol;
  const found = (await (await fetch(`${server.url}/api/v1/s/${study}/search?q=${symbol}`)).json()) as Found;
  expect(found.rows.some((r) => r.kind === "gene")).toBe(true);
  await open(page, server, `${study}/landscape`);
  await page.keyboard.press("/");
  await page.keyboard.type(symbol);
  await expect(page.locator("#found li[aria-selected=true]")).toContainText(symbol);
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/gene\/\d+/);
  await expect(page.locator("h1")).toHaveText(symbol);
});

test("the study tells its columns", async ({ server }) => {
  const s = (await (await fetch(`${server.url}/api/v1/s/${studies[0]}/study`)).json()) as Study;
  expect(s.columns.length).toBeGreaterThan(0);
});
