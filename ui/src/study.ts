// The study on the screen: its head, its table of concepts, its map. Loaded once per generation.
import { computed, effect, signal } from "@preact/signals";
import type { Concepts, Info, State, Study } from "./api";
import { attempt, connected, Failure, forget, getFresh, getJson, getVector, studyUrl, API } from "./data";
import { filterConcepts, sortConcepts } from "./filter";
import { go, place, query } from "./router";
import type { Points } from "./map/points";
import { pointsFromVector } from "./map/points";

export const info = signal<Info | null>(null);
export const study = signal<Study | null>(null);
export const concepts = signal<Concepts | null>(null);
export const umap = signal<Points | null>(null);
export const failure = signal<Failure | null>(null);
export const state = signal<State | null>(null);
/** True when the study on disk is newer than what the page shows. */
export const changedOnDisk = signal(false);
/** Expert names by concept, from the notes (set by the notes' part when there is one). */
export const names = signal<ReadonlyMap<number, string>>(new Map());

/** The best first; "concept" sorts by number. */
export const DEFAULT_SORT = "-quality";

const id = computed(() => place.value.study);

/** The concepts of the landscape in its order: what j and k walk along. */
export const listed = computed<Uint32Array>(() => {
  const table = concepts.value;
  if (!table) return new Uint32Array(0);
  const kept = filterConcepts(table, query.value.q ?? "", names.value);
  return sortConcepts(table, kept, query.value.sort ?? DEFAULT_SORT);
});

export function url(path: string): string {
  return studyUrl(id.value, path);
}

async function load(): Promise<void> {
  try {
    const heads = await getFresh<Info>(`${API}/info`);
    info.value = heads;
    const wanted = id.peek();
    if (!heads.studies.some((s) => s.id === wanted)) {
      const first = heads.studies[0];
      if (!first) throw new Failure("The server holds no study.", 404);
      if (wanted) throw new Failure(`There is no study "${wanted}" here.`, 404);
      go({ study: first.id }, true);
      return;
    }
    const [s, c, u] = await Promise.all([
      getJson<Study>(studyUrl(wanted, "study")),
      getJson<Concepts>(studyUrl(wanted, "concepts")),
      getVector(studyUrl(wanted, "vec/umap")),
    ]);
    if (id.peek() !== wanted) return;
    study.value = s;
    umap.value = pointsFromVector(u);
    concepts.value = c;
    failure.value = null;
    changedOnDisk.value = false;
  } catch (error) {
    failure.value = error instanceof Failure ? error : new Failure(String(error), 0);
  }
}

/** Throws away what is held and reads the study anew. */
export function reload(): void {
  forget();
}

const POLL_MS = 4000, INDEXING_MS = 1000;
const RETRY_MS = 1000;

async function poll(): Promise<void> {
  const wanted = id.peek();
  if (wanted && study.peek()) {
    try {
      const now = await getFresh<State>(studyUrl(wanted, "state"));
      if (id.peek() === wanted) {
        const indexed = state.peek()?.indexing && !now.indexing; // nothing that was shown has become wrong
        state.value = now;
        if (now.generation !== study.peek()?.generation) {
          if (indexed) reload();
          else changedOnDisk.value = true;
        }
      }
    } catch {
      // the banner tells; the next round asks again
    }
  } else if (!connected.peek()) {
    await getFresh<Info>(`${API}/info`).catch(() => undefined);
  }
  setTimeout(() => void poll(), !connected.peek() ? RETRY_MS : state.peek()?.indexing ? INDEXING_MS : POLL_MS);
}

export function start(): void {
  effect(() => {
    id.value;
    attempt.value;
    if (study.peek() && study.peek()?.id !== id.value) {
      study.value = null;
      concepts.value = null;
      umap.value = null;
      state.value = null;
    }
    void load();
  });
  void poll();
}

export function conceptName(c: number): string {
  const name = names.value.get(c);
  return name ? `c${c} ${name}` : `c${c}`;
}

/** The label, donor and batch columns first: what composition and colouring offer. */
export function categoryColumns(s: Study): string[] {
  const rank = { label: 0, donor: 1, batch: 2 };
  return s.columns
    .filter((c) => c.kind === "category")
    .map((c, i) => ({ name: c.name, key: (c.role ? rank[c.role] : 3) * 1000 + i }))
    .sort((a, b) => a.key - b.key)
    .map((c) => c.name);
}
