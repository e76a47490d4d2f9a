// Notes about concepts of an earlier dictionary: kept, shown with what was known of the concept, and copied
// to a present concept only when the expert says so.
import { useMemo } from "preact/hooks";
import type { EarlierNote, Study } from "../api";
import { author, earlier, write } from "../notes";
import { concepts } from "../study";
import { say } from "../undo";
import { ConceptLink } from "./links";
import { LocalTable, type Column } from "./table";

/** The present concept that shares most top genes with the old one; none below two. */
function nearest(note: EarlierNote, genes: string[][]): { concept: number; shared: number } | null {
  const old = new Set((note.genes ?? "").split(",").filter(Boolean));
  let best: { concept: number; shared: number } | null = null;
  genes.forEach((list, concept) => {
    const shared = list.filter((g) => old.has(g)).length;
    if (shared > (best?.shared ?? 1)) best = { concept, shared };
  });
  return best;
}

export function Earlier({ study }: { study: Study }) {
  const table = concepts.value;
  const near = useMemo(() => new Map(earlier.value.map((n) => [n.key, nearest(n, table?.genes ?? [])])), [earlier.value, table]);
  const columns: Column<EarlierNote>[] = [
    { key: "author", title: "Expert", width: 100, value: (n) => n.author },
    { key: "was", title: "was", width: 56, value: (n) => n.was, cell: (n) => (n.was === undefined ? "–" : `c${n.was}`) },
    { key: "field", title: "Field", width: 80, value: (n) => n.field },
    { key: "value", title: "Says", width: 180, grow: true, value: (n) => n.value, cell: (n) => <span class="said">{n.value}</span> },
    { key: "genes", title: "Its genes then", width: 220, value: (n) => n.genes, cell: (n) => <span class="genes">{n.genes?.split(",").slice(0, 6).join(" ")}</span> },
    { key: "label", title: "It fitted", width: 110, value: (n) => n.label },
    { key: "now", title: "Most alike now", width: 240, value: (n) => near.get(n.key)?.shared,
      cell: (n) => {
        const m = near.get(n.key);
        if (!m) return <span class="unit">none shares two of its genes</span>;
        return <><ConceptLink concept={m.concept} /> <span class="unit">{m.shared} of 5 genes</span>{" "}
          {n.author === author.value && <button type="button" onClick={() => { write(m.concept, n.field, n.value, true); say(`Copied to c${m.concept}.`); }}>copy there</button>}</>;
      } },
  ];
  return (
    <>
      <h2>Of an earlier dictionary</h2>
      <p>The study was run again with other results since these were written. They belong to concepts that are no more, and are not moved to others by themselves.</p>
      <LocalTable name={`${study.id}_earlier_notes`} caption="Notes about concepts of an earlier dictionary" columns={columns} rows={earlier.value} id={(n) => n.revision} />
    </>
  );
}
