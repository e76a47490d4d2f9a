// One term: what it means, where it stands in the ontology, and the concepts it was found for.
import type { Study, Term } from "../api";
import { useJson } from "../data";
import { count, fixed, probability } from "../format";
import { go, place, query } from "../router";
import { concepts, url } from "../study";
import { methodName } from "../terms";
import { CellMap } from "../parts/cellmap";
import { Choice } from "../parts/choice";
import { parseSource, useColouring } from "../parts/colouring";
import { ConceptLink, TermLink } from "../parts/links";
import { Await } from "../parts/states";
import { LocalTable, type Column } from "../parts/table";
import { explain } from "../parts/tooltip";
import type { Page, PageProps } from "./page";

type Row = Term["concepts"][number];

const columns: Column<Row>[] = [
  { key: "concept", title: "Concept", width: 170, grow: true, value: (r) => r.concept, cell: (r) => <ConceptLink concept={r.concept} genes /> },
  { key: "label", title: "fits best", word: "best_fit", width: 96, value: (r) => concepts.value?.label[r.concept] },
  { key: "ranking", title: "Ranking", width: 84, value: (r) => r.ranking },
  { key: "method", title: "Method", width: 64, value: (r) => r.method, cell: (r) => methodName(r.method) },
  { key: "nes", title: "NES", word: "nes", width: 54, figure: true, value: (r) => r.nes, cell: (r) => fixed(r.nes, 2) },
  { key: "p", title: "p", word: "term_p", width: 80, figure: true, value: (r) => r.p, cell: (r) => probability(r.p) },
  { key: "q", title: "q", word: "term_q", width: 80, figure: true, value: (r) => r.q, cell: (r) => probability(r.q) },
  { key: "represented_by", title: "Under", width: 100, value: (r) => r.represented_by },
];

function Kin({ title, terms }: { title: string; terms: Term["parents"] }) {
  if (terms.length === 0) return null;
  return <p class="kin"><span class="unit">{title}</span> {terms.slice(0, 24).map((t) => <TermLink key={t.term} {...t} />)}{terms.length > 24 && <span class="unit"> and {terms.length - 24} more</span>}</p>;
}

function Found({ term, study }: { term: Term; study: Study }) {
  const weak = query.value.weak === "1";
  const rows = weak ? term.concepts : term.concepts.filter((r) => r.q < 0.05);
  const shown = parseSource(query.value.color ?? "");
  const key = (r: Row) => `${r.concept} ${r.ranking} ${r.method}`;
  return <LocalTable main name={`${study.id}_${term.term}_concepts`} caption={`Concepts with the term ${term.name}`} columns={columns} rows={rows} id={key} first="p"
    current={rows.filter((r) => shown?.kind === "concept" && r.concept === shown.concept).map(key)[0] ?? null}
    onCurrent={(r) => go({ query: { color: `concept:${r.concept}` } }, true)}
    onPick={(r) => go({ page: "concept", id: String(r.concept), tab: "terms", query: { term: `${r.ranking}|${r.method}|${term.collection}|${term.term}` } })}
    empty={!term.size ? "Not tested in this study; the terms it includes may be." : weak ? "Found for no concept (p ≤ 0.05)." : "Found for no concept with q < 0.05."}
    tools={<Choice label="Which" value={weak ? "1" : ""} options={[["", "q < 0.05"], ["1", "p ≤ 0.05"]]} onChange={(v) => go({ query: { weak: v || null } })} />} />;
}

function TermPage({ study }: PageProps) {
  const from = useJson<Term>(url(`term/${encodeURIComponent(place.value.id)}`));
  const first = from.data?.concepts[0]?.concept;
  const source = parseSource(query.value.color ?? "") ?? (first !== undefined ? { kind: "concept" as const, concept: first } : null);
  const { colouring, loading, error } = useColouring(source, study);
  return (
    <Await from={from} what="term">
      {(term) => (
        <>
          <div class="concept-head">
            <div class="title-row"><h1>{term.name}</h1><span class="unit">{term.term} · {term.collection}</span></div>
            <div class="facts-row">
              {term.size ? <span {...explain("size", term.size)}><b>{count(term.size)}</b> genes</span> : <span class="unit">not tested: with the genes of this study it lies outside the size limits</span>}
              <span {...explain("ic", term.ic)}>information content <b>{fixed(term.ic, 2)}</b></span>
            </div>
            {term.definition && <p class="definition">{term.definition}</p>}
            <Kin title="is part of or a kind of" terms={term.parents} />
            <Kin title="includes" terms={term.children} />
          </div>
          <div class="columns">
            <div class="column"><CellMap study={study} colouring={colouring} loading={loading} error={error} camera="view" note="inactive" label={`Map of cells by ${colouring?.title ?? ""}`} /></div>
            <div class="column"><Found term={term} study={study} /></div>
          </div>
        </>
      )}
    </Await>
  );
}

export const page: Page = { id: "term", title: "Term", order: 0, View: TermPage };
