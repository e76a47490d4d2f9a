// One box for genes, terms, labels, concepts, cells and notes. `/` goes there.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Found } from "../api";
import { getJson, studyUrl } from "../data";
import { useKeys } from "../keys";
import { go, place } from "../router";

type Row = Found["rows"][number];
const KINDS: Record<Row["kind"], string> = {
  concept: "concept", gene: "gene", term: "term", label: "label", cell: "cell", note: "note",
};

function open(row: Row): void {
  switch (row.kind) {
    case "concept": return go({ page: "concept", id: row.id.replace(/^c/, "") });
    case "note": return go({ page: "concept", id: row.id.replace(/^c/, ""), tab: "notes" });
    case "gene": return go({ page: "gene", id: row.id });
    case "term": return go({ page: "term", id: row.id });
    case "cell": return go({ page: "cell", id: row.id });
    case "label": return go({ page: "landscape", query: { q: `label:"${row.title}"` } });
  }
}

/** Exact titles first, then titles that begin with the text; else in the server's order. */
export function byCloseness(rows: Row[], q: string): Row[] {
  const text = q.toLowerCase();
  const far = (r: Row) => {
    const title = r.title.toLowerCase();
    return title === text ? 0 : title.startsWith(text) ? 1 : 2;
  };
  return rows.map((r, i) => ({ r, i })).sort((a, b) => far(a.r) - far(b.r) || a.i - b.i).map((x) => x.r);
}

export function Search() {
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState("");
  const [rows, setRows] = useState<Row[] | null>(null);
  const [at, setAt] = useState(0);
  const [shown, show] = useState(false);
  const study = place.value.study;

  useKeys([{ key: "/", does: "search genes, terms, labels, concepts", run: () => input.current?.select() }]);

  useEffect(() => {
    const q = text.trim();
    if (!q || !study) return setRows(null);
    let live = true;
    const timer = setTimeout(() => {
      getJson<Found>(studyUrl(study, `search?q=${encodeURIComponent(q)}&limit=14`)).then(
        (found) => {
          if (!live) return;
          setRows(byCloseness(found.rows, q));
          setAt(0);
        },
        () => live && setRows([]),
      );
    }, 80);
    return () => {
      live = false;
      clearTimeout(timer);
    };
  }, [text, study]);

  function pick(row: Row | undefined): void {
    if (!row) return;
    show(false);
    setText("");
    input.current?.blur();
    open(row);
  }

  function key(event: KeyboardEvent): void {
    const n = rows?.length ?? 0;
    if (event.key === "ArrowDown" && n) setAt((at + 1) % n);
    else if (event.key === "ArrowUp" && n) setAt((at + n - 1) % n);
    else if (event.key === "Enter") pick(rows?.[at]);
    else if (event.key === "Escape") show(false);
    else return;
    if (event.key !== "Escape") event.preventDefault();
  }

  const listed = shown && rows !== null;
  return (
    <div class="search" role="search">
      <input ref={input} type="text" role="combobox" aria-label="Search genes, terms, labels, concepts" placeholder="Search gene, term, label, concept  ( / )"
        aria-expanded={listed} aria-controls="found" aria-autocomplete="list" autocomplete="off" spellcheck={false}
        {...(listed && rows.length ? { "aria-activedescendant": `found-${at}` } : {})}
        value={text} onInput={(e) => { setText(e.currentTarget.value); show(true); }}
        onFocus={() => show(true)} onBlur={() => setTimeout(() => show(false), 120)} onKeyDown={key} />
      <ul id="found" role="listbox" aria-label="Found" hidden={!listed}>
        {listed && rows.length === 0 && <li class="none" role="option" aria-selected="false" aria-disabled="true">Nothing found for “{text.trim()}”.</li>}
        {listed && rows.map((row, i) => (
          <li key={`${row.kind}${row.id}`} id={`found-${i}`} role="option" aria-selected={i === at}
            onPointerDown={(e) => { e.preventDefault(); pick(row); }} onPointerEnter={() => setAt(i)}>
            <span class="kind">{KINDS[row.kind] ?? row.kind}</span>
            <span class="title">{row.title}</span>
            <span class="detail">{row.detail}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
