// What comes from the server. Answers are kept while the study's generation stays the same; a lost
// connection is noticed once, shown in one banner, and everything that failed is asked for again
// when the server is back.
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";

export class Failure extends Error {
  constructor(message: string, readonly status: number, readonly body?: unknown) {
    super(message);
  }
}

/** False while the server does not answer. */
export const connected = signal(true);
/** Grows when failed requests should be made again. */
export const attempt = signal(0);

export const API = "/api/v1";
const KEPT = 300;
const kept = new Map<string, Promise<unknown>>();

export function studyUrl(study: string, path: string): string {
  return `${API}/s/${encodeURIComponent(study)}/${path}`;
}

export function forget(): void {
  kept.clear();
  attempt.value++;
}

async function answer(url: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (cause) {
    if (init?.signal?.aborted) throw cause;
    connected.value = false;
    throw new Failure("The server does not answer.", 0);
  }
  if (!connected.peek()) {
    connected.value = true;
    attempt.value++;
  }
  if (response.ok) return response;
  let text = `${response.status} ${response.statusText}`, body: { error?: unknown } | undefined;
  try {
    body = (await response.json()) as { error?: unknown };
    if (typeof body.error === "string") text = body.error;
  } catch {
    // not JSON: the status line has to do
  }
  throw new Failure(text, response.status, body);
}

function once<T>(url: string, make: () => Promise<T>): Promise<T> {
  const known = kept.get(url) as Promise<T> | undefined;
  if (known) {
    kept.delete(url);
    kept.set(url, known);
    return known;
  }
  const made = make();
  kept.set(url, made);
  made.catch(() => kept.delete(url));
  if (kept.size > KEPT) kept.delete(kept.keys().next().value as string);
  return made;
}

export function getJson<T>(url: string): Promise<T> {
  return once(url, async () => (await (await answer(url)).json()) as T);
}

/** An answer that must be fresh: states, notes. */
export async function getFresh<T>(url: string): Promise<T> {
  return (await (await answer(url, { cache: "no-store" })).json()) as T;
}

export interface Vector {
  type: "u8" | "u16" | "u32" | "f32" | "sparse";
  shape: number[];
  range: number[];
  /** The values; of a sparse vector those of `cells`. */
  values: Uint8Array | Uint16Array | Uint32Array | Float32Array;
  cells: Uint32Array | null;
}

export function getVector(url: string): Promise<Vector> {
  return once(url, async () => {
    const response = await answer(url);
    return vector(response.headers, await response.arrayBuffer());
  });
}

export function vector(headers: Headers, bytes: ArrayBuffer): Vector {
  const type = (headers.get("Cpt-Type") ?? "") as Vector["type"];
  const shape = (headers.get("Cpt-Shape") ?? "").split("x").map(Number);
  const range = (headers.get("Cpt-Range") ?? "").split(",").filter(Boolean).map(Number);
  const n = shape.reduce((a, b) => a * b, 1);
  const width = { u8: 1, u16: 2, u32: 4, f32: 4, sparse: 8 }[type];
  if (!width || !Number.isFinite(n) || bytes.byteLength !== n * width)
    throw new Failure(`A vector of type "${type}" and shape ${shape.join("x")} came with ${bytes.byteLength} bytes.`, 500);
  if (type === "sparse")
    return { type, shape, range, cells: new Uint32Array(bytes, 0, n), values: new Float32Array(bytes, 4 * n, n) };
  const values =
    type === "u8" ? new Uint8Array(bytes)
    : type === "u16" ? new Uint16Array(bytes)
    : type === "u32" ? new Uint32Array(bytes)
    : new Float32Array(bytes);
  return { type, shape, range, cells: null, values };
}

/** One value per cell; absent cells of a sparse vector are 0. */
export function dense(v: Vector, cells: number): Float32Array {
  if (!v.cells) return v.values instanceof Float32Array ? v.values : Float32Array.from(v.values);
  const out = new Float32Array(cells);
  for (let i = 0; i < v.cells.length; i++) out[v.cells[i] as number] = v.values[i] as number;
  return out;
}

export function token(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="conceptome-token"]')?.content ?? "";
}

/** A server that was started again has another token: it stands in the page that it sends now. */
async function renewToken(): Promise<boolean> {
  const text = await (await answer("/", { cache: "no-store" })).text();
  const fresh = new DOMParser().parseFromString(text, "text/html").querySelector<HTMLMetaElement>('meta[name="conceptome-token"]')?.content;
  const mine = document.querySelector<HTMLMetaElement>('meta[name="conceptome-token"]');
  if (!fresh || !mine || fresh === mine.content) return false;
  mine.content = fresh;
  return true;
}

/** Sends bytes or an object. Writes carry the page's token. */
export async function post<T>(url: string, body: object | ArrayBuffer, signal?: AbortSignal): Promise<T> {
  try {
    return await postOnce<T>(url, body, signal);
  } catch (error) {
    if (error instanceof Failure && error.status === 403 && (await renewToken())) return postOnce<T>(url, body, signal);
    throw error;
  }
}

async function postOnce<T>(url: string, body: object | ArrayBuffer, signal?: AbortSignal): Promise<T> {
  const binary = body instanceof ArrayBuffer;
  const response = await answer(url, {
    method: "POST",
    headers: {
      "Content-Type": binary ? "application/octet-stream" : "application/json",
      "X-Conceptome-Token": token(),
    },
    body: binary ? body : JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });
  return (await response.json()) as T;
}

export interface Resource<T> {
  /** The latest answer; the one before while the next is under way (`stale`). */
  data: T | undefined;
  stale: boolean;
  error: Failure | null;
}

function useAnswer<T>(key: string | null, make: (key: string) => Promise<T>): Resource<T> {
  const [state, set] = useState<{ key: string | null; data: T | undefined; error: Failure | null }>({
    key: null, data: undefined, error: null,
  });
  const current = useRef<string | null>(null);
  const tick = attempt.value;
  useEffect(() => {
    current.current = key;
    if (key === null) return;
    let live = true;
    make(key).then(
      (data) => live && set({ key, data, error: null }),
      (error: unknown) => {
        const failure = error instanceof Failure ? error : new Failure(String(error), 0);
        if (live) set({ key, data: undefined, error: failure });
      },
    );
    return () => {
      live = false;
    };
  }, [key, tick]);
  if (key === null) return { data: undefined, stale: false, error: null };
  return { data: state.data, stale: state.key !== key, error: state.key === key ? state.error : null };
}

/** Asks for what must be fresh. Of several questions under way only the last one's answer is told: one that
 *  comes late must not bring back what was before. */
export function useLatest<T>(): (url: string, answered: (data: T) => void, failed: (why: Failure) => void) => void {
  const asked = useRef(0);
  return (url, answered, failed) => {
    const mine = ++asked.current, last = () => mine === asked.current;
    getFresh<T>(url).then((data) => last() && answered(data),
      (e: unknown) => last() && failed(e instanceof Failure ? e : new Failure(String(e), 0)));
  };
}

export function useJson<T>(url: string | null): Resource<T> {
  return useAnswer<T>(url, getJson);
}

export function useVector(url: string | null): Resource<Vector> {
  return useAnswer<Vector>(url, getVector);
}
