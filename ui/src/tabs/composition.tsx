// Composition: which labels, donors and batches the active cells come from, against all cells.
import type { Composition } from "../api";
import { useJson } from "../data";
import { count, percent, probability, signed } from "../format";
import { go, query } from "../router";
import { categoryColumns, url } from "../study";
import { ShareBar } from "../parts/bars";
import { Select } from "../parts/choice";
import { Await, Empty } from "../parts/states";
import { LocalTable, type Column } from "../parts/table";
import type { Tab, TabProps } from "./tab";

type Row = Composition["rows"][number];

const ratio = (r: Row) => (r.share > 0 && r.background > 0 ? Math.log2(r.share / r.background) : null);

const columns: Column<Row>[] = [
  { key: "value", title: "Value", width: 120, grow: true, value: (r) => r.value },
  { key: "bar", title: "Share of active cells", word: "composition_share", width: 132, value: (r) => r.share, n: (r) => r.active,
    cell: (r) => <ShareBar share={r.share} background={r.background} low={r.low} high={r.high} width={118} /> },
  { key: "share", title: "share", word: "composition_share", width: 58, figure: true, value: (r) => r.share, cell: (r) => percent(r.share) },
  { key: "interval", title: "95 %", word: "wilson", width: 92, figure: true, value: (r) => r.low, n: (r) => r.active,
    cell: (r) => `${(r.low * 100).toFixed(1)}–${(r.high * 100).toFixed(1)}` },
  { key: "background", title: "of all", word: "background", width: 58, figure: true, value: (r) => r.background, cell: (r) => percent(r.background) },
  { key: "ratio", title: "log2 ratio", word: "enrichment_fold", width: 70, figure: true, value: ratio, cell: (r) => signed(ratio(r), 2) },
  { key: "active", title: "active", word: "active", width: 60, figure: true, value: (r) => r.active, cell: (r) => count(r.active) },
  { key: "cells", title: "cells", width: 60, figure: true, value: (r) => r.cells, cell: (r) => count(r.cells) },
  { key: "p", title: "p", word: "composition_p", width: 80, figure: true, value: (r) => r.p, cell: (r) => probability(r.p) },
  { key: "q", title: "q", word: "composition_q", width: 80, figure: true, value: (r) => r.q, cell: (r) => probability(r.q) },
];

function CompositionTab({ concept, study }: TabProps) {
  const choices = categoryColumns(study);
  const column = query.value.column ?? choices[0] ?? "";
  const from = useJson<Composition>(column ? url(`concept/${concept}/composition?column=${encodeURIComponent(column)}`) : null);
  if (!column) return <Empty>The cells carry no labels: the obs table of the input has no column of categories.</Empty>;
  return (
    <Await from={from} what="composition">
      {(data) => (
        <div class="split">
          {data.warnings.length > 0 && <ul class="warnings">{data.warnings.map((w) => <li key={w}>{w}</li>)}</ul>}
          <LocalTable main name={`${study.id}_c${concept}_composition_${column}`} caption={`Composition of the active cells of c${concept} by ${column}`}
            columns={columns} rows={data.rows} id={(r) => r.value} first="-share"
            onPick={(r) => go({ page: "selection", query: { a: `v.${encodeURIComponent(column).replace(/\./g, "%2E")}.${encodeURIComponent(r.value).replace(/\./g, "%2E")}` } })}
            tools={<>
              <Select label="Column" value={column} options={choices.map((c) => [c, c] as const)}
                onChange={(v) => go({ query: { column: v } })} />
              <button type="button" onClick={() => go({ query: { color: `column:${column}` } })}>colour the map</button>
              <span class="unit">{count(data.active)} active of {count(data.cells)}; tick: share of all</span>
            </>} />
        </div>
      )}
    </Await>
  );
}

export const tab: Tab = { id: "composition", title: "Composition", order: 40, View: CompositionTab };
