// Hostile text from files, and the content security policy.
import type { Page } from "@playwright/test";
import type { Cell, Composition, Concept, Concepts, Found, GeneRows, Study, TermRows } from "../src/api";
import { expect, loaded, open, study, test } from "./server";

const EVIL = `"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>{{7*7}}javascript:alert(1)'`;

/** Names in the server's answers become attacks. */
async function poison(page: Page): Promise<void> {
  const change = async <T>(glob: string, edit: (body: T) => void) =>
    page.route(glob, async (route) => {
      const answer = await route.fetch();
      const body = (await answer.json()) as T;
      edit(body);
      await route.fulfill({ response: answer, json: body });
    });
  await change<Concepts>("**/s/*/concepts", (t) => {
    t.label = t.label.map(() => EVIL);
    t.genes = t.genes.map(() => [EVIL, EVIL]);
    t.term = t.term.map(() => ({ id: EVIL, name: EVIL, q: 0.01, ranking: "attribution", method: "gsea" }));
    t.flags = t.flags.map(() => [EVIL]);
  });
  await change<Study>("**/study", (s) => {
    s.name = EVIL;
    for (const c of s.columns) if (c.categories) c.categories = c.categories.map(() => EVIL);
  });
  await change<Concept>("**/concept/0", (c) => {
    c.label = EVIL;
    c.term = { id: EVIL, name: EVIL, q: 0.01, ranking: "attribution", method: "gsea" };
    c.flags = [{ name: EVIL, text: EVIL }];
  });
  await change<GeneRows>("**/genes?*", (g) => g.rows.forEach((r) => ((r.symbol = EVIL), (r.name = EVIL))));
  await change<TermRows>("**/terms?*", (t) => t.rows.forEach((r) => ((r.name = EVIL), (r.genes = [EVIL]), (r.q = 0.01))));
  await change<Composition>("**/composition?*", (c) => (c.rows.forEach((r) => (r.value = EVIL)), (c.warnings = [EVIL])));
  await change<Cell>("**/cell/*", (c) => ((c.id = EVIL), Object.keys(c.columns).forEach((k) => (c.columns[k] = EVIL))));
  await change<Found>("**/search?*", (f) => (f.rows = [{ kind: "gene", id: EVIL, title: EVIL, detail: EVIL }, { kind: "label", id: EVIL, title: EVIL, detail: EVIL }]));
}

test("text from files stays text, everywhere", async ({ page, server, troubles }) => {
  void troubles;
  await poison(page);
  for (const path of ["landscape", "concept/0/genes", "concept/0/terms", "concept/0/cells", "concept/0/composition", "concept/0/similar",
    "concept/0/trust", "selection?a=c.0", "cell/0", "gene/0", "compare"]) {
    await open(page, server, `${study}/${path}`);
    await loaded(page);
  }
  await expect(page.locator("body")).toContainText("<img src=x");
  await open(page, server, `${study}/landscape`);
  await page.keyboard.press("/");
  await page.keyboard.type("evil");
  await expect(page.locator("#found li").first()).toContainText("<script>");
  expect(await page.locator("main img, #found img").count()).toBe(0);
  expect(await page.evaluate(() => (window as unknown as { hacked?: number }).hacked)).toBeUndefined();
});

test("an address cannot carry an attack", async ({ page, server, troubles }) => {
  void troubles;
  const evil = encodeURIComponent(EVIL);
  for (const path of [`concept/${evil}`, `gene/${evil}`, `term/${evil}`, `cell/${evil}`, `${evil}`, `landscape?q=${evil}&sort=${evil}&color=${evil}&at=${evil}&view=${evil}`,
    `concept/0/${evil}?color=column:${evil}&range=${evil}`, `selection?a=${evil}&b=v.${evil}.${evil}`, `compare?a=${evil}&b=${evil}:1`]) {
    await page.goto(`${server.url}/#/${study}/${path}`);
    await expect(page.locator("header.app-bar")).toBeVisible();
    await loaded(page);
  }
  expect(await page.evaluate(() => (window as unknown as { hacked?: number }).hacked)).toBeUndefined();
  expect(await page.locator("main img").count()).toBe(0);
});

test("no style attribute and no inline script is needed", async ({ page, server, troubles }) => {
  // Stricter than the server's own policy: what works here works there.
  await page.route(`${server.url}/`, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, headers: { ...answer.headers(),
      "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data: blob:" } });
  });
  await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (e) => console.error(`CSP ${e.violatedDirective} ${e.blockedURI}`)));
  for (const path of ["landscape", "concept/0/genes", "concept/0/terms?side=1", "concept/0/composition", "selection?a=c.0", "help"]) {
    await open(page, server, `${study}/${path}`);
    await loaded(page);
  }
  expect(troubles).toEqual([]);
});

test("the page asks nobody but its own server", async ({ page, server }) => {
  const others: string[] = [];
  page.on("request", (r) => !r.url().startsWith(server.url) && !/^(data|blob):/.test(r.url()) && others.push(r.url()));
  for (const path of ["landscape", "concept/0", "selection", "help"]) await open(page, server, `${study}/${path}`);
  expect(others).toEqual([]);
});
