// Hands: keys, lasso, brush, links that hold the whole state, undo, exports.
import { readFileSync } from "node:fs";
import { expect, loaded, open, resting, study, test } from "./server";

const rows = ".table-scroll tbody tr:not(.gap)";

test("a day by keys alone", async ({ page, server, troubles }) => {
  void troubles;
  await open(page, server, `${study}/landscape?sort=concept`);
  await expect(page.locator(rows).first()).toBeVisible();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await expect(page.locator("tr.current a").first()).toHaveText("c2");
  await page.keyboard.press("Enter");
  await expect(page.locator("h1")).toHaveText("c2");
  await page.keyboard.press("j");
  await expect(page.locator("h1")).toHaveText("c3");
  await page.keyboard.press("k");
  await expect(page.locator("h1")).toHaveText("c2");
  await page.keyboard.press("t");
  await expect(page.getByRole("tab", { name: "Terms" })).toHaveAttribute("aria-selected", "true");
  await page.keyboard.press("g");
  await expect(page.getByRole("tab", { name: "Genes" })).toHaveAttribute("aria-selected", "true");
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog")).toContainText("next concept");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await page.keyboard.press("l");
  await expect(page.getByRole("button", { name: "Lasso" })).toHaveAttribute("aria-pressed", "true");
  await page.keyboard.press("l");
  await page.keyboard.press("c");
  await expect(page).toHaveURL(/compare\?a=/);
  await page.keyboard.press("L");
  await expect(page).toHaveURL(/landscape/);
  await expect(page.locator("input.filter")).toBeVisible();
  await page.keyboard.press("f");
  await expect(page.locator("input.filter")).toBeFocused();
  await page.keyboard.type("c2 j k l"); // keys are text while one types
  await expect(page.locator("input.filter")).toHaveValue("c2 j k l");
  await page.keyboard.press("Escape");
  await expect(page.locator("input.filter")).not.toBeFocused();
});

test("arrow keys walk the table and the map follows", async ({ page, server, troubles }) => {
  void troubles;
  await open(page, server, `${study}/landscape?sort=concept`);
  await expect(page.locator(rows).first()).toBeVisible();
  await page.locator(".table-scroll").first().focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await expect(page.locator("tr.current a").first()).toHaveText("c3");
  await expect(page.locator(".cell-map .legend-title")).toContainText("c3");
  await page.keyboard.press("End");
  await expect(page.locator("tr.current")).toBeVisible();
});

test("lasso: cells to ranked concepts, undone, and found again by the link", async ({ page, server, troubles, context }) => {
  void troubles;
  await open(page, server, `${study}/selection`);
  const box = await resting(page, page.locator(".map-frame"));
  const at = (x: number, y: number) => page.mouse.move(box.x + box.width * x, box.y + box.height * y, { steps: 6 });
  await at(0.05, 0.05);
  await page.mouse.down();
  for (const [x, y] of [[0.95, 0.05], [0.95, 0.6], [0.05, 0.6], [0.05, 0.1]] as const) await at(x, y);
  await page.mouse.up();
  await expect(page).toHaveURL(/a=p\./);
  await expect(page.locator(".set.a .what")).toContainText("lasso");
  const first = page.locator(rows).first();
  await expect(first).toBeVisible();
  await loaded(page);
  const text = await page.locator(".set.a .what").innerText(), row = await first.innerText();
  const copy = await context.newPage();
  await copy.goto(page.url());
  await expect(copy.locator(rows).first()).toBeVisible();
  await expect.poll(() => copy.locator(".set.a .what").innerText()).toBe(text);
  await expect.poll(() => copy.locator(rows).first().innerText()).toBe(row);
  await page.keyboard.press("u");
  await expect(page.locator(".set.a .what")).toContainText("no cells yet");
  await page.goBack();
  await expect(page.locator(".set.a .what")).toContainText("lasso");
});

test("Shift and drag on a concept's map selects, too", async ({ page, server }) => {
  await open(page, server, `${study}/concept/0`);
  const box = await resting(page, page.locator(".map-frame"));
  await page.keyboard.down("Shift");
  await page.mouse.move(box.x + 20, box.y + 20);
  await page.mouse.down();
  for (const [x, y] of [[box.width - 20, 20], [box.width - 20, box.height - 20], [20, box.height - 20]] as const)
    await page.mouse.move(box.x + x, box.y + y, { steps: 5 });
  await page.mouse.up();
  await page.keyboard.up("Shift");
  await expect(page).toHaveURL(/selection\?a=p\./);
});

test("the brush keeps a range and the link keeps the brush", async ({ page, server, troubles, context }) => {
  void troubles;
  await open(page, server, `${study}/concept/0`);
  const bars = page.locator("svg.histogram");
  const box = await resting(page, bars);
  await page.mouse.move(box.x + box.width * 0.5, box.y + 30);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.9, box.y + 30, { steps: 5 });
  await page.mouse.up();
  await expect(page).toHaveURL(/range=/);
  await expect(page.locator(".brush-row")).toContainText(/^\d+.* active cells between/);
  const said = await page.locator(".brush-row").innerText();
  const copy = await context.newPage();
  await copy.goto(page.url());
  await expect(copy.locator(".brush-row")).toHaveText(said.replace(/\n/g, ""));
  await page.keyboard.press("u");
  await expect(page).not.toHaveURL(/range=/);
});

test("the histogram's range is moved by keys", async ({ page, server, troubles }) => {
  void troubles;
  await open(page, server, `${study}/concept/0/genes`);
  await page.locator("svg.histogram").focus();
  await expect(page.locator("svg.histogram")).toBeFocused();
  await page.keyboard.press("ArrowRight");
  await expect(page).toHaveURL(/range=/);
  await page.keyboard.press("Escape");
  await expect(page).not.toHaveURL(/range=/);
});

test("a gene colours the map; back and forward walk through it", async ({ page, server, troubles }) => {
  void troubles;
  await open(page, server, `${study}/concept/0/genes`);
  const row = page.locator(rows).nth(2);
  const symbol = await row.locator(".gene").innerText();
  await row.locator("td").nth(3).click();
  await expect(page).toHaveURL(/color=gene%3A\d+/);
  await expect(page.locator(".legend-title")).toContainText(symbol);
  await page.goBack();
  await expect(page.locator(".legend-title")).toContainText("Activation of c0");
  await page.goForward();
  await expect(page.locator(".legend-title")).toContainText(symbol);
});

test("zoom, sort and filter are in the link", async ({ page, server, context }) => {
  await open(page, server, `${study}/landscape`);
  await page.locator(".cell-map").getByRole("button", { name: "Zoom in" }).click();
  await page.getByRole("button", { name: "freq." }).click();
  await page.locator("input.filter").fill("frequency>0.01");
  await expect(page).toHaveURL(/view=/);
  await expect(page).toHaveURL(/sort=-frequency/);
  await expect(page).toHaveURL(/q=frequency/);
  await loaded(page);
  const copy = await context.newPage();
  await copy.goto(page.url());
  await expect(copy.locator(rows).first()).toBeVisible();
  await expect(async () => {
    expect(await copy.locator(rows).allInnerTexts()).toEqual(await page.locator(rows).allInnerTexts());
  }).toPass();
  expect(copy.url()).toBe(page.url());
});

test("tables leave as TSV and JSON, maps and plots as SVG and PNG", async ({ page, server }) => {
  await open(page, server, `${study}/concept/0/genes`);
  await expect(page.locator(rows).first()).toBeVisible();
  await expect(page.locator(".legend-title")).toContainText("Activation of c0");
  await loaded(page);
  const save = async (act: () => Promise<unknown>) => {
    const [download] = await Promise.all([page.waitForEvent("download"), act()]);
    return { name: download.suggestedFilename(), bytes: readFileSync((await download.path())!) };
  };
  const table = await save(() => page.keyboard.press("x"));
  expect(table.name).toMatch(/_c0_genes\.tsv$/);
  const lines = table.bytes.toString().trimEnd().split("\n");
  expect(lines[0]).toContain("symbol\t");
  expect(new Set(lines.map((l) => l.split("\t").length)).size).toBe(1);
  const json = await save(() => page.locator(".table-tools").getByRole("button", { name: "JSON" }).click());
  expect(json.name).toMatch(/_c0_genes\.json$/);
  expect(JSON.parse(json.bytes.toString())).toHaveLength(lines.length - 1);
  const bars = await save(() => page.locator(".brush-row").getByRole("button", { name: "SVG" }).click());
  expect(bars.bytes.toString()).toContain("active cells");
  const svg = await save(() => page.locator(".map-tools").getByRole("button", { name: "SVG" }).click());
  expect(svg.bytes.toString()).toContain("Activation of c0");
  expect(svg.bytes.toString()).not.toContain("<script");
  const png = await save(() => page.locator(".map-tools").getByRole("button", { name: "PNG" }).click());
  expect(png.bytes.subarray(1, 4).toString()).toBe("PNG");
  expect(png.bytes.length).toBeGreaterThan(5000);
});

test("a number explains itself", async ({ page, server }) => {
  await open(page, server, `${study}/concept/0`);
  await page.locator(".facts-row [data-word=frequency]").hover();
  await expect(page.getByRole("tooltip")).toContainText("share of usable cells");
  await expect(page.getByRole("tooltip")).toContainText("n =");
});

test("light and dark, by the system and by choice", async ({ page, server }) => {
  await page.emulateMedia({ colorScheme: "dark" });
  await open(page, server, `${study}/landscape`);
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await page.getByRole("button", { name: /Colours/ }).click();
  await expect(page.locator("html")).toHaveAttribute("data-theme", "light");
  await page.reload();
  await expect(page.locator("html")).toHaveAttribute("data-theme", "light");
});

test("works without WebGL, and on a tablet", async ({ page, server, troubles }) => {
  void troubles;
  await page.setViewportSize({ width: 820, height: 1180 });
  await page.goto(`${server.url}/?renderer=pixels#/${study}/concept/0`);
  await expect(page.locator(".map-frame canvas")).toHaveAttribute("data-renderer", "pixels");
  const colours = () => page.locator(".map-frame canvas").evaluate((c: HTMLCanvasElement) => {
    const data = c.getContext("2d")!.getImageData(0, 0, c.width, c.height).data;
    const seen = new Set<number>();
    for (let i = 0; i < data.length; i += 4) seen.add((data[i]! << 16) | (data[i + 1]! << 8) | data[i + 2]!);
    return seen.size;
  });
  await expect.poll(colours).toBeGreaterThan(5);
  await loaded(page);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(820);
});
