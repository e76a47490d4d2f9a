// What an expert says about a concept: name, label, rating, confidence, note; saved by itself.
import { useState } from "preact/hooks";
import type { NoteField } from "../api";
import { author, closed, draftOf, flushNow, isEarly, own, setAuthor, settle, valueOf, write } from "../notes";
import { connected } from "../data";

import { explain } from "./tooltip";

/** Who speaks. Asked once per browser. */
export function Author() {
  const [editing, edit] = useState(false);
  if (author.value && !editing)
    return <span class="author">as <b>{author.value}</b> <button type="button" class="quiet" onClick={() => edit(true)}>change</button></span>;
  return (
    <form class="author" onSubmit={(e) => {
      e.preventDefault();
      const name = new FormData(e.currentTarget).get("author");
      if (typeof name === "string" && name.trim()) setAuthor(name);
      edit(false);
    }}>
      <label>Your name <input type="text" name="author" maxLength={40} value={author.value} placeholder="as it should stand beside your notes" autocomplete="name" required /></label>
      <button type="submit">Use this name</button>
    </form>
  );
}

export function time(text: string): string {
  const t = new Date(text);
  return Number.isNaN(t.getTime()) ? text : t.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/** Saved only after the server has said so. */
export function SaveState({ concept, field }: { concept: number; field: NoteField }) {
  const d = draftOf(concept, field), saved = own(concept, field);
  if (!d && isEarly(concept, field)) return <span class="save" data-save="waiting">not saved yet</span>;
  if (!d) return saved ? <span class="save ok" data-save="saved" data-tip={`Saved ${time(saved.time)}`}>saved</span> : null;
  if (d.status === "conflict")
    return (
      <span class="save bad" role="alert" data-save="conflict">
        Another window of yours says {d.theirs ? <q>{d.theirs.value}</q> : "nothing"}.{" "}
        <button type="button" onClick={() => settle(concept, field, true)}>Keep this</button>{" "}
        <button type="button" onClick={() => settle(concept, field, false)}>Take that</button>
      </span>
    );
  if (d.status === "refused") return <span class="save bad" role="alert" data-save="refused">not saved: {d.why}</span>;
  if (d.status === "failed")
    return <span class="save bad" role="alert" data-save="failed" data-tip={d.why}>not saved yet; kept in this browser{connected.value ? ", trying again" : " until the server answers"}</span>;
  return <span class="save" data-save={d.status}>{d.status === "saving" ? "saving …" : "not saved yet"}</span>;
}

const RATINGS = [["1", "no meaning"], ["2", "a hint"], ["3", "partly"], ["4", "mostly clear"], ["5", "one clear meaning"]] as const;
const SURE = [["1", "unsure"], ["2", "fairly sure"], ["3", "sure"]] as const;

/** A row of numbers to choose one of; the chosen one again takes it back. */
export function Scale({ what, value, onChange, word }: {
  what: "rating" | "confidence"; value: string; onChange: (v: string) => void; word: "rating" | "confidence";
}) {
  return (
    <div class="scale" role="group" aria-label={what === "rating" ? "Interpretability, 1 to 5" : "Confidence, 1 to 3"} {...explain(word)}>
      {(what === "rating" ? RATINGS : SURE).map(([v, text]) => (
        <button type="button" key={v} aria-pressed={value === v} onClick={() => onChange(value === v ? "" : v)}><b>{v}</b> {text}</button>
      ))}
    </div>
  );
}

function Line({ concept, field, title, hint, id }: { concept: number; field: "name" | "label"; title: string; hint: string; id: string }) {
  return (
    <div class="note-field">
      <label for={id} {...explain(field === "name" ? "name" : "expert_label")}>{title}</label>
      <input id={id} type="text" maxLength={100} value={valueOf(concept, field)} placeholder={hint}
        onInput={(e) => write(concept, field, e.currentTarget.value)} onBlur={() => flushNow(concept, field)}
        onKeyDown={(e) => e.key === "Enter" && e.currentTarget.blur()} />
      <SaveState concept={concept} field={field} />
    </div>
  );
}

/** All fields. Where nothing can be written it says why. */
export function NoteFields({ concept }: { concept: number }) {
  if (!author.value) return <div class="note-fields"><p class="unit">Notes carry the name of who wrote them.</p><Author /></div>;
  return (
    <div class="note-fields" key={concept}>
      <div class="note-author"><Author /></div>
      {closed.value && <p class="banner bad" role="alert">{closed.value}</p>}
      <fieldset disabled={closed.value !== ""}>
        <legend class="hidden">Your notes about concept c{concept}</legend>
        <Line concept={concept} field="name" title="Name" hint="what you would call it" id="note-name" />
        <Line concept={concept} field="label" title="Label" hint="a category: cell type, process …" id="note-label" />
        <div class="note-field">
          <span class="label" {...explain("rating")}>Interpretability</span>
          <Scale what="rating" word="rating" value={valueOf(concept, "rating")} onChange={(v) => write(concept, "rating", v, true)} />
          <SaveState concept={concept} field="rating" />
        </div>
        <div class="note-field">
          <span class="label" {...explain("confidence")}>Confidence</span>
          <Scale what="confidence" word="confidence" value={valueOf(concept, "confidence")} onChange={(v) => write(concept, "confidence", v, true)} />
          <SaveState concept={concept} field="confidence" />
        </div>
        <div class="note-field tall">
          <label for="note-note">Note</label>
          <textarea id="note-note" rows={4} value={valueOf(concept, "note")} maxLength={30000} placeholder="what speaks for it, what against"
            onInput={(e) => write(concept, "note", e.currentTarget.value)} onBlur={() => flushNow(concept, "note")} />
          <SaveState concept={concept} field="note" />
        </div>
      </fieldset>
    </div>
  );
}

export function focusNote(): void {
  requestAnimationFrame(() => document.getElementById("note-note")?.focus());
}

