// What a reader takes away: tables as TSV, pictures as SVG and PNG. Pictures carry their colours
// with them, since a file does not know the page's style sheet.
import { say } from "./undo";

export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  say(`Saved ${name}.`);
}

/** A name that every file system takes. */
export function fileName(...parts: string[]): string {
  return parts.join("_").replace(/[^A-Za-z0-9._-]+/g, "-");
}

/** Tabs and line ends within a value become spaces: a table's line is a line. */
export function tsv(head: string[], rows: Iterable<readonly (string | number | null | undefined)[]>): string {
  const field = (v: string | number | null | undefined) =>
    v === null || v === undefined || (typeof v === "number" && !Number.isFinite(v)) ? "NA" : String(v).replace(/[\t\r\n]+/g, " ");
  const lines = [head.map(field).join("\t")];
  for (const row of rows) lines.push(row.map(field).join("\t"));
  return lines.join("\n") + "\n";
}

export function saveTsv(name: string, text: string): void {
  save(new Blob([text], { type: "text/tab-separated-values" }), `${name}.tsv`);
}

/** The same rows as objects, as a program wants them. */
export function saveJson(name: string, head: string[], rows: Iterable<readonly (string | number | null | undefined)[]>): void {
  const objects = Array.from(rows, (row) => Object.fromEntries(head.map((key, i) => [key, row[i] ?? null])));
  save(new Blob([JSON.stringify(objects, null, 1), "\n"], { type: "application/json" }), `${name}.json`);
}

const LOOK = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity",
  "font-family", "font-size", "font-weight", "text-anchor", "dominant-baseline", "font-variant-numeric"];

/** A drawing that stands alone: computed looks written into every element. */
export function standalone(svg: SVGSVGElement): SVGSVGElement {
  const copy = svg.cloneNode(true) as SVGSVGElement;
  const from = [svg, ...svg.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((element, i) => {
    const look = getComputedStyle(element);
    for (const name of LOOK) {
      const value = look.getPropertyValue(name);
      if (value) to[i]!.setAttribute(name, value);
    }
    to[i]!.removeAttribute("class");
  });
  const { width, height } = svg.getBoundingClientRect();
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", String(width));
  copy.setAttribute("height", String(height));
  if (!copy.hasAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [k, v] of [["width", "100%"], ["height", "100%"], ["fill", background()]] as const) ground.setAttribute(k, v);
  copy.prepend(ground);
  return copy;
}

export function background(): string {
  return getComputedStyle(document.documentElement).getPropertyValue("--ground").trim() || "#fff";
}

/** `svg` stands alone already (see `standalone`). */
export function saveSvg(svg: SVGSVGElement, name: string): void {
  save(new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" }), `${name}.svg`);
}

const SCALE = 2; // twice the screen: enough for print

export async function savePng(svg: SVGSVGElement, name: string): Promise<void> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(svg))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Number(svg.getAttribute("width")) * SCALE;
  canvas.height = Number(svg.getAttribute("height")) * SCALE;
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => blob && save(blob, `${name}.png`), "image/png");
}

/** An SVG element from a tag, its attributes and its children or text. */
export function element(tag: string, attributes: Record<string, string | number>, ...children: (SVGElement | string)[]): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}
