// The server goes and comes back; the study changes.
import { expect, open, Server, study, test } from "./server";

test("a lost server is said, and found again without a reload", async ({ page }) => {
  const server = new Server();
  await server.start();
  await open(page, server, `${study}/concept/0/genes`);
  await expect(page.locator(".table-scroll tbody tr").first()).toBeVisible();
  const port = server.port;
  await server.stop("SIGKILL");
  await page.keyboard.press("j");
  await expect(page.getByRole("alert").first()).toContainText("does not answer");
  await server.start(port);
  await expect(page.locator(".banner.bad")).toHaveCount(0, { timeout: 30_000 });
  await expect(page.locator("h1")).not.toHaveText("c0");
  await expect(page.locator(".table-scroll tbody tr").first()).toBeVisible();
  await expect(page.locator(".failed")).toHaveCount(0);
  await server.stop("SIGTERM");
});

test("a study that changes on disk offers to be read anew", async ({ page, server }) => {
  let generation = "";
  await page.route("**/state", async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: { ...(await answer.json()) as object, ...(generation ? { generation } : {}) } });
  });
  await open(page, server, `${study}/landscape`);
  generation = "another";
  const button = page.getByRole("button", { name: "Reload the results" });
  await expect(button).toBeVisible({ timeout: 30_000 });
  generation = "";
  await button.click();
  await expect(button).toHaveCount(0);
  await expect(page.locator(".table-scroll tbody tr").first()).toBeVisible();
});

test("an answer that fails shows why, and can be asked for again", async ({ page, server }) => {
  let broken = true;
  await page.route("**/trust", (route) => (broken ? route.fulfill({ status: 500, json: { error: "evaluation.json is cut off; run `conceptome evaluate`" } }) : route.continue()));
  await open(page, server, `${study}/concept/0/trust`);
  await expect(page.locator(".failed")).toContainText("evaluation.json is cut off");
  broken = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByText("Warnings")).toBeVisible();
});
