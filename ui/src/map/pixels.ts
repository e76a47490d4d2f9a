// The renderer without WebGL: squares or discs written into an image, lowest index first.
import type { View } from "./camera";
import type { Renderer } from "./renderer";

/** Half-widths of the rows of a disc of diameter d: row r covers x - w[r] .. x + w[r]. */
function disc(d: number): Int32Array {
  const rows = new Int32Array(d), r = d / 2;
  for (let i = 0; i < d; i++) {
    const y = i + 0.5 - r;
    rows[i] = Math.max(1, Math.round(Math.sqrt(Math.max(0, r * r - y * y))));
  }
  return rows;
}

export function pixelRenderer(canvas: HTMLCanvasElement): Renderer {
  const context = canvas.getContext("2d");
  const colours = new Uint32Array(256);
  let xy = new Uint16Array(0), index = new Uint8Array(0), order = new Uint32Array(0);

  // Counting sort by index: what lies above comes later.
  function sort(ordered: boolean): void {
    const start = new Uint32Array(257);
    const key = (i: number) => (ordered ? index[i]! : index[i] === 0 ? 0 : 1);
    for (let i = 0; i < index.length; i++) start[key(i) + 1]!++;
    for (let b = 0; b < 256; b++) start[b + 1]! += start[b]!;
    order = new Uint32Array(index.length);
    for (let i = 0; i < index.length; i++) order[start[key(i)]!++] = i;
  }

  return {
    kind: "pixels",
    positions: (p) => void (xy = p as typeof xy),
    values(values, ordered) {
      index = values as typeof index;
      sort(ordered);
    },
    palette: (rgba) => colours.set(new Uint32Array(rgba.slice().buffer)),
    draw(v: View, size) {
      const w = canvas.width, h = canvas.height;
      if (!context || w === 0 || h === 0) return;
      const image = context.createImageData(w, h);
      const pixels = new Uint32Array(image.data.buffer);
      const big = disc(Math.max(1, Math.round(size))), small = disc(Math.max(1, Math.round(size * 0.8)));
      const sx = v.sx / 65534, sy = v.sy / 65534;
      for (let k = 0; k < order.length && xy.length === 2 * order.length; k++) {
        const i = order[k]!, look = index[i]!;
        if (xy[2 * i] === 65535) continue;
        const rows = look === 0 ? small : big, half = rows.length >> 1, colour = colours[look]!;
        const px = Math.round(xy[2 * i]! * sx + v.ox), py = Math.round(xy[2 * i + 1]! * sy + v.oy) - half;
        if (px + half < 0 || px - half >= w || py + rows.length < 0 || py >= h) continue;
        for (let r = 0; r < rows.length; r++) {
          const y = py + r;
          if (y < 0 || y >= h) continue;
          const reach = rows[r]!;
          const from = Math.max(0, px - reach), to = Math.min(w, px + reach + (rows.length & 1) - (rows.length === 1 ? 1 : 0));
          for (let x = from; x < Math.max(to, from + 1) && x < w; x++) pixels[y * w + x] = colour;
        }
      }
      context.putImageData(image, 0, 0);
    },
    free: () => undefined,
  };
}
