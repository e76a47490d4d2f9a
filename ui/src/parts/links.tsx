// Links to the things that every page names: a concept, a gene, a term, a cell.
import { conceptName, concepts } from "../study";
import { href } from "../router";
import { toConcept } from "../walk";

/** A concept with what helps to recognise it: an expert's name if there is one, else its first genes. */
export function ConceptLink({ concept, genes = false }: { concept: number; genes?: boolean }) {
  const first = genes ? concepts.value?.genes[concept]?.slice(0, 3).join(" ") : "";
  return (
    <span class="concept-link">
      <a href={href(toConcept(concept))}>{conceptName(concept)}</a>
      {first && <span class="unit"> {first}</span>}
    </span>
  );
}

export function GeneLink({ gene, symbol }: { gene: number; symbol: string }) {
  return <a class="gene" href={href({ page: "gene", id: String(gene) })}>{symbol}</a>;
}

export function TermLink({ term, name }: { term: string; name: string }) {
  return <a href={href({ page: "term", id: term })} data-tip={`${name} · ${term}`}>{name}</a>;
}

export function CellLink({ cell, id }: { cell: number; id: string }) {
  return <a class="cell-id" href={href({ page: "cell", id: String(cell) })} data-tip={id}>{id}</a>;
}
