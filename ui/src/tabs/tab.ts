// A tab of the concept page: a file in this folder that exports `tab`. See README.md.
import type { ComponentType } from "preact";
import type { Concept, Study } from "../api";

export interface TabProps {
  concept: number;
  head: Concept;
  study: Study;
}

export interface Tab {
  id: string; // in the address
  title: string;
  order: number; // from left to right
  View: ComponentType<TabProps>;
  /** Shown in the head of the concept page whatever the tab (an expert's name, a rating). */
  Header?: ComponentType<TabProps>;
  /** Keys that hold on the concept page whatever the tab, from its first moment on: nothing of the concept is known yet. */
  Keys?: ComponentType<{ concept: number }>;
}
