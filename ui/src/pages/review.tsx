// Review: the queue of concepts that you have not judged yet, best evidence first; and blind sessions, in
// which concepts are mixed with neurons and random directions and nothing tells which is which.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { forgetAnswer, keepAnswer, readAnswer, refuses, send, sendLeft, type Answer } from "../answers";
import type { Concept, ReviewItem, Session, Study } from "../api";
import { positiveQuantile, type Colouring } from "../colour";
import { attempt, dense, Failure, post, useJson, useLatest, useVector } from "../data";
import { count, number, percent, plural } from "../format";
import { useKeys } from "../keys";
import { about, author, closed, earlier, notes, valueOf, write } from "../notes";
import { go, href, place, query } from "../router";
import { categoryColumns, conceptName, concepts, study as shown, url } from "../study";
import { say } from "../undo";
import { CellMap } from "../parts/cellmap";
import { Choice } from "../parts/choice";
import { parseSource, useColouring } from "../parts/colouring";
import { Evidence } from "../parts/evidence";
import { Histogram } from "../parts/histogram";
import { Author, focusNote, NoteFields, Scale } from "../parts/notes";
import { Empty, Failed, Loading } from "../parts/states";
import { Earlier } from "../parts/earlier";
import type { Page, PageProps } from "./page";

// ---- what both share: the map and histogram of one unit ----

function Where({ path, frequency, active, histogram, study, title }: {
  path: string; frequency: number; active: number; histogram: Concept["histogram"]; study: Study; title: string;
}) {
  const vector = useVector(url(`${path}/activation`.replace(/^concept\/(\d+)\/activation$/, "vec/activation/$1")));
  const values = useMemo(() => (vector.data && !vector.stale ? dense(vector.data, study.cells) : null), [vector.data, vector.stale]);
  const byColumn = useColouring(query.value.color ? parseSource(query.value.color) : null, study);
  const end = useMemo(() => (values ? positiveQuantile(values, 0.99) : 1), [values]);
  const own: Colouring | null = useMemo(() => (values
    ? { kind: "values", scale: "sequential", values, low: 0, high: end, title, unit: "", term: "activation", zeroBelow: true } : null), [values, end, title]);
  const last = useMemo(() => ({ value: null as Colouring | null }), [study.id]);
  if (own) last.value = own;
  const colouring = query.value.color ? byColumn.colouring : own ?? last.value;
  return (
    <div class="column">
      <CellMap study={study} colouring={colouring} loading={vector.stale} error={vector.error} camera="view" lasso={false}
        label={`Map of ${study.cells} cells by ${title}`}
        tools={<Choice label="Colour by" value={query.value.color ?? ""} onChange={(v) => go({ query: { color: v || null } }, true)}
          options={[["", "activation"], ...categoryColumns(study).slice(0, 3).map((n) => [`column:${n}`, n] as const)]} />} />
      <Histogram of={histogram} scaleEnd={end} range={null} />
      <p class="brush-row"><span><b>{percent(frequency)}</b> of cells are active <span class="unit">({count(active)})</span>, up to {number(histogram.high)}</span></p>
    </div>
  );
}

// ---- the queue ----

/** Alive concepts in order of quality, those that this author has not finished first. */
function useQueue(): { open: number[]; total: number; rated: number } {
  const t = concepts.value, list = notes.value, who = author.value;
  return useMemo(() => {
    if (!t) return { open: [], total: 0, rated: 0 };
    const rated = new Set((list?.rows ?? []).filter((r) => r.author === who && (r.field === "rating" || r.field === "done")).map((r) => r.concept));
    const alive = Array.from({ length: t.n }, (_, c) => c).filter((c) => !t.flags[c]?.includes("dead"));
    alive.sort((a, b) => (t.quality[b] ?? 0) - (t.quality[a] ?? 0) || a - b);
    return { open: alive.filter((c) => !rated.has(c)), total: alive.length, rated: alive.filter((c) => rated.has(c)).length };
  }, [t, list, who]);
}

function Queue({ study }: PageProps) {
  const { open, total, rated } = useQueue();
  const [skipped, skip] = useState<ReadonlySet<number>>(new Set());
  const [held, hold] = useState<number | null>(null); // stays while it is being judged
  const first = open.find((c) => !skipped.has(c)) ?? open[0];
  const c = held ?? first;
  useEffect(() => {
    if (held === null && first !== undefined) hold(first);
  }, [held, first]);
  const head = useJson<Concept>(c === undefined ? null : url(`concept/${c}`));
  const next = () => {
    if (c !== undefined) skip(new Set([...skipped, c]));
    const rest = open.filter((x) => x !== c && !skipped.has(x));
    hold(rest[0] ?? open.find((x) => x !== c) ?? null);
  };
  const rate = (value: string) => {
    if (c === undefined) return;
    if (!author.value || closed.value) return say(closed.value || "Say who you are first.");
    hold(c); // what follows is about this one, too
    write(c, "rating", value, true);
  };
  useKeys([
    ...["1", "2", "3", "4", "5"].map((v) => ({ key: v, does: `rate ${v} of 5`, run: () => rate(v) })),
    { key: "n", does: "write a note", run: focusNote },
    { key: "s", does: "skip: the next concept", run: next },
    { key: "Enter", does: "next concept", run: next },
  ]);
  if (c === undefined) return <Empty>{total ? <>You have rated all {plural(total, "concept")}. <a href={href({ page: "agreement" })}>Agreement</a></> : "There are no concepts to review."}</Empty>;
  return (
    <>
      <div class="review-head">
        <h1>{conceptName(c)}</h1> <a href={href({ page: "concept", id: String(c) })}>all evidence</a>
        <span class="unit">{count(rated)} of {plural(total, "concept")} rated; best evidence first</span>
        <span class="spacer" />
        <button type="button" onClick={next}>{valueOf(c, "rating") ? "Next (Enter)" : "Skip (s)"}</button>
      </div>
      <div class="columns review-columns">
        {head.data && !head.stale ? <Where path={`concept/${c}`} frequency={head.data.frequency} active={head.data.active} histogram={head.data.histogram} study={study} title={`activation of c${c}`} />
          : head.error ? <Failed error={head.error} what="concept" /> : <div class="column"><Loading what="the concept" /></div>}
        <div class="column">
          <Evidence key={c} base={`concept/${c}`} study={study} />
          <NoteFields concept={c} />
          {about(c).some((r) => r.author !== author.value) && <p class="unit caution">Other experts have judged this concept; see its tab Notes when you are done.</p>}
        </div>
      </div>
    </>
  );
}

// ---- blind sessions ----

const RETRY_MS = 4000;
type Status = "" | "saving" | "saved" | "failed" | "refused";
type Next = ReviewItem | { done: true };

function Item({ session, item, study, onNext, onSaved }: {
  session: Session; item: ReviewItem; study: Study; onNext: (after: number) => void; onSaved: (answered: number) => void;
}) {
  const [a, set] = useState<Answer>(() => ({ ...readAnswer(session.session, item.item), asked: false }));
  const [status, show] = useState<Status>("");
  const [why, because] = useState("");
  const begun = useMemo(() => Date.now(), [item.item]);
  // Two keys can come between two drawings: what was said and what is under way are asked here, not of `a`.
  const now = useRef({ a, status, here: true });
  useLayoutEffect(() => () => { now.current.here = false; }, []);
  function tell(status: Status): void {
    now.current.status = status;
    show(status);
  }
  function change(part: Partial<Answer>): void {
    // The next item is on its way: what is said now would be about one that nobody has seen.
    if (now.current.status === "saved") return say("This item is saved. Wait for the next one.");
    const next = { ...now.current.a, ...part };
    now.current.a = next;
    set(next);
    keepAnswer(session.session, item.item, next);
  }
  const sureness = (otherwise: string) => Number(now.current.a.confidence || otherwise);
  /** Sends what is said until the server has what the page shows: it may change while it is under way. */
  async function save(): Promise<void> {
    const { status } = now.current;
    if (status === "saving" || status === "saved") return;
    let sent: Answer | null = null;
    while (sent !== now.current.a) {
      const { a } = now.current;
      if (!a.rating || !a.confidence) {
        change({ asked: false });
        tell("");
        return say(a.rating ? "Say how sure you are: 1 to 3." : "Rate it first: 1 to 5.");
      }
      change({ asked: true, seconds: (Date.now() - begun) / 1000 });
      sent = now.current.a;
      tell("saving");
      try {
        onSaved(await send(session.session, item.item, sent));
      } catch (error) {
        because(error instanceof Failure ? error.message : String(error));
        if (refuses(error)) change({ asked: false });
        return tell(refuses(error) ? "refused" : "failed");
      }
    }
    forgetAnswer(session.session, item.item, sent);
    tell("saved");
    if (now.current.here) onNext(item.position); // else the expert has gone on already
  }
  // What could not be saved is sent again, at once when the server is back.
  const tick = attempt.value;
  useEffect(() => {
    if (status === "failed") void save();
  }, [tick]);
  useEffect(() => {
    if (status !== "failed") return;
    const timer = setTimeout(() => void save(), RETRY_MS);
    return () => clearTimeout(timer);
  }, [status]);
  useKeys([
    ...["1", "2", "3", "4", "5"].map((v) => ({ key: v, does: `rate ${v} of 5`, run: () => change({ rating: v }) })),
    ...[["!", "1"], ["@", "2"], ["#", "3"]].map(([key, v]) => ({ key: key!, does: `confidence ${v} of 3 (Shift+${v})`, run: () => change({ confidence: v! }) })),
    { key: "+", does: "more sure", run: () => change({ confidence: String(Math.min(3, sureness("1") + 1)) }) },
    { key: "-", does: "less sure", run: () => change({ confidence: String(Math.max(1, sureness("3") - 1)) }) },
    { key: "n", does: "write a note", run: focusNote },
    { key: "s", does: "skip: comes again at the end", run: () => onNext(item.position) },
    { key: "Enter", does: "save and go on", run: () => void save() },
  ]);
  return (
    <div class="columns review-columns">
      <Where path={`review/${session.session}/${item.item}`} frequency={item.frequency} active={item.active} histogram={item.histogram} study={study} title="activation" />
      <div class="column">
        <Evidence key={item.item} base={`review/${session.session}/${item.item}`} study={study} />
        <form class="note-fields" data-item={item.item} inert={status === "saved"} onSubmit={(e) => { e.preventDefault(); void save(); }}>
          <div class="note-field"><span class="label">Interpretability</span><Scale what="rating" word="rating" value={a.rating} onChange={(v) => change({ rating: v })} /></div>
          <div class="note-field"><span class="label">Confidence</span><Scale what="confidence" word="confidence" value={a.confidence} onChange={(v) => change({ confidence: v })} /></div>
          <div class="note-field"><label for="blind-label">Label</label><input id="blind-label" type="text" maxLength={100} value={a.label} placeholder="what it is, if it is anything" onInput={(e) => change({ label: e.currentTarget.value })} /></div>
          <div class="note-field tall"><label for="note-note">Note</label><textarea id="note-note" rows={2} maxLength={30000} value={a.note} onInput={(e) => change({ note: e.currentTarget.value })} /></div>
          <div class="note-field">
            <span class="label" />
            <button type="submit" class="primary" disabled={status === "saving"}>Save and go on (Enter)</button>
            <button type="button" onClick={() => onNext(item.position)}>Skip (s)</button>
            {status === "saving" && <span class="save" data-save="saving">saving …</span>}
            {status === "saved" && <span class="save ok" data-save="saved">saved</span>}
            {status === "failed" && <span class="save bad" role="alert" data-save="failed">not saved yet; kept in this browser, trying again: {why}</span>}
            {status === "refused" && <span class="save bad" role="alert" data-save="refused">not saved: {why}</span>}
          </div>
        </form>
      </div>
    </div>
  );
}

function Blind({ study, session }: { study: Study; session: Session }) {
  const [next, set] = useState<Next | null>(null);
  const [failure, fail] = useState<Failure | null>(null);
  const [answered, count_] = useState(session.answered);
  const more = (n: number) => count_((before) => Math.max(before, n)); // counts come in any order
  const after = useRef(-1), ask = useLatest<Next>();
  const load = (position: number) => {
    after.current = position;
    ask(url(`review/${session.session}/next?after=${position}`), (n) => { set(n); fail(null); }, (f) => { set(null); fail(f); });
  };
  const shown = useRef(next);
  shown.current = next;
  const sendOthers = () => sendLeft(session.session, shown.current && "item" in shown.current ? shown.current.item : "", more);
  const tick = attempt.value;
  useEffect(() => {
    void sendOthers().then(() => { if (!shown.current) load(after.current); });
  }, [session.session, tick]);
  useEffect(() => {
    const timer = setInterval(() => void sendOthers(), RETRY_MS);
    return () => clearInterval(timer);
  }, [session.session]);
  return (
    <>
      <div class="review-head">
        <h1>Blind review</h1>
        <span class="unit">by {session.author}; concepts, neurons and random directions in random order, names hidden</span>
        <progress max={session.items} value={answered} aria-label={`${answered} of ${session.items} answered`} />
        <span data-answered={answered}>{answered} of {session.items}</span>
        <span class="spacer" /><a href={href({ page: "review", id: "" })}>stop for now</a>
      </div>
      {failure ? <Failed error={failure} what="item" /> : !next ? <Loading what="the next item" />
        : "done" in next ? <Empty>All {session.items} items are answered. Thank you. <a href={href({ page: "agreement" })}>Agreement</a></Empty>
        : <Item key={next.item} session={session} item={next} study={study} onNext={load} onSaved={more} />}
    </>
  );
}

function Start({ onStarted }: { onStarted: () => void }) {
  const [why, because] = useState("");
  async function begin(e: SubmitEvent): Promise<void> {
    e.preventDefault();
    const form = new FormData(e.currentTarget as HTMLFormElement);
    because("");
    try {
      const s = await post<Session>(url("review/sessions"), { author: author.value, items: Number(form.get("items")), seed: Number(form.get("seed")) });
      onStarted();
      go({ page: "review", id: s.session });
    } catch (error) {
      because(error instanceof Failure ? error.message : String(error));
    }
  }
  return (
    <form class="start" onSubmit={(e) => void begin(e)}>
      <label>Items <input type="number" name="items" min={3} max={2000} defaultValue="50" data-tip="Two fifths concepts, two fifths neurons, a fifth random directions; a tenth of them comes twice" /></label>
      <label>Seed <input type="number" name="seed" min={0} max={999999} defaultValue="1" data-tip="Experts with the same seed see the same units, each in an order of their own" /></label>
      <button type="submit" class="primary" disabled={!author.value}>Begin a session</button>
      {why && <p class="save bad" role="alert">{why}</p>}
    </form>
  );
}

function Home({ study, sessions, reload }: { study: Study; sessions: Session[]; reload: () => void }) {
  const { open, total, rated } = useQueue();
  const tick = attempt.value;
  useEffect(() => {
    for (const s of sessions) if (s.author === author.value && !s.earlier) void sendLeft(s.session, "", reload);
  }, [sessions.length, author.value, tick]);
  return (
    <div class="review-home scroll">
      <section>
        <h1>Review</h1>
        <Author />
      </section>
      <section>
        <h2>Queue</h2>
        <p>Concepts in order of their evidence, one after the other: {count(rated)} of {plural(total, "concept")} rated by you.</p>
        <p><a class="button" href={href({ page: "review", id: "queue" })}>{rated ? "Go on" : "Begin"}</a>{" "}<span class="unit">{count(open.length)} to go</span></p>
      </section>
      <section>
        <h2>Blind review</h2>
        <p>Are concepts easier to interpret than neurons, or than random directions? Units of the three kinds come in random order without a name.
          A tenth comes twice, to see how far experts agree with themselves. What the evidence itself shows, such as how many cells are active, cannot be hidden.</p>
        <Start onStarted={reload} />
        {sessions.length > 0 && (
          <table class="small sessions"><caption class="hidden">Sessions</caption>
            <thead><tr><th scope="col">Expert</th><th scope="col">Begun</th><th scope="col" class="figure">Answered</th><th scope="col" /></tr></thead>
            <tbody>{sessions.map((s) => (
              <tr key={s.session}><td>{s.author}</td><td>{s.created.slice(0, 16).replace("T", " ")}</td><td class="figure">{s.answered} of {s.items}</td>
                <td>{s.earlier ? <span class="unit">of an earlier dictionary</span> : s.answered < s.items ? (s.author === author.value ? <a href={href({ page: "review", id: s.session })}>go on</a> : <span class="unit">{s.author}'s</span>) : "done"}</td></tr>
            ))}</tbody></table>
        )}
        <p><a href={href({ page: "agreement" })}>How far the experts agree</a></p>
      </section>
      {earlier.value.length > 0 && <section><Earlier study={study} /></section>}
    </div>
  );
}

function Review({ study }: PageProps) {
  const id = place.value.id;
  const [sessions, set] = useState<Session[] | null>(null);
  const [failure, fail] = useState<Failure | null>(null);
  const revision = notes.value?.revision, tick = attempt.value;
  const ask = useLatest<{ rows: Session[] }>();
  const load = () => ask(url("review/sessions"), (s) => { set(s.rows); fail(null); }, fail);
  useEffect(load, [shown.value?.id, revision, tick]);
  if (id === "queue") return <Queue study={study} />;
  if (failure && !sessions) return <Failed error={failure} what="review" />;
  if (!sessions) return <Loading what="the sessions" />;
  if (id) {
    const s = sessions.find((x) => x.session === id);
    if (!s) return <Empty>There is no session “{id}” in this study. <a href={href({ page: "review", id: "" })}>Review</a></Empty>;
    return <Blind key={id} study={study} session={s} />;
  }
  return <Home study={study} sessions={sessions} reload={load} />;
}

export const page: Page = { id: "review", title: "Review", order: 50, View: Review };
