// The faithfulness curve: what is left of the activation as genes are replaced, in several orders.
import type { Trust } from "../api";
import { categoryColour, css } from "../colour";
import { number } from "../format";
import { theme } from "../theme";
import { Plot } from "./plot";

const ORDERS: Record<string, string> = { ig: "integrated gradients", expression: "expression, higher first", expression_abs: "expression, either way", random: "random order" };

const DASH = ["", "7 3", "2 3", "8 3 2 3", "4 4"];

export function FaithfulnessCurve({ of: t, name }: { of: NonNullable<Trust["faithfulness"]>; name: string }) {
  const curves = Object.entries(t.curves);
  const values = curves.flatMap(([, v]) => v.filter((x): x is number => x !== null));
  const most = Math.max(1, ...t.m), position = (m: number) => Math.log10(Math.max(1, m)); // m: 1, 2, 5, 10 ...
  return (
    <>
      <Plot name={name} height={230} label={`Drop of the activation over the number of replaced genes, ${t.pairs} pairs`}
        x={{ low: 0, high: position(most), title: "genes replaced together", marks: t.m.map((m) => [position(m), String(m)] as const) }}
        y={{ low: Math.min(0, ...values), high: Math.max(1, ...values), title: "share of the activation lost" }}>
        {(f) => curves.map(([key, v], i) => {
          const d = v.map((y, k) => (y === null ? "" : `${f.x(position(t.m[k]!)).toFixed(1)},${f.y(y).toFixed(1)}`)).filter(Boolean).join("L");
          return <path key={key} class="line" stroke={css(categoryColour(i, theme.value))} stroke-dasharray={DASH[i % DASH.length]} d={`M${d}`} />;
        })}
      </Plot>
      {t.curves_of === "study" && <p class="unit">The curves are means over all concepts of the study; the areas are this concept's, over {t.pairs} pairs.</p>}
      <ul class="curve-keys">{curves.map(([key], i) => (
        <li key={key}>
          <svg width="26" height="8" aria-hidden="true"><path class="line" stroke={css(categoryColour(i, theme.value))} stroke-dasharray={DASH[i % DASH.length]} d="M0,4H26" /></svg>
          {ORDERS[key] ?? key.replace(/_/g, " ")} <span class="unit" data-word="faithfulness">area {number(t.areas[key])}</span>
        </li>
      ))}</ul>
    </>
  );
}
