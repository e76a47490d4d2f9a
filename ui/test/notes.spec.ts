// What experts write: kept through a crash of the server, shown as text, and blind from beginning to end.
import type { Page } from "@playwright/test";
import type { Agreement, Notes } from "../src/api";
import { copyOfStudy, expect, frames, open, prepareReview, Server, study, test } from "./server";

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

async function beginBlind(page: Page, items: number): Promise<void> {
  await page.getByLabel("Items").fill(String(items));
  await page.getByRole("button", { name: "Begin a session" }).click();
}

/** The item on the screen, which is not `before`. A key pressed sooner would be about that one. */
async function blindItem(page: Page, before = ""): Promise<string> {
  const form = page.locator(`form.note-fields:not([data-item="${before}"])`);
  await expect(form).toBeVisible();
  return (await form.getAttribute("data-item"))!;
}

async function blindServer(): Promise<Server> {
  const folder = copyOfStudy("simulated");
  prepareReview(folder);
  const server = new Server(folder);
  await server.start();
  return server;
}

const pressed = "form.note-fields [aria-pressed=true]";

test("two experts, blind, to the agreement page", async ({ browser }) => {
  test.setTimeout(180_000);
  const study = "simulated", server = await blindServer();
  const ITEMS = 10;
  for (const [author, ratings] of [["Ada", "5342515324"], ["Ben", "4342514323"]] as const) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await open(page, server, `${study}/review`);
    await introduce(page, author);
    await beginBlind(page, ITEMS);
    for (let i = 0, item = ""; ; i++) {
      await expect(page.locator(`[data-answered="${i}"]`)).toBeVisible();
      const done = page.getByText("items are answered");
      await expect(done.or(page.locator(`form.note-fields:not([data-item="${item}"])`))).toBeVisible();
      if (await done.isVisible()) {
        expect(i).toBeGreaterThanOrEqual(ITEMS);
        break;
      }
      item = await blindItem(page, item);
      expect(await page.locator("main").innerText()).not.toMatch(/\bc\d+\b|neuron \d|random \d/); // nothing tells which unit it is
      await expect(page.locator(pressed)).toHaveCount(0); // what was said of the one before does not stick
      await page.keyboard.press(ratings[i % ratings.length]!);
      await page.keyboard.press("+");
      await expect(page.locator(pressed)).toHaveCount(2);
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

/** Holds the answer to the first request that matches. `asked`: the server has spoken; `release` lets the answer go,
 *  and waits for the page. */
async function hold(page: Page, matches: (url: URL, method: string) => boolean): Promise<{ asked: Promise<void>; release: () => Promise<void> }> {
  let release = () => undefined as void, spoken = () => undefined as void, held = false;
  const asked = new Promise<void>((done) => (spoken = done)), gate = new Promise<void>((done) => (release = done));
  let arrived = () => undefined as void;
  const answered = new Promise<void>((done) => (arrived = done));
  await page.route("**/review/**", async (route) => {
    if (held || !matches(new URL(route.request().url()), route.request().method())) return route.fallback();
    held = true;
    const answer = await route.fetch(); // the server speaks at once: its word is old when it comes
    spoken();
    await gate;
    await route.fulfill({ response: answer });
    arrived();
  });
  return { asked, release: async () => {
    release();
    await answered;
    await frames(page);
  } };
}

test("blind review: answers that come late are about their own item", async ({ page }) => {
  const server = await blindServer();
  await open(page, server, "simulated/review");
  await introduce(page, "Ada");

  // The list of sessions, read before this one was begun (somebody has written a note), comes after it: the item stays.
  const list = await hold(page, (url) => url.pathname.endsWith("/sessions"));
  await page.evaluate(async () => {
    const at = "/api/v1/s/simulated/notes", { keys } = (await (await fetch(`${at}/keys`)).json()) as { keys: string[] };
    const token = document.querySelector<HTMLMetaElement>('meta[name="conceptome-token"]')!.content;
    const note = { author: "Ben", key: keys[0], field: "name", value: "Naive B", base: 0 };
    await fetch(at, { method: "POST", headers: { "Content-Type": "application/json", "X-Conceptome-Token": token }, body: JSON.stringify(note) });
  });
  await list.asked;
  await beginBlind(page, 10);
  const a = await blindItem(page);
  await list.release();
  expect(await page.locator(`form[data-item="${a}"]`).count()).toBe(1); // without a gap in which keys would be lost

  const posts: { item: string; rating: number }[] = [];
  page.on("request", (r) => {
    const item = /\/review\/[^/]+\/([^/]+)$/.exec(r.url());
    if (r.method() === "POST" && item) posts.push({ item: item[1]!, rating: (r.postDataJSON() as { rating: number }).rating });
  });
  const isNext = (url: URL, method: string) => method === "GET" && url.pathname.endsWith("/next"), isAnswer = (_: URL, method: string) => method === "POST";

  // The next item, asked for twice, the first answer last: it does not bring back an item that was passed over.
  const late = await hold(page, isNext);
  await page.keyboard.press("s");
  await page.keyboard.press("s");
  const b = await blindItem(page, a);
  await page.keyboard.press("s");
  const c = await blindItem(page, b);
  await page.keyboard.press("5");
  await late.release();
  expect(await blindItem(page)).toBe(c);
  await expect(page.locator(pressed)).toHaveCount(1);

  // Changed while it is being saved: the server gets what the page shows.
  const saving = await hold(page, isAnswer);
  await page.keyboard.press("+");
  await page.keyboard.press("Enter");
  await expect(page.locator("[data-save=saving]")).toBeVisible();
  await page.keyboard.press("2");
  await saving.release();
  const d = await blindItem(page, c);
  expect(posts).toEqual([{ item: c, rating: 5 }, { item: c, rating: 2 }]);
  await expect(page.locator("[data-answered='1']")).toBeVisible();

  // Left before it was saved: the answer, when it comes, does not move the page under the expert's hands.
  const left = await hold(page, isAnswer);
  await page.keyboard.press("4");
  await page.keyboard.press("+");
  await page.keyboard.press("Enter");
  await page.keyboard.press("s");
  const e = await blindItem(page, d);
  await page.keyboard.press("s");
  const f = await blindItem(page, e);
  await page.keyboard.press("3");
  await left.release();
  await expect(page.locator("[data-answered='2']")).toBeVisible();
  expect(await blindItem(page)).toBe(f);
  await expect(page.locator(pressed)).toHaveText(/^3/);
  expect(posts.at(-1)).toEqual({ item: d, rating: 4 });
  await server.stop("SIGTERM");
});

test("blind review: nothing is lost while the server is away", async ({ page }) => {
  const server = await blindServer();
  await open(page, server, "simulated/review");
  await introduce(page, "Ada");
  await beginBlind(page, 10);
  let away = "";
  await page.route("**/review/**", (route) => {
    const method = route.request().method();
    return method === away || away === "all" ? route.abort() : route.fallback();
  });

  // The answer arrives, the next item does not: it comes without a reload when the server is back.
  const a = await blindItem(page);
  away = "GET";
  await page.keyboard.press("4");
  await page.keyboard.press("+");
  await page.keyboard.press("Enter");
  await expect(page.locator("[data-answered='1']")).toBeVisible();
  await expect(page.locator("form.note-fields")).toHaveCount(0);
  away = "";
  const b = await blindItem(page, a);
  await expect(page.locator(pressed)).toHaveCount(0);

  // An answer that could not be sent, and whose item was left, follows; what is said meanwhile stays.
  away = "POST";
  await page.keyboard.press("2");
  await page.keyboard.press("+");
  await page.keyboard.press("Enter");
  await expect(page.locator("[data-save=failed]")).toBeVisible();
  await page.keyboard.press("s");
  const c = await blindItem(page, b);
  await page.keyboard.press("5");
  away = "";
  await expect(page.locator("[data-answered='2']")).toBeVisible();
  expect(await blindItem(page)).toBe(c);
  await expect(page.locator(pressed)).toHaveText(/^5/);
  await server.stop("SIGTERM");
});
