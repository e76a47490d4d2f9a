// The frame of every page: bar, banners, the page itself, keys, tooltip, messages.
import { useEffect } from "preact/hooks";
import { connected } from "./data";
import { useKeys } from "./keys";
import { KeyList } from "./parts/keylist";
import { Search } from "./parts/search";
import { Empty, Failed, Loading } from "./parts/states";
import { Tooltip } from "./parts/tooltip";
import { pages } from "./registry";
import { go, href, place } from "./router";
import { changedOnDisk, failure, info, reload, state, study } from "./study";
import { choice, choose, type Choice } from "./theme";
import { message, undo } from "./undo";
import { lastConcept, step } from "./walk";

const NEXT: Record<Choice, Choice> = { system: "light", light: "dark", dark: "system" };
const SIGN: Record<Choice, string> = { system: "◐", light: "☀", dark: "☾" };

function Bar() {
  const here = place.value, heads = info.value?.studies ?? [];
  const target = (id: string) => (id === "concept" ? href({ page: id, id: String(lastConcept.value) }) : href({ page: id, id: "" }));
  return (
    <header class="app-bar">
      <a class="brand" href={href({ page: "landscape" })}>Conceptome</a>
      {heads.length > 1 ? (
        <select class="study" aria-label="Study" value={here.study} onChange={(e) => go({ study: e.currentTarget.value, page: "landscape", id: "", tab: "" })}>
          {heads.map((s) => <option key={s.id} value={s.id}>{s.name}</option>)}
        </select>
      ) : <span class="study" data-tip={study.value ? `${study.value.cells} cells, ${study.value.genes} genes, ${study.value.concepts} concepts` : ""}>{heads[0]?.name}</span>}
      <nav aria-label="Pages">
        {pages.filter((p) => p.order > 0).map((p) => (
          <a key={p.id} href={target(p.id)} {...(p.id === here.page ? { "aria-current": "page" as const } : {})}>{p.title}</a>
        ))}
      </nav>
      <Search />
      <button type="button" class="icon" aria-label={`Colours: ${choice.value}. Change`} data-tip={`Colours: ${choice.value}`}
        onClick={() => choose(NEXT[choice.value])}>{SIGN[choice.value]}</button>
    </header>
  );
}

function Banners() {
  return (
    <>
      {!connected.value && (
        <div class="banner bad" role="alert">The server does not answer. What you see stays; new data cannot be loaded and nothing can be saved. Trying again every second …</div>
      )}
      {connected.value && changedOnDisk.value && (
        <div class="banner" role="status">The study has changed on disk. <button type="button" onClick={reload}>Reload the results</button></div>
      )}
      {state.value?.indexing ? <div class="banner" role="status">Genes, terms and similar concepts appear when the study's index is made: {state.value.running}.</div>
        : state.value?.running && <div class="banner" role="status">Another process is computing: {state.value.running}.</div>}
    </>
  );
}

function Current() {
  const here = place.value, s = study.value;
  const page = pages.find((p) => p.id === here.page);
  useEffect(() => {
    document.title = [here.id && here.page === "concept" ? `c${here.id}` : page?.title, s?.name, "Conceptome"].filter(Boolean).join(" · ");
  }, [here.page, here.id, s?.name]);
  if (failure.value && !s) return <main><Failed error={failure.value} what="study" /><p class="state">Studies here: {info.value?.studies.map((h, i) => <>{i > 0 && ", "}<a key={h.id} href={`#/${h.id}`}>{h.name}</a></>)}.</p></main>;
  if (!s || s.id !== here.study) return <main><Loading what="the study" /></main>;
  if (!page) return <main><Empty>There is no page “{here.page}”. <a href={href({ page: "landscape" })}>Landscape</a></Empty></main>;
  return <main id="main" class={`page page-${page.id}`}><page.View study={s} /></main>;
}

export function App() {
  useKeys([
    { key: "j", does: "next concept of the landscape's list", run: () => step(1) },
    { key: "k", does: "previous concept", run: () => step(-1) },
    { key: "u", does: "undo", run: () => void undo() },
    { key: "?", does: "show the keys", run: () => document.querySelector<HTMLDialogElement>("dialog.keys")?.showModal() },
    { key: "L", does: "landscape", run: () => go({ page: "landscape" }) },
  ]);
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.querySelector<HTMLElement>("main")?.querySelector<HTMLElement>("a,button,input,[tabindex='0']")?.focus(); }}>Skip to the page</a>
      <Bar />
      <Banners />
      <Current />
      <KeyList />
      <div class="message" role="status" aria-live="polite">{message.value && <span>{message.value}</span>}</div>
      <Tooltip />
    </>
  );
}
