// One stack for everything that can be taken back: lassos, brushes, notes. `u` takes back the last.
import { signal } from "@preact/signals";

export interface Step {
  what: string;
  undo: () => void | Promise<void>;
}

const MOST = 100;
export const steps = signal<readonly Step[]>([]);
/** Shown for a moment at the foot of the page, and read out. */
export const message = signal("");
let timer = 0;

export function say(text: string): void {
  message.value = text;
  clearTimeout(timer);
  timer = window.setTimeout(() => (message.value = ""), 3500);
}

export function did(what: string, undo: Step["undo"]): void {
  steps.value = [...steps.peek(), { what, undo }].slice(-MOST);
}

export async function undo(): Promise<void> {
  const last = steps.peek().at(-1);
  if (!last) return say("Nothing to undo.");
  steps.value = steps.peek().slice(0, -1);
  await last.undo();
  say(`Undone: ${last.what}.`);
}
