// The place in the application is the URL's fragment and nothing else:
//   #/{study}/{page}/{id}/{tab}?key=value
// Whatever a reader would want to send to a colleague (colouring, zoom, filter, sort, selection) is
// a key of the query, so that a copied address shows the same picture.
import { computed, signal } from "@preact/signals";

export interface Place {
  study: string;
  page: string;
  id: string;
  tab: string;
  query: Readonly<Record<string, string>>;
}

export interface Change {
  study?: string;
  page?: string;
  id?: string;
  tab?: string;
  /** Keys to set; "" or null removes the key. */
  query?: Record<string, string | null>;
}

/** Keys that stay when the page changes: the list of concepts that j and k walk along. */
const LASTING = ["q", "sort"];

export function parse(hash: string): Place {
  const text = hash.replace(/^#\/?/, "");
  const cut = text.indexOf("?");
  const path = (cut < 0 ? text : text.slice(0, cut)).split("/").map(decode);
  const query: Record<string, string> = {};
  if (cut >= 0) for (const [key, value] of new URLSearchParams(text.slice(cut + 1))) query[key] = value;
  return { study: path[0] ?? "", page: path[1] || "landscape", id: path[2] ?? "", tab: path[3] ?? "", query };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function format(place: Place): string {
  const parts = [place.study, place.page, place.id, place.tab].map(encodeURIComponent);
  while (parts.length > 1 && parts[parts.length - 1] === "") parts.pop();
  const query = new URLSearchParams();
  for (const key of Object.keys(place.query).sort()) {
    const value = place.query[key];
    if (value) query.set(key, value);
  }
  const tail = query.toString();
  return `#/${parts.join("/")}${tail ? `?${tail}` : ""}`;
}

export function changed(from: Place, change: Change): Place {
  const moves = (change.study !== undefined && change.study !== from.study) ||
    (change.page !== undefined && change.page !== from.page);
  const base: Record<string, string> = {};
  for (const key of Object.keys(from.query))
    if (!moves || (LASTING.includes(key) && change.study === undefined)) base[key] = from.query[key] ?? "";
  for (const [key, value] of Object.entries(change.query ?? {})) {
    if (value) base[key] = value;
    else delete base[key];
  }
  return {
    study: change.study ?? from.study,
    page: change.page ?? from.page,
    id: change.id ?? (moves ? "" : from.id),
    tab: change.tab ?? (moves ? "" : from.tab),
    query: base,
  };
}

const start = typeof location === "undefined" ? "" : location.hash;
export const place = signal<Place>(parse(start));
export const query = computed(() => place.value.query);

export function href(change: Change): string {
  return format(changed(place.value, change));
}

/** Goes there. `replace` leaves no entry in the history: for zooming, typing and the like. */
export function go(change: Change, replace = false): void {
  const next = changed(place.peek(), change);
  const target = format(next);
  if (target === location.hash) return;
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  place.value = next;
}

export function listen(): void {
  const read = () => (place.value = parse(location.hash));
  addEventListener("hashchange", read);
  addEventListener("popstate", read);
}
