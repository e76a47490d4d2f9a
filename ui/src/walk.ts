// Walking along the landscape's list of concepts: j and k, on every page.
import { signal } from "@preact/signals";
import { go, place } from "./router";
import { listed } from "./study";

/** The concept seen last; where the bar's link and the walk start from. */
export const lastConcept = signal(0);

export function step(by: 1 | -1): void {
  const list = listed.peek();
  const now = place.peek();
  if (list.length === 0) return;
  const at = now.page === "concept" ? list.indexOf(Number(now.id)) : list.indexOf(lastConcept.peek()) - (now.page === "landscape" ? 0 : by);
  const next = list[at < 0 ? 0 : Math.max(0, Math.min(list.length - 1, at + by))]!;
  // A gene or a range belongs to the concept before; a column stays.
  const color = now.query.color?.startsWith("column:") ? now.query.color : null;
  if (now.page === "concept") go({ id: String(next), query: { color, range: null, term: null, cell: null, gq: null } });
  else if (now.page === "landscape") go({ query: { at: String(next) } }, true);
  else go({ page: "concept", id: String(next) });
}
