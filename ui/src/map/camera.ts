// Where one looks at a map: the centre in map units (0..1 each way) and a zoom (1 = all of it).
export interface Camera {
  x: number;
  y: number;
  zoom: number;
}

export const WHOLE: Camera = { x: 0.5, y: 0.5, zoom: 1 };
const MARGIN = 0.94;

/** Pixels of a map's unit square at zoom 1 that keep its aspect within a frame. */
export function extent(width: number, height: number, aspect: number): [number, number] {
  const w = Math.min(width, height * aspect) * MARGIN;
  return [w, w / aspect];
}

/** screen = offset + map * scale, in pixels; y grows upwards on the map and downwards on screen. */
export interface View {
  sx: number; sy: number; ox: number; oy: number;
}

export function viewOf(c: Camera, width: number, height: number, aspect: number): View {
  const [w, h] = extent(width, height, aspect);
  const sx = w * c.zoom, sy = -h * c.zoom;
  return { sx, sy, ox: width / 2 - c.x * sx, oy: height / 2 - c.y * sy };
}

export function zoomAt(c: Camera, v: View, px: number, py: number, factor: number): Camera {
  const zoom = Math.max(0.5, Math.min(400, c.zoom * factor));
  const ratio = c.zoom / zoom;
  const x = (px - v.ox) / v.sx, y = (py - v.oy) / v.sy;
  return { x: x + (c.x - x) * ratio, y: y + (c.y - y) * ratio, zoom };
}

export function formatCamera(c: Camera): string {
  if (c.zoom === 1 && c.x === 0.5 && c.y === 0.5) return "";
  return [c.x.toFixed(4), c.y.toFixed(4), c.zoom.toFixed(3)].join(",");
}

export function parseCamera(text: string | undefined): Camera {
  const [x, y, zoom] = (text ?? "").split(",").map(Number);
  if (!Number.isFinite(x) || !Number.isFinite(y) || !(zoom! > 0)) return WHOLE;
  return { x: x!, y: y!, zoom: Math.max(0.5, Math.min(400, zoom!)) };
}
