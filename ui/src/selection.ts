// A set of cells as a few characters, so that it fits into an address whatever its size:
//   p.<base64url>        the lasso's polygon, in map units
//   v.<column>.<value>   the cells of one category
//   c.<concept>          the concept's active cells;  c.<concept>.<low>.<high>: within a range
// Sets joined by "+" are united.
import { dense, getVector, studyUrl } from "./data";
import { inside, type Points } from "./map/points";
import type { Study } from "./api";

export type Part =
  | { kind: "polygon"; polygon: Uint16Array }
  | { kind: "value"; column: string; value: string }
  | { kind: "concept"; concept: number; low: number; high: number };

const MOST_CORNERS = 80;

export function formatPart(p: Part): string {
  if (p.kind === "polygon") return `p.${encodePolygon(p.polygon)}`;
  if (p.kind === "value") return `v.${escapePart(p.column)}.${escapePart(p.value)}`;
  if (p.low <= 0 && p.high === Infinity) return `c.${p.concept}`;
  return `c.${p.concept}.${trim(p.low)}.${p.high === Infinity ? "" : trim(p.high)}`;
}

// A number without a point: "." separates the parts.
function trim(v: number): string {
  return v.toPrecision(4).replace(".", "_");
}

function escapePart(text: string): string {
  return encodeURIComponent(text).replace(/[.]/g, "%2E");
}

export function parseSelection(text: string): Part[] {
  const out: Part[] = [];
  for (const piece of text.split("+")) {
    const [kind, a = "", b = "", c = ""] = piece.split(".");
    try {
      if (kind === "p") {
        const polygon = decodePolygon(a);
        if (polygon.length >= 6) out.push({ kind: "polygon", polygon });
      } else if (kind === "v" && a) {
        out.push({ kind: "value", column: decodeURIComponent(a), value: decodeURIComponent(b) });
      } else if (kind === "c" && /^\d+$/.test(a)) {
        const low = Number(b.replace("_", ".") || 0), high = c ? Number(c.replace("_", ".")) : Infinity;
        out.push({ kind: "concept", concept: Number(a), low, high });
      }
    } catch {
      // a mangled address: this part is left out
    }
  }
  return out;
}

export function describe(parts: Part[]): string {
  return parts.map((p) =>
    p.kind === "polygon" ? "lasso"
    : p.kind === "value" ? `${p.column} = ${p.value}`
    : `cells with c${p.concept}${p.low > 0 || p.high < Infinity
        ? ` between ${p.low}\u202f and ${p.high < Infinity ? p.high : "max"}` : " active"}`).join(" + ");
}

function encodePolygon(polygon: Uint16Array): string {
  let bytes = "";
  for (const v of polygon) bytes += String.fromCharCode(v & 255, v >> 8);
  return btoa(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function decodePolygon(text: string): Uint16Array {
  const bytes = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  const out = new Uint16Array(bytes.length >> 1);
  for (let i = 0; i < out.length; i++) out[i] = bytes.charCodeAt(2 * i) | (bytes.charCodeAt(2 * i + 1) << 8);
  return out;
}

/** Douglas and Peucker, with the tolerance doubled until few corners are left. */
export function simplify(path: ArrayLike<number>): Uint16Array {
  for (let tolerance = 40; ; tolerance *= 2) {
    const keep = new Uint8Array(path.length >> 1);
    thin(path, 0, keep.length - 1, tolerance, keep);
    const out: number[] = [];
    keep.forEach((k, i) => {
      if (k) for (const v of [path[2 * i]!, path[2 * i + 1]!]) out.push(Math.max(0, Math.min(65535, Math.round(v))));
    });
    if (out.length <= 2 * MOST_CORNERS) return Uint16Array.from(out);
  }
}

function thin(path: ArrayLike<number>, from: number, to: number, tolerance: number, keep: Uint8Array): void {
  const stack = [[from, to]];
  while (stack.length) {
    const [a, b] = stack.pop() as [number, number];
    keep[a] = keep[b] = 1;
    const ax = path[2 * a]!, ay = path[2 * a + 1]!;
    const dx = path[2 * b]! - ax, dy = path[2 * b + 1]! - ay, length = Math.hypot(dx, dy);
    let far = tolerance, at = -1;
    for (let i = a + 1; i < b; i++) {
      const ex = path[2 * i]! - ax, ey = path[2 * i + 1]! - ay;
      const d = length > 0 ? Math.abs(ex * dy - ey * dx) / length : Math.hypot(ex, ey);
      if (d > far) {
        far = d;
        at = i;
      }
    }
    if (at >= 0) stack.push([a, at], [at, b]);
  }
}

/** The cells of a selection, ascending. */
export async function cellsOf(parts: Part[], study: Study, points: Points): Promise<Uint32Array> {
  const mask = new Uint8Array(study.cells);
  for (const part of parts) {
    if (part.kind === "polygon") {
      for (const i of inside(points, part.polygon)) mask[i] = 1;
    } else if (part.kind === "value") {
      const code = study.columns.find((c) => c.name === part.column)?.categories?.indexOf(part.value) ?? -1;
      if (code < 0) continue;
      const { values } = await getVector(studyUrl(study.id, `vec/column/${encodeURIComponent(part.column)}`));
      for (let i = 0; i < values.length; i++) if (values[i] === code) mask[i] = 1;
    } else {
      const v = dense(await getVector(studyUrl(study.id, `vec/activation/${part.concept}`)), study.cells);
      for (let i = 0; i < v.length; i++) if (v[i]! > 0 && v[i]! >= part.low && v[i]! <= part.high) mask[i] = 1;
    }
  }
  let n = 0;
  for (const m of mask) n += m;
  const out = new Uint32Array(n);
  n = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i]) out[n++] = i;
  return out;
}

/** The body of the selection's questions: u32 n_a, a[], n_b, b[]. */
export function body(a: Uint32Array, b: Uint32Array): ArrayBuffer {
  const out = new Uint32Array(2 + a.length + b.length);
  out[0] = a.length;
  out.set(a, 1);
  out[1 + a.length] = b.length;
  out.set(b, 2 + a.length);
  return out.buffer;
}
