// All pages and tabs. A new one: its file, and a line here.
import { page as agreement } from "./pages/agreement";
import { page as cell } from "./pages/cell";
import { page as compare } from "./pages/compare";
import { page as concept } from "./pages/concept";
import { page as gene } from "./pages/gene";
import { page as help } from "./pages/help";
import { page as landscape } from "./pages/landscape";
import type { Page } from "./pages/page";
import { page as review } from "./pages/review";
import { page as selection } from "./pages/selection";
import { page as term } from "./pages/term";
import { tab as cells } from "./tabs/cells";
import { tab as composition } from "./tabs/composition";
import { tab as genes } from "./tabs/genes";
import { tab as notes } from "./tabs/notes";
import { tab as similar } from "./tabs/similar";
import type { Tab } from "./tabs/tab";
import { tab as terms } from "./tabs/terms";
import { tab as trust } from "./tabs/trust";

function sorted<T extends { order: number }>(all: T[]): T[] {
  return [...all].sort((a, b) => a.order - b.order);
}

export const pages: Page[] = sorted([
  landscape, concept, selection, compare, gene, term, cell, review, agreement, help,
]);
export const tabs: Tab[] = sorted([genes, terms, cells, composition, similar, trust, notes]);
