// Walking along the landscape's list of concepts: j and k, on every page.
import { signal } from "@preact/signals";
import { type Change, go, place } from "./router";
import { listed } from "./study";

/** The concept seen last; where the bar's link and the walk start from. */
export const lastConcept = signal(0);

/** To another concept. What belongs to the concept before (a gene's colours, a range) stays behind. */
export function toConcept(c: number): Change {
  const now = place.value;
  const own = ["range", "term", "cell", "gq", ...(now.query.color?.startsWith("column:") ? [] : ["color"])];
  return { page: "concept", id: String(c), query: Object.fromEntries(own.map((k) => [k, null])) };
}

export function step(by: 1 | -1): void {
  const list = listed.peek();
  const now = place.peek();
  if (list.length === 0) return;
  const at = now.page === "concept" ? list.indexOf(Number(now.id)) : list.indexOf(lastConcept.peek()) - (now.page === "landscape" ? 0 : by);
  const next = list[at < 0 ? 0 : Math.max(0, Math.min(list.length - 1, at + by))]!;
  lastConcept.value = next; // before anything is drawn: the next key may come sooner
  if (now.page === "concept") go(toConcept(next));
  else if (now.page === "landscape") go({ query: { at: String(next) } }, true);
  else go({ page: "concept", id: String(next) });
}
