// What needs no browser: addresses, filters, orders, sets of cells, numbers.
import { expect, test } from "@playwright/test";
import type { Concepts, TermRow } from "../src/api";
import { CATEGORIES, looks, NO_CODE, palette, positiveQuantile, type RGB } from "../src/colour";
import { vector } from "../src/data";
import { tsv } from "../src/export";
import { filterConcepts, parseFilter, sortConcepts } from "../src/filter";
import { count, fixed, number, percent, probability, signed } from "../src/format";
import { formatCamera, parseCamera, viewOf, WHOLE, zoomAt } from "../src/map/camera";
import { indexPoints, inside, nearest, NOWHERE } from "../src/map/points";
import { changed, format, parse } from "../src/router";
import { body, formatPart, parseSelection, simplify } from "../src/selection";

const NAMES = new Map<number, string>();

function table(n: number): Concepts {
  const each = <T>(f: (c: number) => T) => Array.from({ length: n }, (_, c) => f(c));
  return {
    n, frequency: each((c) => (c % 100) / 100), active: each((c) => c), max: each((c) => c / 7), mean: each(() => 1),
    label: each((c) => (c % 3 ? `type ${c % 5}` : "")), label_share: each((c) => (c % 4 ? c / n : null)), label_f1: each(() => null),
    genes: each((c) => [`GENE${c}`, "CD3D"].slice(0, 1 + (c % 2))), term: each((c) => (c % 2 ? null : { id: `GO:${c}`, name: `immune ${c}`, q: 1 / (c + 2), ranking: "attribution", method: "gsea" })),
    terms_attribution: each((c) => c % 6), terms_expression: each(() => 0), attributed: each(() => 0), distance: each(() => null),
    stability: each(() => null), faithfulness: each(() => null), flags: each((c) => (c % 10 ? [] : ["dense"])), quality: each((c) => 1 - c / n),
  };
}

test("an address comes back as it was", () => {
  const place = parse("#/my%20study/concept/12/terms?q=cd3+x&color=column%3Acell%20type");
  expect(place).toEqual({ study: "my study", page: "concept", id: "12", tab: "terms", query: { q: "cd3 x", color: "column:cell type" } });
  expect(parse(format(place))).toEqual(place);
  expect(parse("#/%E0%A4%A").study).toBe("%E0%A4%A"); // not UTF-8: taken as it stands
});

test("the list's filter and order last, a colour does not outlive its page", () => {
  const place = parse("#/s/landscape?q=x&sort=-max&color=gene%3A1");
  expect(changed(place, { page: "concept", id: "3" }).query).toEqual({ q: "x", sort: "-max" });
  expect(changed(place, { query: { color: null } }).query).toEqual({ q: "x", sort: "-max" });
  expect(changed(parse("#/s/concept/3/terms?range=1,2"), { id: "4" }).tab).toBe("terms");
});

test("filters", () => {
  const t = table(60);
  const find = (f: string) => [...filterConcepts(t, f, NAMES)];
  expect(find("")).toHaveLength(60);
  expect(find("flag:dense")).toEqual([0, 10, 20, 30, 40, 50]);
  expect(find("-flag:dense")).toHaveLength(54);
  expect(find("gene:cd3d frequency>=0.55")).toEqual([55, 57, 59]);
  expect(find('label:"type 4" immune')).toEqual([4, 14, 34, 44]);
  expect(find("share>0")).not.toContain(4); // no value: no condition holds
  expect([...filterConcepts(t, "tregs", new Map([[7, "Tregs of gut"]]))]).toEqual([7]);
  expect(parseFilter("-")).toEqual([{ kind: "word", text: "-", not: false }]);
  expect(find("((([")).toEqual([]); // text, not a pattern
});

test("orders put what is not defined last, both ways", () => {
  const t = table(12), all = filterConcepts(t, "", NAMES);
  expect([...sortConcepts(t, all, "share")].slice(-3)).toEqual([0, 4, 8]);
  expect([...sortConcepts(t, all, "-share")].slice(-3)).toEqual([0, 4, 8]);
  expect([...sortConcepts(t, all, "-share")][0]).toBe(11);
  expect([...sortConcepts(t, all, "label")].slice(-4)).toEqual([0, 3, 6, 9]);
  expect([...sortConcepts(t, all, "nonsense")]).toEqual([...all]);
});

test("10,000 concepts are filtered and sorted in less than 100 ms", () => {
  const t = table(10_000);
  filterConcepts(t, "warm", NAMES);
  const start = process.cpuUsage(); // processor time: other work on the machine does not count
  const kept = sortConcepts(t, filterConcepts(t, "gene quality>0.1 -flag:dense", NAMES), "-share");
  const used = process.cpuUsage(start), ms = (used.user + used.system) / 1000;
  expect(kept.length).toBeGreaterThan(7000);
  console.log(`    filter and sort of 10,000: ${ms.toFixed(1)} ms`);
  expect(ms).toBeLessThan(100);
});

test("numbers", () => {
  expect([number(1234567), number(12345.6), number(0.0123456), number(-2.5), number(null), number(0)]).toEqual(
    ["1.2×10⁶", "12\u202f346", "0.0123", "−2.50", "–", "0"]);
  expect([percent(0.0004), percent(0), percent(0.123), percent(1)]).toEqual(["<0.1\u202f%", "0.0\u202f%", "12\u202f%", "100\u202f%"]);
  expect([signed(0.5), signed(-0.5), signed(0.00001), fixed(-0.0001, 2)]).toEqual(["+0.500", "−0.500", "0.000", "0.00"]);
  expect([probability(0.5), probability(1e-12), probability(0), probability(0, -412.3)]).toEqual(["0.500", "1.0×10⁻¹²", "<10⁻³⁰⁰", "5.0×10⁻⁴¹³"]);
  expect(count(-1234567)).toBe("−1\u202f234\u202f567");
});

test("picking and the lasso", () => {
  const xy = new Uint16Array([0, 0, 100, 100, 60000, 60000, 65534, 65534, NOWHERE, NOWHERE]);
  const p = indexPoints(xy, 1);
  expect(p.placed).toBe(4);
  expect(nearest(p, 90, 90, 500, 500)).toBe(1);
  expect(nearest(p, 90, 90, 500, 500, (i) => i !== 1)).toBe(0);
  expect(nearest(p, 30000, 30000, 500, 500)).toBe(-1);
  expect(nearest(p, 65534, 65534, 9, 9)).toBe(3);
  expect([...inside(p, [50, 50, 65000, 50, 65000, 65000, 50, 65000])]).toEqual([1, 2]);
  expect([...inside(p, [0, 0, 0, 0, 0, 0])]).toEqual([]);
});

test("a lasso of any length fits an address, and selects the same cells again", () => {
  const circle: number[] = [];
  for (let i = 0; i < 5000; i++) circle.push(30000 + 20000 * Math.cos(i / 800), 30000 + 20000 * Math.sin(i / 800));
  const polygon = simplify(circle), text = formatPart({ kind: "polygon", polygon });
  expect(text.length).toBeLessThan(500);
  expect(parseSelection(text)).toEqual([{ kind: "polygon", polygon }]);
  const odd = { kind: "value", column: "cell.type+x", value: "T.cells & B+" } as const;
  expect(parseSelection(`${formatPart(odd)}+${formatPart({ kind: "concept", concept: 3, low: 0.5, high: Infinity })}`)).toEqual(
    [odd, { kind: "concept", concept: 3, low: 0.5, high: Infinity }]);
  for (const bad of ["", "p.%%%", "p.AAAA", "c.x", "v.", "zzz", "v.%E0%A4%A.1"]) expect(parseSelection(bad)).toEqual([]);
});

test("the question about two sets is counted words", () => {
  expect([...new Uint32Array(body(Uint32Array.of(7, 9), Uint32Array.of(1)))]).toEqual([2, 7, 9, 1, 1]);
  expect([...new Uint32Array(body(Uint32Array.of(7), new Uint32Array(0)))]).toEqual([1, 7, 0]);
});

test("zooming keeps the point under the pointer", () => {
  const view = viewOf(WHOLE, 800, 600, 1.5), next = zoomAt(WHOLE, view, 200, 100, 3), after = viewOf(next, 800, 600, 1.5);
  expect((200 - after.ox) / after.sx).toBeCloseTo((200 - view.ox) / view.sx);
  expect((100 - after.oy) / after.sy).toBeCloseTo((100 - view.oy) / view.sy);
  expect(parseCamera(formatCamera(next)).zoom).toBeCloseTo(3);
  expect(parseCamera("a,b,c")).toEqual(WHOLE);
});

test("inactive, missing and filtered-out cells lie below", () => {
  const values = Float32Array.of(0, 1, 2, NaN, 9);
  const c = { kind: "values", scale: "sequential", values, low: 0, high: 2, title: "", unit: "", zeroBelow: true } as const;
  expect([...looks(c, null)]).toEqual([0, 128, 255, 0, 255]);
  expect([...looks(c, Uint8Array.of(1, 0, 1, 1, 1))]).toEqual([0, 0, 255, 0, 255]);
  expect([...looks({ kind: "categories", codes: Uint16Array.of(0, NO_CODE, 300), names: [], title: "" }, null)]).toEqual([1, 0, 46]);
  expect(palette("sequential", "light").length).toBe(1024);
  expect(positiveQuantile(Float32Array.of(0, 0, 3, 1, 2), 0.5)).toBe(2);
  expect(positiveQuantile(new Float32Array(4), 0.99)).toBe(1);
});

test("a vector of the wrong length is refused", () => {
  const head = (type: string, shape: string) => new Headers({ "Cpt-Type": type, "Cpt-Shape": shape });
  expect(vector(head("sparse", "1"), new ArrayBuffer(8)).cells).toHaveLength(1);
  expect(() => vector(head("u16", "5x2"), new ArrayBuffer(8))).toThrow(/u16/);
  expect(() => vector(head("f64", "1"), new ArrayBuffer(8))).toThrow();
});

test("a table's line is a line", () => {
  expect(tsv(["a", "b"], [["x\ty\n", null], [NaN, 1.5]])).toBe("a\tb\nx y \tNA\nNA\t1.5\n");
});

test("near-duplicates lie under the term that stands for them", async () => {
  const { fold } = await import("../src/terms");
  const row = (term: string, represented_by: string): TermRow => ({ ranking: "attribution", method: "gsea", collection: "GO", term, name: term,
    size: 9, overlap: 3, es: 0, nes: 1, p: 0.01, log10p: -2, q: 0.02, log2err: null, ic: null, genes: [], represented_by });
  const rows = [row("a", ""), row("b", "a"), row("c", "gone"), row("d", "a")];
  expect(fold(rows, new Set()).map((l) => `${l.row.term}${l.folded}`)).toEqual(["a2", "c0"]);
  expect(fold(rows, new Set(["attribution|gsea|GO|a"])).map((l) => l.row.term)).toEqual(["a", "b", "d", "c"]);
});

// Distances in CIELAB, for full colour vision and for what people without red or green cones see (Machado,
// Oliveira and Fernandes 2009, severity 1).
const VISION = [
  [1, 0, 0, 0, 1, 0, 0, 0, 1],
  [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
];
function lab(c: RGB, sees: number[]): number[] {
  const times = (m: number[], v: number[]) => [0, 3, 6].map((r) => m[r]! * v[0]! + m[r + 1]! * v[1]! + m[r + 2]! * v[2]!);
  const linear = c.map((x) => (x / 255 <= 0.04045 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4));
  const seen = times(sees, linear).map((x) => Math.min(1, Math.max(0, x)));
  const [x, y, z] = times([0.4124, 0.3576, 0.1805, 0.2126, 0.7152, 0.0722, 0.0193, 0.1192, 0.9505], seen)
    .map((v, i) => v / [0.95047, 1, 1.08883][i]!).map((v) => (v > 0.008856 ? Math.cbrt(v) : 7.787 * v + 16 / 116));
  return [116 * y! - 16, 500 * (x! - y!), 200 * (y! - z!)];
}

test("categories can be told apart by everybody, on either ground", () => {
  for (const theme of ["light", "dark"] as const)
    for (const sees of VISION) {
      const places = CATEGORIES[theme].map((c) => lab(c, sees));
      places.forEach((p, i) => places.slice(0, i).forEach((q, j) =>
        expect(Math.hypot(...p.map((v, k) => v - q[k]!)), `${theme}: ${i} and ${j}`).toBeGreaterThan(i < 10 ? 8.5 : 7)));
    }
});
