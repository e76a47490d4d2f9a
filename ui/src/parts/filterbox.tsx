// A field that filters what lies below it; the address follows when typing pauses.
import { useEffect, useRef, useState } from "preact/hooks";

export function Filter({ label, value, onChange, wide, delay = 120, onEnter, hint, tip }: {
  label: string; value: string; onChange: (v: string) => void; wide?: boolean; delay?: number; onEnter?: () => void; hint?: string; tip?: string;
}) {
  const [text, setText] = useState(value);
  const sent = useRef(value);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (value !== sent.current) {
      sent.current = value;
      setText(value);
    }
  }, [value]);
  useEffect(() => {
    if (text === sent.current) return;
    const timer = setTimeout(() => {
      sent.current = text;
      onChange(text);
    }, delay);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <input ref={input} class={wide ? "filter wide" : "filter"} type="search" aria-label={label} data-tip={tip} placeholder={hint ?? label}
      value={text} spellcheck={false} autocomplete="off" onInput={(e) => setText(e.currentTarget.value)}
      onKeyDown={(e) => e.key === "Enter" && onEnter?.()} />
  );
}
