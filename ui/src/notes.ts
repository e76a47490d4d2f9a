// What experts say, on its way to the server. Everything typed is a draft first, kept in the browser
// (localStorage) until the server has confirmed the commit; only then is it "saved". Drafts that could
// not be sent are sent again when the server answers, also after the page was closed.
import { computed, effect, signal } from "@preact/signals";
import type { EarlierNote, Note, NoteField, NoteKeys, Notes, SavedNote } from "./api";
import { attempt, connected, Failure, getFresh, post, studyUrl } from "./data";
import { names, state, study } from "./study";
import { did, say } from "./undo";

export interface Draft {
  key: string;
  concept: number;
  field: NoteField;
  author: string;
  value: string;
  base: number;
  status: "waiting" | "saving" | "failed" | "refused" | "conflict";
  why: string;
  theirs: Note | null;
}

const AUTHOR = "conceptome:author";
const DRAFTS = "conceptome:drafts:";
const PAUSE_MS = 900; // of typing, before a draft is sent
const RETRY_MS = 4000;
const DEAD_MS = 15000; // a window that has not been heard of for so long is closed

export const author = signal(localStorage.getItem(AUTHOR) ?? "");
export const notes = signal<Notes | null>(null);
export const keys = signal<string[]>([]);
export const drafts = signal<ReadonlyMap<string, Draft>>(new Map());
/** Why notes cannot be written now; "" = they can. */
export const closed = signal("");

/** Said before it was known what has been said: a key pressed as the page appears. */
interface Early { concept: number; field: NoteField; value: string }
const early = signal<ReadonlyMap<string, Early>>(new Map());
const earlySlot = (concept: number, field: NoteField) => `${concept} ${field}`;
const known = () => notes.value !== null && keys.value.length > 0;

export function setAuthor(name: string): void {
  author.value = name.trim().replace(/\s+/g, " ");
  localStorage.setItem(AUTHOR, author.value);
}

// ---- drafts in the browser: every window keeps its own, and takes over those of windows that are gone ----

interface Kept { alive: number; drafts: Draft[] }
const windowId = (() => {
  const known = sessionStorage.getItem("conceptome:window");
  const id = known ?? Math.random().toString(36).slice(2);
  sessionStorage.setItem("conceptome:window", id);
  return id;
})();

const place = (id: string) => `${DRAFTS}${id}:${windowId}`;
const slot = (d: { author: string; key: string; field: string }) => `${d.author}\n${d.key}\n${d.field}`;

function keep(): void {
  const s = study.peek();
  if (!s) return;
  const all = [...drafts.peek().values()];
  try {
    if (all.length) localStorage.setItem(place(s.id), JSON.stringify({ alive: Date.now(), drafts: all } satisfies Kept));
    else localStorage.removeItem(place(s.id));
  } catch {
    say("The browser's memory is full: what you type is only on this page until it is saved.");
  }
}

function put(d: Draft): void {
  const next = new Map(drafts.peek());
  next.set(slot(d), d);
  drafts.value = next;
  keep();
}

function drop(d: Draft): void {
  const next = new Map(drafts.peek());
  next.delete(slot(d));
  drafts.value = next;
  keep();
}

/** Drafts of this window's last visit and of windows that were closed. */
function takeOver(id: string): void {
  const found = new Map<string, Draft>();
  for (let i = localStorage.length - 1; i >= 0; i--) {
    const name = localStorage.key(i) ?? "";
    if (!name.startsWith(`${DRAFTS}${id}:`)) continue;
    try {
      const kept = JSON.parse(localStorage.getItem(name) ?? "") as Kept;
      if (name !== place(id) && Date.now() - kept.alive < DEAD_MS) continue;
      for (const d of kept.drafts) found.set(slot(d), { ...d, status: d.status === "conflict" ? "conflict" : "failed" });
    } catch {
      // not ours, or cut off
    }
    localStorage.removeItem(name);
  }
  drafts.value = found;
  keep();
}

// ---- what holds ----

let loads = 0; // an earlier list may come later: it is not what holds

async function load(): Promise<void> {
  const s = study.peek(), mine = ++loads;
  if (!s) return;
  try {
    const list = await getFresh<Notes>(studyUrl(s.id, "notes"));
    if (study.peek()?.id === s.id && mine === loads) notes.value = list;
  } catch (error) {
    if (error instanceof Failure && error.status !== 0) closed.value = error.message;
  }
}

async function loadKeys(): Promise<void> {
  const s = study.peek();
  if (!s) return;
  try {
    const known = await getFresh<NoteKeys>(studyUrl(s.id, "notes/keys"));
    if (study.peek()?.generation !== s.generation) return;
    const fit = known.generation === s.generation && known.keys.length === s.concepts;
    keys.value = fit ? known.keys : [];
    closed.value = fit ? "" : "The study is being computed, or has changed: reload the results before writing notes.";
  } catch (error) {
    if (error instanceof Failure && error.status !== 0) closed.value = error.message;
  }
}

export function start(): void {
  let shown = "", generation = "";
  effect(() => {
    const s = study.value;
    if (!s) return;
    if (s.id !== shown) {
      shown = s.id;
      notes.value = null;
      takeOver(s.id);
      void load();
    }
    if (s.id + s.generation !== generation) {
      if (generation && early.peek().size) say("The study has changed: what you have just said is not kept.");
      generation = s.id + s.generation;
      early.value = new Map(); // numbers of other concepts
      keys.value = [];
      void loadKeys();
    }
  });
  effect(() => {
    const now = state.value;
    if (now && notes.peek() && now.notes_revision !== notes.peek()!.revision) void load();
  });
  effect(() => {
    attempt.value;
    if (connected.value && study.peek()) {
      if (!notes.peek()) void load();
      if (!keys.peek().length) void loadKeys();
      flushAll();
    }
  });
  effect(() => {
    if (!known() || !early.value.size) return;
    const said = [...early.peek().values()];
    early.value = new Map();
    for (const e of said) write(e.concept, e.field, e.value, true);
  });
  // The name a table shows: one's own, else the latest of the others.
  effect(() => {
    const found = new Map<number, string>(), own = new Set<number>();
    for (const r of notes.value?.rows ?? []) {
      if (r.field !== "name" || (own.has(r.concept) && r.author !== author.value)) continue;
      if (r.author === author.value) own.add(r.concept);
      found.set(r.concept, r.value);
    }
    names.value = found;
  });
  setInterval(() => {
    if (drafts.peek().size) keep();
    flushAll();
  }, RETRY_MS);
  addEventListener("pagehide", keep);
  addEventListener("beforeunload", (e) => {
    if (drafts.peek().size || early.peek().size) e.preventDefault(); // the browser asks; the drafts are kept either way
  });
}

/** The rows about a concept. */
export function about(concept: number): Note[] {
  return (notes.value?.rows ?? []).filter((r) => r.concept === concept);
}

export function own(concept: number, field: NoteField): Note | undefined {
  return notes.value?.rows.find((r) => r.concept === concept && r.field === field && r.author === author.value);
}

export function draftOf(concept: number, field: NoteField): Draft | undefined {
  const key = keys.value[concept];
  return key ? drafts.value.get(slot({ author: author.value, key, field })) : undefined;
}

/** What the expert sees: the draft, else what is saved. */
export function valueOf(concept: number, field: NoteField): string {
  return early.value.get(earlySlot(concept, field))?.value ?? draftOf(concept, field)?.value ?? own(concept, field)?.value ?? "";
}

/** Said, but not even a draft yet. */
export function isEarly(concept: number, field: NoteField): boolean {
  return early.value.has(earlySlot(concept, field));
}

export const earlier = computed<EarlierNote[]>(() => notes.value?.earlier ?? []);

// ---- saving ----

const timers = new Map<string, number>();

/** Notes a value down; it is sent after a pause in typing, or at once. */
export function write(concept: number, field: NoteField, value: string, now = false): void {
  const key = keys.peek()[concept], who = author.peek();
  if (!who) return;
  if (!key || !notes.peek()) {
    if (!closed.peek()) early.value = new Map(early.peek()).set(earlySlot(concept, field), { concept, field, value });
    return;
  }
  const before = drafts.peek().get(slot({ author: who, key, field }));
  if (!before && value === (own(concept, field)?.value ?? "")) return;
  const base = before ? before.base : own(concept, field)?.revision ?? 0;
  const d: Draft = { key, concept, field, author: who, value, base, status: "waiting", why: "", theirs: null };
  put(d);
  clearTimeout(timers.get(slot(d)));
  timers.set(slot(d), window.setTimeout(() => void flush(slot(d)), now ? 0 : PAUSE_MS));
}

export function flushNow(concept: number, field: NoteField): void {
  const d = draftOf(concept, field);
  if (d && d.status === "waiting") void flush(slot(d));
}

function flushAll(): void {
  for (const [name, d] of drafts.peek()) if (d.status === "failed") void flush(name);
}

function replaceRow(row: Note): void {
  const list = notes.peek();
  if (!list) return;
  const rows = list.rows.filter((r) => !(r.key === row.key && r.field === row.field && r.author === row.author));
  notes.value = { ...list, rows: row.value ? [...rows, row] : rows };
}

async function flush(name: string): Promise<void> {
  const d = drafts.peek().get(name), s = study.peek();
  if (!d || !s || d.status === "saving" || d.status === "conflict") return;
  put({ ...d, status: "saving" });
  try {
    const saved = await post<SavedNote>(studyUrl(s.id, "notes"), { author: d.author, key: d.key, field: d.field, value: d.value, base: d.base });
    const now = drafts.peek().get(name);
    if (keys.peek()[d.concept] === d.key)
      replaceRow({ concept: d.concept, key: d.key, field: d.field, value: d.value, author: d.author, time: saved.time, revision: saved.revision });
    if (now && now.value !== d.value) put({ ...now, base: saved.revision, status: "waiting" }); // typed on meanwhile
    else drop(d);
    if (now && now.value !== d.value) void flush(name);
    if (saved.earlier) say("The study was run again meanwhile: this note is kept with the concept of the earlier dictionary.");
    else did(`the ${d.field} of c${d.concept}`, undoLast);
  } catch (error) {
    const now = drafts.peek().get(name) ?? d;
    if (!(error instanceof Failure)) throw error;
    if (error.status === 409) put({ ...now, status: "conflict", theirs: (error.body as SavedNote | undefined)?.now ?? null, base: (error.body as SavedNote | undefined)?.revision ?? now.base });
    else put({ ...now, status: error.status >= 400 && error.status < 500 && error.status !== 403 ? "refused" : "failed", why: error.message });
  }
}

/** After a conflict: keeps one's own words, or those of the other window. */
export function settle(concept: number, field: NoteField, mine: boolean): void {
  const d = draftOf(concept, field);
  if (!d || d.status !== "conflict") return;
  if (!mine) {
    drop(d);
    void load();
    return;
  }
  put({ ...d, status: "waiting", theirs: null });
  void flush(slot(d));
}

async function undoLast(): Promise<void> {
  const s = study.peek();
  if (!s || !author.peek()) return;
  await post(studyUrl(s.id, "notes/undo"), { author: author.peek() });
  await load();
}

export async function redo(): Promise<void> {
  const s = study.peek();
  if (!s || !author.peek()) return say("Nothing to do again.");
  const answer = await post<{ redone: Note | null }>(studyUrl(s.id, "notes/redo"), { author: author.peek() });
  say(answer.redone ? `Done again: the ${answer.redone.field}${answer.redone.concept === null ? "" : ` of c${answer.redone.concept}`}.` : "Nothing to do again.");
  await load();
}

export { load as reloadNotes };
