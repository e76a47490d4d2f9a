// What axe finds: roles, names, contrast; in both themes.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { expect, loaded, open, study, test } from "./server";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

interface Violation { id: string; impact: string; help: string; nodes: { target: string[]; failureSummary: string }[] }

const PAGES = ["landscape", "concept/0/genes", "concept/0/terms", "concept/0/cells", "concept/0/composition", "concept/0/similar", "concept/0/trust",
  "selection?a=c.0", `compare?a=${study}:0&b=${study}:1`, "gene/0", "cell/0", "help", "concept/0/notes", "review", "review/queue", "agreement"];

for (const theme of ["light", "dark"] as const) {
  test(`accessible in the ${theme} theme`, async ({ page, server }) => {
    test.setTimeout(240_000);
    await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
    await page.addInitScript(() => localStorage.setItem("conceptome:author", "Ada"));
    for (const path of PAGES) {
      await open(page, server, `${study}/${path}`);
      await loaded(page);
      await page.evaluate(axe);
      const found = await page.evaluate(async () => {
        const run = (window as unknown as { axe: { run: (o: object) => Promise<{ violations: Violation[] }> } }).axe;
        return (await run.run({ resultTypes: ["violations"] })).violations;
      }) as Violation[];
      expect(found.map((v) => `${path}: ${v.id} (${v.impact}) ${v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")} ${n.failureSummary}`).join(" | ")}`)).toEqual([]);
    }
  });
}
