// Trust: everything that speaks for or against a concept, with what it was measured against.
import type { Trust } from "../api";
import { useJson } from "../data";
import { count, fixed, number } from "../format";
import { url } from "../study";
import { FaithfulnessCurve } from "../parts/curves";
import { Await } from "../parts/states";
import { explain } from "../parts/tooltip";
import type { Tab, TabProps } from "./tab";

/** Whatever the evaluation stored for a concept, as lines of name and value. */
export function lines(value: unknown, prefix = ""): [string, string][] {
  if (value === null || value === undefined) return [];
  if (typeof value === "number") return [[prefix, number(value)]];
  if (typeof value !== "object") return [[prefix, String(value)]];
  return Object.entries(value).flatMap(([key, v]) => lines(v, prefix ? `${prefix}, ${key.replace(/_/g, " ")}` : key.replace(/_/g, " ")));
}

function Facts({ of: value }: { of: unknown }) {
  return <dl class="facts">{lines(value).map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>;
}

const FIXED = "A fixed embedding has no model to ask, and so no counterfactuals.";

function TrustTab({ concept, head, study }: TabProps) {
  const from = useJson<Trust>(url(`concept/${concept}/trust`));
  return (
    <Await from={from} what="evidence of trust">
      {(t) => (
        <div class="panels scroll" tabIndex={0} role="region" aria-label="Evidence of trust">
          <section><h2>Warnings</h2>
            {t.flags.length === 0 ? <p>None of the checks raised a warning.</p>
              : <ul class="warnings">{t.flags.map((f) => <li key={f.name}><strong>{f.name}</strong>: {f.text}</li>)}</ul>}
          </section>
          <section><h2>Pairs</h2>
            {study.attribution === null ? <p class="unit">{FIXED}</p> : <p>{count(head.pairs)} prototypes with a counterfactual, at a median distance of{" "}
              <b {...explain("distance", head.distance, head.pairs)}>{fixed(head.distance, 2)}</b> nearest-neighbour distances.</p>}
          </section>
          <section class="wide"><h2>Faithfulness</h2>
            {t.faithfulness ? <FaithfulnessCurve of={t.faithfulness} name={`${study.id}_c${concept}_faithfulness`} />
              : <p class="unit">{study.attribution === null ? FIXED : <>Not measured in this study (<code>conceptome evaluate</code>).</>}</p>}
          </section>
          <section><h2>Stability over seeds</h2>
            {t.stability ? <p>Mean matched cosine <b {...explain("stability", t.stability.cosine, t.stability.n)}>{fixed(t.stability.cosine, 3)}</b>
              {t.stability.sd !== null && <> ± {fixed(t.stability.sd, 3)}</>} over {t.stability.n} comparisons;
              random directions reach {fixed(t.stability.null_mean, 3)}.
              {t.stability.activation !== null && <> The activations correlate with their matches at <b>{fixed(t.stability.activation, 3)}</b>;
                random dictionaries reach {fixed(t.stability.activation_null_mean, 3)}.</>}</p>
              : <p class="unit">Not measured in this study (<code>conceptome evaluate</code>).</p>}
          </section>
          <section><h2>Noise floor</h2>
            {t.noise ? <><p>{count(t.noise.above)} genes lie beyond 95 % of the noise. Absolute attributions that random directions reach, by quantile (the study's cut-off is {number(t.noise.cutoff)}):</p>
              <Facts of={Object.fromEntries(Object.entries(t.noise.quantiles).map(([k, v]) => [`${k.replace(/^q/, "")} %`, v]))} /></> : <p class="unit">{study.attribution === null ? FIXED : "Not measured in this study."}</p>}
          </section>
          {t.fragile && <section><h2>Incomplete annotation</h2><Facts of={t.fragile} /></section>}
          {t.controls && <section><h2>Controls</h2><Facts of={t.controls} /></section>}
        </div>
      )}
    </Await>
  );
}

export const tab: Tab = { id: "trust", title: "Trust", order: 60, View: TrustTab };
