// A map of points with its gestures (pan, zoom, pick, lasso), its legend and its export.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { groundColour, looks, palette, type Colouring } from "../colour";
import { element, background, fileName, savePng, saveSvg } from "../export";
import { go, query } from "../router";
import { simplify } from "../selection";
import { theme } from "../theme";
import { type Camera, formatCamera, parseCamera, viewOf, WHOLE, zoomAt } from "./camera";
import { Legend, legendPicture } from "./legend";
import { nearest, NOWHERE, type Points } from "./points";
import { makeRenderer, type Renderer } from "./renderer";

export interface MapProps {
  points: Points;
  colouring: Colouring | null;
  keep?: Uint8Array | null;
  /** Says in words what is shown, for those who do not see it. */
  label: string;
  name: string; // of exported files
  /** Query key of the camera; none: the camera is not part of the address. */
  camera?: string;
  lasso?: boolean;
  onLasso?: (polygon: Uint16Array) => void;
  onPick?: (point: number) => void;
  hover?: (point: number) => ComponentChildren;
  /** Points with a ring. */
  ring?: number[];
  outlines?: { polygon: Uint16Array; name: string }[];
  tools?: ComponentChildren;
  big?: boolean; // points are concepts, not cells
  onLegend?: (code: number) => void;
  note?: string;
}

const PICK_RADIUS = 9; // pixels

function pointSize(p: Points, width: number, height: number, zoom: number, big: boolean): number {
  const room = Math.sqrt((width * height) / Math.max(1, p.placed));
  const size = room * (big ? 0.45 : 0.34) * Math.pow(zoom, 0.6);
  return Math.max(big ? 5 : 1.6, Math.min(big ? 16 : 9, size));
}

export function MapView(props: MapProps) {
  const { points, colouring, keep = null, big = false } = props;
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const trail = useRef<SVGPathElement>(null);
  const renderer = useRef<Renderer | null>(null);
  const [size, setSize] = useState<[number, number]>([0, 0]);
  const [broken, setBroken] = useState(0);
  const kept = props.camera ? query.value[props.camera] : undefined;
  const [camera, setCamera] = useState<Camera>(() => parseCamera(kept));
  const written = useRef(kept ?? "");
  const [over, setOver] = useState(-1);
  const shade = theme.value;

  // The address leads when it changes from elsewhere (back, a pasted link).
  useEffect(() => {
    if (!props.camera || (kept ?? "") === written.current) return;
    written.current = kept ?? "";
    setCamera(parseCamera(kept));
  }, [kept]);
  useEffect(() => {
    if (!props.camera) return;
    const text = formatCamera(camera), key = props.camera;
    if (text === written.current) return;
    const timer = setTimeout(() => {
      written.current = text;
      go({ query: { [key]: text } }, true);
    }, 200);
    return () => clearTimeout(timer);
  }, [camera]);

  useLayoutEffect(() => {
    const el = frame.current!;
    const measure = () => setSize([el.clientWidth, el.clientHeight]);
    const seen = new ResizeObserver(measure);
    seen.observe(el);
    measure();
    return () => seen.disconnect();
  }, []);

  // A renderer lives as long as its canvas; a lost context gets a new canvas (key) and renderer.
  useLayoutEffect(() => {
    const el = canvas.current!;
    const made = makeRenderer(el);
    renderer.current = made;
    el.dataset["renderer"] = made.kind;
    const lost = (e: Event) => {
      e.preventDefault();
      setBroken((b) => b + 1);
    };
    el.addEventListener("webglcontextlost", lost);
    return () => {
      el.removeEventListener("webglcontextlost", lost);
      renderer.current = null;
      made.free();
    };
  }, [broken]);

  const bytes = useMemo(() => (colouring ? looks(colouring, keep) : new Uint8Array(points.n)), [colouring, keep, points]);
  useLayoutEffect(() => renderer.current?.positions(points.xy), [points, broken]);
  useLayoutEffect(() => renderer.current?.values(bytes, colouring?.kind === "values"), [bytes, broken]);
  useLayoutEffect(() => {
    const kind = !colouring ? "sequential" : colouring.kind === "categories" ? "categories" : colouring.scale;
    renderer.current?.palette(palette(kind, shade, colouring?.kind === "categories" ? colouring.colours : undefined), groundColour(shade));
  }, [colouring, shade, broken]);

  const [width, height] = size;
  const view = viewOf(camera, width, height, points.aspect);
  const dot = pointSize(points, width, height, camera.zoom, big);

  function draw(scale: number): void {
    const el = canvas.current, r = renderer.current;
    if (!el || !r || width === 0) return;
    const w = Math.round(width * scale), h = Math.round(height * scale);
    if (el.width !== w || el.height !== h) [el.width, el.height] = [w, h];
    r.draw({ sx: view.sx * scale, sy: view.sy * scale, ox: view.ox * scale, oy: view.oy * scale }, dot * scale);
  }
  useEffect(() => {
    const request = requestAnimationFrame(() => draw(Math.min(2, devicePixelRatio || 1)));
    return () => cancelAnimationFrame(request);
  }, [points, bytes, shade, camera, width, height, broken, colouring]);

  const toMap = (px: number, py: number): [number, number] =>
    [((px - view.ox) / view.sx) * 65534, ((py - view.oy) / view.sy) * 65534];
  const toScreen = (x: number, y: number): [number, number] =>
    [(x / 65534) * view.sx + view.ox, (y / 65534) * view.sy + view.oy];

  function pick(px: number, py: number): number {
    const [x, y] = toMap(px, py);
    const rx = (PICK_RADIUS / Math.abs(view.sx)) * 65534, ry = (PICK_RADIUS / Math.abs(view.sy)) * 65534;
    const above = nearest(points, x, y, rx, ry, (i) => bytes[i] !== 0);
    return above >= 0 ? above : nearest(points, x, y, rx, ry);
  }

  const hands = useGestures({ frame, trail, lasso: props.lasso ?? false, camera, view, setCamera, toMap, pick, setOver,
    onLasso: props.onLasso, onPick: props.onPick });

  const picture = () => mapPicture(canvas.current!, () => draw(2), width, height, props.label, colouring, shade, points);
  const zoomBy = (f: number) => setCamera(zoomAt(camera, view, width / 2, height / 2, f));
  const rings = [...(props.ring ?? []), ...(over >= 0 ? [over] : [])].filter((i) => i < points.n && points.xy[2 * i] !== NOWHERE);

  return (
    <div class={`map${props.lasso ? " lassoing" : ""}`}>
      <div class="map-tools">
        {props.tools}
        <span class="spacer" />
        <span class="choice" role="group" aria-label="Zoom">
          <button type="button" aria-label="Zoom in" data-tip="Zoom in" onClick={() => zoomBy(1.6)}>+</button>
          <button type="button" aria-label="Zoom out" data-tip="Zoom out" onClick={() => zoomBy(1 / 1.6)}>−</button>
          <button type="button" aria-label="Show the whole map" data-tip="Show the whole map" onClick={() => setCamera(WHOLE)}>⤢</button>
        </span>
        <span class="choice" role="group" aria-label="Save the map">
          <button type="button" data-tip="Save the map as PNG" onClick={() => void savePng(picture(), fileName(props.name, "map"))}>PNG</button>
          <button type="button" data-tip="Save the map as SVG (points as an image, legend as text)" onClick={() => saveSvg(picture(), fileName(props.name, "map"))}>SVG</button>
        </span>
      </div>
      <div class="map-frame" ref={frame} {...hands} tabIndex={0} role="img" aria-label={props.label}
        onKeyDown={(e) => {
          if (e.target !== e.currentTarget) return;
          const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[e.key];
          if (!step) return;
          e.preventDefault();
          setCamera({ ...camera, x: camera.x + step[0]! / camera.zoom, y: camera.y + step[1]! / camera.zoom });
        }}>
        <canvas key={broken} ref={canvas} />
        <svg class="overlay" aria-hidden="true" width={width} height={height}>
          {props.outlines?.map((o) => {
            const d = Array.from({ length: o.polygon.length >> 1 }, (_, k) =>
              toScreen(o.polygon[2 * k]!, o.polygon[2 * k + 1]!).map((v) => v.toFixed(1)).join(",")).join("L");
            return <path key={o.name + d.length} class={`outline ${o.name}`} d={`M${d}Z`} />;
          })}
          <path ref={trail} class="trail" />
          {rings.map((i) => {
            const [x, y] = toScreen(points.xy[2 * i]!, points.xy[2 * i + 1]!);
            return <circle key={i} class="ring" cx={x} cy={y} r={dot / 2 + 3} />;
          })}
        </svg>
        {over >= 0 && props.hover && <div class="map-hover">{props.hover(over)}</div>}
      </div>
      {colouring && <Legend colouring={colouring} onPick={props.onLegend} note={props.note} />}
    </div>
  );
}

interface Hands {
  frame: { current: HTMLDivElement | null };
  trail: { current: SVGPathElement | null };
  lasso: boolean;
  camera: Camera;
  view: ReturnType<typeof viewOf>;
  setCamera: (c: Camera) => void;
  toMap: (px: number, py: number) => [number, number];
  pick: (px: number, py: number) => number;
  setOver: (i: number) => void;
  onLasso: ((polygon: Uint16Array) => void) | undefined;
  onPick: ((i: number) => void) | undefined;
}

/** One pointer pans (or draws the lasso), two pinch, the wheel zooms, a click picks. */
function useGestures(h: Hands) {
  const latest = useRef(h);
  latest.current = h;
  const down = useRef(new Map<number, { x: number; y: number }>());
  const path = useRef<number[]>([]);
  const moved = useRef(0);

  useEffect(() => {
    const el = h.frame.current!;
    const wheel = (e: WheelEvent) => {
      e.preventDefault();
      const { camera, view, setCamera } = latest.current, box = el.getBoundingClientRect();
      const step = Math.max(-60, Math.min(60, e.deltaY * (e.deltaMode === 1 ? 16 : 1)));
      setCamera(zoomAt(camera, view, e.clientX - box.left, e.clientY - box.top, Math.exp(-step * 0.005)));
    };
    el.addEventListener("wheel", wheel, { passive: false });
    return () => el.removeEventListener("wheel", wheel);
  }, []);

  const at = (e: PointerEvent) => {
    const box = h.frame.current!.getBoundingClientRect();
    return { x: e.clientX - box.left, y: e.clientY - box.top };
  };
  const drawing = (e: PointerEvent) => (h.lasso || e.shiftKey) && h.onLasso !== undefined;

  return {
    onPointerDown(e: PointerEvent) {
      if (e.button !== 0) return;
      h.frame.current!.setPointerCapture(e.pointerId);
      down.current.set(e.pointerId, at(e));
      moved.current = 0;
      path.current = drawing(e) && down.current.size === 1 ? [...Object.values(at(e))] as number[] : [];
    },
    onPointerMove(e: PointerEvent) {
      const now = at(e), before = down.current.get(e.pointerId);
      if (!before) {
        if (e.pointerType !== "touch") h.setOver(h.pick(now.x, now.y));
        return;
      }
      moved.current += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
      if (path.current.length) {
        path.current.push(now.x, now.y);
        h.trail.current?.setAttribute("d", `M${path.current.join(" ")}`);
      } else if (down.current.size === 1) {
        h.setCamera({ ...h.camera, x: h.camera.x - (now.x - before.x) / h.view.sx, y: h.camera.y - (now.y - before.y) / h.view.sy });
      } else {
        const [a, b] = [...down.current.keys()];
        const other = down.current.get(a === e.pointerId ? b! : a!)!;
        const was = Math.hypot(before.x - other.x, before.y - other.y), is = Math.hypot(now.x - other.x, now.y - other.y);
        if (was > 0) h.setCamera(zoomAt(h.camera, h.view, (now.x + other.x) / 2, (now.y + other.y) / 2, is / was));
      }
      down.current.set(e.pointerId, now);
    },
    onPointerUp(e: PointerEvent) {
      if (!down.current.delete(e.pointerId)) return;
      const drawn = path.current;
      path.current = [];
      h.trail.current?.removeAttribute("d");
      if (drawn.length >= 12 && h.onLasso) {
        const map: number[] = [];
        for (let k = 0; k < drawn.length; k += 2) map.push(...h.toMap(drawn[k]!, drawn[k + 1]!));
        const polygon = simplify(map);
        if (polygon.length >= 6) h.onLasso(polygon);
      } else if (moved.current < 4) {
        const now = at(e), i = h.pick(now.x, now.y);
        if (i >= 0) h.onPick?.(i);
      }
    },
    onPointerCancel(e: PointerEvent) {
      down.current.delete(e.pointerId);
      path.current = [];
      h.trail.current?.removeAttribute("d");
    },
    onPointerLeave: () => h.setOver(-1),
  };
}

/** The map with title and legend as a drawing of its own. */
function mapPicture(canvas: HTMLCanvasElement, draw: () => void, width: number, height: number, title: string,
                    colouring: Colouring | null, shade: "light" | "dark", points: Points): SVGSVGElement {
  draw();
  const image = canvas.toDataURL("image/png");
  const ink = getComputedStyle(canvas).color;
  const font = { "font-family": "Helvetica, Arial, sans-serif", fill: ink };
  const legend = colouring ? legendPicture(colouring, shade, font, 12, height + 40) : { parts: [], height: 0 };
  const tall = height + 52 + legend.height;
  const svg = element("svg", { xmlns: "http://www.w3.org/2000/svg", width, height: tall, viewBox: `0 0 ${width} ${tall}` },
    element("rect", { width, height: tall, fill: background() }),
    element("text", { x: 12, y: 20, "font-size": 13, ...font }, title),
    element("image", { x: 0, y: 24, width, height, href: image }),
    ...legend.parts,
    element("text", { x: width - 12, y: tall - 8, "font-size": 10, "text-anchor": "end", ...font }, `n = ${points.placed} points`));
  return svg as SVGSVGElement;
}
