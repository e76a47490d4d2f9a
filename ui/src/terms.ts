// Terms as the pages show them: near-duplicates folded, two rankings side by side.
import type { TermRow } from "./api";

const METHODS: Record<string, string> = { gsea: "GSEA", ora: "ORA", parent_child: "parent-child", parent_child_intersect: "parent-child, all parents" };

/** A test as it is written. */
export const methodName = (method: string): string => METHODS[method] ?? method;

/** What a concept has tells more of it than what it lacks: enriched, depleted, what may be chance. */
const rankOf = (r: TermRow): number => (r.q < 0.05 ? ((r.nes ?? 0) < 0 ? 1 : 0) : 2);
export const telling = (rows: readonly TermRow[]): TermRow[] => [...rows].sort((a, b) => rankOf(a) - rankOf(b));

export interface Line { row: TermRow; inner: boolean; folded: number }

/** Representatives in their order, each followed by what it stands for when it is open. */
export function fold(rows: TermRow[], open: ReadonlySet<string>): Line[] {
  const key = (r: TermRow, term: string) => `${r.ranking}|${r.method}|${r.collection}|${term}`;
  const heads = new Set(rows.filter((r) => !r.represented_by).map((r) => key(r, r.term)));
  const under = new Map<string, TermRow[]>();
  for (const r of rows) {
    const head = key(r, r.represented_by);
    if (r.represented_by && heads.has(head)) under.set(head, [...(under.get(head) ?? []), r]);
  }
  const out: Line[] = [];
  for (const r of rows) {
    if (r.represented_by && heads.has(key(r, r.represented_by))) continue;
    const inner = under.get(key(r, r.term)) ?? [];
    out.push({ row: r, inner: false, folded: inner.length });
    if (open.has(key(r, r.term))) for (const i of inner) out.push({ row: i, inner: true, folded: 0 });
  }
  return out;
}

export const lineKey = (l: Line) => `${l.row.ranking}|${l.row.method}|${l.row.collection}|${l.row.term}`;
export interface Both { term: string; name: string; a: TermRow | null; e: TermRow | null }

/** Terms found by either ranking with the same method and collection, q < 0.05 in at least one. */
export function sideBySide(rows: TermRow[], method: string): Both[] {
  const found = new Map<string, Both>();
  for (const r of rows) {
    if (r.method !== method) continue;
    const key = `${r.collection}|${r.term}`;
    const both = found.get(key) ?? { term: r.term, name: r.name, a: null, e: null };
    if (r.ranking === "attribution") both.a = r;
    else both.e = r;
    found.set(key, both);
  }
  return [...found.values()].filter((b) => (b.a?.q ?? 1) < 0.05 || (b.e?.q ?? 1) < 0.05);
}
