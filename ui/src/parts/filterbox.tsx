// A field that filters what lies below it; the address follows when typing pauses.
import { useEffect, useRef, useState } from "preact/hooks";

export function Filter({ label, value, onChange, wide, delay = 120, onEnter, hint, tip }: {
  label: string; value: string; onChange: (v: string) => void; wide?: boolean; delay?: number; onEnter?: () => void; hint?: string; tip?: string;
}) {
  const [text, setText] = useState(value);
  const sent = useRef(value);
  const input = useRef<HTMLInputElement>(null);
  // Text that comes from elsewhere (back, a link) is taken over, but never under the hands of who types:
  // what was sent a moment ago would overwrite what was typed since.
  const adopt = () => {
    if (value === sent.current || document.activeElement === input.current) return;
    sent.current = value;
    setText(value);
  };
  useEffect(adopt, [value]);
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
      onKeyDown={(e) => e.key === "Enter" && onEnter?.()} onBlur={() => setTimeout(adopt, 300)} />
  );
}
