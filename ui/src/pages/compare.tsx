// Compare A | B: two concepts of one study, or of two studies; or the matches of two whole studies.
import { useMemo } from "preact/hooks";
import type { Concepts, Matches, Pair, Study } from "../api";
import { API, dense, studyUrl, useJson, useVector } from "../data";
import { type Colouring, positiveQuantile } from "../colour";
import { count, fixed, percent, plural, probability, signed } from "../format";
import type { Word } from "../glossary";
import { useKeys } from "../keys";
import { pointsFromVector } from "../map/points";
import { MapView } from "../map/view";
import { go, href, query } from "../router";
import { concepts, info, study as current } from "../study";
import { SignedBar } from "../parts/bars";
import { CellMap } from "../parts/cellmap";
import { Choice, Select } from "../parts/choice";
import { conceptColouring } from "../parts/colouring";
import { findGene } from "../parts/showgene";
import { Await, Empty } from "../parts/states";
import { LocalTable, type Column } from "../parts/table";
import { explain } from "../parts/tooltip";
import type { Page, PageProps } from "./page";

interface Ref { study: string; concept: number }

function parseRef(text: string | undefined): Ref | null {
  const match = /^(.+):(\d+)$/.exec(text ?? "");
  return match ? { study: match[1]!, concept: Number(match[2]) } : null;
}

const written = (r: Ref) => `${r.study}:${r.concept}`;

function useValues(r: Ref | null, cells: number) {
  const from = useVector(r ? studyUrl(r.study, `vec/activation/${r.concept}`) : null);
  return useMemo(() => (from.data && !from.stale ? dense(from.data, cells) : null), [from.data, from.stale, cells]);
}

/** A's activation minus B's, each as a share of its own upper end: orange = A, blue = B. */
export function difference(a: Float32Array, b: Float32Array, nameA: string, nameB: string): Colouring {
  const topA = positiveQuantile(a, 0.99), topB = positiveQuantile(b, 0.99);
  const values = new Float32Array(a.length);
  for (let i = 0; i < values.length; i++) {
    const x = Math.min(1, a[i]! / topA), y = Math.min(1, b[i]! / topB);
    values[i] = a[i]! === 0 && b[i]! === 0 ? NaN : x - y;
  }
  return { kind: "values", scale: "diverging", values, low: -1, high: 1, title: `${nameA} − ${nameB}`, unit: "of their upper ends", term: "activation", zeroBelow: true };
}

/** Which study and concept a side shows. */
function Picker({ side, value }: { side: "a" | "b"; value: Ref | null }) {
  const heads = info.value?.studies ?? [];
  const study = value?.study ?? current.value?.id ?? "";
  const table = useJson<Concepts>(study ? studyUrl(study, "concepts") : null);
  const pick = (r: Ref | null) => go({ query: { [side]: r ? written(r) : null } });
  const options = useMemo((): [string, string][] => [["", "choose a concept …"], ...Array.from({ length: table.data?.n ?? 0 }, (_, c): [string, string] =>
    [String(c), `c${c}  ${table.data!.label[c] ?? ""}  ${table.data!.genes[c]?.slice(0, 3).join(" ") ?? ""}`])], [table.data]);
  return (
    <span class={`set ${side}`}>
      <b class="set-name">{side.toUpperCase()}</b>
      {heads.length > 1 && <Select hideLabel label={`Study of ${side.toUpperCase()}`} value={study} options={heads.map((h) => [h.id, h.name] as const)}
        onChange={(s) => pick({ study: s, concept: 0 })} />}
      <Select hideLabel label={`Concept ${side.toUpperCase()}`} value={value ? String(value.concept) : ""} options={options}
        onChange={(c) => pick(c === "" ? null : { study, concept: Number(c) })} />
    </span>
  );
}

/** The map of another study, which has cells and places of its own. */
function ForeignMap({ of: r, head }: { of: Ref; head: { name: string; cells: number } }) {
  const from = useVector(studyUrl(r.study, "vec/umap"));
  const values = useValues(r, head.cells);
  const points = useMemo(() => (from.data ? pointsFromVector(from.data) : null), [from.data]);
  const colouring = useMemo(() => (values ? conceptColouring(values, r.concept) : null), [values, r.concept]);
  return <Await from={from} what="map of the other study">{() => points &&
    <MapView points={points} colouring={colouring} name={`${r.study}_c${r.concept}`} label={`Map of ${head.name} by activation of c${r.concept}`} note="inactive" />}</Await>;
}

/** A concept of another study on the cells of this one, where they are the same cells. */
function useGuest(r: Ref | null, host: Ref, same: boolean) {
  const from = useVector(r && same ? `${API}/compare/activation?a=${encodeURIComponent(written(host))}&b=${encodeURIComponent(written(r))}` : null);
  return useMemo(() => (from.data && !from.stale ? Float32Array.from(from.data.values, (v) => (v === v ? v : 0)) : null), [from.data, from.stale]);
}

function Maps({ a, b, study, same }: { a: Ref; b: Ref; study: Study; same: boolean }) {
  const mine = (r: Ref) => r.study === study.id;
  const ownA = useValues(mine(a) ? a : null, study.cells), ownB = useValues(mine(b) ? b : null, study.cells);
  const guest = useGuest(mine(a) ? (mine(b) ? null : b) : mine(b) ? a : null, mine(a) ? a : b, same);
  const va = mine(a) ? ownA : guest, vb = mine(b) ? ownB : guest;
  const show = query.value.show ?? "difference";
  const together = (mine(a) || mine(b)) && (same || (mine(a) && mine(b)));
  const foreign = !(mine(a) && mine(b));
  const colouring = useMemo(() => {
    if (!together) return va ? conceptColouring(va, a.concept) : vb ? conceptColouring(vb, b.concept) : null;
    if (show === "a") return va && conceptColouring(va, a.concept);
    if (show === "b") return vb && conceptColouring(vb, b.concept);
    return va && vb ? difference(va, vb, `A (c${a.concept})`, `B (c${b.concept})`) : null;
  }, [va, vb, show, together]);
  const other = mine(a) ? b : a, head = info.value?.studies.find((h) => h.id === other.study);
  return (
    <>
      {(mine(a) || mine(b)) && <div class="map-slot">
        <CellMap study={study} colouring={colouring} camera="view" label={`Map of cells: ${colouring?.title ?? ""}`} note={together && show === "difference" ? "both inactive" : "inactive"}
          tools={together && <Choice label="Show" value={show} options={[["difference", "A − B"], ["a", "A"], ["b", "B"]]} onChange={(v) => go({ query: { show: v } }, true)} />} />
      </div>}
      {foreign && head && <div class="map-slot"><ForeignMap of={other} head={head} /></div>}
    </>
  );
}

type GeneLine = Pair["genes"][number];
type TermLine = Pair["terms"][number];

export function kindOf(g: GeneLine, most: number): string {
  const a = Math.abs(g.a ?? 0) >= most * 0.2, b = Math.abs(g.b ?? 0) >= most * 0.2;
  if (a && b) return Math.sign(g.a!) === Math.sign(g.b!) ? "shared" : "opposed";
  return a ? "A only" : b ? "B only" : "weak";
}

function PairTables({ pair, name }: { pair: Pair; name: string }) {
  const most = pair.genes.reduce((m, g) => Math.max(m, Math.abs(g.a ?? 0), Math.abs(g.b ?? 0)), 0);
  const genes: Column<GeneLine>[] = [
    { key: "symbol", title: "Gene", width: 90, grow: true, value: (g) => g.symbol, cell: (g) =>
      <button type="button" class="link" onClick={() => void findGene(g.symbol).then((id) => id && go({ page: "gene", id }))}>{g.symbol}</button> },
    { key: "bar_a", title: "Attribution in A", word: "attribution", width: 116, value: (g) => g.a, cell: (g) => <SignedBar value={g.a} most={most} /> },
    { key: "a", title: "A", word: "attribution", width: 58, figure: true, value: (g) => g.a, cell: (g) => signed(g.a) },
    { key: "bar_b", title: "Attribution in B", word: "attribution", width: 116, value: (g) => g.b, cell: (g) => <SignedBar value={g.b} most={most} /> },
    { key: "b", title: "B", word: "attribution", width: 58, figure: true, value: (g) => g.b, cell: (g) => signed(g.b) },
    { key: "kind", title: "Found in", width: 70, value: (g) => kindOf(g, most) },
  ];
  const terms: Column<TermLine>[] = [
    { key: "name", title: "Term", width: 220, grow: true, value: (t) => t.name, cell: (t) => <a href={href({ page: "term", id: t.term })} data-tip={t.term}>{t.name}</a> },
    { key: "ranking", title: "Ranking", width: 84, value: (t) => t.ranking },
    { key: "a_q", title: "q in A", word: "term_q", width: 80, figure: true, value: (t) => t.a_q, cell: (t) => probability(t.a_q) },
    { key: "b_q", title: "q in B", word: "term_q", width: 80, figure: true, value: (t) => t.b_q, cell: (t) => probability(t.b_q) },
  ];
  return (
    <>
      <section class="half"><LocalTable title="Genes, strongest in either" main name={`${name}_genes`} caption="Attribution in both concepts" columns={genes} rows={pair.genes} id={(g) => g.symbol}
          empty="No attribution to compare." tools={<span class="unit">“found in”: beyond a fifth of the strongest</span>} /></section>
      <section class="half"><LocalTable title="Terms, q < 0.05 in either" name={`${name}_terms`} caption="Terms of both concepts" columns={terms} rows={pair.terms} id={(t) => t.term + t.ranking} empty="No significant term in either." /></section>
    </>
  );
}

function Facts({ pair }: { pair: Pair }) {
  return (
    <div class="facts-row">
      {pair.same_cells > 0 && <>
        <span {...explain("jaccard", pair.jaccard, pair.same_cells)}>Jaccard <b>{fixed(pair.jaccard, 3)}</b></span>
        <span {...explain("both", pair.both)}><b>{count(pair.both)}</b> cells both <span class="unit">({count(pair.a_active)} A, {count(pair.b_active)} B)</span></span>
        <span {...explain("correlation", pair.correlation, pair.same_cells)}>r <b>{fixed(pair.correlation, 3)}</b></span>
      </>}
      {pair.cosine_genes !== null && <span {...explain("cosine_genes", pair.cosine_genes, pair.shared_genes)}>genes' cosine <b>{fixed(pair.cosine_genes, 3)}</b> <span class="unit">{count(pair.shared_genes)} genes</span></span>}
      {pair.same_cells === 0 && <span class="warn">The studies share no cell ids: activations cannot be compared, genes can.</span>}
    </div>
  );
}

const MEASURES: Record<Matches["measures"][number]["name"], string> = {
  activation: "activation over the same cells", decoder: "direction", attribution: "attribution", expression: "expression",
};

/** Each way of comparing: what the matched pairs reach, and what chance reaches. */
function Measures({ of: m }: { of: Matches }) {
  return (
    <table class="small measures"><caption class="hidden">Likeness of the matched pairs, and what chance reaches</caption>
      <thead><tr><th scope="col">Compared by</th><th scope="col" class="figure" {...explain("matched_mean")}>mean</th><th scope="col" class="figure">chance</th>
        <th scope="col" class="figure">p</th><th scope="col" class="figure" {...explain("match_q")}>pairs with q &lt; 0.05</th><th scope="col" class="figure">above 0.7</th></tr></thead>
      <tbody>{m.measures.map((x) => (
        <tr key={x.name}><th scope="row">{MEASURES[x.name]}{x.name === m.matched_by && <span class="unit"> (pairs were matched by it)</span>}</th>
          {x.absent ? <td colSpan={5} class="unit">{x.absent}</td> : <>
            <td class="figure" {...explain("matched_mean", x.mean, x.n)}>{fixed(x.mean, 3)} <span class="unit">± {fixed(x.sd, 3)}</span></td>
            <td class="figure" {...explain("matched_mean", x.null_mean, x.draws)}>{fixed(x.null_mean, 3)} <span class="unit">± {fixed(x.null_sd, 3)}</span></td>
            <td class="figure">{probability(x.p)}</td><td class="figure">{count(x.n_significant)} of {count(x.n)}</td><td class="figure">{percent(x.above_07)}</td></>}
        </tr>))}</tbody>
    </table>
  );
}

function MatchTable({ id, study }: { id: string; study: Study }) {
  const from = useJson<Matches>(studyUrl(study.id, `comparison/${encodeURIComponent(id)}`));
  const named = study.comparisons.find((c) => c.id === id)?.study ?? null;
  const other = info.value?.studies.some((s) => s.id === named) ? named : null; // served here: can be opened
  type Row = Matches["rows"][number];
  const target = (r: Row): Record<string, string> => (other ? { a: `${study.id}:${r.a}`, b: `${other}:${r.b.replace(/^c/, "")}` } : { a: `${study.id}:${r.a}` });
  const number = (key: "likeness" | "correlation" | "jaccard" | "attribution" | "expression" | "cosine", title: string, word: Word): Column<Row> =>
    ({ key, title, word, width: 74, figure: true, value: (r) => r[key], cell: (r) => fixed(r[key], 3) });
  const columns = (m: Matches): Column<Row>[] => [
    { key: "a", title: "Here", width: 52, value: (r) => r.a, cell: (r) => <a href={href({ page: "concept", id: String(r.a) })}>c{r.a}</a> },
    { key: "a_label", title: "fits best", word: "best_fit", width: 104, value: (r) => concepts.value?.label[r.a] },
    { key: "a_genes", title: "its genes", width: 150, fixed: true, value: (r) => concepts.value?.genes[r.a]?.join(","), cell: (r) => <span class="genes">{concepts.value?.genes[r.a]?.join(" ")}</span> },
    { key: "b", title: "There", width: 52, value: (r) => r.b, cell: (r) => (other ? <a href={href({ query: target(r) })} data-tip="Side by side">{r.b}</a> : r.b) },
    { key: "b_label", title: "fits best", word: "best_fit", width: 104, value: (r) => r.b_label, cell: (r) => r.b_label.replace(/ \(.*/, "") },
    { key: "b_genes", title: "its genes", width: 150, fixed: true, value: (r) => r.b_genes.join(","), cell: (r) => <span class="genes">{r.b_genes.join(" ")}</span> },
    number("correlation", "activation", "correlation"),
    number("jaccard", "Jaccard", "jaccard"),
    number("attribution", "attribution", "attribution_r"),
    number("expression", "expression", "expression_r"),
    ...(m.rows.some((r) => r.cosine !== null) ? [number("cosine", "direction", "cosine_decoder")] : []),
    { key: "q", title: "q", word: "match_q", width: 60, figure: true, value: (r) => r.q, cell: (r) => probability(r.q) },
    ...(m.rows.some((r) => r.q_within_labels !== null)
      ? [{ key: "q_within_labels", title: "q in labels", word: "match_q_labels", width: 76, figure: true, value: (r: Row) => r.q_within_labels, cell: (r: Row) => probability(r.q_within_labels) } satisfies Column<Row>] : []),
    { key: "shared", title: "shared", word: "shared_top", width: 54, figure: true, value: (r) => r.shared },
    { key: "b_term", title: "its top term", word: "top_term", width: 200, grow: true, value: (r) => r.b_term },
  ];
  return <Await from={from} what="comparison">{(m) => (
    <>
      <div class="comparison">
        <p><b>{study.name}</b> ({m.model}) against <b>{m.other}</b> ({m.other_model}){m.cells !== null && <>, on {count(m.cells)} cells of both</>}:{" "}
          {count(m.rows.length)} pairs matched one to one{m.unmatched.length > 0 && <>, {plural(m.unmatched.length, "concept")} here without a partner</>}{m.other_unmatched.length > 0 && <>,{" "}
          <span data-tip={m.other_unmatched.join(" ")}>{plural(m.other_unmatched.length, "concept")} there without one</span></>}.
          {!other && <> To open pairs side by side, serve both: <code>conceptome serve {study.name} {m.other}</code>.</>}</p>
        <Measures of={m} />
      </div>
      <LocalTable main name={`${study.id}_matches_${m.other}`} caption={`Matched concepts of ${m.other}`} columns={columns(m)} rows={m.rows} id={(r) => `${r.a}-${r.b}`} first="-correlation"
        onPick={(r) => go({ query: target(r) })} />
    </>)}</Await>;
}

function ComparePage({ study }: PageProps) {
  const a = parseRef(query.value.a), b = parseRef(query.value.b);
  const both = a !== null && b !== null;
  const from = useJson<Pair>(both ? `${API}/compare?a=${encodeURIComponent(written(a))}&b=${encodeURIComponent(written(b))}` : null);
  const swap = () => go({ query: { a: b && written(b), b: a && written(a) } });
  const chosen = query.value.with ?? study.comparisons[0]?.id ?? "";
  useKeys([{ key: "w", does: "swap A and B", run: swap }]);
  return (
    <>
      <div class="concept-head">
        <div class="title-row">
          <h1>Compare</h1>
          <Picker side="a" value={a} />
          <button type="button" class="icon" aria-label="Swap A and B (w)" data-tip="Swap A and B (w)" onClick={swap}>⇄</button>
          <Picker side="b" value={b} />
        {both && study.comparisons.length > 0 && <a href={href({ query: { a: null, b: null } })}>all matches</a>}
        </div>
        {both && from.data && !from.stale && <Facts pair={from.data} />}
      </div>
      {both ? (
        <div class="columns">
          <div class="column maps"><Maps a={a} b={b} study={study} same={(from.data?.same_cells ?? 0) > 0} /></div>
          <div class="column"><Await from={from} what="comparison">{(p) => <PairTables pair={p} name={`${written(a)}_${written(b)}`} />}</Await></div>
        </div>
      ) : study.comparisons.length > 0 ? (
        <div class="column">
          <div class="table-tools"><Select label="Matched with" value={chosen} options={study.comparisons.map((c) => [c.id, `${c.name}  (${c.matched} matched)`] as const)}
            onChange={(v) => go({ query: { with: v } })} /></div>
          <MatchTable id={chosen} study={study} />
        </div>
      ) : (
        <Empty><p><strong>Choose two concepts.</strong> The list Similar on a concept's page proposes partners.</p>
          <p>To match all concepts of two studies over the same cells (scVI against scGPT, say): <code>conceptome compare STUDY OTHER</code>, then serve both.</p></Empty>
      )}
    </>
  );
}

export const page: Page = { id: "compare", title: "Compare", order: 40, View: ComparePage };
