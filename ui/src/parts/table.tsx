// The one table: virtual (only the rows on screen exist), sorted by its headings, walked by arrow
// keys, saved as TSV. Rows have one height, so that row i lies at i * ROW pixels.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { fileName, saveJson, saveTsv, tsv } from "../export";
import { count } from "../format";
import type { Word } from "../glossary";
import { useKeys } from "../keys";
import { explain } from "./tooltip";

export type Value = string | number | null | undefined;

export interface Column<R> {
  key: string;
  title: string;
  /** Glossary entry of the number. */
  word?: Word;
  width: number;
  /** Takes what is left over of the width. */
  grow?: boolean;
  /** Right-aligned figures. */
  figure?: boolean;
  value: (row: R) => Value;
  cell?: (row: R) => ComponentChildren;
  n?: (row: R) => Value;
  /** Not sorted by (long lists). */
  fixed?: boolean;
}

export interface TableProps<R> {
  name: string; // of the exported file
  caption: string; // read out; says what a row is
  columns: Column<R>[];
  rows: ArrayLike<R>;
  id: (row: R) => string | number;
  /** Key of a column, "-" before it = descending; "" = as the rows come. */
  sort: string;
  onSort: (sort: string) => void;
  /** The rows come sorted already (the landscape's do). */
  sorted?: boolean;
  current?: string | number | null;
  onCurrent?: (row: R) => void;
  onPick?: (row: R) => void;
  title?: string;
  tools?: ComponentChildren;
  empty?: ComponentChildren;
  /** x exports this table. */
  main?: boolean;
  rowClass?: (row: R) => string;
}

export const ROW = 28;
const SPARE = 8; // rows drawn beyond the edges

function compare(a: Value, b: Value, down: boolean): number {
  const missing = (v: Value) => v === null || v === undefined || v === "" || v !== v;
  if (missing(a) || missing(b)) return (missing(a) ? 1 : 0) - (missing(b) ? 1 : 0);
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return down ? -order : order;
}

export function sortRows<R>(rows: ArrayLike<R>, columns: Column<R>[], sort: string): ArrayLike<R> {
  const down = sort.startsWith("-"), key = down ? sort.slice(1) : sort;
  const column = columns.find((c) => c.key === key);
  if (!column) return rows;
  return Array.from(rows, (row, i) => ({ row, i, v: column.value(row) }))
    .sort((x, y) => compare(x.v, y.v, down) || x.i - y.i).map((x) => x.row);
}

function nextSort(sort: string, column: { key: string; figure?: boolean }): string {
  const first = column.figure ? `-${column.key}` : column.key;
  const second = column.figure ? column.key : `-${column.key}`;
  return sort === first ? second : sort === second ? "" : first;
}

export function Table<R>(p: TableProps<R>) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const rows = useMemo(() => (p.sorted ? p.rows : sortRows(p.rows, p.columns, p.sort)), [p.rows, p.columns, p.sort, p.sorted]);
  const n = rows.length;
  const at = useMemo(() => {
    if (p.current === null || p.current === undefined) return -1;
    for (let i = 0; i < n; i++) if (p.id(rows[i]!) === p.current) return i;
    return -1;
  }, [rows, p.current]);

  useLayoutEffect(() => {
    const el = box.current;
    if (!el) return;
    const seen = new ResizeObserver(() => setHeight(el.clientHeight));
    seen.observe(el);
    return () => seen.disconnect();
  }, []);

  // The current row is kept in sight.
  useEffect(() => {
    const el = box.current;
    if (!el || at < 0) return;
    const y = at * ROW, room = el.clientHeight - 2 * ROW;
    if (y < el.scrollTop) el.scrollTop = y;
    else if (y > el.scrollTop + room) el.scrollTop = y - room;
  }, [at]);

  const heads = p.columns.map((c) => c.key);
  const values = () => Array.from(rows, (r) => p.columns.map((c) => c.value(r)));
  const download = () => saveTsv(fileName(p.name), tsv(heads, values()));
  useKeys(p.main ? [{ key: "x", does: "export the table as TSV", run: download }] : []);

  function walk(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -n, End: n }[event.key];
    if (event.target !== box.current) return;
    if (step !== undefined && p.onCurrent && n > 0) {
      event.preventDefault();
      p.onCurrent(rows[Math.max(0, Math.min(n - 1, at < 0 ? (step > 0 ? 0 : n - 1) : at + step))]!);
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      (p.onPick ?? p.onCurrent)?.(rows[at]!);
    }
  }

  const least = p.columns.reduce((sum, c) => sum + c.width, 0);
  const from = Math.max(0, Math.floor(top / ROW) - SPARE);
  const to = Math.min(n, Math.ceil((top + height) / ROW) + SPARE);
  const shown: R[] = [];
  for (let i = from; i < to; i++) shown.push(rows[i]!);

  return (
    <div class="table-frame">
      <div class="table-tools">
        {p.title && <h2>{p.title}</h2>}
        {p.tools}
        <span class="spacer" />
        <span class="table-out">
        <span class="rows">{count(n)} {n === 1 ? "row" : "rows"}</span>
        <button type="button" class="quiet" onClick={download} data-tip="Save all rows as TSV, in this order">TSV</button>
        <button type="button" class="quiet" onClick={() => saveJson(fileName(p.name), heads, values())} data-tip="Save all rows as JSON, in this order">JSON</button>
        </span>
      </div>
      <div class="table-scroll" ref={box} tabIndex={0} role="region" aria-label={p.caption}
        onScroll={(e) => setTop(e.currentTarget.scrollTop)} onKeyDown={walk}>
        <table aria-rowcount={n + 1} ref={(el) => void (el && (el.style.minWidth = `${least}px`))}>
          <caption class="hidden">{p.caption}</caption>
          <colgroup>{p.columns.map((c) => <col key={c.key} ref={(el) => void (el && (el.style.width = c.grow ? "auto" : `${c.width}px`))} />)}</colgroup>
          <thead>
            <tr aria-rowindex={1}>
              {p.columns.map((c) => {
                const mine = p.sort === c.key ? "ascending" : p.sort === `-${c.key}` ? "descending" : "none";
                return (
                  <th key={c.key} scope="col" class={c.figure ? "figure" : ""} aria-sort={mine}
                    {...(c.word ? explain(c.word) : {})}>
                    {c.fixed ? <span class="head">{c.title}</span> : (
                      <button type="button" class="head" onClick={() => p.onSort(nextSort(p.sort, c))}>
                        {c.title}<span class="arrow" aria-hidden="true">{mine === "ascending" ? "\u25b4" : mine === "descending" ? "\u25be" : ""}</span>
                      </button>
                    )}
                  </th>
                );
              })}
            </tr>
          </thead>
          <tbody>
            {from > 0 && <tr aria-hidden="true" class="gap" ref={(el) => void (el && (el.style.height = `${from * ROW}px`))} />}
            {shown.map((row, k) => (
              <tr key={p.id(row)} aria-rowindex={from + k + 2}
                class={`${at === from + k ? "current " : ""}${(from + k) & 1 ? "odd " : ""}${p.rowClass?.(row) ?? ""}`}
                onClick={(e) => {
                  if ((e.target as Element).closest("a,button,input,select")) return;
                  p.onCurrent?.(row);
                  if (!p.onCurrent) p.onPick?.(row);
                }}
                onDblClick={() => p.onPick?.(row)}>
                {p.columns.map((c) => {
                  const v = c.word ? c.value(row) : undefined;
                  return (
                    <td key={c.key} class={c.figure ? "figure" : ""}
                      {...(c.word ? explain(c.word, typeof v === "number" ? v : undefined, c.n?.(row)) : {})}>
                      {c.cell ? c.cell(row) : (c.value(row) ?? "\u2013")}
                    </td>
                  );
                })}
              </tr>
            ))}
            {to < n && <tr aria-hidden="true" class="gap" ref={(el) => void (el && (el.style.height = `${(n - to) * ROW}px`))} />}
          </tbody>
        </table>
        {n === 0 && <div class="state empty">{p.empty ?? "Nothing here."}</div>}
      </div>
    </div>
  );
}

/** A table that keeps its order to itself. */
export function LocalTable<R>(p: Omit<TableProps<R>, "sort" | "onSort"> & { first?: string }) {
  const [sort, set] = useState(p.first ?? "");
  return <Table {...p} sort={sort} onSort={set} />;
}
