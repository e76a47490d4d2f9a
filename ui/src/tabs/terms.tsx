// Terms: findings with their tests. Near-duplicates lie folded under the term that stands for them;
// a chosen term shows its running sum and its genes; side by side compares the two rankings.
import { useMemo, useState } from "preact/hooks";
import type { Running, TermRow, TermRows } from "../api";
import { useJson } from "../data";
import { count, fixed, plural, probability } from "../format";
import { go, query } from "../router";
import { url } from "../study";
import { Choice, Select } from "../parts/choice";
import { Filter } from "../parts/filterbox";
import { TermLink } from "../parts/links";
import { RunningSum } from "../parts/runningsum";
import { Await, Empty } from "../parts/states";
import { LocalTable, type Column } from "../parts/table";
import { explain } from "../parts/tooltip";
import { fold, lineKey, methodName, telling, sideBySide, type Both, type Line } from "../terms";
import { showGene } from "../parts/showgene";
import type { Tab, TabProps } from "./tab";

const strength = (q: number) => (q < 0.05 ? "" : "weak");

function TermList({ rows, weaker, concept, studyId, chosen, tools }: {
  rows: TermRow[]; weaker: number; concept: number; studyId: string; chosen: string; tools: preact.ComponentChildren;
}) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const lines = useMemo(() => fold(rows, open), [rows, open]);
  function toggle(line: Line): void {
    const next = new Set(open);
    if (!next.delete(lineKey(line))) next.add(lineKey(line));
    setOpen(next);
  }
  const columns: Column<Line>[] = [
    { key: "name", title: "Term", width: 260, grow: true, value: (l) => l.row.name, cell: (l) => (
      <span class={l.inner ? "term inner" : "term"}>
        {l.folded > 0 && <button type="button" class="fold" aria-expanded={open.has(lineKey(l))} aria-label={`${l.folded} near-duplicates`}
          {...explain("represents")} onClick={() => toggle(l)}>{open.has(lineKey(l)) ? "−" : "+"}{l.folded}</button>}
        <TermLink term={l.row.term} name={l.row.name} />
      </span>) },
    { key: "overlap", title: "overlap", word: "overlap", width: 60, figure: true, value: (l) => l.row.overlap },
    { key: "size", title: "size", word: "size", width: 46, figure: true, value: (l) => l.row.size },
    { key: "nes", title: "NES", word: "nes", width: 52, figure: true, value: (l) => l.row.nes, cell: (l) => fixed(l.row.nes, 2) },
    { key: "p", title: "p", word: "term_p", width: 80, figure: true, value: (l) => l.row.log10p, cell: (l) => probability(l.row.p, l.row.log10p) },
    { key: "q", title: "q", word: "term_q", width: 80, figure: true, value: (l) => l.row.q, cell: (l) => probability(l.row.q) },
    { key: "ic", title: "IC", word: "ic", width: 42, figure: true, value: (l) => l.row.ic, cell: (l) => fixed(l.row.ic, 1) },
    { key: "genes", title: "Genes", width: 200, value: (l) => l.row.genes.join(","), fixed: true,
      cell: (l) => <span class="genes" data-tip={l.row.genes.join(" ")}>{l.row.genes.slice(0, 12).join(" ")}</span> },
    { key: "term", title: "Id", width: 96, value: (l) => l.row.term },
    { key: "ranking", title: "Ranking", width: 84, value: (l) => l.row.ranking },
    { key: "method", title: "Method", width: 60, value: (l) => l.row.method, cell: (l) => methodName(l.row.method) },
    { key: "collection", title: "Collection", width: 90, value: (l) => l.row.collection },
  ];
  return (
    <LocalTable main name={`${studyId}_c${concept}_terms`} caption={`Terms of concept c${concept}`} columns={columns} rows={lines}
      id={lineKey} current={lines.map(lineKey).find((k) => k === chosen) ?? null} rowClass={(l) => strength(l.row.q)}
      onCurrent={(l) => go({ query: { term: lineKey(l) } })} tools={tools}
      empty={weaker > 0
        ? <Empty>No term with q &lt; 0.05 here. <button type="button" onClick={() => go({ query: { weak: "1" } })}>Show {plural(weaker, "term")} with p ≤ 0.05</button></Empty>
        : <Empty>No term with p ≤ 0.05 here. Try the other ranking or method.</Empty>} />
  );
}

function SideBySide({ rows, method, concept, studyId, tools }: {
  rows: TermRow[]; method: string; concept: number; studyId: string; tools: preact.ComponentChildren;
}) {
  const lines = useMemo(() => sideBySide(rows, method), [rows, method]);
  const side = (b: Both) => ((b.a?.q ?? 1) < 0.05 ? ((b.e?.q ?? 1) < 0.05 ? "both" : "attribution") : "expression");
  const columns: Column<Both>[] = [
    { key: "name", title: "Term", width: 240, grow: true, value: (b) => b.name, cell: (b) => <TermLink term={b.term} name={b.name} /> },
    { key: "side", title: "Found by", width: 90, value: side, cell: (b) => <span class={`side ${side(b)}`}>{side(b)}</span> },
    { key: "nes_attribution", title: "NES attr.", word: "nes", width: 70, figure: true, value: (b) => b.a?.nes, cell: (b) => fixed(b.a?.nes, 2) },
    { key: "q_attribution", title: "q attr.", word: "term_q", width: 80, figure: true, value: (b) => b.a?.q, cell: (b) => probability(b.a?.q) },
    { key: "nes_expression", title: "NES expr.", word: "nes", width: 74, figure: true, value: (b) => b.e?.nes, cell: (b) => fixed(b.e?.nes, 2) },
    { key: "q_expression", title: "q expr.", word: "term_q", width: 80, figure: true, value: (b) => b.e?.q, cell: (b) => probability(b.e?.q) },
  ];
  return (
    <LocalTable main name={`${studyId}_c${concept}_terms_side_by_side`} caption="Terms by attribution against terms by expression" columns={columns}
      rows={lines} id={(b) => b.term} first="q_attribution" tools={tools}
      onCurrent={(b) => { const r = b.a ?? b.e!; go({ query: { term: `${r.ranking}|${r.method}|${r.collection}|${r.term}` } }); }}
      empty={<Empty>Neither ranking has a term with q &lt; 0.05. Terms with p &gt; 0.05 are not kept, so an empty side means p &gt; 0.05.</Empty>} />
  );
}

function Detail({ row, concept }: { row: TermRow; concept: number }) {
  const from = useJson<Running>(row.method === "gsea"
    ? url(`concept/${concept}/running?term=${encodeURIComponent(row.term)}&ranking=${row.ranking}`) : null);
  return (
    <section class="term-detail" aria-label={`Evidence for ${row.name}`}>
      <div class="term-head">
        <strong>{row.name}</strong> <span class="unit">{row.term} · {row.ranking} · {methodName(row.method)} · {row.collection}</span>
        <button type="button" class="quiet close" aria-label="Close the evidence" onClick={() => go({ query: { term: null } })}>×</button>
      </div>
      {row.method === "gsea" && <Await from={from} what="running sum">{(r) => <RunningSum of={r} name={`c${concept}_${row.term}_running_sum`} />}</Await>}
      <p class="chips"><span class="unit">{row.method === "gsea" ? "leading edge" : "overlap"}, {row.overlap} of {row.size}:</span>{" "}
        {row.genes.map((g) => <button type="button" key={g} class="chip" onClick={() => void showGene(g)}>{g}</button>)}</p>
    </section>
  );
}

// Opens where the concept's top term was found; what was chosen once holds for the concepts walked to.
function Terms({ concept, head, study }: TabProps) {
  const q = query.value;
  const ranking = q.ranking ?? head.term?.ranking ?? (study.rankings.includes("attribution") ? "attribution" : study.rankings[0] ?? "");
  const method = q.method ?? head.term?.method ?? study.methods[0] ?? "gsea";
  const collection = q.collection ?? "";
  const side = q.side === "1";
  const filter = (q.tq ?? "").toLowerCase();
  const weak = q.weak === "1";
  const from = useJson<TermRows>(url(`concept/${concept}/terms?all=1`));
  const all = from.data?.rows;
  const fitting = useMemo(() => telling(all ?? []).filter((r) =>
    (side || r.ranking === ranking) && r.method === method && (!collection || r.collection === collection) &&
    (!filter || r.name.toLowerCase().includes(filter) || r.term.toLowerCase().includes(filter) || r.genes.some((g) => g.toLowerCase() === filter))),
  [all, ranking, method, collection, side, filter]);
  const rows = useMemo(() => (side || weak ? fitting : fitting.filter((r) => r.q < 0.05)), [fitting, side, weak]);
  const chosen = all?.find((r) => `${r.ranking}|${r.method}|${r.collection}|${r.term}` === q.term);

  const tools = (
    <>
      <Choice label="View" value={side ? "1" : ""} options={[["", "list"], ["1", "side by side"]]} onChange={(v) => go({ query: { side: v || null } })} />
      {!side && study.rankings.length > 1 && <Choice label="Ranking" value={ranking} options={study.rankings.map((r) => [r, `by ${r}`] as const)}
        onChange={(v) => go({ query: { ranking: v, term: null } })} />}
      {study.methods.length > 1 && <Choice label="Method" value={method} options={study.methods.map((m) => [m, methodName(m)] as const)}
        onChange={(v) => go({ query: { method: v, term: null } })} />}
      {study.collections.length > 1 && <Select label="Collection" hideLabel value={collection}
        options={[["", "all collections"], ...study.collections.map((c) => [c, c] as const)]} onChange={(v) => go({ query: { collection: v || null } })} />}
      <Filter label="Filter terms or a gene" hint="Term or gene" value={q.tq ?? ""} onChange={(v) => go({ query: { tq: v } }, true)} />
      {!side && <label class="check" {...explain("term_q")}><input type="checkbox" checked={weak} onChange={(e) => go({ query: { weak: e.currentTarget.checked ? "1" : null } })} /> also q ≥ 0.05</label>}
    </>
  );
  return (
    <Await from={from} what="terms">
      {(data) => (
        <div class="split">
          {side ? <SideBySide rows={rows} method={method} concept={concept} studyId={study.id} tools={tools} />
            : <TermList rows={rows} weaker={fitting.length - rows.length} concept={concept} studyId={study.id} chosen={q.term ?? ""} tools={tools} />}
          <div class="tested unit">{Object.entries(data.tested).map(([c, n]) => `${c}: ${count(n)} sets tested`).join(" · ")}. Terms with p &gt; 0.05 are not kept.</div>
          {chosen && <Detail row={chosen} concept={concept} />}
        </div>
      )}
    </Await>
  );
}

export const tab: Tab = { id: "terms", title: "Terms", order: 20, View: Terms };
