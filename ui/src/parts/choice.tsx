// One of a few: a row of buttons; and a labelled list for one of many.
import { useId } from "preact/hooks";

export function Choice({ label, value, options, onChange }: {
  label: string; value: string; options: readonly (readonly [string, string])[]; onChange: (value: string) => void;
}) {
  return (
    <div class="choice" role="group" aria-label={label}>
      {options.map(([key, title]) => (
        <button type="button" key={key} aria-pressed={key === value} onClick={() => onChange(key)}>{title}</button>
      ))}
    </div>
  );
}

export function Select({ label, value, options, onChange, hideLabel }: {
  label: string; value: string; options: readonly (readonly [string, string])[]; onChange: (value: string) => void; hideLabel?: boolean;
}) {
  const id = useId();
  return (
    <span class="select">
      <label for={id} class={hideLabel ? "hidden" : ""}>{label}</label>
      <select id={id} value={value} onChange={(e) => onChange(e.currentTarget.value)}>
        {options.map(([key, title]) => <option key={key} value={key}>{title}</option>)}
      </select>
    </span>
  );
}
