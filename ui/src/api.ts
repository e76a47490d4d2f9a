// The contract between the server (src/server) and the pages: every route, every shape.
// The server's tests read the same names. Change both sides and this file together.
//
// Routes begin with /api/v1. `S` = /api/v1/s/{study id}. All numbers are finite or null ("not defined").
// Cells, concepts and genes are numbered from 0 in the order of the study's files: cell i = row i of cells.h5ad,
// concept c = "c<c>", gene g = column g of attribution.h5ad (the universe).
//
// Every GET of a table accepts ?format=tsv (a download with a provenance line is not added: headers name the columns).
// Errors: status 4xx/5xx with {"error": "what, where, next step"}.
// Writes (POST) carry the header X-Conceptome-Token, whose value the page finds in <meta name="conceptome-token">.
// Everything derived from results has an ETag that changes with the study's generation.
//
// Binary vectors are little-endian, without a header of their own; response headers describe them:
//   Cpt-Type: u8 | u16 | u32 | f32      Cpt-Shape: "9142x2" or "1920"      Cpt-Range: "low,high"
// A sparse vector is u32 cells[n] followed by f32 values[n] (Cpt-Type: sparse, Cpt-Shape: n); absent cells are 0.

// ---- GET /api/v1/info ------------------------------------------------------------------------------------------
export interface Info {
  version: string;
  studies: StudyHead[];
}
export interface StudyHead {
  id: string; // url-safe, unique, from the folder's name
  name: string;
  cells: number;
  genes: number;
  concepts: number;
  model: string; // "scvi", "scgpt", "fixed"
  dictionary: string;
  generation: string; // changes when any result of the study changes: reload then
}
// ---- GET S/state  (polled every few seconds; cheap) ----
export interface State {
  generation: string;
  notes_revision: number; // grows with every note written
  running: string | null; // the stage that another process is computing right now, or how far the index is
  indexing: boolean; // this server makes the index: genes, terms and neighbours are missing until the generation changes
}

// ---- GET S/study -----------------------------------------------------------------------------------------------
export interface Study extends StudyHead {
  cells_placed: number; // with a place on the map
  columns: Column[]; // obs
  model_info: Record<string, string | number | null>;
  dictionary_info: Record<string, string | number | null>;
  reconstruction: Record<string, number | null> | null; // validation: r2_feature, fvu, l0, dead_fraction, mean_baseline ...
  attribution: null | {
    method: string; mode: string; readout: string; space: string | null;
    prototypes: number; counterfactuals: number; cutoff: number;
  }; // null: fixed embedding, differential expression only
  expression: { test: string };
  collections: string[]; // "GO_BP", "hallmark" ...
  methods: string[]; // "gsea", "ora", "elim" ...
  rankings: string[]; // "attribution", "expression"
  noise_floor: Record<string, number | null> | null;
  neurons: number; // embedding dimensions
  comparisons: Comparison[]; // other studies whose concepts were matched with these (`conceptome compare`)
}
export interface Column {
  name: string;
  kind: "category" | "number";
  categories?: string[];
  role: "label" | "donor" | "batch" | null;
  low?: number; // numbers
  high?: number;
}
export interface Comparison { id: string; name: string; study: string | null; matched: number; pw_mcc: number | null }

// ---- GET S/concepts : the landscape, columnar; index = concept --------------------------------------------------
export interface Concepts {
  n: number;
  frequency: number[]; // share of usable cells with activation > 0
  active: number[]; // n of them
  max: number[];
  mean: number[]; // over active cells
  label: string[]; // "B cell": the label that fits best; "" = none
  label_share: (number | null)[];
  label_f1: (number | null)[];
  genes: string[][]; // up to 5 top symbols
  term: (TermShort | null)[];
  terms_attribution: number[]; // representative terms with q < 0.05, GSEA
  terms_expression: number[];
  attributed: number[]; // genes beyond the cut-off with q < 0.05
  distance: (number | null)[]; // of counterfactuals, relative to the median nearest neighbour
  stability: (number | null)[]; // mean matched cosine over seeds
  faithfulness: (number | null)[]; // area under the drop, ranking by attribution
  flags: string[][]; // "dead" "dense" "rare" "concentrated" "confounded" "fragile" "unstable"
  quality: number[]; // 0..1, what the review queue sorts by; how it is made is in the study's help text
}
export interface TermShort { id: string; name: string; q: number; ranking: string; method: string }

// ---- vectors ------------------------------------------------------------------------------------------------------
// GET S/vec/umap               u16 [cells][2], 65535 = not placed; Cpt-Range "xlow,xhigh,ylow,yhigh"
// GET S/vec/conceptmap         f32 [concepts][2], NaN = dead: layout by co-activation
// GET S/vec/activation/{c}     sparse
// GET S/vec/gene/{g}           sparse, log1p(count / total * 1e4)
// GET S/vec/column/{name}      category: u16 [cells], 65535 = missing; number: f32 [cells], NaN = missing
// GET S/vec/neuron/{j}         f32 [cells]

// ---- GET S/concept/{c} ----------------------------------------------------------------------------------------------
export interface Concept {
  concept: number;
  frequency: number; active: number; usable: number; max: number; mean: number;
  label: string; label_share: number | null; label_f1: number | null; label_auroc: number | null;
  term: TermShort | null;
  flags: Flag[];
  pairs: number; // prototypes with a counterfactual
  distance: number | null;
  quality: number; // as in Concepts
  histogram: { low: number; high: number; counts: number[] }; // positive activations only
}
export interface Flag { name: string; text: string } // text: what was measured, against which limit

// ---- GET S/concept/{c}/genes?order=attribution|expression&limit=&offset=&q=  -------------------------------------
export interface GeneRows { n: number; pairs: number; rows: GeneRow[] } // n: all genes that match
export interface GeneRow {
  gene: number; name: string; symbol: string;
  mean: number | null; // attribution, in units of the prototype's activation; + = the activation needs the prototype's value
  low: number | null; high: number | null; // 95 % bootstrap
  sd: number | null; n: number | null; same_sign: number | null; p: number | null; q: number | null;
  higher: number | null; // share of differing pairs in which the prototype's value is the higher one
  logfc: number | null; score: number | null; dge_p: number | null; dge_q: number | null;
  share_in: number | null; share_out: number | null; // cells expressing, among active and others
}

// ---- GET S/concept/{c}/terms?ranking=&method=&collection=&all=0|1 ------------------------------------------------
export interface TermRows { rows: TermRow[]; tested: Record<string, number> } // sets tested per collection; rows: p <= 0.05
export interface TermRow {
  ranking: string; method: string; collection: string; term: string; name: string;
  size: number; overlap: number; es: number | null; nes: number | null; p: number; log10p: number; q: number;
  log2err: number | null; ic: number | null;
  genes: string[]; // leading edge or overlap
  represented_by: string; // "" = stands for itself
}
// ---- GET S/concept/{c}/running?term=&ranking= ----
export interface Running {
  term: string; name: string; ranking: string; n: number; size: number; es: number; nes: number | null; p: number | null; q: number | null;
  peak: number; // rank of the extreme
  curve: [number, number][]; // rank, running sum: corners only
  hits: { rank: number; gene: number; symbol: string; value: number; leading: boolean }[];
}

// ---- GET S/concept/{c}/cells?band=prototypes|high|middle|low&limit= -----------------------------------------------
export interface CellRows { band: string; rows: CellRow[] }
export interface CellRow {
  cell: number; id: string; activation: number;
  columns: Record<string, string | number | null>; // label, donor, batch
  counterfactual?: { cell: number; id: string; distance: number; relative: number | null; columns: Record<string, string | number | null> }[];
  differing?: { gene: number; symbol: string; prototype: number; counterfactual: number; mean: number }[]; // counts; top by |attribution|
}
// ---- GET S/cell/{i} ----
export interface Cell {
  cell: number; id: string; total: number; columns: Record<string, string | number | null>;
  concepts: { concept: number; activation: number }[];
}

// ---- GET S/concept/{c}/composition?column= -----------------------------------------------------------------------
export interface Composition {
  column: string; active: number; cells: number;
  rows: { value: string; active: number; cells: number; share: number; background: number; low: number; high: number; p: number; q: number }[];
  warnings: string[]; // share: of the active cells; background: of all; low, high: Wilson 95 %; p: hypergeometric, two-sided
}

// ---- GET S/concept/{c}/similar ------------------------------------------------------------------------------------
export interface Similar {
  coactive: { concept: number; jaccard: number; correlation: number; both: number }[];
  genes: { concept: number; cosine: number }[]; // of attribution profiles
  decoder: { concept: number; cosine: number }[];
  matched: { comparison: string; study: string; concept: string; correlation: number | null; cosine: number | null; genes: string[]; term: string }[];
}

// ---- GET S/concept/{c}/trust --------------------------------------------------------------------------------------
export interface Trust {
  flags: Flag[];
  // cosine: with the matched decoder rows of other seeds (n dictionaries); null_mean: random rows with the embedding's
  // covariance. activation: correlation with the matched activations; its null: random dictionaries
  stability: null | { cosine: number; sd: number | null; n: number; null_mean: number | null;
    activation: number | null; activation_null_mean: number | null };
  // areas, pairs: of this concept. curves: means over all concepts of the study when curves_of is "study"
  faithfulness: null | { m: number[]; curves: Record<string, (number | null)[]>; curves_of: "study" | "concept";
    areas: Record<string, number | null>; pairs: number };
  noise: null | { cutoff: number; quantiles: Record<string, number>; above: number };
  fragile: null | Record<string, unknown>;
  controls: null | Record<string, unknown>;
}

// ---- POST S/selection/concepts, POST S/selection/genes --------------------------------------------------------------
// Body: u32 n_a, u32 a[n_a], u32 n_b, u32 b[n_b]; n_b = 0: against all other cells. No token needed: nothing is written.
export interface SelectionConcepts {
  a: number; b: number; // usable cells
  rows: { concept: number; share_a: number; share_b: number; mean_a: number; mean_b: number; auroc: number; p: number; q: number }[];
}
export interface SelectionGenes {
  a: number; b: number; test: string; n: number;
  rows: { gene: number; symbol: string; logfc: number; score: number; p: number; q: number; share_a: number; share_b: number }[];
}

// GET /api/v1/compare/activation?a={study}:{c}&b={study}:{c}   f32 [cells of a's study]: B's activation there, NaN = B's study lacks the cell
// ---- GET /api/v1/compare?a={study}:{c}&b={study}:{c} ------------------------------------------------------------------
export interface Pair {
  same_cells: number; // cells both studies have, by id; 0 = activations cannot be compared
  a_active: number; b_active: number; both: number; jaccard: number | null; correlation: number | null;
  cosine_genes: number | null; shared_genes: number;
  genes: { symbol: string; a: number | null; b: number | null }[]; // attribution of both, top by either
  terms: { term: string; name: string; a_q: number | null; b_q: number | null; ranking: string }[];
}
// ---- GET S/comparison/{id} : rows of a saved `conceptome compare` ----
export interface Matches {
  name: string; other: string; cells: number | null;
  matched_by: string; model: string; other_model: string;
  // absent: why it was not measured. above_07: share of the n pairs; null_*: the mean over the pairs that chance matches, over `draws`
  measures: { name: "decoder" | "activation" | "attribution" | "expression"; absent: string | null; n: number | null; mean: number | null; sd: number | null;
    above_07: number | null; n_significant: number | null; p: number | null; null_mean: number | null; null_sd: number | null; draws: number | null }[];
  unmatched: string[]; other_unmatched: string[];
  // shared: genes that are top in both; mutual: no other concept of either side is more alike
  rows: { a: number; b: string; cosine: number | null; correlation: number | null; jaccard: number | null; attribution: number | null; expression: number | null;
    likeness: number | null; q: number | null; q_within_labels: number | null; mutual: boolean; shared: number; b_label: string; b_genes: string[]; b_term: string }[];
}

// ---- genes and terms --------------------------------------------------------------------------------------------------
// GET S/gene/{g}
export interface Gene {
  gene: number; name: string; symbol: string; expressed: number; mean: number; // share of cells with a count; log1p(per 10,000)
  concepts: { concept: number; mean: number | null; q: number | null; rank: number | null; logfc: number | null; dge_q: number | null }[];
  terms: { term: string; name: string; concepts: number }[]; // significant somewhere with this gene in the leading edge
}
// GET S/term/{id}
export interface Term {
  term: string; name: string; collection: string; definition: string; ic: number | null; size: number | null;
  parents: { term: string; name: string }[]; children: { term: string; name: string }[];
  concepts: { concept: number; ranking: string; method: string; nes: number | null; p: number; q: number; represented_by: string }[];
}
// GET S/search?q=&limit=
export interface Found { rows: { kind: "concept" | "gene" | "term" | "label" | "cell" | "note"; id: string; title: string; detail: string }[] }

// ---- notes: what experts said ------------------------------------------------------------------------------------------
// A note belongs to a concept by its key (16 hexadecimal digits), never by its number: after a run that changed the
// dictionary c12 is another concept. GET S/notes/keys tells the keys; use them only while `generation` is that of the
// study on the screen, and send them back with every change.
export interface NoteKeys { generation: string; dictionary: string; keys: string[] }
// GET S/notes?author=  what holds now; author absent = of everybody
export interface Notes { revision: number; dictionary: string; rows: Note[]; earlier: EarlierNote[] }
export type NoteField = "name" | "label" | "note" | "confidence" | "rating" | "done";
export interface Note { concept: number; key: string; field: NoteField; value: string; author: string; time: string; revision: number }
// About a concept of an earlier dictionary: what was known of it when the note was written.
export interface EarlierNote extends Omit<Note, "concept"> { concept: null; was?: number; genes?: string; label?: string; cells?: string }
// POST S/notes        {author, key, field, value, base}  ("" clears; base: revision of the row that the author saw, 0 = none,
//                     absent = write in any case) -> SavedNote, answered after the commit; 409 with `now` when another
//                     window was faster: nothing is written then. The same value again adds nothing.
export interface SavedNote { revision: number; time: string; earlier: boolean; now?: Note | null }
// POST S/notes/undo   {author} -> {revision, undone: Note | null};   POST S/notes/redo {author} -> {revision, redone: Note | null}
// GET  S/notes/history?key=   every change, oldest first: {rows: (Note & {undone: boolean})[]}
// GET  S/notes/export?format=tsv|json        POST S/notes/import  (body: an exported json, or a notes.sqlite) -> {added, known, conflicts}

// ---- blind review (method.md 7) -----------------------------------------------------------------------------------------
// POST S/review/sessions {author, items, seed} -> Session           GET S/review/sessions -> {rows: Session[]}
// 404 with what to run when the evidence for neurons and random directions is not there. earlier: of an earlier dictionary.
export interface Session { session: string; author: string; items: number; answered: number; created: string; earlier: boolean }
// GET S/review/{session}/next?after= -> ReviewItem | {done: true}    after: position of an item that was passed over
// The item's number is random: it does not tell concept, neuron or random direction. Evidence by
// GET S/review/{session}/{item}/(genes|terms|cells|composition|histogram)  as for concepts, and .../activation (sparse)
export interface ReviewItem { item: string; position: number; of: number; frequency: number; active: number; usable: number; pairs: number; histogram: Concept["histogram"] }
// POST S/review/{session}/{item} {rating: 1..5, confidence: 1..3, label, note, seconds} -> {answered}
// GET S/review/agreement
export interface Agreement {
  experts: { author: string; answered: number; repeats: number; intra_kappa: number | null; intra_exact: number | null; mean_seconds: number | null }[];
  inter: { pairs: { a: string; b: string; n: number; kappa: number | null; exact: number | null }[]; fleiss: number | null; fleiss_items: number; krippendorff: number | null; items: number };
  kinds: { kind: "concept" | "neuron" | "random"; n: number; ratings: number; mean: number | null; low: number | null; high: number | null }[]; // n: units
  concepts_against_neurons: Contrast | null;
  concepts_against_random: Contrast | null;
}
export interface Contrast { difference: number; low: number | null; high: number | null; p: number; permutations: number; experts: number; concepts: number; controls: number }
