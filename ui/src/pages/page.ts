// A page: a file in this folder that exports `page`. See README.md.
import type { ComponentType } from "preact";
import type { Study } from "../api";

export interface PageProps {
  study: Study;
}

export interface Page {
  id: string; // in the address
  title: string;
  /** From left to right in the bar; 0 = reached by links only. */
  order: number;
  View: ComponentType<PageProps>;
}
