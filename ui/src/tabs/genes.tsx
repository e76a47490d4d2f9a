// Genes: signed attribution with its interval, beside differential expression. A click on a gene
// colours the map.
import { useMemo } from "preact/hooks";
import type { GeneRow, GeneRows } from "../api";
import { useJson } from "../data";
import { count, percent, probability, signed } from "../format";
import { go, query } from "../router";
import { url } from "../study";
import { SignedBar } from "../parts/bars";
import { Choice } from "../parts/choice";
import { GeneLink } from "../parts/links";
import { Filter } from "../parts/filterbox";
import { Await, Empty } from "../parts/states";
import { LocalTable, type Column } from "../parts/table";
import { explain } from "../parts/tooltip";
import type { Tab, TabProps } from "./tab";

const LIMIT = 400;

function scaleOf(rows: GeneRow[], of: (g: GeneRow) => (number | null)[]): number {
  return rows.reduce((m, g) => Math.max(m, ...of(g).map((v) => Math.abs(v ?? 0))), 0);
}

function columns(rows: GeneRow[], attributed: boolean): Column<GeneRow>[] {
  const most = scaleOf(rows, (g) => [g.mean]), mostFold = Math.min(6, scaleOf(rows, (g) => [g.logfc]));
  const higher: Column<GeneRow> =
    { key: "higher", title: "higher", word: "higher", width: 54, figure: true, value: (g) => g.higher, n: (g) => g.n, cell: (g) => percent(g.higher) };
  const causal: Column<GeneRow>[] = [
    { key: "mean", title: "Attribution", word: "attribution", width: 118, value: (g) => g.mean, n: (g) => g.n,
      cell: (g) => <SignedBar value={g.mean} low={g.low} high={g.high} most={most * 1.15} /> },
    { key: "attribution", title: "mean", word: "attribution", width: 64, figure: true, value: (g) => g.mean, n: (g) => g.n,
      cell: (g) => signed(g.mean) },
    { key: "n", title: "n", word: "attribution_n", width: 36, figure: true, value: (g) => g.n },
    { key: "q", title: "q", word: "attribution_q", width: 56, figure: true, value: (g) => g.q, n: (g) => g.n, cell: (g) => probability(g.q) },
    { key: "same_sign", title: "same sign", word: "same_sign", width: 72, figure: true, value: (g) => g.same_sign, n: (g) => g.n,
      cell: (g) => percent(g.same_sign) },
    ...(rows.some((g) => g.higher !== null) ? [higher] : []),
  ];
  return [
    { key: "symbol", title: "Gene", width: 100, value: (g) => g.symbol, cell: (g) => <GeneLink gene={g.gene} symbol={g.symbol} /> },
    ...(attributed ? causal : []),
    { key: "logfc", title: "Fold change", word: "logfc", width: 88, value: (g) => g.logfc,
      cell: (g) => <SignedBar value={g.logfc} most={mostFold} width={80} /> },
    { key: "log2fc", title: "log2", word: "logfc", width: 62, figure: true, value: (g) => g.logfc, cell: (g) => signed(g.logfc, 2) },
    { key: "dge_q", title: "q (DE)", word: "dge_q", width: 82, figure: true, value: (g) => g.dge_q, cell: (g) => probability(g.dge_q) },
    { key: "share_in", title: "in active", word: "share_in", width: 60, figure: true, value: (g) => g.share_in, cell: (g) => percent(g.share_in) },
    { key: "share_out", title: "in others", word: "share_out", width: 60, figure: true, value: (g) => g.share_out, cell: (g) => percent(g.share_out) },
    { key: "name", title: "Id", width: 130, value: (g) => g.name },
  ];
}

function Genes({ concept, head, study }: TabProps) {
  const attributed = study.attribution !== null;
  const order = query.value.order ?? (attributed ? "attribution" : "expression");
  const filter = query.value.gq ?? "";
  const from = useJson<GeneRows>(url(`concept/${concept}/genes?order=${order}&limit=${LIMIT}&q=${encodeURIComponent(filter)}`));
  const shown = useMemo(() => columns(from.data?.rows ?? [], attributed), [from.data]);
  const coloured = /^gene:(\d+)$/.exec(query.value.color ?? "");
  return (
    <Await from={from} what="genes">
      {(data) => (
        <LocalTable main name={`${study.id}_c${concept}_genes`} caption={`Genes of concept c${concept}`} columns={shown} rows={data.rows}
          id={(g) => g.gene} rowClass={(g) => (attributed && order === "attribution" && !((g.q ?? 1) < 0.05) ? "weak" : "")} current={coloured ? Number(coloured[1]) : null}
          onCurrent={(g) => go({ query: { color: `gene:${g.gene}` } })} onPick={(g) => go({ page: "gene", id: String(g.gene) })}
          empty={<Empty>{filter ? `No gene contains “${filter}”.` : "No gene was tested."}</Empty>}
          tools={<>
            <Filter label="Filter genes" value={filter} onChange={(v) => go({ query: { gq: v } }, true)} />
            {attributed && <Choice label="Strongest by" value={order} options={[["attribution", "by attribution"], ["expression", "by expression"]]}
              onChange={(v) => go({ query: { order: v === "attribution" ? null : v } })} />}
            {attributed && <span class="unit" {...explain("pairs", data.pairs)}>{head.pairs} pairs{order === "attribution" && <>, q &lt; 0.05 first</>}</span>}
            {data.n > data.rows.length && <span class="unit">strongest {count(data.rows.length)} of {count(data.n)},{" "}
              <a href={url(`concept/${concept}/genes?order=${order}&format=tsv`)} download>all as TSV</a></span>}
          </>} />
      )}
    </Await>
  );
}

export const tab: Tab = { id: "genes", title: "Genes", order: 10, View: Genes };
