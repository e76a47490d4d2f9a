// The map of concepts: near each other when they are active in the same cells.
import { useMemo } from "preact/hooks";
import { type Colouring, NO_CODE } from "../colour";
import { useVector } from "../data";
import { MEASURES, type Measure } from "../filter";
import { percent } from "../format";
import { MapView } from "../map/view";
import { pointsFromVector } from "../map/points";
import { go } from "../router";
import { conceptName, concepts, url } from "../study";
import { Await } from "./states";

const TITLES: Partial<Record<Measure, string>> = { frequency: "Frequency", quality: "Quality", stability: "Stability", max: "Maximum", genes: "Attributed genes" };

function colouringOf(by: string): Colouring | null {
  const t = concepts.value;
  if (!t) return null;
  if (by === "label") {
    const names = [...new Set(t.label.filter(Boolean))].sort();
    const code = new Map(names.map((n, i) => [n, i]));
    return { kind: "categories", codes: Uint16Array.from(t.label, (l) => code.get(l) ?? NO_CODE), names, title: "Best-fitting label" };
  }
  const measure = MEASURES[by as Measure];
  if (!measure) return null;
  const values = Float32Array.from({ length: t.n }, (_, c) => measure(t, c) ?? NaN);
  const known = values.filter((v) => v === v);
  return { kind: "values", scale: "sequential", values, low: 0, high: known.reduce((a, b) => Math.max(a, b), 0) || 1,
    title: TITLES[by as Measure] ?? by, unit: "", term: by === "genes" ? "attributed" : by, zeroBelow: false };
}

export function ConceptMap({ current, listed, by, tools }: {
  current: number; listed: Uint32Array; by: string; tools: preact.ComponentChildren;
}) {
  const from = useVector(url("vec/conceptmap"));
  const points = useMemo(() => (from.data ? pointsFromVector(from.data) : null), [from.data]);
  const colouring = useMemo(() => colouringOf(by), [by, concepts.value]);
  const keep = useMemo(() => {
    const t = concepts.value;
    if (!t || listed.length === t.n) return null;
    const mask = new Uint8Array(t.n);
    for (const c of listed) mask[c] = 1;
    return mask;
  }, [listed]);
  return (
    <Await from={from} what="map of concepts">
      {() => points && (
        <MapView big points={points} colouring={colouring} keep={keep} name="concepts" label="Map of concepts: neighbours are active in the same cells"
          ring={current >= 0 ? [current] : []} tools={tools} note="not in the list"
          onPick={(c) => (c === current ? go({ page: "concept", id: String(c) }) : go({ query: { at: String(c) } }, true))}
          hover={(c) => <><b>{conceptName(c)}</b> {concepts.value?.genes[c]?.slice(0, 5).join(" ")} <span class="unit">{percent(concepts.value?.frequency[c])} of cells</span></>} />
      )}
    </Await>
  );
}
