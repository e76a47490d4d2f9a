// The landscape's filter and order. A filter is words (each must occur in id, name, label, genes or
// term) and conditions: frequency>0.1, quality>=0.5, flag:dense, -flag:dead, gene:CD3D.
import type { Concepts } from "./api";

type Names = ReadonlyMap<number, string>;

/** Numbers of the landscape that can be filtered and sorted by. */
export const MEASURES = {
  frequency: (t: Concepts, c: number) => t.frequency[c],
  active: (t: Concepts, c: number) => t.active[c],
  max: (t: Concepts, c: number) => t.max[c],
  mean: (t: Concepts, c: number) => t.mean[c],
  share: (t: Concepts, c: number) => t.label_share[c],
  f1: (t: Concepts, c: number) => t.label_f1[c],
  q: (t: Concepts, c: number) => t.term[c]?.q,
  terms: (t: Concepts, c: number) => t.terms_attribution[c],
  dgeterms: (t: Concepts, c: number) => t.terms_expression[c],
  genes: (t: Concepts, c: number) => t.attributed[c],
  distance: (t: Concepts, c: number) => t.distance[c],
  stability: (t: Concepts, c: number) => t.stability[c],
  faithfulness: (t: Concepts, c: number) => t.faithfulness[c],
  quality: (t: Concepts, c: number) => t.quality[c],
} as const;

export type Measure = keyof typeof MEASURES;

export type Condition =
  | { kind: "word"; text: string; not: boolean }
  | { kind: "flag"; text: string; not: boolean }
  | { kind: "gene"; text: string; not: boolean }
  | { kind: "label"; text: string; not: boolean }
  | { kind: "measure"; measure: Measure; sign: string; value: number; not: boolean };

export function parseFilter(text: string): Condition[] {
  const out: Condition[] = [];
  for (const raw of text.match(/-?(?:[a-z]+:)?"[^"]*"|\S+/gi) ?? []) {
    const not = raw.length > 1 && raw.startsWith("-");
    const token = (not ? raw.slice(1) : raw).replace(/"/g, "").toLowerCase();
    const number = /^([a-z0-9]+)(>=|<=|>|<|=)(-?[\d.]+(?:e-?\d+)?)$/.exec(token);
    const field = /^(flag|gene|label):(.+)$/.exec(token);
    if (number && number[1]! in MEASURES)
      out.push({ kind: "measure", measure: number[1] as Measure, sign: number[2]!, value: Number(number[3]), not });
    else if (field) out.push({ kind: field[1] as "flag" | "gene" | "label", text: field[2]!, not });
    else if (token) out.push({ kind: "word", text: token, not });
  }
  return out;
}

// The text of every concept in one string each: a filter over 10,000 of them takes milliseconds.
const texts = new WeakMap<Concepts, string[]>();

function textOf(t: Concepts): string[] {
  let known = texts.get(t);
  if (!known) {
    known = Array.from({ length: t.n }, (_, c) =>
      [`c${c}`, t.label[c], t.genes[c]?.join(" "), t.term[c]?.name, t.term[c]?.id, t.flags[c]?.join(" ")]
        .join("\n").toLowerCase());
    texts.set(t, known);
  }
  return known;
}

function holds(t: Concepts, c: number, text: string, names: Names, k: Condition): boolean {
  switch (k.kind) {
    case "flag": return t.flags[c]?.some((f) => f.startsWith(k.text)) ?? false;
    case "gene": return t.genes[c]?.some((g) => g.toLowerCase() === k.text) ?? false;
    case "label": return t.label[c]?.toLowerCase().includes(k.text) ?? false;
    case "word": return text.includes(k.text) || (names.get(c)?.toLowerCase().includes(k.text) ?? false);
    case "measure": {
      const value = MEASURES[k.measure](t, c);
      if (value === null || value === undefined) return false;
      if (k.sign === ">") return value > k.value;
      if (k.sign === "<") return value < k.value;
      if (k.sign === ">=") return value >= k.value;
      if (k.sign === "<=") return value <= k.value;
      return value === k.value;
    }
  }
}

export function filterConcepts(t: Concepts, filter: string, names: Names): Uint32Array {
  const conditions = parseFilter(filter);
  const text = textOf(t);
  const out = new Uint32Array(t.n);
  let n = 0;
  for (let c = 0; c < t.n; c++) {
    let keep = true;
    for (const k of conditions) if (holds(t, c, text[c]!, names, k) === k.not) { keep = false; break; }
    if (keep) out[n++] = c;
  }
  return out.slice(0, n);
}

/** "quality" ascending, "-quality" descending; undefined values last either way. "" = by number. */
export function sortConcepts(t: Concepts, list: Uint32Array, sort: string): Uint32Array {
  const down = sort.startsWith("-");
  const key = down ? sort.slice(1) : sort;
  if (key === "label" || key === "term") {
    const of = (c: number) => (key === "label" ? t.label[c] : t.term[c]?.name) ?? "";
    return list.slice().sort((a, b) => {
      const x = of(a), y = of(b);
      if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1) || a - b;
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1) || a - b;
    });
  }
  if (key === "concept") return down ? list.slice().reverse() : list;
  if (!(key in MEASURES)) return list;
  const values = new Float64Array(t.n).fill(Infinity);
  for (const c of list) {
    const v = MEASURES[key as Measure](t, c);
    if (v !== null && v !== undefined) values[c] = down ? -v : v;
  }
  return list.slice().sort((a, b) => {
    const x = values[a]!, y = values[b]!;
    return x === y ? a - b : x - y;
  });
}
