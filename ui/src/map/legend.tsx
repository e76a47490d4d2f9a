// What the colours of a map mean: a bar with its ends, or the categories with their counts.
import { useMemo } from "preact/hooks";
import { categoryColour, css, inactiveColour, NO_CODE, scaleColour, type Colouring, type Theme } from "../colour";
import { element } from "../export";
import { count, number } from "../format";
import { theme } from "../theme";
import { explain } from "../parts/tooltip";
import type { Word } from "../glossary";

const MOST = 40; // categories listed

function counts(c: Extract<Colouring, { kind: "categories" }>): Uint32Array {
  const out = new Uint32Array(c.names.length);
  for (const code of c.codes) if (code !== NO_CODE) out[code]!++;
  return out;
}

function stops(c: Extract<Colouring, { kind: "values" }>, shade: Theme): string[] {
  return Array.from({ length: 9 }, (_, i) => css(scaleColour(c.scale, i / 8, shade)));
}

export function Legend({ colouring: c, onPick, note }: {
  colouring: Colouring; onPick?: ((code: number) => void) | undefined; note?: string | undefined;
}) {
  const shade = theme.value;
  const n = useMemo(() => (c.kind === "categories" ? counts(c) : null), [c]);
  if (c.kind === "values")
    return (
      <div class="legend" {...(c.term ? explain(c.term as Word) : {})}>
        <span class="legend-title">{c.title}{c.unit && <span class="unit"> {c.unit}</span>}</span>
        <span class="unit">{number(c.low)}</span>
        <span class="bar" ref={(el) => void (el && (el.style.background = `linear-gradient(to right, ${stops(c, shade).join(",")})`))} />
        <span class="unit">≥ {number(c.high)}</span>
        {c.zeroBelow && <span class="grey"><i ref={(el) => void (el && (el.style.background = css(inactiveColour(shade))))} />{note ?? "inactive"}</span>}
      </div>
    );
  const order = c.names.map((_, i) => i).filter((i) => n![i]! > 0);
  return (
    <div class="legend">
      <span class="legend-title">{c.title}</span>
      {order.slice(0, MOST).map((i) => (
        <Swatch key={i} name={c.names[i]!} colour={css(c.colours?.[i] ?? categoryColour(i, shade))} n={n![i]!} pressed={c.only === i}
          pick={onPick ? () => onPick(i) : undefined} />
      ))}
      {order.length > MOST && <span class="unit">and {count(order.length - MOST)} more; colours repeat after 16</span>}
    </div>
  );
}

function Swatch({ name, colour, n, pressed, pick }: {
  name: string; colour: string; n: number; pressed: boolean; pick: (() => void) | undefined;
}) {
  const inner = <><i ref={(el) => void (el && (el.style.background = colour))} /><span class="name">{name || "(empty)"}</span><span class="unit">{count(n)}</span></>;
  if (!pick) return <span class="swatch">{inner}</span>;
  return <button type="button" class="swatch" aria-pressed={pressed} onClick={pick} data-tip="Show only this">{inner}</button>;
}

/** The legend as drawing elements from (x, y) on. */
export function legendPicture(c: Colouring, shade: Theme, font: Record<string, string>, x: number, y: number):
    { parts: SVGElement[]; height: number } {
  const text = (tx: number, ty: number, words: string) => element("text", { x: tx, y: ty, "font-size": 11, ...font }, words);
  if (c.kind === "values") {
    const parts = stops(c, shade).map((fill, i) => element("rect", { x: x + i * 16, y: y + 6, width: 16, height: 9, fill }));
    parts.push(text(x, y, `${c.title}${c.unit ? ` (${c.unit})` : ""}`), text(x, y + 28, number(c.low)), text(x + 144, y + 28, `\u2265 ${number(c.high)}`));
    return { parts, height: 34 };
  }
  const n = counts(c), parts = [text(x, y, c.title)];
  const order = c.names.map((_, i) => i).filter((i) => n[i]! > 0).slice(0, MOST);
  order.forEach((i, k) => {
    const tx = x + (k % 4) * 150, ty = y + 18 + Math.floor(k / 4) * 16;
    parts.push(element("rect", { x: tx, y: ty - 8, width: 9, height: 9, fill: css(c.colours?.[i] ?? categoryColour(i, shade)) }), text(tx + 14, ty, `${c.names[i]} (${n[i]})`));
  });
  return { parts, height: 12 + Math.ceil(order.length / 4) * 16 };
}
