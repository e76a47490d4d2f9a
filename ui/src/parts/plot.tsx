// A frame for line drawings: axes with round ticks, a title, and export as SVG and PNG.
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { number } from "../format";
import { SaveDrawing } from "./savedrawing";

/** `marks`: where to write what, instead of round numbers. */
export interface Axis { low: number; high: number; title: string; marks?: (readonly [number, string])[] }

/** Round numbers between low and high, about n of them. */
export function ticks(low: number, high: number, n: number): number[] {
  const raw = (high - low) / Math.max(1, n);
  if (!(raw > 0)) return [low];
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((s) => s * unit >= raw)! * unit;
  const out: number[] = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) out.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return out;
}

export interface Frame {
  x: (v: number) => number;
  y: (v: number) => number;
  width: number;
  height: number;
  bottom: number;
  left: number;
  right: number;
}

export function Plot({ name, label, height, x, y, foot = 0, children }: {
  name: string; label: string; height: number; x: Axis; y: Axis;
  /** Room below the axis for marks of one's own. */
  foot?: number;
  children: (f: Frame) => ComponentChildren;
}) {
  const svg = useRef<SVGSVGElement>(null);
  const [width, setWidth] = useState(460);
  useLayoutEffect(() => {
    const el = svg.current!;
    const seen = new ResizeObserver(() => setWidth(el.clientWidth || 460));
    seen.observe(el);
    return () => seen.disconnect();
  }, []);
  const left = 50, right = width - 12, top = 10, bottom = height - 34 - foot;
  const f: Frame = {
    x: (v) => left + ((v - x.low) / (x.high - x.low || 1)) * (right - left),
    y: (v) => bottom - ((v - y.low) / (y.high - y.low || 1)) * (bottom - top),
    width, height, bottom, left, right,
  };
  const base = y.low <= 0 && y.high >= 0 ? f.y(0) : bottom;
  return (
    <figure class="plot">
      <svg ref={svg} height={height} role="img" aria-label={label}>
        {ticks(y.low, y.high, 4).map((v) => (
          <g key={v}><line class="grid" x1={left} x2={right} y1={f.y(v)} y2={f.y(v)} /><text x={left - 6} y={f.y(v) + 3.5} text-anchor="end">{number(v, 2)}</text></g>
        ))}
        {(x.marks ?? ticks(x.low, x.high, Math.max(2, Math.floor(width / 110))).map((v) => [v, number(v)] as const)).map(([v, text]) => (
          <text key={v} x={f.x(v)} y={height - 19} text-anchor="middle">{text}</text>
        ))}
        <line class="axis" x1={left} x2={right} y1={base} y2={base} />
        {children(f)}
        <text class="axis-title" x={(left + right) / 2} y={height - 4} text-anchor="middle">{x.title}</text>
        <text class="axis-title" text-anchor="middle" transform={`translate(12 ${(top + bottom) / 2}) rotate(-90)`}>{y.title}</text>
      </svg>
      <figcaption class="plot-tools">
        <SaveDrawing of={() => svg.current} name={name} what="this drawing" />
      </figcaption>
    </figure>
  );
}
