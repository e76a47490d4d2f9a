// Similar concepts: active in the same cells, with the same genes, with the same direction, and
// matched in other studies.
import type { Similar } from "../api";
import { useJson } from "../data";
import { count, fixed } from "../format";
import { go, href } from "../router";
import { url } from "../study";
import { ConceptLink } from "../parts/links";
import { Await } from "../parts/states";
import { LocalTable, type Column } from "../parts/table";
import type { Tab, TabProps } from "./tab";

type Coactive = Similar["coactive"][number];
type Near = { concept: number; cosine: number };
type Matched = Similar["matched"][number];

const name = (r: { concept: number }) => `c${r.concept}`;
const conceptColumn = { key: "concept", title: "Concept", width: 110, grow: true, value: (r: { concept: number }) => r.concept,
  cell: (r: { concept: number }) => <ConceptLink concept={r.concept} genes /> };

function SimilarTab({ concept, study }: TabProps) {
  const from = useJson<Similar>(url(`concept/${concept}/similar`));
  const compare = (r: { concept: number }) => ({
    page: "compare", query: { a: `${study.id}:${concept}`, b: `${study.id}:${r.concept}` },
  });
  const against = { key: "compare", title: "A | B", width: 66, fixed: true, value: () => null,
    cell: (r: { concept: number }) => <a href={href(compare(r))} aria-label={`Compare with ${name(r)}`}>compare</a> };
  const coactive: Column<Coactive>[] = [
    conceptColumn,
    { key: "jaccard", title: "Jaccard", word: "jaccard", width: 64, figure: true, value: (r) => r.jaccard, n: (r) => r.both, cell: (r) => fixed(r.jaccard, 3) },
    { key: "correlation", title: "r", word: "correlation", width: 52, figure: true, value: (r) => r.correlation, cell: (r) => fixed(r.correlation, 2) },
    { key: "both", title: "both", word: "both", width: 60, figure: true, value: (r) => r.both, cell: (r) => count(r.both) },
    against,
  ];
  const near = (word: "cosine_genes" | "cosine_decoder"): Column<Near>[] => [
    conceptColumn,
    { key: "cosine", title: "cosine", word, width: 64, figure: true, value: (r) => r.cosine, cell: (r) => fixed(r.cosine, 3) },
    against,
  ];
  const matched = (rows: Matched[]): Column<Matched>[] => [
    { key: "study", title: "Study", width: 100, value: (r) => r.study },
    { key: "concept", title: "Concept", width: 64, value: (r) => r.concept, cell: (r) => {
      const c = r.concept.replace(/^c/, "");
      return r.study ? <a href={href({ page: "compare", query: { a: `${study.id}:${concept}`, b: `${r.study}:${c}` } })}>{r.concept}</a> : r.concept;
    } },
    { key: "correlation", title: "r", word: "correlation", width: 56, figure: true, value: (r) => r.correlation, cell: (r) => fixed(r.correlation, 2) },
    ...(rows.some((r) => r.cosine !== null)
      ? [{ key: "cosine", title: "cosine", word: "cosine_decoder", width: 64, figure: true, value: (r: Matched) => r.cosine, cell: (r: Matched) => fixed(r.cosine, 2) } satisfies Column<Matched>] : []),
    { key: "genes", title: "Genes", width: 160, grow: true, fixed: true, value: (r) => r.genes.join(","), cell: (r) => r.genes.join(" ") },
    { key: "term", title: "Top term", word: "top_term", width: 160, value: (r) => r.term },
  ];
  const table = `${study.id}_c${concept}`;
  return (
    <Await from={from} what="similar concepts">
      {(data) => (
        <div class="panels">
          <section><LocalTable title="Active in the same cells" main name={`${table}_coactive`} caption="Concepts active in the same cells" columns={coactive} rows={data.coactive} id={name}
              first="-jaccard" onPick={(r) => go(compare(r))} empty="No concept shares active cells." /></section>
          <section><LocalTable title="Same genes" name={`${table}_same_genes`} caption="Concepts with alike attribution" columns={near("cosine_genes")} rows={data.genes} id={name}
              first="-cosine" onPick={(r) => go(compare(r))} empty="No attribution to compare." /></section>
          <section><LocalTable title="Same direction" name={`${table}_same_direction`} caption="Concepts with alike decoder rows" columns={near("cosine_decoder")} rows={data.decoder} id={name}
              first="-cosine" onPick={(r) => go(compare(r))} /></section>
          <section><LocalTable title="Matched in other studies" name={`${table}_matched`} caption="Matched concepts of other studies" columns={matched(data.matched)} rows={data.matched} id={(r) => `${r.comparison}${r.concept}`}
              empty={<>No comparison with another study: <code>conceptome compare STUDY OTHER</code> makes one.</>} /></section>
        </div>
      )}
    </Await>
  );
}

export const tab: Tab = { id: "similar", title: "Similar", order: 50, View: SimilarTab };
