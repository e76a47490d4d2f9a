// One gene: where it is expressed, which concepts it drives, in which findings it takes part.
import type { Gene } from "../api";
import { useJson } from "../data";
import { fixed, percent, probability, signed } from "../format";
import { go, place, query } from "../router";
import { concepts, url } from "../study";
import { SignedBar } from "../parts/bars";
import { CellMap } from "../parts/cellmap";
import { parseSource, useColouring } from "../parts/colouring";
import { ConceptLink, TermLink } from "../parts/links";
import { Await } from "../parts/states";
import { LocalTable, type Column } from "../parts/table";
import { explain } from "../parts/tooltip";
import type { Page, PageProps } from "./page";

type Row = Gene["concepts"][number];

function columnsOf(rows: Row[], attributed: boolean): Column<Row>[] {
  const most = rows.reduce((m, r) => Math.max(m, Math.abs(r.mean ?? 0)), 0);
  const causal: Column<Row>[] = [
    { key: "bar", title: "Attribution", word: "attribution", width: 118, value: (r) => r.mean, cell: (r) => <SignedBar value={r.mean} most={most} /> },
    { key: "mean", title: "mean", word: "attribution", width: 62, figure: true, value: (r) => r.mean, cell: (r) => signed(r.mean) },
    { key: "q", title: "q", word: "attribution_q", width: 80, figure: true, value: (r) => r.q, cell: (r) => probability(r.q) },
    { key: "rank", title: "rank", word: "rank", width: 54, figure: true, value: (r) => r.rank },
  ];
  return [
    { key: "concept", title: "Concept", width: 160, grow: true, value: (r) => r.concept, cell: (r) => <ConceptLink concept={r.concept} genes /> },
    { key: "label", title: "fits best", word: "best_fit", width: 96, value: (r) => concepts.value?.label[r.concept] },
    ...(attributed ? causal : []),
    { key: "logfc", title: "log2 fold", word: "logfc", width: 70, figure: true, value: (r) => r.logfc, cell: (r) => signed(r.logfc, 2) },
    { key: "dge_q", title: "q (DE)", word: "dge_q", width: 80, figure: true, value: (r) => r.dge_q, cell: (r) => probability(r.dge_q) },
  ];
}

function GenePage({ study }: PageProps) {
  const g = place.value.id;
  const from = useJson<Gene>(url(`gene/${encodeURIComponent(g)}`));
  const source = parseSource(query.value.color ?? "") ?? (/^\d+$/.test(g) ? { kind: "gene" as const, gene: Number(g) } : null);
  const { colouring, loading, error } = useColouring(source, study);
  const shown = source?.kind === "concept" ? source.concept : null;
  return (
    <Await from={from} what="gene">
      {(gene) => (
        <>
          <div class="concept-head">
            <div class="title-row"><h1>{gene.symbol}</h1>{gene.name !== gene.symbol && <span class="unit">{gene.name}</span>}</div>
            <div class="facts-row">
              <span {...explain("expressed", gene.expressed, study.cells)}>expressed in <b>{percent(gene.expressed)}</b> of cells</span>
              <span {...explain("expression", gene.mean, study.cells)}>mean <b>{fixed(gene.mean, 3)}</b></span>
              {shown !== null && <button type="button" onClick={() => go({ query: { color: null } })}>colour by {gene.symbol}</button>}
            </div>
          </div>
          <div class="columns">
            <div class="column"><CellMap study={study} colouring={colouring} loading={loading} error={error} camera="view" note={shown === null ? "no count" : "inactive"} label={`Map of cells by ${colouring?.title ?? gene.symbol}`} /></div>
            <div class="column">
              <section class="half"><LocalTable title="Concepts" main name={`${study.id}_${gene.symbol}_concepts`} caption={`Concepts and their attribution to ${gene.symbol}`} columns={columnsOf(gene.concepts, study.attribution !== null)}
                  rows={gene.concepts} id={(r) => r.concept} current={shown} onCurrent={(r) => go({ query: { color: `concept:${r.concept}` } }, true)}
                  onPick={(r) => go({ page: "concept", id: String(r.concept), query: { color: `gene:${gene.gene}` } })} tools={<span class="unit">a row colours the map</span>} /></section>
              <section class="half"><LocalTable title="Terms found with it" name={`${study.id}_${gene.symbol}_terms`} caption={`Terms with ${gene.symbol} in the leading edge`} rows={gene.terms} id={(t) => t.term} first="-concepts"
                  columns={[
                    { key: "name", title: "Term", width: 240, grow: true, value: (t) => t.name, cell: (t) => <TermLink term={t.term} name={t.name} /> },
                    { key: "term", title: "Id", width: 110, value: (t) => t.term },
                    { key: "concepts", title: "concepts", width: 74, figure: true, value: (t) => t.concepts },
                  ]} empty="In no significant term's leading edge." /></section>
            </div>
          </div>
        </>
      )}
    </Await>
  );
}

export const page: Page = { id: "gene", title: "Gene", order: 0, View: GenePage };
