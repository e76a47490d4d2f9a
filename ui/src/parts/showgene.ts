// Colours the map by a gene of which only the symbol is known.
import type { Found } from "../api";
import { getJson } from "../data";
import { go } from "../router";
import { url } from "../study";
import { say } from "../undo";

export async function findGene(symbol: string): Promise<string | null> {
  const found = await getJson<Found>(url(`search?q=${encodeURIComponent(symbol)}&limit=20`)).catch(() => null);
  return found?.rows.find((r) => r.kind === "gene" && r.title.toLowerCase() === symbol.toLowerCase())?.id ?? null;
}

export async function showGene(symbol: string): Promise<void> {
  const gene = await findGene(symbol);
  if (gene === null) say(`${symbol} is not among the study's genes.`);
  else go({ query: { color: `gene:${gene}` } });
}
