// Landscape: all concepts as a table and as a map, beside the map of cells. The current row colours
// the cells, so that walking down the table shows concept after concept.
import { useEffect, useMemo } from "preact/hooks";
import type { Concepts, Study } from "../api";
import { filterConcepts } from "../filter";
import { count, fixed, number, percent, probability } from "../format";
import { useKeys } from "../keys";
import { go, query } from "../router";
import { categoryColumns, conceptName, concepts, DEFAULT_SORT, listed, names } from "../study";
import { CellMap } from "../parts/cellmap";
import { Choice, Select } from "../parts/choice";
import { useColouring, parseSource } from "../parts/colouring";
import { ConceptMap } from "../parts/conceptmap";
import { Filter } from "../parts/filterbox";
import { FlagNames } from "../parts/flags";
import { ConceptLink, TermLink } from "../parts/links";
import { Empty, Loading } from "../parts/states";
import { Table, type Column } from "../parts/table";
import { methodName } from "../terms";
import { lastConcept } from "../walk";
import type { Page, PageProps } from "./page";

function columns(t: Concepts, study: Study): Column<number>[] {
  const attributed = study.attribution !== null;
  const labelled = t.label.some(Boolean);
  const measured = (v: (number | null)[]) => v.some((x) => x !== null);
  const list: (Column<number> | false)[] = [
    { key: "concept", title: "Concept", word: "concept", width: names.value.size ? 150 : 68, value: (c) => c, cell: (c) => <ConceptLink concept={c} /> },
    { key: "quality", title: "quality", word: "quality", width: 60, figure: true, value: (c) => t.quality[c], cell: (c) => fixed(t.quality[c], 2) },
    { key: "flags", title: "Flags", word: "flags", width: 116, fixed: true, value: (c) => t.flags[c]?.join(","), cell: (c) => <FlagNames names={t.flags[c] ?? []} /> },
    labelled && { key: "label", title: "Best-fitting label", word: "best_fit", width: 128, value: (c) => t.label[c], n: (c) => t.active[c],
      cell: (c) => t.label[c] || <span class="unit">none</span> },
    labelled && { key: "share", title: "share", word: "label_share", width: 52, figure: true, value: (c) => t.label_share[c], n: (c) => t.active[c], cell: (c) => percent(t.label_share[c]) },
    { key: "frequency", title: "freq.", word: "frequency", width: 56, figure: true, value: (c) => t.frequency[c], n: (c) => t.active[c], cell: (c) => percent(t.frequency[c]) },
    { key: "top_genes", title: "Top genes", word: "top_genes", width: 196, fixed: true, value: (c) => t.genes[c]?.join(","), cell: (c) => <span class="genes">{t.genes[c]?.join(" ")}</span> },
    { key: "term", title: "Top term", word: "top_term", width: 200, value: (c) => t.term[c]?.name,
      cell: (c) => { const m = t.term[c]; return m ? <TermLink term={m.id} name={m.name} /> : <span class="unit">none with q &lt; 0.05</span>; } },
    { key: "q", title: "its q", word: "term_q", width: 80, figure: true, value: (c) => t.term[c]?.q, cell: (c) => probability(t.term[c]?.q) },
    { key: "by", title: "found by", width: 118, fixed: true, value: (c) => t.term[c] && `${t.term[c].ranking}, ${methodName(t.term[c].method)}` },
    attributed && { key: "genes", title: "attr. genes", word: "attributed", width: 74, figure: true, value: (c) => t.attributed[c] },
    attributed && { key: "terms", title: "terms attr.", word: "terms_attribution", width: 74, figure: true, value: (c) => t.terms_attribution[c] },
    { key: "dgeterms", title: "terms expr.", word: "terms_expression", width: 78, figure: true, value: (c) => t.terms_expression[c] },
    { key: "max", title: "max.", word: "max", width: 56, figure: true, value: (c) => t.max[c], cell: (c) => fixed(t.max[c], 2) },
    labelled && { key: "f1", title: "F1", word: "label_f1", width: 48, figure: true, value: (c) => t.label_f1[c], cell: (c) => fixed(t.label_f1[c], 2) },
    measured(t.distance) && { key: "distance", title: "distance", word: "distance", width: 64, figure: true, value: (c) => t.distance[c], cell: (c) => fixed(t.distance[c], 2) },
    measured(t.stability) && { key: "stability", title: "stability", word: "stability", width: 64, figure: true, value: (c) => t.stability[c], cell: (c) => fixed(t.stability[c], 2) },
    measured(t.faithfulness) && { key: "faithfulness", title: "faithful", word: "faithfulness", width: 64, figure: true, value: (c) => t.faithfulness[c], cell: (c) => fixed(t.faithfulness[c], 2) },
    { key: "active", title: "active", word: "active", width: 62, figure: true, value: (c) => t.active[c], cell: (c) => count(t.active[c]) },
  ];
  return list.filter((c): c is Column<number> => c !== false);
}

/** The first lines of any look at a study: how big it is, how well the dictionary reconstructs. */
function Summary({ study, table }: { study: Study; table: Concepts }) {
  const dead = table.flags.filter((f) => f.includes("dead")).length;
  const r2 = study.reconstruction?.r2_feature;
  return (
    <div class="summary">
      <h1>{study.name}</h1>
      <p>      <b>{count(study.cells)}</b> cells · <b>{count(study.genes)}</b> genes · <b>{count(study.concepts)}</b> concepts of {study.model === "fixed" ? "a fixed embedding" : study.model} ({study.dictionary})
      {r2 !== null && r2 !== undefined && <> · <span data-word="r2" data-n="validation cells">R² {fixed(r2, 3)}</span></>}
      {dead > 0 && <> · {count(dead)} dead</>}
      {study.attribution === null && <> · <strong>fixed embedding: no counterfactuals, differential expression only</strong></>}</p>
    </div>
  );
}

const QUICK = [["-flag:dead", "not dead"], ["flag:", "flagged"], ["genes>0", "with attributed genes"], ["terms>0", "with terms"]] as const;

function Landscape({ study }: PageProps) {
  const table = concepts.value;
  const q = query.value;
  const list = listed.value;
  const current = q.at ? Number(q.at) : list.length ? list[0]! : -1;
  const shownColumns = useMemo(() => (table ? columns(table, study) : []), [table, study, names.value]);
  const source = q.color && q.color !== "current" ? parseSource(q.color) : current >= 0 ? { kind: "concept" as const, concept: current } : null;
  const { colouring, loading, error } = useColouring(source, study);
  useEffect(() => {
    if (current >= 0) lastConcept.value = current;
  }, [current]);
  useKeys([
    { key: "Enter", does: "open the current concept", run: () => current >= 0 && go({ page: "concept", id: String(current) }) },
    { key: "c", does: "compare the current concept", run: () => current >= 0 && go({ page: "compare", query: { a: `${study.id}:${current}` } }) },
    { key: "f", does: "filter concepts", run: () => document.querySelector<HTMLInputElement>(".page-landscape input.filter")?.focus() },
  ]);
  if (!table) return <Loading what="the concepts" />;
  const labelled = table.label.some(Boolean);
  const by = q.by ?? (labelled ? "label" : "quality");
  return (
    <>
      <Summary study={study} table={table} />
      <div class="columns wide-left">
        <div class="column">
          <Table main sorted name={`${study.id}_concepts`} caption="Concepts. Arrow keys walk, Enter opens." columns={shownColumns} rows={list}
            id={(c) => c} sort={q.sort ?? DEFAULT_SORT} onSort={(sort) => go({ query: { sort } })} current={current}
            onCurrent={(c) => go({ query: { at: String(c) } }, true)} onPick={(c) => go({ page: "concept", id: String(c) })}
            empty={<Empty>No concept matches “{q.q}”. <button type="button" onClick={() => go({ query: { q: null } })}>Clear the filter</button></Empty>}
            tools={<>
              <Filter wide label="Filter concepts" hint="Filter concepts  ( f )" tip="Words, gene:CD3D, label:mono, frequency>0.1, -flag:dead; see Help" value={q.q ?? ""}
                onChange={(v) => go({ query: { q: v } }, true)} delay={0} />
              {QUICK.filter(([condition]) => study.attribution || condition !== "genes>0").map(([condition, title]) => {
                const on = (q.q ?? "").split(" ").includes(condition);
                return <button type="button" key={condition} class="chip" aria-pressed={on} data-tip={`${condition} — ${count(filterConcepts(table, condition, names.value).length)} concepts`}
                  onClick={() => go({ query: { q: on ? (q.q ?? "").split(" ").filter((w) => w !== condition).join(" ") : `${q.q ?? ""} ${condition}`.trim() } })}>{title}</button>;
              })}
            </>} />
        </div>
        <div class="column maps">
          <div class="map-slot">
            <ConceptMap current={current} listed={list} by={by}
              tools={<Select hideLabel label="Colour concepts by" value={by} onChange={(v) => go({ query: { by: v } }, true)}
                options={[...(labelled ? [["label", "label"] as const] : []), ["frequency", "frequency"], ["quality", "quality"], ["max", "maximum"], ["genes", "attributed genes"]]} />} />
          </div>
          <div class="map-slot">
            <CellMap study={study} colouring={colouring} loading={loading} error={error} camera="view"
              label={source?.kind === "concept" ? `Map of cells by activation of ${conceptName(source.concept)}` : `Map of cells by ${colouring?.title ?? ""}`}
              tools={<Choice label="Colour cells by" value={q.color ?? "current"} onChange={(v) => go({ query: { color: v === "current" ? null : v } }, true)}
                options={[["current", current >= 0 ? `c${current}` : "concept"], ...categoryColumns(study).slice(0, 3).map((c) => [`column:${c}`, c] as const)]} />} />
          </div>
        </div>
      </div>
      <p class="hidden" aria-live="polite">{number(list.length)} concepts listed</p>
    </>
  );
}

export const page: Page = { id: "landscape", title: "Landscape", order: 10, View: Landscape };
