/* report.h - what the files of report.html share. Private to the study room.
 *
 * report.html is one self-contained page: inline CSS, SVG and script, no network. Every text that
 * comes from a file goes through cpt_text_add_html; the only data inside <script> are numbers and
 * base64. No dates: the same study and recorded command give the same bytes. */
#ifndef CPT_REPORT_REPORT_H
#define CPT_REPORT_REPORT_H

#include "notes/notes.h"
#include "study/study.h"

/* Our defaults; each is named where it acts. */
enum {
    CPT_REPORT_CARDS = 400,      /* most concepts with a card */
    CPT_REPORT_MAP_CELLS = 50000, /* most cells on the map */
    CPT_REPORT_GENES = 20,       /* rows of a gene table */
    CPT_REPORT_TERMS = 8,        /* rows of a term table */
    CPT_REPORT_PAIRS = 8,        /* rows of a table of prototypes */
    CPT_REPORT_LABELS = 8        /* rows of a composition */
};
#define CPT_REPORT_CONCENTRATED 0.8 /* share of a concept's cells that one donor or batch has ... */
#define CPT_REPORT_CONCENTRATED_OF 0.4 /* ... with at most this share of all cells */

/* Where a donor or batch holds most of a concept. */
typedef struct cpt_report_concentration {
    int32_t code; /* -1 = it does not */
    double share, background;
} cpt_report_concentration;

typedef struct cpt_report_concept {
    bool card;          /* among the n_cards most frequent */
    int32_t label;      /* best F1; -1 = none */
    double f1, share;   /* of the active cells that carry it */
    double distance;    /* median relative distance of the pairs; NaN = no pairs */
    cpt_report_concentration donor, batch;
} cpt_report_concept;

typedef struct cpt_report {
    cpt_study *s;
    const cpt_cells *cells;
    const cpt_universe *universe;
    const cpt_activations *u;
    const cpt_pairs *pairs;             /* NULL for fixed embeddings, as is: */
    const cpt_attribution *attribution;
    const cpt_expression *expression;
    const cpt_enrichment *enrichment;
    const json_t *evaluation, *dictionary;
    json_t *model, *sets;               /* cache/model.json, cache/enrichment.json; owned */
    const cpt_column *label, *donor, *batch; /* NULL = none */
    cpt_notes_opinions opinions; /* what experts said; owned */
    const float *umap;
    double cutoff;
    cpt_report_concept *concepts; /* [n_concepts] */
    int64_t *label_counts;        /* [label->categories.n] */
    int32_t *order;               /* [n_concepts] by falling frequency; the dead last */
    int32_t n_alive, n_cards;     /* cards: the first n_cards of `order` */
    bool several_collections;
    cpt_text html;                /* the page */
} cpt_report;

/* ---- loading: report_facts.c ---- */
cpt_status cpt_report_open(cpt_study *s, cpt_report *r, cpt_err *e); /* *r zeroed before */
void cpt_report_close(cpt_report *r);
/* Genes of a concept by falling |mean attribution| (0 and NaN left out) or by falling expression
 * score; returns how many. */
int32_t cpt_report_genes(const cpt_report *r, int32_t concept, bool attribution, int32_t capacity,
                         int32_t *genes);
/* Above the cut-off with q < 0.05. */
bool cpt_report_attributed(const cpt_report *r, size_t at);
int32_t cpt_report_count_attributed(const cpt_report *r, int32_t concept);

/* ---- writing numbers: report_facts.c ---- */
void cpt_report_number(cpt_text *t, double x, int digits); /* significant digits; a dash for NaN */
void cpt_report_p(cpt_text *t, double p);
void cpt_report_p_cell(cpt_text *t, double p);             /* the same in a cell of a table */
void cpt_report_percent(cpt_text *t, double share);        /* "12.3 %" */
void cpt_report_count(cpt_text *t, int64_t n);             /* "12,345" */
double cpt_report_json(const json_t *root, const char *a, const char *b,
                       const char *c); /* NaN if absent */
const char *cpt_report_label(const cpt_report *r, int64_t cell); /* "" when it has none */
/* Flags of a concept as <span class="f"> badges with explanations; nothing when there are none. */
void cpt_report_flags(cpt_report *r, int32_t concept);
/* What experts call a concept, with their rating; nothing when nobody has named or rated it. */
void cpt_report_expert(cpt_report *r, int32_t concept);

/* ---- sections ---- */
void cpt_report_map(cpt_report *r);       /* report_map.c: canvas, legend, selector */
cpt_status cpt_report_data(cpt_report *r, cpt_err *e); /* report_map.c: the script's data */
cpt_status cpt_report_table(cpt_report *r, cpt_err *e); /* report_table.c */
cpt_status cpt_report_quality(cpt_report *r, cpt_err *e); /* report_quality.c */
cpt_status cpt_report_evaluation(cpt_report *r, cpt_err *e); /* report_evaluation.c */
cpt_status cpt_report_curves(cpt_report *r, cpt_err *e);     /* report_curves.c: its drawings */
void cpt_report_link(cpt_report *r, int32_t concept); /* "c12", leading to its card if it has one */
/* Says that a part was not done, and why; false when it was. */
bool cpt_report_skipped(cpt_report *r, const json_t *part, const char *what);
cpt_status cpt_report_card(cpt_report *r, int32_t concept, cpt_err *e); /* report_cards.c */
void cpt_report_card_terms(cpt_report *r, int32_t concept);             /* report_card_terms.c */
void cpt_report_sweep(cpt_report *r);     /* report_sweep.c: nothing without `evaluate --sweep` */
void cpt_report_terms(cpt_report *r);     /* report_terms.c */
void cpt_report_methods(cpt_report *r);   /* report_methods.c */

/* Tests along GO's graph: as option "dag-tests" and column `method` spell them, and in words. */
enum { CPT_N_GRAPH_TESTS = 4 };
extern const char *const cpt_graph_tests[CPT_N_GRAPH_TESTS][2];
bool cpt_report_graph_test(const cpt_report *r, int test); /* whether the study made it; report_terms.c */

/* ---- report_style.c ---- */
extern const char *const cpt_report_css[];    /* NULL ends the list */
extern const char *const cpt_report_script[];

#endif
