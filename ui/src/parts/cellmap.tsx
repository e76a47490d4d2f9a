// The map of cells, coloured by a source of the address's making.
import { useMemo, useState } from "preact/hooks";
import type { Cell, Study } from "../api";
import { useJson, type Failure } from "../data";
import type { Colouring } from "../colour";
import { MapView, type MapProps } from "../map/view";
import { number } from "../format";
import { go, place } from "../router";
import { umap, url } from "../study";
import { did } from "../undo";
import { formatPart } from "../selection";
import { useKeys } from "../keys";
import { Empty, Loading } from "./states";

type Props = Omit<MapProps, "points" | "name" | "onPick" | "hover"> & { study: Study; error?: Failure | null; loading?: boolean };

/** A cell's id and labels while the pointer rests on it. */
function Hover({ cell, colouring, study }: { cell: number; colouring: Colouring | null; study: Study }) {
  const from = useJson<Cell>(url(`cell/${cell}`));
  const label = study.columns.filter((c) => c.role || c.kind === "category").slice(0, 3);
  const value = colouring?.kind === "values" ? number(colouring.values[cell]) : colouring ? colouring.names[colouring.codes[cell]!] : "";
  return (
    <>
      <b>{from.data && !from.stale ? from.data.id : `cell ${cell}`}</b>
      {from.data && !from.stale && label.map((c) => <span key={c.name}> · {String(from.data!.columns[c.name] ?? "–")}</span>)}
      {colouring && colouring.kind === "values" && <span> · {colouring.title} {value}</span>}
    </>
  );
}

/** Lasso by the key l: the selected cells become set A of the selection page. */
export function CellMap(props: Props) {
  const points = umap.value;
  const [lasso, setLasso] = useState(false);
  const own = props.lasso === undefined;
  useKeys(own ? [{ key: "l", does: lasso ? "end the lasso" : "lasso: select cells", run: () => setLasso(!lasso) }] : []);
  const outlines = useMemo(() => props.outlines, [props.outlines]);
  if (!points) return <Loading what="the map of cells" />;
  if (points.placed === 0) return <Empty>The study holds no map of cells (cells.h5ad, obsm/X_umap).</Empty>;
  function select(polygon: Uint16Array): void {
    setLasso(false);
    const before = place.peek();
    go({ page: "selection", id: "", tab: "", query: { a: formatPart({ kind: "polygon", polygon }) } });
    did("the lasso", () => go({ page: before.page, id: before.id, tab: before.tab, query: { ...before.query } }));
  }
  return (
    <div class={`cell-map fill${props.loading ? " waiting" : ""}`}>
      <MapView {...props} points={points} name={`${props.study.id}_${props.label.replace(/\W+/g, "_").slice(0, 40)}`}
        outlines={outlines} lasso={props.lasso ?? lasso} onLasso={props.onLasso ?? select}
        onPick={(cell) => go({ page: "cell", id: String(cell) })}
        hover={(cell) => <Hover cell={cell} colouring={props.colouring} study={props.study} />}
        tools={<>
          {props.tools}
          {own && <button type="button" aria-pressed={lasso} data-tip="Draw around cells (l); or hold Shift and drag" onClick={() => setLasso(!lasso)}>Lasso</button>}
        </>} />
      {props.error && <div class="map-error" role="alert">{props.error.message}</div>}
    </div>
  );
}
