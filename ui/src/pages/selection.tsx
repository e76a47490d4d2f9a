// Selection: a set of cells A (by lasso, label or activation) against all others or a set B; which
// concepts are high in it, and which genes.
import { useEffect, useMemo, useState } from "preact/hooks";
import type { SelectionConcepts, SelectionGenes, Study } from "../api";
import { type Colouring, NO_CODE } from "../colour";
import { Failure, post, attempt } from "../data";
import { count, fixed, percent, probability, signed } from "../format";
import { useKeys } from "../keys";
import { go, place, query } from "../router";
import { body, cellsOf, describe, formatPart, parseSelection, type Part } from "../selection";
import { categoryColumns, concepts, umap, url } from "../study";
import { did } from "../undo";
import { SignedBar } from "../parts/bars";
import { CellMap } from "../parts/cellmap";
import { Choice, Select } from "../parts/choice";
import { parseSource, useColouring } from "../parts/colouring";
import { ConceptLink, GeneLink } from "../parts/links";
import { Await, Empty } from "../parts/states";
import { LocalTable, type Column } from "../parts/table";
import { explain } from "../parts/tooltip";
import type { Page, PageProps } from "./page";

type ConceptRow = SelectionConcepts["rows"][number];
type GeneRow = SelectionGenes["rows"][number];
type Side = "a" | "b";

const NONE = new Uint32Array(0);
const SET_COLOURS = [[213, 94, 0], [0, 114, 178]] as const; // A orange, B blue, as everywhere

function useCells(text: string, study: Study): { cells: Uint32Array; parts: Part[] } {
  const parts = useMemo(() => parseSelection(text), [text]);
  const [cells, set] = useState<Uint32Array>(NONE);
  const points = umap.value;
  useEffect(() => {
    let live = true;
    if (!points || parts.length === 0) set(NONE);
    else void cellsOf(parts, study, points).then((c) => live && set(c), () => live && set(NONE));
    return () => {
      live = false;
    };
  }, [parts, study, points]);
  return { cells, parts };
}

/** The answer to a question about two sets; a newer question cancels the one before. */
function useQuestion<T>(path: string, a: Uint32Array, b: Uint32Array) {
  const [state, set] = useState<{ data: T | undefined; stale: boolean; error: Failure | null }>({ data: undefined, stale: false, error: null });
  const tick = attempt.value;
  useEffect(() => {
    if (a.length === 0) return set({ data: undefined, stale: false, error: null });
    const control = new AbortController();
    set((s) => ({ ...s, stale: true }));
    post<T>(url(path), body(a, b), control.signal).then(
      (data) => set({ data, stale: false, error: null }),
      (e: unknown) => control.signal.aborted || set({ data: undefined, stale: false, error: e instanceof Failure ? e : new Failure(String(e), 0) }));
    return () => control.abort();
  }, [path, a, b, tick]);
  return state;
}

function setColouring(n: number, a: Uint32Array, b: Uint32Array): Colouring {
  const codes = new Uint16Array(n).fill(NO_CODE);
  for (const i of b) codes[i] = 1;
  for (const i of a) codes[i] = 0;
  return { kind: "categories", codes, names: b.length ? ["A", "B"] : ["A"], title: "Selected cells", colours: SET_COLOURS };
}

function replace(side: Side, value: string | null, what: string): void {
  const before = query.peek()[side] ?? null;
  go({ query: { [side]: value } });
  did(what, () => go({ query: { [side]: before } }));
}

/** What a side holds, and the ways to fill it. */
function Panel({ side, cells, parts, study, drawing, draw }: {
  side: Side; cells: Uint32Array; parts: Part[]; study: Study; drawing: boolean; draw: () => void;
}) {
  const name = side.toUpperCase();
  const options: [string, string][] = [["", side === "a" ? "cells of a label …" : "against a label …"]];
  for (const column of categoryColumns(study).slice(0, 4))
    for (const value of study.columns.find((c) => c.name === column)?.categories?.slice(0, 200) ?? [])
      options.push([formatPart({ kind: "value", column, value }), `${column}: ${value}`]);
  return (
    <div class={`set ${side}`}>
      <b class="set-name">{name}</b>
      <span class="what">{parts.length ? <>{describe(parts)} <b>{count(cells.length)}</b> cells</> : <span class="unit">{side === "a" ? "no cells yet" : "all other cells"}</span>}</span>
      <span class="spacer" />
      <button type="button" aria-pressed={drawing} onClick={draw} data-tip={side === "a" ? "Draw around cells (l)" : "Draw around the cells to compare with"}>Lasso</button>
      <Select hideLabel label={`Cells of ${name}`} value="" options={options} onChange={(v) => v && replace(side, v, `set ${name}`)} />
      {parts.length > 0 && <button type="button" class="quiet" aria-label={`Empty ${name}`} onClick={() => replace(side, null, `emptying ${name}`)}>×</button>}
    </div>
  );
}

function ConceptsHigh({ data, study }: { data: SelectionConcepts; study: Study }) {
  const columns: Column<ConceptRow>[] = [
    { key: "concept", title: "Concept", width: 170, grow: true, value: (r) => r.concept, cell: (r) => <ConceptLink concept={r.concept} genes /> },
    { key: "label", title: "fits best", word: "best_fit", width: 104, value: (r) => concepts.value?.label[r.concept] },
    { key: "auroc", title: "AUROC", word: "auroc", width: 62, figure: true, value: (r) => r.auroc, n: () => `${data.a} + ${data.b}`, cell: (r) => fixed(r.auroc, 3) },
    { key: "share_a", title: "in A", word: "share_a", width: 60, figure: true, value: (r) => r.share_a, n: () => data.a, cell: (r) => percent(r.share_a) },
    { key: "share_b", title: "in B", word: "share_b", width: 60, figure: true, value: (r) => r.share_b, n: () => data.b, cell: (r) => percent(r.share_b) },
    { key: "mean_a", title: "mean A", word: "mean_a", width: 60, figure: true, value: (r) => r.mean_a, n: () => data.a, cell: (r) => fixed(r.mean_a, 3) },
    { key: "mean_b", title: "mean B", word: "mean_b", width: 60, figure: true, value: (r) => r.mean_b, n: () => data.b, cell: (r) => fixed(r.mean_b, 3) },
    { key: "p", title: "p", word: "selection_p", width: 80, figure: true, value: (r) => r.p, cell: (r) => probability(r.p) },
    { key: "q", title: "q", word: "selection_q", width: 80, figure: true, value: (r) => r.q, cell: (r) => probability(r.q) },
  ];
  const shown = parseSource(query.value.color ?? "");
  return <LocalTable main name={`${study.id}_selection_concepts`} caption="Concepts that are high in A" columns={columns} rows={data.rows} id={(r) => r.concept} first="-auroc"
    current={shown?.kind === "concept" ? shown.concept : null} onCurrent={(r) => go({ query: { color: `concept:${r.concept}` } }, true)}
    onPick={(r) => go({ page: "concept", id: String(r.concept) })}
    tools={<span class="unit">{count(data.a)} cells of A against {count(data.b)}; a row colours the map</span>} />;
}

function GenesHigh({ data, study }: { data: SelectionGenes; study: Study }) {
  const most = Math.min(6, data.rows.reduce((m, r) => Math.max(m, Math.abs(r.logfc)), 0));
  const columns: Column<GeneRow>[] = [
    { key: "symbol", title: "Gene", width: 100, grow: true, value: (r) => r.symbol, cell: (r) => <GeneLink gene={r.gene} symbol={r.symbol} /> },
    { key: "fold", title: "Fold change", word: "logfc", width: 118, value: (r) => r.logfc, cell: (r) => <SignedBar value={r.logfc} most={most} /> },
    { key: "logfc", title: "log2", word: "logfc", width: 64, figure: true, value: (r) => r.logfc, n: () => `${data.a} + ${data.b}`, cell: (r) => signed(r.logfc, 2) },
    { key: "score", title: "score", word: "score", width: 66, figure: true, value: (r) => r.score, cell: (r) => signed(r.score, 1) },
    { key: "share_a", title: "in A", word: "share_a", width: 60, figure: true, value: (r) => r.share_a, n: () => data.a, cell: (r) => percent(r.share_a) },
    { key: "share_b", title: "in B", word: "share_b", width: 60, figure: true, value: (r) => r.share_b, n: () => data.b, cell: (r) => percent(r.share_b) },
    { key: "p", title: "p", word: "selection_p", width: 80, figure: true, value: (r) => r.p, cell: (r) => probability(r.p) },
    { key: "q", title: "q", word: "selection_q", width: 80, figure: true, value: (r) => r.q, cell: (r) => probability(r.q) },
  ];
  const shown = parseSource(query.value.color ?? "");
  return <LocalTable main name={`${study.id}_selection_genes`} caption="Genes that differ between A and B" columns={columns} rows={data.rows} id={(r) => r.gene}
    current={shown?.kind === "gene" ? shown.gene : null} onCurrent={(r) => go({ query: { color: `gene:${r.gene}` } }, true)} onPick={(r) => go({ page: "gene", id: String(r.gene) })}
    tools={<span class="unit">{data.test === "welch" ? "Welch’s t-test" : data.test}, {count(data.a)} against {count(data.b)} cells, {count(data.n)} genes tested; a row colours the map</span>} />;
}

function Results({ a, b, study }: { a: Uint32Array; b: Uint32Array; study: Study }) {
  const genes = place.value.tab === "genes";
  const c = useQuestion<SelectionConcepts>("selection/concepts", genes ? NONE : a, b);
  const g = useQuestion<SelectionGenes>("selection/genes", genes ? a : NONE, b);
  return (
    <>
      <Choice label="Result" value={genes ? "genes" : "concepts"} options={[["concepts", "Concepts high in A"], ["genes", "Genes that differ"]]}
        onChange={(v) => go({ tab: v === "genes" ? "genes" : "", query: { color: null } })} />
      {genes ? <Await from={g} what="differential expression">{(d) => <GenesHigh data={d} study={study} />}</Await>
        : <Await from={c} what="ranking of concepts">{(d) => <ConceptsHigh data={d} study={study} />}</Await>}
    </>
  );
}

function SelectionPage({ study }: PageProps) {
  const q = query.value;
  const a = useCells(q.a ?? "", study), b = useCells(q.b ?? "", study);
  const [drawing, setDrawing] = useState<Side | null>(q.a ? null : "a");
  const source = q.color ? parseSource(q.color) : null;
  const coloured = useColouring(source, study);
  const sets = useMemo(() => setColouring(study.cells, a.cells, b.cells), [study, a.cells, b.cells]);
  const outlines = useMemo(() => [...a.parts.map((p) => ["a", p] as const), ...b.parts.map((p) => ["b", p] as const)]
    .flatMap(([name, p]) => (p.kind === "polygon" ? [{ name, polygon: p.polygon }] : [])), [a.parts, b.parts]);
  useKeys([{ key: "l", does: "lasso for A", run: () => setDrawing(drawing === "a" ? null : "a") },
    { key: "b", does: "lasso for B", run: () => setDrawing(drawing === "b" ? null : "b") }]);
  function select(polygon: Uint16Array): void {
    const side = drawing ?? "a";
    setDrawing(null);
    replace(side, formatPart({ kind: "polygon", polygon }), "the lasso");
  }
  return (
    <div class="columns">
      <div class="column">
        <CellMap study={study} camera="view" lasso={drawing !== null} onLasso={select} outlines={outlines}
          colouring={source ? coloured.colouring : sets} loading={source ? coloured.loading : false} note="not selected"
          label={source ? `Map of cells by ${coloured.colouring?.title ?? ""}` : `Map of cells: ${a.cells.length} selected`}
          tools={<Choice label="Colour by" value={q.color ?? ""} onChange={(v) => go({ query: { color: v || null } })}
            options={[["", "selection"], ...(source && source.kind !== "column" ? [[q.color!, coloured.colouring?.title ?? "…"] as const] : []),
              ...categoryColumns(study).slice(0, 2).map((n) => [`column:${n}`, n] as const)]} />} />
      </div>
      <div class="column">
        <h1 class="hidden">Selection of cells</h1>
        <div class="sets">
          <Panel side="a" {...a} study={study} drawing={drawing === "a"} draw={() => setDrawing(drawing === "a" ? null : "a")} />
          <Panel side="b" {...b} study={study} drawing={drawing === "b"} draw={() => setDrawing(drawing === "b" ? null : "b")} />
        </div>
        {a.cells.length === 0
          ? <Empty><p><strong>Draw around cells on the map</strong> (the lasso is ready; hold the button and drag), or choose a label for A.</p>
              <p>You get the concepts that are high there, and the genes that differ from all other cells or from a set B.</p></Empty>
          : <Results a={a.cells} b={b.cells} study={study} />}
        <p class="caution unit" {...explain("selection_p")}>Cells chosen by eye: read p and q as a ranking.</p>
      </div>
    </div>
  );
}

export const page: Page = { id: "selection", title: "Selection", order: 30, View: SelectionPage };
