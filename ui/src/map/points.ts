// Points of a map, their grid index for picking, and the lasso's test. Coordinates are integers
// 0..65534; 65535 marks a point without a place.
import type { Vector } from "../data";

export const NOWHERE = 65535;
const TOP = 65534;
const CELLS = 128; // the index is CELLS x CELLS buckets

export interface Points {
  n: number;
  xy: Uint16Array; // [n][2]
  placed: number;
  /** Width over height of the drawing, from the ranges of the coordinates. */
  aspect: number;
  /** Bucket b holds order[start[b]] .. order[start[b + 1] - 1]. */
  start: Uint32Array;
  order: Uint32Array;
}

export function indexPoints(xy: Uint16Array, aspect: number): Points {
  const n = xy.length >> 1;
  const start = new Uint32Array(CELLS * CELLS + 1);
  const bucket = (i: number) =>
    Math.floor((xy[2 * i + 1]! / 65536) * CELLS) * CELLS + Math.floor((xy[2 * i]! / 65536) * CELLS);
  let placed = 0;
  for (let i = 0; i < n; i++) {
    if (xy[2 * i] === NOWHERE) continue;
    placed++;
    start[bucket(i) + 1]!++;
  }
  for (let b = 0; b < CELLS * CELLS; b++) start[b + 1]! += start[b]!;
  const next = start.slice();
  const order = new Uint32Array(placed);
  for (let i = 0; i < n; i++) if (xy[2 * i] !== NOWHERE) order[next[bucket(i)]!++] = i;
  return { n, xy, placed, aspect, start, order };
}

export function pointsFromVector(v: Vector): Points {
  const [xl = 0, xh = 1, yl = 0, yh = 1] = v.range;
  if (v.values instanceof Uint16Array) return indexPoints(v.values, (xh - xl) / (yh - yl) || 1);
  return pointsFromFloats(v.values as Float32Array);
}

/** NaN = without a place. */
export function pointsFromFloats(values: Float32Array): Points {
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!, d = i & 1;
    if (v < low[d]!) low[d] = v;
    if (v > high[d]!) high[d] = v;
  }
  const span = [high[0]! - low[0]! || 1, high[1]! - low[1]! || 1];
  const xy = new Uint16Array(values.length).fill(NOWHERE);
  for (let i = 0; i < values.length; i += 2) {
    if (!Number.isFinite(values[i]!) || !Number.isFinite(values[i + 1]!)) continue;
    for (let d = 0; d < 2; d++) xy[i + d] = Math.round(((values[i + d]! - low[d]!) / span[d]!) * TOP);
  }
  return indexPoints(xy, span[0]! / span[1]!);
}

/** The point nearest to (x, y) within the radii rx, ry (map units), or -1. `visible` may veto. */
export function nearest(p: Points, x: number, y: number, rx: number, ry: number,
                        visible?: (i: number) => boolean): number {
  const clamp = (v: number) => Math.max(0, Math.min(CELLS - 1, Math.floor((v / 65536) * CELLS)));
  let best = -1, least = 1;
  for (let by = clamp(y - ry); by <= clamp(y + ry); by++)
    for (let bx = clamp(x - rx); bx <= clamp(x + rx); bx++) {
      const b = by * CELLS + bx;
      for (let j = p.start[b]!; j < p.start[b + 1]!; j++) {
        const i = p.order[j]!;
        const dx = (p.xy[2 * i]! - x) / rx, dy = (p.xy[2 * i + 1]! - y) / ry;
        const d = dx * dx + dy * dy;
        if (d <= least && (!visible || visible(i))) {
          least = d;
          best = i;
        }
      }
    }
  return best;
}

/** Indices of the points within a polygon [x0, y0, x1, y1, ...] (even-odd rule), ascending. */
export function inside(p: Points, polygon: ArrayLike<number>): Uint32Array {
  const m = polygon.length >> 1;
  let xl = Infinity, xh = -Infinity, yl = Infinity, yh = -Infinity;
  for (let k = 0; k < m; k++) {
    xl = Math.min(xl, polygon[2 * k]!);
    xh = Math.max(xh, polygon[2 * k]!);
    yl = Math.min(yl, polygon[2 * k + 1]!);
    yh = Math.max(yh, polygon[2 * k + 1]!);
  }
  const out = new Uint32Array(p.placed);
  let n = 0;
  for (let i = 0; i < p.n; i++) {
    const x = p.xy[2 * i]!, y = p.xy[2 * i + 1]!;
    if (x === NOWHERE || x < xl || x > xh || y < yl || y > yh) continue;
    let odd = false;
    for (let k = 0, j = m - 1; k < m; j = k++) {
      const ky = polygon[2 * k + 1]!, jy = polygon[2 * j + 1]!;
      if (ky > y !== jy > y) {
        const kx = polygon[2 * k]!;
        if (x < kx + ((y - ky) / (jy - ky)) * (polygon[2 * j]! - kx)) odd = !odd;
      }
    }
    if (odd) out[n++] = i;
  }
  return out.slice(0, n);
}
