// One concept: where it is active (left), and everything known about it (right).
import { useEffect, useMemo } from "preact/hooks";
import type { Concept, Study, TermRows } from "../api";
import { dense, useJson, useVector } from "../data";
import { positiveQuantile } from "../colour";
import { count, fixed, number, percent, probability } from "../format";
import { useKeys } from "../keys";
import { go, href, place, query } from "../router";
import { formatPart } from "../selection";
import { categoryColumns, conceptName, listed, names, url } from "../study";
import { did } from "../undo";
import { methodName } from "../terms";
import { lastConcept, step } from "../walk";
import { tabs } from "../registry";
import { CellMap } from "../parts/cellmap";
import { Choice } from "../parts/choice";
import { parseSource, useColouring } from "../parts/colouring";
import { Flags } from "../parts/flags";
import { Histogram, parseRange, type Range } from "../parts/histogram";
import { TermLink } from "../parts/links";
import { marked } from "../parts/marks";
import { SaveDrawing } from "../parts/savedrawing";
import { Await, Empty } from "../parts/states";
import { explain } from "../parts/tooltip";
import type { Page, PageProps } from "./page";

/** The best term with its test and its coverage: a finding, never the concept's name. */
function TopTerm({ head }: { head: Concept }) {
  const t = head.term;
  const rows = useJson<TermRows>(t ? url(`concept/${head.concept}/terms?all=1`) : null);
  const row = t && !rows.stale ? rows.data?.rows.find((r) => r.term === t.id && r.ranking === t.ranking && r.method === t.method) : undefined;
  if (!t) return <span class="unit">no term with q &lt; 0.05</span>;
  return (
    <span {...explain("top_term")}>
      top term <TermLink term={t.id} name={t.name} />{" "}
      <span class="unit">{row && <>p {probability(row.p, row.log10p)}, </>}q {probability(t.q)}{row && <>, {row.overlap} of {row.size} genes</>}, {t.ranking}, {methodName(t.method)}</span>
    </span>
  );
}

function Head({ head, study }: { head: Concept; study: Study }) {
  const c = head.concept, list = listed.value, at = list.indexOf(c);
  return (
    <div class="concept-head">
      <div class="title-row">
        <button type="button" class="icon" aria-label="Previous concept (k)" data-tip="Previous concept (k)" disabled={at === 0} onClick={() => step(-1)}>‹</button>
        <h1>{conceptName(c)}</h1>
        <button type="button" class="icon" aria-label="Next concept (j)" data-tip="Next concept (j)" disabled={at === list.length - 1} onClick={() => step(1)}>›</button>
        <span class="unit">{at >= 0 ? `${at + 1} of ${count(list.length)} listed` : "not in the list"}</span>
        {!names.value.get(c) && <span class="unit" data-word="name">not named</span>}
        <Flags flags={head.flags} />
        {tabs.map((t) => t.Header && <t.Header key={t.id} concept={c} head={head} study={study} />)}
        <span class="spacer" />
        <a href={href({ page: "compare", query: { a: `${study.id}:${c}` } })}>compare</a>
      </div>
      <div class="facts-row">
        <span {...explain("frequency", head.frequency, `${head.active} of ${head.usable}`)}><b>{percent(head.frequency)}</b> of cells <span class="unit">({count(head.active)})</span></span>
        <span {...explain("max", head.max)}>max <b>{number(head.max)}</b></span>
        <span {...explain("mean_active", head.mean, head.active)}>mean <b>{number(head.mean)}</b></span>
        <span {...explain("quality", head.quality)}>quality <b>{fixed(head.quality, 2)}</b></span>
        {study.attribution && <span {...explain("pairs", head.pairs)}><b>{head.pairs}</b> pairs</span>}
        {head.distance !== null && <span {...explain("distance", head.distance, head.pairs)}>distance <b>{fixed(head.distance, 2)}</b></span>}
        {head.label && <span {...explain("best_fit", head.label_f1, head.active)}>fits best <b>{head.label}</b> <span class="unit">{percent(head.label_share)} of active, F1 {fixed(head.label_f1, 2)}{head.label_auroc !== null && <>, AUROC {fixed(head.label_auroc, 2)}</>}</span></span>}
        <TopTerm head={head} />
      </div>
    </div>
  );
}

function within(values: Float32Array | null, range: Range | null): Uint8Array | null {
  if (!values || !range) return null;
  const mask = new Uint8Array(values.length);
  for (let i = 0; i < mask.length; i++) mask[i] = values[i]! > 0 && values[i]! >= range.low && values[i]! <= range.high ? 1 : 0;
  return mask;
}

function Left({ head, study }: { head: Concept; study: Study }) {
  const c = head.concept, q = query.value;
  const range = useMemo(() => parseRange(q.range), [q.range]);
  const source = useMemo(() => (q.color && parseSource(q.color)) || { kind: "concept" as const, concept: c }, [q.color, c]);
  const { colouring, loading, error } = useColouring(source, study);
  const activation = useVector(url(`vec/activation/${c}`));
  const values = useMemo(() => (activation.data && !activation.stale ? dense(activation.data, study.cells) : null), [activation.data, activation.stale]);
  const keep = useMemo(() => within(values, range), [values, range]);
  const scaleEnd = useMemo(() => (values ? positiveQuantile(values, 0.99) : head.max || 1), [values]);
  const kept = keep ? keep.reduce((a, b) => a + b, 0) : null; // unknown until the activations are there

  function brush(next: Range | null): void {
    const before = query.peek().range ?? null;
    go({ query: { range: next ? `${+next.low.toPrecision(4)},${+next.high.toPrecision(4)}` : null } });
    did("the range of activations", () => go({ query: { range: before } }));
  }
  const chosen = source.kind === "column" ? `column:${source.column}` : source.kind === "gene" ? q.color! : "";
  const gene = source.kind === "gene" && colouring?.kind === "values" ? colouring.title : "";
  return (
    <div class="column">
      <CellMap study={study} colouring={colouring} keep={keep} loading={loading} error={error} camera="view" ring={[...marked.value]}
        note={source.kind === "gene" ? "no count" : range ? "inactive or outside the range" : "inactive"}
        label={`Map of ${study.cells} cells by ${source.kind === "concept" ? `activation of c${source.concept}` : colouring?.title ?? ""}`}
        tools={<Choice label="Colour by" value={chosen} onChange={(v) => go({ query: { color: v || null } })}
          options={[["", "activation"], ...(gene ? [[q.color!, gene] as const] : []), ...categoryColumns(study).slice(0, 3).map((n) => [`column:${n}`, n] as const)]} />} />
      <Histogram of={head.histogram} scaleEnd={scaleEnd} range={range} onRange={brush} />
      <div class="brush-row">
        {range ? <span><b>{count(kept)}</b> of {count(head.active)} active cells between {number(range.low)} and {number(range.high)}</span>
          : <span class="unit">Drag to keep a range of activations.</span>}
        <span class="spacer" />
        {range && <button type="button" class="quiet" onClick={() => brush(null)}>all</button>}
        <SaveDrawing of={() => document.querySelector<SVGSVGElement>("svg.histogram")} name={`${study.id}_c${c}_histogram`} what="the histogram" />
        <a class="one-line" href={href({ page: "selection", query: { a: formatPart({ kind: "concept", concept: c, low: range?.low ?? 0, high: range?.high ?? Infinity }) } })}>select these cells</a>
      </div>
    </div>
  );
}

function Body({ head, study }: { head: Concept; study: Study }) {
  const tab = tabs.find((t) => t.id === place.value.tab) ?? tabs[0];
  return (
    <div class="columns">
      <Left head={head} study={study} />
      <div class="column">
        <div class="tabs" role="tablist" aria-label="Evidence">
          {tabs.map((t) => (
            <a key={t.id} id={`tab-${t.id}`} role="tab" aria-selected={t === tab} aria-controls="tab-panel" tabIndex={t === tab ? 0 : -1}
              href={href({ tab: t.id })}
              onKeyDown={(e) => {
                const by = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
                if (!by) return;
                const next = tabs[(tabs.indexOf(t) + by + tabs.length) % tabs.length]!;
                go({ tab: next.id });
                document.getElementById(`tab-${next.id}`)?.focus();
              }}>{t.title}</a>
          ))}
        </div>
        <div class="tab-panel" id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab?.id}`}>
          {tab && <tab.View key={tab.id} concept={head.concept} head={head} study={study} />}
        </div>
      </div>
    </div>
  );
}

function ConceptPage({ study }: PageProps) {
  const c = /^\d+$/.test(place.value.id) ? Number(place.value.id) : -1;
  const from = useJson<Concept>(c >= 0 && c < study.concepts ? url(`concept/${c}`) : null);
  useEffect(() => {
    if (c >= 0) lastConcept.value = c;
  }, [c]);
  const tabKeys: Record<string, string> = { g: "genes", t: "terms", p: "composition" };
  useKeys([
    ...Object.entries(tabKeys).map(([key, tab]) => ({ key, does: `tab ${tab}`, run: () => go({ tab }) })),
    { key: "c", does: "compare this concept", run: () => go({ page: "compare", query: { a: `${study.id}:${c}` } }) },
    { key: "a", does: "colour by activation", run: () => go({ query: { color: null } }) },
  ]);
  if (c < 0 || c >= study.concepts)
    return <Empty>This study has no concept “{place.value.id}”; they are numbered from 0 to {study.concepts - 1}. <a href={href({ page: "landscape" })}>Landscape</a></Empty>;
  return (
    <>
      {tabs.map((t) => t.Keys && <t.Keys key={t.id} concept={c} />)}
      <Await from={from} what="concept">
        {(head) => <><Head head={head} study={study} /><Body head={head} study={study} /></>}
      </Await>
    </>
  );
}

export const page: Page = { id: "concept", title: "Concept", order: 20, View: ConceptPage };
