// Help: what the pages do, the keys, and what every number means.
import { GLOSSARY } from "../glossary";
import { KeyTable } from "../parts/keylist";
import { info } from "../study";
import { categoryColour, css, NEGATIVE, POSITIVE } from "../colour";
import { theme } from "../theme";
import type { Page } from "./page";

const PAGES = [
  ["Landscape", "All concepts. Filter by words and conditions, sort by any number, walk with the arrow keys: the map of cells follows."],
  ["Concept", "One concept: where it is active, which genes it needs, which terms they belong to, which cells show it, and how far to trust it."],
  ["Selection", "Draw a lasso around cells (key l, or Shift and drag on any map of cells): which concepts are high there, which genes differ."],
  ["Compare", "Two concepts side by side: cells, genes, terms; of one study or of two over the same cells."],
  ["Review", "Concepts one after the other, with their evidence, to be named and rated; or blind, mixed with neurons and random directions."],
  ["Agreement", "How far experts agree, and notes as files to give and take."],
  ["Gene, Term, Cell", "Everything about one of them, reached by links and by the search box ( / )."],
] as const;

const FILTERS = [
  ["cd8 cytotoxic", "both words in id, name, label, genes or term"], ["gene:CD3D", "CD3D among the top genes"],
  ["label:\"B cell\"", "best-fitting label contains this"], ["frequency>0.1", "also < >= <= =, for frequency, active, max, mean, share, f1, q, genes, terms, dgeterms, distance, stability, faithfulness, quality"],
  ["flag:dense  -flag:dead", "with a flag; a minus before anything means not"],
] as const;

function Help() {
  return (
    <div class="help scroll" tabIndex={0} role="region" aria-label="Help">
      <h1>Help</h1>
      <section><h2>Pages</h2><dl>{PAGES.map(([t, d]) => <div key={t}><dt>{t}</dt><dd>{d}</dd></div>)}</dl>
        <p>The address of the page holds everything you see: colouring, zoom, filter, order, selection. Copy it to come back or to show a colleague who has the same study.</p></section>
      <section><h2>Keys</h2><KeyTable />
        <p class="unit">Keys of a page work on that page; <kbd>?</kbd> lists those in force anywhere.</p></section>
      <section><h2>Filter</h2><dl>{FILTERS.map(([t, d]) => <div key={t}><dt><code>{t}</code></dt><dd>{d}</dd></div>)}</dl></section>
      <section><h2>Colours</h2>
        <p>Activation and expression: from light to dark (on dark ground from dark to light); grey means 0 and lies below. The scale ends at the 99th percentile of the positive values.</p>
        <p><b ref={(el) => void (el && (el.style.color = POSITIVE[theme.value]))}>Orange</b> is positive, <b ref={(el) => void (el && (el.style.color = NEGATIVE[theme.value]))}>blue</b> negative:
          the activation needs the gene's value in the prototype, or is held down by it.</p>
        <p>{Array.from({ length: 16 }, (_, i) => <i key={i} class="dot" ref={(el) => void (el && (el.style.background = css(categoryColour(i, theme.value))))} />)} categories, safe for the common colour-vision deficiencies.</p></section>
      <section class="wide"><h2>What the numbers mean</h2>
        <dl class="glossary">{Object.entries(GLOSSARY).map(([k, e]) => <div key={k}><dt>{e.name}{e.unit && <span class="unit"> {e.unit}</span>}</dt><dd>{e.text}</dd></div>)}</dl></section>
      <p class="unit">Conceptome {info.value?.version}</p>
    </div>
  );
}

export const page: Page = { id: "help", title: "Help", order: 90, View: Help };
