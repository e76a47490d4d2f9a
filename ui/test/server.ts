// A server for each test file, on a free port, over the studies that test/ui/run.sh has made.
import { test as base, expect, type Locator, type Page } from "@playwright/test";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync } from "node:fs";
import { join } from "node:path";

export const program = process.env["CONCEPTOME_PROGRAM"] ?? "";
const work = process.env["CONCEPTOME_WORK"] ?? "";
const pages = process.env["CONCEPTOME_PAGES"] ?? "dist";

export const studies = ["blood", "simulated"].filter((s) => existsSync(join(work, s)));
/** The study that most tests use: real cells where there are some. */
export const study = studies[0] ?? "simulated";

export class Server {
  private child: ChildProcess | null = null;
  url = "";

  /** `folders`: studies of its own instead of those that all tests read. */
  constructor(private readonly folders: string | string[] | null = null) {}

  async start(port = 0): Promise<void> {
    const child = spawn(program, ["serve", ...(this.folders === null ? studies.map((s) => join(work, s)) : [this.folders].flat()), "--port", String(port), "--no-browser", "--ui-dir", pages],
      { stdio: ["ignore", "pipe", "pipe"] });
    this.child = child;
    this.url = await new Promise((found, fail) => {
      let text = "";
      const read = (chunk: Buffer) => {
        text += chunk.toString();
        const match = /(http:\/\/127\.0\.0\.1:\d+)\//.exec(text);
        if (match) found(match[1]!);
      };
      child.stdout?.on("data", read);
      child.stderr?.on("data", read);
      child.on("exit", () => fail(new Error(`the server ended: ${text}`)));
    });
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** Ends it as a crash would, or politely. */
  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((done) => child.on("exit", done));
    child.removeAllListeners("exit");
    const ended = new Promise((done) => child.on("exit", done));
    child.kill(signal);
    await Promise.race([gone, ended]);
    this.child = null;
  }
}

/** A copy to write notes into; its name in addresses is `study`. */
export function copyOfStudy(of = study, name = of): string {
  const folder = join(mkdtempSync(join(work, "notes-")), name);
  cpSync(join(work, of), folder, { recursive: true, filter: (f) => !/notes\.sqlite|\.lock$/.test(f) });
  return folder;
}

/** Neurons and random directions, which a blind review mixes in. */
export function prepareReview(folder: string): void {
  execFileSync(program, ["review", folder, "-q"], { stdio: "ignore" });
}

/** Pages whose console stays empty: an error there fails the test. */
export const test = base.extend<{ troubles: string[] }, { server: Server }>({
  server: [async ({}, use) => {
    const server = new Server();
    await server.start();
    await use(server);
    await server.stop();
  }, { scope: "worker" }],
  troubles: async ({ page }, use) => {
    const seen: string[] = [];
    page.on("pageerror", (e) => seen.push(String(e)));
    page.on("console", (m) => m.type() === "error" && !/ERR_CONNECTION_REFUSED|net::ERR|Failed to load resource/.test(m.text()) && seen.push(m.text()));
    await use(seen);
    expect(seen).toEqual([]);
  },
});

export async function open(page: Page, server: Server, path: string): Promise<void> {
  await page.goto(`${server.url}/#/${path}`);
  await expect(page.locator("main.page")).toBeVisible();
}

/** Everything that the page has asked for is there. */
export async function loaded(page: Page): Promise<void> {
  await expect(page.locator(".stale, .spinner, .state[role=status]")).toHaveCount(0);
  await frames(page);
}

/** Two frames: whatever has come is drawn. */
export async function frames(page: Page): Promise<void> {
  await page.evaluate(() => new Promise<void>((r) => requestAnimationFrame(() => requestAnimationFrame(() => r()))));
}

/** Where something lies, when it has come to rest: what a hand would wait for before it points there. */
export async function resting(page: Page, what: Locator): Promise<{ x: number; y: number; width: number; height: number }> {
  await loaded(page);
  let before = "";
  await expect(async () => {
    const now = JSON.stringify(await what.boundingBox()), same = now === before && now !== "null";
    before = now;
    expect(same).toBe(true);
  }).toPass({ intervals: [100] });
  return (await what.boundingBox())!;
}

/** The map is drawn: many pixels differ from the ground. */
export async function drawn(page: Page, which = 0): Promise<number> {
  const shot = await page.locator(".map-frame").nth(which).screenshot();
  return shot.length;
}

export { expect };
