// Cells with a ring on the map: what the reader points at in a table.
import { signal } from "@preact/signals";

export const marked = signal<readonly number[]>([]);
