// What experts write: kept through a crash of the server, shown as text, and blind from beginning to end.
import type { Page } from "@playwright/test";
import type { Agreement, Notes } from "../src/api";
import { copyOfStudy, expect, open, prepareReview, Server, study, test } from "./server";

async function introduce(page: Page, name: string): Promise<void> {
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Use this name" }).click();
}

async function saved(server: Server): Promise<Record<string, string>> {
  const notes = (await (await fetch(`${server.url}/api/v1/s/${study}/notes`)).json()) as Notes;
  return Object.fromEntries(notes.rows.map((r) => [`c${r.concept} ${r.field} ${r.author}`, r.value]));
}

test("the server is killed in the middle of typing: what was shown as saved is there, the rest follows", async ({ page }) => {
  const server = new Server(copyOfStudy());
  await server.start();
  await open(page, server, `${study}/concept/0/notes`);
  await introduce(page, "Ada");
  const name = page.locator("#note-name"), note = page.locator("#note-note");
  await name.fill("Naive B");
  await expect(page.locator(".note-field", { has: name }).locator("[data-save=saved]")).toBeVisible();
  await page.getByRole("button", { name: /^4/ }).click();
  await expect(page.locator("[data-save=saved]")).toHaveCount(2);
  await note.pressSequentially("TCL1A and IL4R ");
  const port = server.port;
  await server.stop("SIGKILL");
  await note.pressSequentially("speak for it");
  await expect(page.locator(".note-field", { has: note }).locator("[data-save=failed]")).toBeVisible();
  await page.reload().catch(() => undefined); // the reader tries what readers try: no server, no page
  await server.start(port);
  expect(await saved(server)).toMatchObject({ "c0 name Ada": "Naive B", "c0 rating Ada": "4" });
  await expect(() => open(page, server, `${study}/concept/0/notes`)).toPass(); // the failed reload may still be under way
  await expect(note).toHaveValue("TCL1A and IL4R speak for it");
  await expect(page.locator(".note-field", { has: note }).locator("[data-save=saved]")).toBeVisible({ timeout: 20_000 });
  expect(await saved(server)).toMatchObject({ "c0 note Ada": "TCL1A and IL4R speak for it" });
  await expect(page.locator("h1")).toContainText("Naive B");
  await server.stop("SIGTERM");
});

test("rating by key, undo by key, and a hostile name stays text", async ({ page, troubles }) => {
  void troubles;
  const server = new Server(copyOfStudy());
  await server.start();
  await page.addInitScript(() => localStorage.setItem("conceptome:author", "<b>Eve</b>"));
  await open(page, server, `${study}/concept/1/genes`);
  await expect(page.locator("h1")).toContainText("c1");
  await page.keyboard.press("5");
  await expect(page.locator(".rated")).toContainText("rated 5");
  await expect.poll(() => saved(server)).toMatchObject({ "c1 rating <b>Eve</b>": "5" });
  await page.keyboard.press("u");
  await expect(page.locator(".rated")).toHaveCount(0);
  await expect.poll(async () => Object.keys(await saved(server))).toEqual([]);
  await page.keyboard.press("n");
  await expect(page.locator("#note-note")).toBeFocused();
  await page.locator("#note-name").fill(`<img src=x onerror="window.hacked=1">`);
  await expect(page.locator("[data-save=saved]")).toBeVisible();
  await open(page, server, `${study}/landscape?sort=concept`);
  await expect(page.locator("tr a", { hasText: "<img src=x" })).toBeVisible();
  expect(await page.locator("main img").count()).toBe(0);
  expect(await page.evaluate(() => (window as unknown as { hacked?: number }).hacked)).toBeUndefined();
  await server.stop("SIGTERM");
});

test("a key is not lost that comes before anything is known of the concept, and is about the one just opened", async ({ page }) => {
  const server = new Server(copyOfStudy());
  await server.start();
  await page.addInitScript(() => localStorage.setItem("conceptome:author", "Ada"));
  let release = () => undefined as void;
  const held = new Promise<void>((done) => (release = done));
  await page.route(/\/(concept\/\d+|notes|notes\/keys)$/, async (route) => { await held; await route.continue(); });
  await open(page, server, `${study}/concept/1`);
  await page.keyboard.press("4");
  await page.keyboard.press("j"); // to the next concept of the list
  const c = Number(new URL(page.url()).hash.match(/concept\/(\d+)/)![1]);
  expect(c).not.toBe(1);
  await page.keyboard.press("2");
  expect(await saved(server)).toEqual({});
  release();
  await expect.poll(() => saved(server)).toEqual({ "c1 rating Ada": "4", [`c${c} rating Ada`]: "2" });
  await expect(page.locator(".rated")).toContainText("rated 2");
  await server.stop("SIGTERM");
});

test("two experts, blind, to the agreement page", async ({ browser }) => {
  test.setTimeout(180_000);
  const folder = copyOfStudy("simulated"), study = "simulated";
  prepareReview(folder);
  const server = new Server(folder);
  await server.start();
  const ITEMS = 10;
  for (const [author, ratings] of [["Ada", "5342515324"], ["Ben", "4342514323"]] as const) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await open(page, server, `${study}/review`);
    await introduce(page, author);
    await page.getByLabel("Items").fill(String(ITEMS));
    await page.getByRole("button", { name: "Begin a session" }).click();
    for (let i = 0; ; i++) {
      await expect(page.locator(`[data-answered="${i}"]`)).toBeVisible();
      const done = page.getByText("items are answered");
      await expect(done.or(page.locator("form.note-fields"))).toBeVisible();
      if (await done.isVisible()) {
        expect(i).toBeGreaterThanOrEqual(ITEMS);
        break;
      }
      expect(await page.locator("main").innerText()).not.toMatch(/\bc\d+\b|neuron \d|random \d/); // nothing tells which unit it is
      await expect(page.locator("form.note-fields [aria-pressed=true]")).toHaveCount(0); // the next item, not the one before
      await page.keyboard.press(ratings[i % ratings.length]!);
      await page.keyboard.press("+");
      await expect(page.locator("form.note-fields [aria-pressed=true]")).toHaveCount(2);
      await page.keyboard.press("Enter");
    }
    await context.close();
  }
  const page = await browser.newPage();
  await open(page, server, `${study}/agreement`);
  await expect(page.locator("main")).toContainText("Ada");
  await expect(page.locator("main")).toContainText("Ben");
  await expect(page.locator("svg.means circle")).toHaveCount(3);
  const all = (await (await fetch(`${server.url}/api/v1/s/${study}/review/agreement`)).json()) as Agreement;
  expect(all.experts.map((e) => e.answered)).toEqual([all.experts[0]!.answered, all.experts[0]!.answered]);
  expect(all.inter.pairs[0]!.n).toBeGreaterThan(5);
  await page.close();
  await server.stop("SIGTERM");
});
