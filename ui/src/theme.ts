// Light, dark, or as the system says. The choice stays in this browser.
import { computed, effect, signal } from "@preact/signals";
import type { Theme } from "./colour";

export type Choice = "system" | Theme;
const KEY = "conceptome-theme";

function read(): Choice {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system"; // storage can be forbidden
  }
}

export const choice = signal<Choice>("system");
const system = signal<Theme>("light");
export const theme = computed<Theme>(() => (choice.value === "system" ? system.value : choice.value));

export function start(): void {
  choice.value = read();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  system.value = dark.matches ? "dark" : "light";
  dark.addEventListener("change", () => (system.value = dark.matches ? "dark" : "light"));
  effect(() => {
    document.documentElement.dataset["theme"] = theme.value;
  });
}

export function choose(next: Choice): void {
  choice.value = next;
  try {
    if (next === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // the choice lasts for this page only
  }
}
