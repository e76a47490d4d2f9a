// The histogram of a concept's positive activations. Dragging over it keeps the cells in that range
// on the map; the heights are square roots, since the lowest bins hold most cells.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Concept } from "../api";
import { count, number } from "../format";
import { css, scaleColour } from "../colour";
import { theme } from "../theme";

const HEIGHT = 74, BASE = 56, TOP = 6, SIDE = 8;

export interface Range { low: number; high: number }

export function parseRange(text: string | undefined): Range | null {
  const [low, high] = (text ?? "").split(",").map(Number);
  return Number.isFinite(low) && Number.isFinite(high) && high! > low! ? { low: low!, high: high! } : null;
}

export function Histogram({ of: h, scaleEnd, range, onRange }: {
  of: Concept["histogram"]; scaleEnd: number; range: Range | null; onRange?: (r: Range | null) => void;
}) {
  const svg = useRef<SVGSVGElement>(null);
  const [width, setWidth] = useState(400);
  const [drag, setDrag] = useState<[number, number] | null>(null);
  useLayoutEffect(() => {
    const el = svg.current!;
    const seen = new ResizeObserver(() => setWidth(el.clientWidth));
    seen.observe(el);
    setWidth(el.clientWidth);
    return () => seen.disconnect();
  }, []);

  const n = h.counts.length, most = Math.max(1, ...h.counts);
  const room = Math.max(1, width - 2 * SIDE), step = room / Math.max(1, n);
  const span = h.high - h.low || 1;
  const valueAt = (x: number) => h.low + (Math.max(0, Math.min(room, x - SIDE)) / room) * span;
  const xOf = (v: number) => SIDE + ((v - h.low) / span) * room;
  const shown = drag ? { low: Math.min(...drag), high: Math.max(...drag) } : range;
  const total = h.counts.reduce((a, b) => a + b, 0);

  const where = (e: PointerEvent) => valueAt(e.clientX - svg.current!.getBoundingClientRect().left);
  function end(): void {
    if (!drag || !onRange) return setDrag(null);
    const [a, b] = [Math.min(...drag), Math.max(...drag)];
    setDrag(null);
    onRange(b - a > span / 100 ? { low: a, high: b } : null);
  }
  // Arrow keys move the lower end; Escape shows all again.
  function key(e: KeyboardEvent): void {
    if (!onRange) return;
    const move = { ArrowRight: span / 20, ArrowLeft: -span / 20 }[e.key];
    if (move !== undefined) {
      e.preventDefault();
      const low = Math.max(h.low, Math.min(h.high - span / 20, (range?.low ?? h.low) + move));
      onRange(low > h.low ? { low, high: range?.high ?? h.high } : null);
    } else if (e.key === "Escape") onRange(null);
  }

  return (
    <svg ref={svg} class={`histogram${onRange ? " brush" : ""}`} height={HEIGHT} tabindex={onRange ? 0 : -1}
      {...(onRange ? { role: "slider", "aria-valuemin": h.low, "aria-valuemax": h.high, "aria-valuenow": +(range?.low ?? h.low).toPrecision(3),
        "aria-valuetext": range ? `cells with an activation between ${number(range.low)} and ${number(range.high)}` : "all active cells" } : { role: "img" })}
      aria-label={`Histogram of ${total} activations from ${number(h.low)} to ${number(h.high)}`}
      onKeyDown={key}
      onPointerDown={(e) => { if (onRange) { svg.current!.setPointerCapture(e.pointerId); setDrag([where(e), where(e)]); } }}
      onPointerMove={(e) => drag && setDrag([drag[0], where(e)])}
      onPointerUp={end} onPointerCancel={() => setDrag(null)} onDblClick={() => onRange?.(null)}>
      {h.counts.map((c, i) => {
        const height = Math.sqrt(c / most) * (BASE - TOP);
        const value = h.low + ((i + 0.5) / n) * span;
        const out = shown && (value < shown.low || value > shown.high);
        return <rect key={i} class={out ? "out" : ""} x={SIDE + i * step + 0.5} y={BASE - height} width={Math.max(1, step - 1)} height={height}
          fill={css(scaleColour("sequential", value / scaleEnd, theme.value))}
          data-tip={`${count(c)} cells with an activation of ${number(h.low + (i / n) * span)} to ${number(h.low + ((i + 1) / n) * span)}`} />;
      })}
      {shown && <rect class="range" x={xOf(shown.low)} y={2} width={Math.max(1, xOf(shown.high) - xOf(shown.low))} height={BASE - 2} />}
      <line class="axis" x1={SIDE} x2={width - SIDE} y1={BASE + 0.5} y2={BASE + 0.5} />
      <text x={SIDE} y={HEIGHT - 5}>{number(h.low)}</text>
      <text x={width / 2} y={HEIGHT - 5} text-anchor="middle">activation of the {count(total)} active cells (√ scale)</text>
      <text x={width - SIDE} y={HEIGHT - 5} text-anchor="end">{number(h.high)}</text>
    </svg>
  );
}
