// Prints what a reader's browser has to load, and fails when it is over the budget.
import { readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGET = 150 * 1024;
let total = 0;
for (const name of readdirSync("dist").sort()) {
  const bytes = readFileSync(`dist/${name}`);
  const packed = gzipSync(bytes, { level: 9 }).length;
  total += packed;
  console.log(`${name.padEnd(12)} ${String(bytes.length).padStart(8)} bytes  ${String(packed).padStart(7)} gzip`);
}
console.log(`${"together".padEnd(12)} ${" ".repeat(14)}  ${String(total).padStart(7)} gzip of ${BUDGET} allowed`);
if (total > BUDGET) process.exit(1);
