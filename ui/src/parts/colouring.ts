// From a few characters in the address to the colours of a map of cells:
//   concept:12   gene:301   column:cell_type
import { useMemo } from "preact/hooks";
import type { Gene, Study } from "../api";
import { type Colouring, positiveQuantile } from "../colour";
import { dense, type Failure, studyUrl, useJson, useVector, type Vector } from "../data";
import { conceptName } from "../study";

export type Source =
  | { kind: "concept"; concept: number }
  | { kind: "gene"; gene: number }
  | { kind: "column"; column: string };

export function parseSource(text: string): Source | null {
  const cut = text.indexOf(":");
  const kind = text.slice(0, cut), value = text.slice(cut + 1);
  if (kind === "concept" && /^\d+$/.test(value)) return { kind, concept: Number(value) };
  if (kind === "gene" && /^\d+$/.test(value)) return { kind, gene: Number(value) };
  if (kind === "column" && value) return { kind, column: value };
  return null;
}

function path(s: Source): string {
  if (s.kind === "concept") return `vec/activation/${s.concept}`;
  if (s.kind === "gene") return `vec/gene/${s.gene}`;
  return `vec/column/${encodeURIComponent(s.column)}`;
}

const SATURATED = 0.99; // the scale ends at this quantile of the positive values

export function conceptColouring(values: Float32Array, concept: number): Colouring {
  return { kind: "values", scale: "sequential", values, low: 0, high: positiveQuantile(values, SATURATED),
    title: `Activation of ${conceptName(concept)}`, unit: "", term: "activation", zeroBelow: true };
}

function make(s: Source, v: Vector, study: Study, symbol: string): Colouring | null {
  if (s.kind === "concept") return conceptColouring(dense(v, study.cells), s.concept);
  if (s.kind === "gene") {
    const values = dense(v, study.cells);
    return { kind: "values", scale: "sequential", values, low: 0, high: positiveQuantile(values, SATURATED),
      title: symbol, unit: "ln(1 + per 10k)", term: "expression", zeroBelow: true };
  }
  const column = study.columns.find((c) => c.name === s.column);
  if (!column) return null;
  if (column.kind === "category") {
    return v.values instanceof Uint16Array
      ? { kind: "categories", codes: v.values, names: column.categories ?? [], title: s.column } : null;
  }
  return { kind: "values", scale: "sequential", values: dense(v, study.cells), low: column.low ?? 0, high: column.high ?? 1,
    title: s.column, unit: "", zeroBelow: false };
}

/** The colours of `source`; while they load, those before. */
export function useColouring(source: Source | null, study: Study | null):
    { colouring: Colouring | null; loading: boolean; error: Failure | null } {
  const ok = study !== null && source !== null;
  const vector = useVector(ok ? studyUrl(study.id, path(source)) : null);
  const gene = useJson<Gene>(ok && source.kind === "gene" ? studyUrl(study.id, `gene/${source.gene}`) : null);
  const symbol = gene.data && !gene.stale ? gene.data.symbol : "";
  const key = ok ? path(source) : "";
  // Only a settled vector is read: a stale one belongs to another source.
  const colouring = useMemo(
    () => (ok && vector.data && !vector.stale ? make(source, vector.data, study, symbol) : null),
    [key, vector.data, vector.stale, symbol, study]);
  const last = useMemo(() => ({ value: null as Colouring | null }), [study?.id]);
  if (colouring) last.value = colouring;
  return { colouring: colouring ?? (ok ? last.value : null), loading: vector.stale, error: vector.error };
}
