// Warnings beside a concept. The text says what was measured, against which limit.
import type { Flag } from "../api";

export function Flags({ flags }: { flags: Flag[] }) {
  return <>{flags.map((f) => <span key={f.name} class={`flag ${f.name}`} tabIndex={0} data-word="flags" data-tip={f.text}>{f.name}</span>)}</>;
}

export function FlagNames({ names }: { names: string[] }) {
  return <>{names.map((n) => <span key={n} class={`flag ${n}`}>{n}</span>)}</>;
}
