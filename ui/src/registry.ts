// Pages and tabs are files that export `page` or `tab`; they are found when the bundle is built.
import type { Page } from "./pages/page";
import type { Tab } from "./tabs/tab";

const pageFiles = import.meta.glob<{ page?: Page }>("./pages/*.tsx", { eager: true });
const tabFiles = import.meta.glob<{ tab?: Tab }>("./tabs/*.tsx", { eager: true });

function sorted<T extends { order: number }>(all: (T | undefined)[]): T[] {
  return all.filter((x): x is T => x !== undefined).sort((a, b) => a.order - b.order);
}

export const pages: Page[] = sorted(Object.values(pageFiles).map((f) => f.page));
export const tabs: Tab[] = sorted(Object.values(tabFiles).map((f) => f.tab));
