// The evidence about one unit on one screen: genes, terms, composition, cells. `base` is the part of the
// address before these words, so that the items of a blind review are shown by the same eyes as concepts.
// Nothing here says or links to which unit it is.
import { useMemo } from "preact/hooks";
import type { CellRows, Composition, GeneRows, Study, TermRows } from "../api";
import { useJson } from "../data";
import { count, fixed, percent, probability, signed } from "../format";
import { categoryColumns, url } from "../study";
import { telling } from "../terms";
import { ShareBar, SignedBar } from "./bars";
import { Await } from "./states";
import { explain } from "./tooltip";

const GENES = 15, TERMS = 8, VALUES = 6, CELLS = 6;

function Genes({ base, study }: { base: string; study: Study }) {
  const attributed = study.attribution !== null;
  const from = useJson<GeneRows>(url(`${base}/genes?order=${attributed ? "attribution" : "expression"}&limit=${GENES}`));
  return (
    <Await from={from} what="genes">
      {(data) => {
        const most = data.rows.reduce((m, g) => Math.max(m, Math.abs(g.mean ?? 0)), 0);
        return (
          <table class="small evidence-genes">
            <caption class="hidden">Strongest genes</caption>
            <thead><tr><th scope="col">Gene</th>
              {attributed && <><th scope="col" {...explain("attribution")}>attribution</th><th scope="col" class="figure" {...explain("attribution_q")}>q</th></>}
              <th scope="col" class="figure" {...explain("logfc")}>log2 fold</th><th scope="col" class="figure" {...explain("share_in")}>active : others</th></tr></thead>
            <tbody>{data.rows.map((g) => (
              <tr key={g.gene}><td class="gene">{g.symbol}</td>
                {attributed && <><td><SignedBar value={g.mean} low={g.low} high={g.high} most={most * 1.15} width={84} /></td><td class="figure">{probability(g.q)}</td></>}
                <td class="figure">{signed(g.logfc, 2)}</td><td class="figure">{percent(g.share_in)} : {percent(g.share_out)}</td></tr>
            ))}</tbody>
          </table>
        );
      }}
    </Await>
  );
}

function Terms({ base, study }: { base: string; study: Study }) {
  const from = useJson<TermRows>(url(`${base}/terms`));
  return (
    <Await from={from} what="terms">
      {(data) => (
        <>
          {study.rankings.map((ranking) => {
            const rows = telling(data.rows.filter((r) => r.ranking === ranking && r.method === (study.methods[0] ?? "gsea") && r.q < 0.05)
              .sort((a, b) => a.log10p - b.log10p || Math.abs(b.nes ?? 0) - Math.abs(a.nes ?? 0))).slice(0, TERMS);
            return (
              <section key={ranking}>
                <h2>Terms by {ranking}</h2>
                {rows.length === 0 ? <p class="unit">None with q &lt; 0.05.</p> : (
                  <table class="small"><caption class="hidden">Terms by {ranking}</caption>
                    <thead><tr><th scope="col">Term</th><th scope="col" class="figure" {...explain("nes")}>NES</th><th scope="col" class="figure" {...explain("term_q")}>q</th><th scope="col" class="figure" {...explain("overlap")}>genes</th></tr></thead>
                    <tbody>{rows.map((r) => <tr key={r.term + r.collection}><td class="wrap" data-tip={r.genes.slice(0, 20).join(" ")}>{r.name}</td><td class="figure">{fixed(r.nes, 2)}</td><td class="figure">{probability(r.q)}</td><td class="figure">{r.overlap} of {r.size}</td></tr>)}</tbody>
                  </table>
                )}
              </section>
            );
          })}
        </>
      )}
    </Await>
  );
}

function Made({ base, column }: { base: string; column: string }) {
  const from = useJson<Composition>(url(`${base}/composition?column=${encodeURIComponent(column)}`));
  return (
    <Await from={from} what="composition">
      {(data) => (
        <>
          <h2>Active cells by {column} <span class="unit">{count(data.active)} of {count(data.cells)}</span></h2>
          <table class="small"><caption class="hidden">Active cells by {column}</caption><tbody>
            {[...data.rows].sort((a, b) => b.share - a.share).slice(0, VALUES).map((r) => (
              <tr key={r.value}><td>{r.value}</td><td><ShareBar share={r.share} background={r.background} low={r.low} high={r.high} width={84} /></td>
                <td class="figure" {...explain("composition_share", r.share, r.active)}>{percent(r.share)}</td><td class="figure" {...explain("background", r.background, r.cells)}>of all {percent(r.background)}</td></tr>
            ))}</tbody></table>
          {data.warnings.map((w) => <p key={w} class="warn">{w}</p>)}
        </>
      )}
    </Await>
  );
}

function Cells({ base, band }: { base: string; band: string }) {
  const from = useJson<CellRows>(url(`${base}/cells?band=${band}&limit=${CELLS}`));
  return (
    <Await from={from} what="cells">
      {(data) => data.rows.length === 0 ? <p class="unit">No such cell.</p> : (
        <>
          <h2>{band === "prototypes" ? "Prototypes, and genes that differed: count there : in the counterfactual" : "Highest activations"}</h2>
          <table class="small"><caption class="hidden">Cells</caption><tbody>
            {data.rows.map((r) => (
              <tr key={r.cell}><td class="figure">{fixed(r.activation, 2)}</td><td>{Object.values(r.columns).map((v) => v ?? "–").join(" · ")}</td>
                <td>{r.counterfactual?.[0] ? <>against {Object.values(r.counterfactual[0].columns).map((v) => v ?? "–").join(" · ")}</> : ""}</td>
                <td class="genes wrap">{r.differing?.slice(0, 5).map((d) => `${d.symbol} ${d.prototype}:${d.counterfactual}`).join("  ")}</td></tr>
            ))}</tbody></table>
        </>
      )}
    </Await>
  );
}

export function Evidence({ base, study }: { base: string; study: Study }) {
  const columns = useMemo(() => categoryColumns(study).slice(0, 2), [study]);
  return (
    <div class="evidence scroll" tabIndex={0} role="region" aria-label="Evidence">
      <section tabIndex={0}><h2>{study.attribution ? "Genes by attribution" : "Genes by differential expression"}</h2><Genes base={base} study={study} /></section>
      <section tabIndex={0}><Terms base={base} study={study} /></section>
      <section tabIndex={0}>{columns.map((c) => <Made key={c} base={base} column={c} />)}</section>
      <section tabIndex={0}><Cells base={base} band={study.attribution ? "prototypes" : "high"} /></section>
    </div>
  );
}
