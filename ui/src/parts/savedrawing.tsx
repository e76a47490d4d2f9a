// A drawing of the page as a file of its own.
import { fileName, savePng, saveSvg, standalone } from "../export";

export function SaveDrawing({ of: find, name, what }: { of: () => SVGSVGElement | null; name: string; what: string }) {
  const take = (save: (svg: SVGSVGElement, name: string) => unknown) => () => {
    const svg = find();
    if (svg) void save(standalone(svg), fileName(name));
  };
  return (
    <>
      <button type="button" class="quiet" data-tip={`Save ${what} as SVG`} onClick={take(saveSvg)}>SVG</button>
      <button type="button" class="quiet" data-tip={`Save ${what} as PNG`} onClick={take(savePng)}>PNG</button>
    </>
  );
}
