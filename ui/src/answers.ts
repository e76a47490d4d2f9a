// What an expert says about the items of a blind review, kept in the browser until the server has it.
import { Failure, post } from "./data";
import { url } from "./study";
import { say } from "./undo";

/** What is said about an item. `asked`: the expert has asked to save it; it is sent until the server has it. */
export interface Answer { rating: string; confidence: string; label: string; note: string; seconds: number; asked: boolean }
const NOTHING: Answer = { rating: "", confidence: "", label: "", note: "", seconds: 0, asked: false };
const kept = (session: string, item: string) => `conceptome:answer:${session}:${item}`;

export function readAnswer(session: string, item: string): Answer {
  try {
    return { ...NOTHING, ...(JSON.parse(localStorage.getItem(kept(session, item)) ?? "{}") as Partial<Answer>) };
  } catch {
    return NOTHING;
  }
}

export function keepAnswer(session: string, item: string, a: Answer): void {
  try {
    localStorage.setItem(kept(session, item), JSON.stringify(a));
  } catch {
    say("The browser's memory is full: what you say is only on this page until it is saved.");
  }
}

/** The server has `a`. What was said since then stays. */
export function forgetAnswer(session: string, item: string, a: Answer): void {
  if (JSON.stringify(readAnswer(session, item)) === JSON.stringify(a)) localStorage.removeItem(kept(session, item));
}

/** Resolves to the number of items answered. */
export async function send(session: string, item: string, a: Answer): Promise<number> {
  const said = { rating: Number(a.rating), confidence: Number(a.confidence), label: a.label.trim(), note: a.note, seconds: a.seconds };
  return (await post<{ answered: number }>(url(`review/${session}/${item}`), said)).answered;
}

/** The server does not take it, now or later. */
export const refuses = (e: unknown) => e instanceof Failure && e.status >= 400 && e.status < 500 && e.status !== 403;

/** Sends what was asked to be saved, and was left before the server had it; not the item on the screen. */
export async function sendLeft(session: string, shown: string, answered: (n: number) => void): Promise<void> {
  const start = kept(session, "");
  for (const name of Object.keys(localStorage).filter((n) => n.startsWith(start) && n !== start + shown)) {
    const item = name.slice(start.length), a = readAnswer(session, item);
    if (!a.asked || !a.rating || !a.confidence) continue;
    try {
      answered(await send(session, item, a));
      forgetAnswer(session, item, a);
    } catch (e) {
      if (refuses(e)) keepAnswer(session, item, { ...a, asked: false }); // it stays as it was typed
    }
  }
}
