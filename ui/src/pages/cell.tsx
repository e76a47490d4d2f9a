// One cell: what is known of it, and its concepts.
import type { Cell } from "../api";
import { useJson } from "../data";
import { count, fixed, number } from "../format";
import { go, place, query } from "../router";
import { categoryColumns, concepts, url } from "../study";
import { CellMap } from "../parts/cellmap";
import { parseSource, useColouring } from "../parts/colouring";
import { ConceptLink } from "../parts/links";
import { Await } from "../parts/states";
import { LocalTable, type Column } from "../parts/table";
import { explain } from "../parts/tooltip";
import type { Page, PageProps } from "./page";

type Row = Cell["concepts"][number];

const columns: Column<Row>[] = [
  { key: "concept", title: "Concept", width: 180, grow: true, value: (r) => r.concept, cell: (r) => <ConceptLink concept={r.concept} genes /> },
  { key: "label", title: "fits best", word: "best_fit", width: 110, value: (r) => concepts.value?.label[r.concept] },
  { key: "activation", title: "activation", word: "activation", width: 80, figure: true, value: (r) => r.activation, cell: (r) => fixed(r.activation, 3) },
  { key: "of_max", title: "of its max.", word: "max", width: 80, figure: true, value: (r) => r.activation / (concepts.value?.max[r.concept] || NaN),
    cell: (r) => fixed(r.activation / (concepts.value?.max[r.concept] || NaN), 2) },
];

function CellPage({ study }: PageProps) {
  const i = place.value.id;
  const from = useJson<Cell>(url(`cell/${encodeURIComponent(i)}`));
  const label = categoryColumns(study)[0];
  const source = parseSource(query.value.color ?? "") ?? (label ? { kind: "column" as const, column: label } : null);
  const { colouring, loading, error } = useColouring(source, study);
  const shown = source?.kind === "concept" ? source.concept : null;
  return (
    <Await from={from} what="cell">
      {(cell) => (
        <>
          <div class="concept-head">
            <div class="title-row"><h1 class="cell-id">{cell.id}</h1></div>
            <div class="facts-row">
              <span {...explain("total", cell.total)}><b>{count(cell.total)}</b> molecules</span>
              {Object.entries(cell.columns).map(([k, v]) => <span key={k}>{k} <b>{typeof v === "number" ? number(v) : v ?? "–"}</b></span>)}
            </div>
          </div>
          <div class="columns">
            <div class="column"><CellMap study={study} colouring={colouring} loading={loading} error={error} camera="view" ring={[cell.cell]} label={`Map of cells with ${cell.id} marked`} /></div>
            <div class="column">
              <LocalTable main name={`${study.id}_cell_${cell.cell}`} caption={`Concepts active in ${cell.id}`} columns={columns} rows={cell.concepts} id={(r) => r.concept} first="-activation"
                current={shown} onCurrent={(r) => go({ query: { color: `concept:${r.concept}` } }, true)} onPick={(r) => go({ page: "concept", id: String(r.concept) })}
                tools={<span class="unit">concepts active in this cell; a row colours the map</span>} empty="No concept is active in this cell." />
            </div>
          </div>
        </>
      )}
    </Await>
  );
}

export const page: Page = { id: "cell", title: "Cell", order: 0, View: CellPage };
