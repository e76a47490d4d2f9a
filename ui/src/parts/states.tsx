// Progress, emptiness and failure, alike everywhere.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { attempt, type Failure, type Resource } from "../data";
import { state } from "../study";

/** Appears only when the wait can be felt. */
export function Loading({ what }: { what: string }) {
  const [late, set] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => set(true), 150);
    return () => clearTimeout(timer);
  }, []);
  return <div class="state" role="status">{late && <><span class="spinner" aria-hidden="true" />Loading {what} …</>}</div>;
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="state empty">{children}</div>;
}

export function Failed({ error, what }: { error: Failure; what: string }) {
  if (error.status === 404 && state.value?.indexing)
    return <div class="state" role="status"><span class="spinner" aria-hidden="true" />The {what} will be here when the index is made: {state.value.running}.</div>;
  return (
    <div class="state failed" role="alert">
      <p><strong>{error.status === 404 ? `No ${what} here.` : `The ${what} could not be loaded.`}</strong></p>
      <p>{error.message}</p>
      {error.status !== 404 && <button type="button" onClick={() => attempt.value++}>Try again</button>}
    </div>
  );
}

/** Shows a resource's data, or why there is none. Data of the place before is dimmed meanwhile. */
export function Await<T>({ from, what, children }: {
  from: Resource<T>; what: string; children: (data: T) => ComponentChildren;
}) {
  if (from.error) return <Failed error={from.error} what={what} />;
  if (from.data === undefined) return <Loading what={what} />;
  return <div class={from.stale ? "fill stale" : "fill"} aria-busy={from.stale}>{children(from.data)}</div>;
}
