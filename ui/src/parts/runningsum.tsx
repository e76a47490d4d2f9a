// The running sum of a preranked enrichment: its curve, its extreme, and the genes of the set.
import type { Running } from "../api";
import { count, fixed, probability, signed } from "../format";
import { go } from "../router";
import { Plot } from "./plot";

const FOOT = 26;

export function RunningSum({ of: r, name }: { of: Running; name: string }) {
  const values = r.curve.map(([, v]) => v);
  const low = Math.min(0, ...values), high = Math.max(0, ...values), room = (high - low || 1) * 0.06;
  const what = r.ranking === "attribution" ? "attribution" : "differential expression";
  return (
    <Plot name={name} height={188} foot={FOOT}
      label={`Running enrichment score of ${r.name}: extreme ${fixed(r.es, 3)} at rank ${r.peak} of ${r.n}`}
      x={{ low: 0, high: r.n, title: `rank of ${count(r.n)} genes by ${what} (top first)` }}
      y={{ low: low - room, high: high + room, title: "running sum" }}>
      {(f) => (
        <>
          <line class="peak" x1={f.x(r.peak)} x2={f.x(r.peak)} y1={f.y(0)} y2={f.y(r.es)} />
          <path class="curve" d={`M${r.curve.map(([x, y]) => `${f.x(x).toFixed(1)},${f.y(y).toFixed(1)}`).join("L")}`} />
          {r.hits.map((h) => (
            <line key={h.rank} class={h.leading ? "hit leading" : "hit"} x1={f.x(h.rank + 0.5)} x2={f.x(h.rank + 0.5)}
              y1={f.bottom + 4} y2={f.bottom + FOOT - 6} data-tip={`${h.symbol}: rank ${h.rank + 1}, ${signed(h.value)}${h.leading ? ", leading edge" : ""}`}
              onClick={() => go({ query: { color: `gene:${h.gene}` } })} />
          ))}
          <text class="note" x={f.right} y={22} text-anchor="end">
            NES {fixed(r.nes, 2)} · p {probability(r.p)} · q {probability(r.q)} · {count(r.size)} genes
          </text>
        </>
      )}
    </Plot>
  );
}
