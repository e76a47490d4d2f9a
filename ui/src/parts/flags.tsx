// Warnings beside a concept. The text says what was measured, against which limit.
import type { Flag } from "../api";

export function Flags({ flags }: { flags: Flag[] }) {
  return <>{flags.map((f) => <span key={f.name} class={`flag ${f.name}`} tabIndex={0} data-word="flags" data-tip={f.text}>{f.name}</span>)}</>;
}

export function FlagNames({ names }: { names: string[] }) {
  if (names.length === 0) return null;
  return <><span class={`flag ${names[0]}`}>{names[0]}</span>{names.length > 1 && <span class="flag-more" data-tip={names.join(", ")}>+{names.length - 1}</span>}</>;
}
