// Colours of maps and bars. All three scales stay readable with the common colour-vision
// deficiencies: a sequential one that changes steadily in lightness, blue-orange around 0, and the
// Okabe-Ito categories extended so that no two are closer than 7 in CIELAB for anybody (units.spec.ts
// computes it); on dark ground their like, lifted.
export type RGB = readonly [number, number, number];
export type Theme = "light" | "dark";

// Stops of the sequential scale, from "just active" to "highest". Lightness runs away from the
// background: darker in the light theme, lighter in the dark one.
const SEQUENTIAL: Record<Theme, RGB[]> = {
  light: [[190, 214, 150], [110, 190, 137], [43, 157, 143], [33, 119, 142], [47, 79, 135], [63, 35, 106], [48, 4, 66]],
  dark: [[70, 72, 138], [53, 98, 144], [36, 127, 142], [31, 157, 136], [74, 189, 108], [158, 216, 57], [252, 231, 60]],
};

const DIVERGING: Record<Theme, RGB[]> = {
  light: [[5, 60, 128], [43, 120, 190], [140, 185, 220], [226, 226, 224], [245, 180, 120], [217, 104, 28], [138, 48, 4]],
  dark: [[150, 200, 250], [75, 145, 215], [50, 90, 145], [70, 74, 80], [155, 85, 35], [225, 125, 45], [255, 190, 120]],
};

export const POSITIVE: Record<Theme, string> = { light: "#c2570c", dark: "#f0924a" };
export const NEGATIVE: Record<Theme, string> = { light: "#1f6fb2", dark: "#6fb1ea" };

const INACTIVE: Record<Theme, RGB> = { light: [219, 222, 226], dark: [66, 72, 81] };

const GROUND: Record<Theme, RGB> = { light: [255, 255, 255], dark: [21, 24, 28] }; // --ground of the style sheet

export const CATEGORIES: Record<Theme, RGB[]> = {
  light: [
    [0, 114, 178], [230, 159, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233], [213, 94, 0],
    [136, 34, 85], [153, 153, 51], [127, 220, 190], [51, 34, 136], [221, 204, 119], [180, 60, 160],
    [17, 119, 51], [110, 100, 230], [102, 102, 102], [240, 228, 66],
  ],
  dark: [
    [64, 120, 232], [230, 159, 0], [0, 165, 120], [226, 140, 190], [126, 206, 250], [222, 96, 16],
    [196, 58, 116], [160, 160, 54], [160, 230, 214], [168, 140, 255], [226, 212, 140], [200, 84, 186],
    [58, 140, 70], [236, 130, 140], [150, 152, 158], [240, 228, 66],
  ],
};

function between(stops: readonly RGB[], t: number): RGB {
  const x = Math.max(0, Math.min(1, t)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(x)), f = x - i;
  const a = stops[i]!, b = stops[i + 1]!;
  return [0, 1, 2].map((k) => Math.round(a[k]! + (b[k]! - a[k]!) * f)) as unknown as RGB;
}

export function categoryColour(code: number, theme: Theme): RGB {
  const list = CATEGORIES[theme];
  return list[code % list.length]!;
}

export function css(c: RGB): string {
  return `rgb(${c[0]},${c[1]},${c[2]})`;
}

export type Scale = "sequential" | "diverging";

export function scaleColour(scale: Scale, t: number, theme: Theme): RGB {
  return between((scale === "sequential" ? SEQUENTIAL : DIVERGING)[theme], t);
}

export function groundColour(theme: Theme): RGB {
  return GROUND[theme];
}

export function inactiveColour(theme: Theme): RGB {
  return INACTIVE[theme];
}

/** 256 RGBA entries: entry 0 for what lies below, then the scale or the categories. */
export function palette(kind: Scale | "categories", theme: Theme, colours?: readonly RGB[]): Uint8Array {
  const out = new Uint8Array(256 * 4);
  for (let i = 0; i < 256; i++) {
    const c = i === 0 ? INACTIVE[theme]
      : kind === "categories" ? colours?.[i - 1] ?? categoryColour(i - 1, theme)
      : scaleColour(kind, (i - 1) / 254, theme);
    out.set([c[0], c[1], c[2], 255], 4 * i);
  }
  return out;
}

/** What colours a map. */
export type Colouring =
  | { kind: "values"; scale: Scale; values: Float32Array; low: number; high: number; title: string; unit: string; term?: string; zeroBelow: boolean }
  | { kind: "categories"; codes: Uint16Array; names: string[]; title: string; only?: number; colours?: readonly RGB[] };

export const NO_CODE = 65535;

/** One byte per point. Values equal to 0 (where the colouring says so), NaN, missing categories and
 *  points that `keep` leaves out lie below the others. */
export function looks(c: Colouring, keep: Uint8Array | null): Uint8Array {
  if (c.kind === "categories") {
    const out = new Uint8Array(c.codes.length);
    for (let i = 0; i < out.length; i++) {
      const code = c.codes[i]!;
      if (code === NO_CODE || (c.only !== undefined && code !== c.only) || (keep && !keep[i])) continue;
      out[i] = (code % 255) + 1;
    }
    return out;
  }
  const { values, low, high, zeroBelow } = c;
  const out = new Uint8Array(values.length);
  const factor = high > low ? 254 / (high - low) : 0;
  for (let i = 0; i < out.length; i++) {
    const v = values[i]!;
    if (v !== v || (zeroBelow && v === 0) || (keep && !keep[i])) continue;
    out[i] = 1 + Math.max(0, Math.min(254, Math.round((v - low) * factor)));
  }
  return out;
}

/** The value below which `share` of the positive values lie; 1 when there is none. */
export function positiveQuantile(values: Float32Array, share: number): number {
  const positive = values.filter((v) => v > 0).sort();
  if (positive.length === 0) return 1;
  return positive[Math.min(positive.length - 1, Math.floor(share * positive.length))]!;
}
