// The one tooltip. Anything with data-word (a glossary key) or data-tip (plain text) gets it, on
// hover and on focus; data-n and data-exact add what the number rests on and its full value. One
// listener for the page: tables of thousands of numbers cost nothing.
import { useEffect, useRef, useState } from "preact/hooks";
import { GLOSSARY, type Word } from "../glossary";

interface Shown {
  word: string; tip: string; n: string; exact: string;
  box: DOMRect;
}

function read(target: EventTarget | null): { element: HTMLElement; shown: Shown } | null {
  const element = target instanceof Element ? target.closest<HTMLElement>("[data-word],[data-tip]") : null;
  if (!element) return null;
  const { word = "", tip = "", n = "", exact = "" } = element.dataset;
  return { element, shown: { word, tip, n, exact, box: element.getBoundingClientRect() } };
}

export function Tooltip() {
  const [shown, show] = useState<Shown | null>(null);
  const box = useRef<HTMLDivElement>(null);

  useEffect(() => {
    let timer = 0, over: HTMLElement | null = null;
    const enter = (event: Event, delay: number) => {
      const found = read(event.target);
      if (found?.element === over) return;
      over = found?.element ?? null;
      clearTimeout(timer);
      if (!found) return show(null);
      timer = window.setTimeout(() => found.element.isConnected && show(read(found.element)!.shown), delay);
    };
    const leave = () => {
      over = null;
      clearTimeout(timer);
      show(null);
    };
    const hover = (e: Event) => enter(e, 250);
    const focus = (e: Event) => (e.target instanceof Element && e.target.matches(":focus-visible") ? enter(e, 50) : undefined);
    const key = (e: KeyboardEvent) => e.key === "Escape" && leave();
    document.addEventListener("pointerover", hover);
    document.addEventListener("focusin", focus);
    document.addEventListener("focusout", leave);
    document.addEventListener("pointerdown", leave);
    document.addEventListener("scroll", leave, true);
    document.addEventListener("keydown", key);
    return () => {
      document.removeEventListener("pointerover", hover);
      document.removeEventListener("focusin", focus);
      document.removeEventListener("focusout", leave);
      document.removeEventListener("pointerdown", leave);
      document.removeEventListener("scroll", leave, true);
      document.removeEventListener("keydown", key);
    };
  }, []);

  useEffect(() => {
    const el = box.current;
    if (!el || !shown) return;
    const { width, height } = el.getBoundingClientRect();
    const left = Math.max(8, Math.min(innerWidth - width - 8, shown.box.left + shown.box.width / 2 - width / 2));
    const below = shown.box.bottom + 6 + height < innerHeight;
    el.style.left = `${left}px`;
    el.style.top = `${below ? shown.box.bottom + 6 : Math.max(8, shown.box.top - height - 6)}px`;
    el.classList.add("placed");
  }, [shown]);

  if (!shown) return null;
  const entry = shown.word in GLOSSARY ? GLOSSARY[shown.word as Word] : null;
  return (
    <div class="tooltip" role="tooltip" ref={box} key={`${shown.box.left},${shown.box.top}`}>
      {entry && <strong>{entry.name}{entry.unit && <span class="unit"> {entry.unit}</span>}</strong>}
      {(shown.exact || shown.n) && (
        <div class="exact">{shown.exact}{shown.exact && shown.n ? " \u00b7 " : ""}{shown.n && `n = ${shown.n}`}</div>
      )}
      {entry && <p>{entry.text}</p>}
      {shown.tip && <p>{shown.tip}</p>}
    </div>
  );
}

/** Attributes that explain a number on hover. */
export function explain(word: Word, value?: number | null, n?: string | number | null) {
  return {
    "data-word": word,
    ...(value !== undefined && value !== null ? { "data-exact": String(+value.toPrecision(7)) } : {}),
    ...(n !== undefined && n !== null ? { "data-n": String(n) } : {}),
  };
}
