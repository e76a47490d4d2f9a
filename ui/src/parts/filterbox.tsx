// A field that filters what lies below it; the address follows when typing pauses.
import { useEffect, useRef, useState } from "preact/hooks";

export function Filter({ label, value, onChange, wide, delay = 120, onEnter, hint, tip }: {
  label: string; value: string; onChange: (v: string) => void; wide?: boolean; delay?: number; onEnter?: () => void; hint?: string; tip?: string;
}) {
  const [text, setText] = useState(value);
  const latest = useRef(value);
  // Sent, and not yet come back as `value`. What comes back is our own; anything else (back, a link, a
  // button) is taken over. Without the list an answer from a moment ago would overwrite what was typed since.
  const sent = useRef<string[]>([]);
  useEffect(() => {
    latest.current = value;
    const own = sent.current.indexOf(value);
    if (own >= 0) sent.current.splice(0, own + 1);
    else {
      sent.current = [];
      setText(value);
    }
  }, [value]);
  useEffect(() => {
    if (text === latest.current && sent.current.length === 0) return;
    const timer = setTimeout(() => {
      if (text === (sent.current.at(-1) ?? latest.current)) return;
      sent.current.push(text);
      onChange(text);
    }, delay);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <input class={wide ? "filter wide" : "filter"} type="search" aria-label={label} data-tip={tip} placeholder={hint ?? label}
      value={text} spellcheck={false} autocomplete="off" onInput={(e) => setText(e.currentTarget.value)}
      onKeyDown={(e) => e.key === "Enter" && onEnter?.()} />
  );
}
