// Agreement: with oneself, with each other, and concepts against controls; and the notes as files.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Agreement, Contrast } from "../api";
import { Failure, getFresh, post, attempt } from "../data";
import { count, fixed, percent, probability, signed } from "../format";
import { notes, reloadNotes } from "../notes";
import { href } from "../router";
import { url } from "../study";
import { Failed, Loading } from "../parts/states";
import { explain } from "../parts/tooltip";
import { SaveDrawing } from "../parts/savedrawing";
import { LocalTable, type Column } from "../parts/table";
import type { Page, PageProps } from "./page";

type Expert = Agreement["experts"][number];
type Pair = Agreement["inter"]["pairs"][number];

const experts: Column<Expert>[] = [
  { key: "author", title: "Expert", width: 140, grow: true, value: (e) => e.author },
  { key: "answered", title: "answers", width: 72, figure: true, value: (e) => e.answered },
  { key: "repeats", title: "repeats", word: "repeats", width: 70, figure: true, value: (e) => e.repeats },
  { key: "kappa", title: "kappa with oneself", word: "weighted_kappa", width: 130, figure: true, value: (e) => e.intra_kappa, n: (e) => e.repeats, cell: (e) => fixed(e.intra_kappa, 2) },
  { key: "exact", title: "same rating", word: "exact", width: 90, figure: true, value: (e) => e.intra_exact, n: (e) => e.repeats, cell: (e) => percent(e.intra_exact) },
  { key: "seconds", title: "seconds per item", width: 116, figure: true, value: (e) => e.mean_seconds, cell: (e) => fixed(e.mean_seconds, 0) },
];
const pairs: Column<Pair>[] = [
  { key: "a", title: "Expert", width: 120, grow: true, value: (p) => p.a },
  { key: "b", title: "and", width: 120, grow: true, value: (p) => p.b },
  { key: "n", title: "units", width: 60, figure: true, value: (p) => p.n },
  { key: "kappa", title: "weighted kappa", word: "weighted_kappa", width: 110, figure: true, value: (p) => p.kappa, n: (p) => p.n, cell: (p) => fixed(p.kappa, 2) },
  { key: "exact", title: "same rating", word: "exact", width: 90, figure: true, value: (p) => p.exact, n: (p) => p.n, cell: (p) => percent(p.exact) },
];

const KIND = { concept: "concepts", neuron: "neurons", random: "random directions" } as const;
const LEFT = 168, WIDTH = 560, ROW = 34;

/** Mean ratings with their intervals on the scale from 1 to 5. */
function Means({ kinds }: { kinds: Agreement["kinds"] }) {
  const x = (v: number) => LEFT + ((v - 1) / 4) * (WIDTH - LEFT - 20);
  return (
    <svg class="means" viewBox={`0 0 ${WIDTH} ${kinds.length * ROW + 26}`} role="img"
      aria-label={kinds.map((k) => `${KIND[k.kind]}: mean ${fixed(k.mean, 2)}, interval ${fixed(k.low, 2)} to ${fixed(k.high, 2)}, ${k.n} units`).join("; ")}>
      {[1, 2, 3, 4, 5].map((v) => <g key={v}><line class="grid" x1={x(v)} x2={x(v)} y1={4} y2={kinds.length * ROW} /><text x={x(v)} y={kinds.length * ROW + 16} text-anchor="middle">{v}</text></g>)}
      {kinds.map((k, i) => (
        <g key={k.kind} {...explain("rating_mean", k.mean, `${k.n} units, ${k.ratings} ratings`)}>
          <text x={LEFT - 10} y={i * ROW + 22} text-anchor="end">{KIND[k.kind]} ({k.n})</text>
          {k.low !== null && k.high !== null && <line class="whisker" x1={x(k.low)} x2={x(k.high)} y1={i * ROW + 18} y2={i * ROW + 18} />}
          {k.mean !== null ? <circle class={`kind-${k.kind}`} cx={x(k.mean)} cy={i * ROW + 18} r={5} /> : <text x={x(3)} y={i * ROW + 22} text-anchor="middle">no rating yet</text>}
        </g>
      ))}
    </svg>
  );
}

function Against({ name, of }: { name: string; of: Contrast | null }) {
  if (!of) return <p class="unit">Concepts against {name}: nobody has rated both yet.</p>;
  return (
    <p {...explain("contrast", of.difference, `${of.concepts} concepts, ${of.controls} ${name}, ${of.experts} experts`)}>
      Concepts against {name}: <b>{signed(of.difference, 2)}</b> points (95 % {signed(of.low, 2)} to {signed(of.high, 2)}), p {probability(of.p)}{" "}
      <span class="unit">{count(of.concepts)} concepts, {count(of.controls)} {name}, {count(of.experts)} {of.experts === 1 ? "expert" : "experts"}, {count(of.permutations)} permutations</span>
    </p>
  );
}

function Files({ study }: PageProps) {
  const input = useRef<HTMLInputElement>(null);
  const [said, tell] = useState("");
  async function add(files: FileList | null): Promise<void> {
    for (const f of Array.from(files ?? [])) {
      try {
        const m = await post<{ added: number; known: number; conflicts: number }>(url("notes/import"), await f.arrayBuffer());
        tell(`${f.name}: ${count(m.added)} rows added, ${count(m.known)} were known; experts now differ about ${count(m.conflicts)} values.`);
      } catch (error) {
        tell(`${f.name}: ${error instanceof Failure ? error.message : String(error)}`);
      }
    }
    if (input.current) input.current.value = "";
    await reloadNotes();
  }
  return (
    <section>
      <h2>Notes as files</h2>
      <p>
        <a class="button" href={url("notes/export?format=json")} download={`${study.id}_notes.json`}>Export everything (JSON)</a>{" "}
        <a class="button" href={url("notes/export?format=tsv")} download={`${study.id}_notes.tsv`}>Export what holds (TSV)</a>{" "}
        <label class="button">Add a colleague's file <input ref={input} class="hidden" type="file" accept=".json,.sqlite,application/json" multiple onChange={(e) => void add(e.currentTarget.files)} /></label>
      </p>
      <p class="unit">A colleague's notes.sqlite or exported JSON is added row by row: nothing is lost, nothing doubled, where you differ both stand.</p>
      {said && <p role="status">{said}</p>}
    </section>
  );
}

function AgreementPage(props: PageProps) {
  const [data, set] = useState<Agreement | null>(null);
  const [failure, fail] = useState<Failure | null>(null);
  const revision = notes.value?.revision, tick = attempt.value;
  useEffect(() => {
    let live = true;
    getFresh<Agreement>(url("review/agreement")).then((a) => { if (live) { set(a); fail(null); } }, (e: unknown) => live && fail(e instanceof Failure ? e : new Failure(String(e), 0)));
    return () => { live = false; };
  }, [props.study.id, revision, tick]);
  if (failure && !data) return <Failed error={failure} what="agreement" />;
  if (!data) return <Loading what="the agreement" />;
  const inter = data.inter;
  return (
    <div class="review-home scroll" tabIndex={0} role="region" aria-label="Agreement">
      <section><h1>Agreement</h1>
        {data.experts.length === 0 && <p>Nobody has answered a blind review yet. <a href={href({ page: "review", id: "" })}>Begin one</a></p>}
      </section>
      {data.experts.length > 0 && (
        <>
          <section>
            <h2>Concepts against controls</h2>
            <Means kinds={data.kinds} />
            <SaveDrawing of={() => document.querySelector<SVGSVGElement>("svg.means")} name="ratings_by_kind" what="this drawing" />
            <Against name="neurons" of={data.concepts_against_neurons} />
            <Against name="random directions" of={data.concepts_against_random} />
          </section>
          <section class="agreement-table"><h2>With oneself</h2>
            <LocalTable main name={`${props.study.id}_experts`} caption="Experts and how far they agree with themselves" columns={experts} rows={data.experts} id={(e) => e.author} /></section>
          <section class="agreement-table"><h2>With each other</h2>
            <p>
              <span {...explain("krippendorff", inter.krippendorff, inter.items)}>Krippendorff's alpha <b>{fixed(inter.krippendorff, 2)}</b> <span class="unit">({count(inter.items)} units with two ratings or more)</span></span>
              {" · "}<span {...explain("fleiss", inter.fleiss, inter.fleiss_items)}>Fleiss' kappa <b>{fixed(inter.fleiss, 2)}</b> <span class="unit">({count(inter.fleiss_items)} units rated by all)</span></span>
            </p>
            <LocalTable name={`${props.study.id}_pairs`} caption="Pairs of experts" columns={pairs} rows={inter.pairs} id={(p) => `${p.a}\n${p.b}`} empty="Only one expert has answered so far." /></section>
        </>
      )}
      <Files {...props} />
    </div>
  );
}

export const page: Page = { id: "agreement", title: "Agreement", order: 60, View: AgreementPage };
