// Cells: prototypes with their counterfactuals and what differed; high, middle and low activations.
import { useEffect } from "preact/hooks";
import type { CellRow, CellRows, Study } from "../api";
import { useJson } from "../data";
import { count, fixed, number, signed } from "../format";
import { go, query } from "../router";
import { url } from "../study";
import { SignedBar } from "../parts/bars";
import { Choice } from "../parts/choice";
import { CellLink, GeneLink } from "../parts/links";
import { marked } from "../parts/marks";
import { Await, Empty } from "../parts/states";
import { LocalTable, type Column } from "../parts/table";
import { explain } from "../parts/tooltip";
import type { Tab, TabProps } from "./tab";

const LIMIT = 200;
const BANDS = [["prototypes", "prototypes"], ["high", "high"], ["middle", "middle"], ["low", "low"]] as const;
const SAYS: Record<string, string> = {
  prototypes: "Highly active cells, each beside its most similar inactive ones.",
  high: "The highest activations.", middle: "Around the median of the active cells.", low: "The lowest activations above 0.",
};

function text(v: string | number | null | undefined): string {
  return v === null || v === undefined ? "–" : typeof v === "number" ? number(v) : v;
}

function columnsOf(study: Study, rows: CellRow[]): Column<CellRow>[] {
  const names = Object.keys(rows[0]?.columns ?? {});
  const paired = rows.some((r) => r.counterfactual?.length);
  return [
    { key: "id", title: "Cell", width: 180, grow: true, value: (r) => r.id, cell: (r) => <CellLink cell={r.cell} id={r.id} /> },
    { key: "activation", title: "activation", word: "activation", width: 76, figure: true, value: (r) => r.activation, cell: (r) => fixed(r.activation, 3) },
    ...names.map((name): Column<CellRow> => ({ key: name, title: name, width: 110, value: (r) => r.columns[name] ?? null, cell: (r) => text(r.columns[name]) })),
    ...(paired && study.attribution ? [
      { key: "counterfactual", title: "Counterfactual", width: 150, value: (r: CellRow) => r.counterfactual?.[0]?.id,
        cell: (r: CellRow) => { const c = r.counterfactual?.[0]; return c ? <CellLink cell={c.cell} id={c.id} /> : <span class="unit">none</span>; } },
      { key: "relative", title: "distance", word: "relative" as const, width: 66, figure: true, value: (r: CellRow) => r.counterfactual?.[0]?.relative,
        cell: (r: CellRow) => fixed(r.counterfactual?.[0]?.relative, 2) },
      ...names.map((name): Column<CellRow> => ({ key: `counterfactual_${name}`, title: `its ${name}`, width: 110,
        value: (r) => r.counterfactual?.[0]?.columns[name], cell: (r) => text(r.counterfactual?.[0]?.columns[name]) })),
    ] : []),
  ];
}

function Differing({ row }: { row: CellRow }) {
  const rows = row.differing ?? [];
  const most = Math.max(...rows.map((d) => Math.abs(d.mean)), 0);
  return (
    <section class="differing" aria-label={`What differs between ${row.id} and its counterfactual`}>
      <div class="term-head"><strong>What differed</strong> <span class="unit">{row.id} against {row.counterfactual?.[0]?.id ?? "its counterfactual"}; counts, the genes of largest attribution first</span></div>
      <table class="small">
        <thead><tr><th scope="col">Gene</th><th scope="col" class="figure" {...explain("count")}>prototype</th><th scope="col" class="figure" {...explain("count")}>counterfactual</th>
          <th scope="col" {...explain("attribution")}>mean attribution</th><th scope="col" class="figure" {...explain("attribution")}>mean</th></tr></thead>
        <tbody>{rows.map((d) => (
          <tr key={d.gene}><td><GeneLink gene={d.gene} symbol={d.symbol} /></td><td class="figure">{count(d.prototype)}</td><td class="figure">{count(d.counterfactual)}</td>
            <td><SignedBar value={d.mean} most={most} /></td><td class="figure">{signed(d.mean)}</td></tr>
        ))}</tbody>
      </table>
    </section>
  );
}

function Cells({ concept, study }: TabProps) {
  const band = query.value.band ?? (study.attribution ? "prototypes" : "high");
  const chosen = query.value.cell ? Number(query.value.cell) : null;
  const from = useJson<CellRows>(url(`concept/${concept}/cells?band=${band}&limit=${LIMIT}`));
  const row = from.data?.rows.find((r) => r.cell === chosen);
  useEffect(() => {
    marked.value = row ? [row.cell, ...(row.counterfactual?.map((c) => c.cell) ?? [])] : [];
    return () => {
      marked.value = [];
    };
  }, [row]);
  const bands = study.attribution ? BANDS : BANDS.slice(1);
  return (
    <Await from={from} what="cells">
      {(data) => (
        <div class="split">
          <LocalTable main name={`${study.id}_c${concept}_${band}_cells`} caption={`Cells of concept c${concept}: ${band}`}
            columns={columnsOf(study, data.rows)} rows={data.rows} id={(r) => r.cell} current={chosen}
            onCurrent={(r) => go({ query: { cell: String(r.cell) } }, true)} onPick={(r) => go({ page: "cell", id: String(r.cell) })}
            empty={<Empty>No active cell.</Empty>}
            tools={<>
              <Choice label="Which cells" value={band} options={bands} onChange={(v) => go({ query: { band: v, cell: null } })} />
              <span class="unit">{SAYS[band]}</span>
            </>} />
          {row?.differing && row.differing.length > 0 && <Differing row={row} />}
        </div>
      )}
    </Await>
  );
}

export const tab: Tab = { id: "cells", title: "Cells", order: 30, View: Cells };
