// Notes: what you say about this concept, what others say, and every change there was.
import { useState } from "preact/hooks";
import type { Note } from "../api";
import { getFresh } from "../data";
import { useEffect } from "preact/hooks";
import { useKeys } from "../keys";
import { about, author, closed, keys, notes, own, redo, write } from "../notes";
import { go } from "../router";
import { url } from "../study";
import { say } from "../undo";
import { focusNote, NoteFields, time } from "../parts/notes";
import { LocalTable, type Column } from "../parts/table";
import type { Tab, TabProps } from "./tab";

const ORDER = ["name", "label", "rating", "confidence", "note", "done"];

const others: Column<Note>[] = [
  { key: "author", title: "Expert", width: 110, value: (r) => r.author },
  { key: "field", title: "Field", width: 90, value: (r) => r.field },
  { key: "value", title: "Says", width: 220, grow: true, value: (r) => r.value, cell: (r) => <span class="said">{r.value}</span> },
  { key: "time", title: "When", width: 130, value: (r) => r.time, cell: (r) => time(r.time) },
];

type Change = Note & { undone: boolean };

function History({ concept }: { concept: number }) {
  const key = keys.value[concept];
  const [rows, set] = useState<Change[] | null>(null);
  const revision = notes.value?.revision;
  useEffect(() => {
    let live = true;
    if (key) getFresh<{ rows: Change[] }>(url(`notes/history?key=${key}`)).then((h) => live && set(h.rows.reverse()), () => undefined);
    return () => { live = false; };
  }, [key, revision]);
  const columns: Column<Change>[] = [...others,
    { key: "undone", title: "", width: 60, value: (r) => (r.undone ? "undone" : r.value ? "" : "cleared") }];
  return (
    <LocalTable name={`c${concept}_history`} caption={`Every change of the notes about c${concept}, latest first`} columns={columns} rows={rows ?? []}
      id={(r) => r.revision} rowClass={(r) => (r.undone ? "weak" : "")} empty="Nothing has been said yet." />
  );
}

function NotesTab({ concept }: TabProps) {
  const [history, show] = useState(false);
  const said = about(concept).filter((r) => r.author !== author.value && r.field !== "done")
    .sort((a, b) => a.author.localeCompare(b.author) || ORDER.indexOf(a.field) - ORDER.indexOf(b.field));
  useKeys([{ key: "r", does: "do again what was undone", run: () => void redo() }]);
  return (
    <div class="split notes-tab">
      <NoteFields concept={concept} />
      <div class="notes-others">
        <div class="choice" role="group" aria-label="Show">
          <button type="button" aria-pressed={!history} onClick={() => show(false)}>Other experts</button>
          <button type="button" aria-pressed={history} onClick={() => show(true)}>Every change</button>
        </div>
        {history ? <History concept={concept} />
          : <LocalTable name={`c${concept}_notes`} caption={`What other experts say about c${concept}`} columns={others} rows={said} id={(r) => r.revision}
              empty="No other expert has said anything about this concept." />}
      </div>
    </div>
  );
}

function Keys({ concept }: { concept: number }) {
  const rate = (value: string) => {
    if (!author.value || closed.value) {
      go({ tab: "notes" });
      say(author.value ? closed.value : "Say who you are first.");
    } else write(concept, "rating", value, true);
  };
  useKeys([
    ...["1", "2", "3", "4", "5"].map((v) => ({ key: v, does: `rate ${v} of 5`, run: () => rate(v) })),
    { key: "n", does: "write a note", run: () => { go({ tab: "notes" }); focusNote(); } },
  ]);
  return null;
}

/** The rating beside the concept's name, whatever the tab. */
function Header({ concept }: TabProps) {
  const mine = own(concept, "rating"), all = about(concept).filter((r) => r.field === "rating");
  if (!all.length) return null;
  const mean = all.reduce((a, r) => a + Number(r.value), 0) / all.length;
  return (
    <span class="rated" data-word="rating" data-n={`${all.length} expert${all.length > 1 ? "s" : ""}`}>
      {mine && <>rated <b>{mine.value}</b></>}{all.length > 1 && <> mean {mean.toFixed(1)} of {all.length}</>}{!mine && all.length === 1 && <>{all[0]!.author} rates <b>{all[0]!.value}</b></>}
    </span>
  );
}

export const tab: Tab = { id: "notes", title: "Notes", order: 70, View: NotesTab, Header, Keys };
