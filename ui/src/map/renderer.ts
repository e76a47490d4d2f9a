// Draws many points. Two renderers with one face: WebGL2 where there is one, else plain pixels.
// A point's look is one byte, an index into a table of 256 colours; entry 0 is what lies below all
// others (inactive, missing).
import type { RGB } from "../colour";
import type { View } from "./camera";
import { glRenderer } from "./webgl";
import { pixelRenderer } from "./pixels";

export interface Renderer {
  readonly kind: "webgl2" | "pixels";
  positions(xy: Uint16Array): void;
  /** `ordered`: higher indices lie above lower ones; else by position in the file. */
  values(index: Uint8Array, ordered: boolean): void;
  palette(rgba: Uint8Array, ground: RGB): void;
  /** `view` in device pixels, `size` the diameter of a point in device pixels. */
  draw(view: View, size: number): void;
  free(): void;
}

export function makeRenderer(canvas: HTMLCanvasElement): Renderer {
  return (!avoidGl() && glRenderer(canvas)) || pixelRenderer(canvas);
}

// ?renderer=pixels in the page's address (not the fragment) is the way out on a broken driver.
function avoidGl(): boolean {
  return new URLSearchParams(location.search).get("renderer") === "pixels";
}
