// Keys. A part of the page claims keys while it is shown; the newest claim wins; `?` lists them all.
// No key works while a reader types, and none together with Ctrl, Alt or Meta.
import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

export interface Key {
  key: string;
  does: string;
  run: (event: KeyboardEvent) => void;
}

export const claims = signal<readonly (readonly Key[])[]>([]);

/** The keys in force, newest claim first, one entry per key. */
export function active(): Key[] {
  const seen = new Set<string>();
  return [...claims.value].reverse().flat().filter((k) => !seen.has(k.key) && seen.add(k.key));
}

export function useKeys(keys: Key[]): void {
  const latest = useRef(keys);
  latest.current = keys;
  const names = keys.map((k) => `${k.key}=${k.does}`).join("\n");
  useLayoutEffect(() => { // before anything is painted: what can be seen can be pressed
    const mine = latest.current.map((k) => ({
      ...k,
      run: (e: KeyboardEvent) => latest.current.find((l) => l.key === k.key)?.run(e),
    }));
    claims.value = [...claims.peek(), mine];
    return () => {
      claims.value = claims.peek().filter((c) => c !== mine);
    };
  }, [names]);
}

export function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement &&
    (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) &&
    !(target instanceof HTMLInputElement && /^(checkbox|radio|button|range)$/.test(target.type));
}

export function listen(): void {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (typing(event.target)) {
      if (event.key === "Escape") (event.target as HTMLElement).blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    const claim = active().find((k) => k.key === event.key);
    if (!claim) return;
    event.preventDefault();
    claim.run(event);
  });
}
