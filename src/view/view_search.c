#include "base/memory.h"
#include "view/view.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One box for everything: concepts by number, label, gene or term; genes by symbol or id; terms by
 * id or name; labels; cells by id. A linear scan over names: 20,000 genes, 40,000 terms and 300,000
 * cells are 10 MB of text and some ten milliseconds. Better matches come first: the whole name, its
 * beginning, the beginning of a word, anywhere; within these, concepts, labels, genes, terms,
 * cells. */

enum { DEFAULT_LIMIT = 30, MOST = 200, KINDS = 5, GRADES = 4 };
static const char *const kinds[KINDS] = {"concept", "label", "gene", "term", "cell"};
enum { K_CONCEPT, K_LABEL, K_GENE, K_TERM, K_CELL };

typedef struct hit {
    int32_t number;
    const char *why; /* borrowed: what matched, for concepts */
} hit;

typedef struct hits {
    hit list[MOST];
    int n;
} hits;

typedef struct search {
    const cpt_view *view;
    const char *text;
    size_t length;
    hits (*found)[GRADES]; /* [KINDS] */
} search;

static bool word_start(const char *name, const char *at)
{
    unsigned char before = at > name ? (unsigned char)at[-1] : ' ';
    return !(before >= 0x80 || (before >= '0' && before <= '9') ||
             (before >= 'A' && before <= 'Z') || (before >= 'a' && before <= 'z'));
}

/* 0 = the whole name ... 3 = somewhere; -1 = not at all. */
static int grade(const search *s, const char *name)
{
    if (strncasecmp(name, s->text, s->length) == 0) return name[s->length] ? 1 : 0;
    const char *at = strcasestr(name, s->text);
    if (!at) return -1;
    for (const char *p = at; p; p = strcasestr(p + 1, s->text))
        if (word_start(name, p)) return 2;
    return 3;
}

static void add(search *s, int kind, int g, int32_t number, const char *why)
{
    if (g < 0) return;
    hits *h = &s->found[kind][g];
    if (h->n < MOST) h->list[h->n++] = (hit){number, why};
}

static int better(int a, int b)
{
    return a < 0 ? b : b < 0 || a < b ? a : b;
}

static void search_genes(search *s)
{
    const cpt_view *v = s->view;
    for (int32_t g = 0; g < v->n_genes; g++)
        add(s, K_GENE, better(grade(s, cpt_view_symbol(v, g)), grade(s, cpt_view_gene_name(v, g))),
            g, NULL);
}

static void search_terms(search *s)
{
    const cpt_index_files *f = &s->view->index;
    for (int32_t t = 0; t < f->n_terms; t++) {
        double size = ((const double *)f->term_numbers.data)[3 * t + 1];
        if (!(size > 0)) continue; /* was not tested: no page of its own would say anything */
        add(s, K_TERM,
            better(grade(s, cpt_strings_get(&f->term_ids, t)),
                   grade(s, cpt_strings_get(&f->term_names, t))),
            t, NULL);
    }
}

static void search_labels(search *s)
{
    const cpt_column *label = s->view->label;
    for (int64_t k = 0; label && k < label->categories.n; k++)
        add(s, K_LABEL, grade(s, cpt_strings_get(&label->categories, k)), (int32_t)k, NULL);
}

static void search_cells(search *s)
{
    const cpt_view *v = s->view;
    if (s->length < 3) return;
    for (int64_t i = 0; i < v->cells->n_cells; i++)
        add(s, K_CELL, grade(s, cpt_strings_get(&v->cells->cell_ids, i)), (int32_t)i, NULL);
}

/* "c12" and "12" name a concept; else its label and its top genes. */
static void search_concepts(search *s)
{
    const cpt_view *v = s->view;
    const char *digits = s->text + (s->text[0] == 'c' || s->text[0] == 'C');
    int64_t number;
    if (*digits && cpt_parse_i64(digits, &number) && number >= 0 && number < v->n_concepts)
        add(s, K_CONCEPT, 0, (int32_t)number, "number");
    for (int32_t c = 0; v->have_index && c < v->n_concepts; c++) {
        const double *facts = (const double *)v->index.facts.data + (int64_t)c * CPT_N_FACTS;
        const int32_t *top = v->index.top_genes.data;
        if (v->label && facts[CPT_FACT_LABEL] >= 0 &&
            facts[CPT_FACT_LABEL] < (double)v->label->categories.n) {
            const char *label =
                cpt_strings_get(&v->label->categories, (int64_t)facts[CPT_FACT_LABEL]);
            int g = grade(s, label);
            if (g >= 0) {
                add(s, K_CONCEPT, g < 1 ? 1 : g, c, label);
                continue;
            }
        }
        for (int i = 0; top && i < CPT_TOP_GENES; i++) {
            int32_t gene = top[(int64_t)c * CPT_TOP_GENES + i];
            if (gene < 0 || gene >= v->n_genes || strcasecmp(cpt_view_symbol(v, gene), s->text))
                continue;
            add(s, K_CONCEPT, 1, c, cpt_view_symbol(v, gene));
            break;
        }
    }
}

static void put_number_id(cpt_jot *j, int32_t number)
{
    char id[16];
    snprintf(id, sizeof id, "%d", number);
    cpt_jot_put_text(j, "id", id);
}

static void put_concept(const search *s, cpt_jot *j, const hit *h)
{
    const cpt_view *v = s->view;
    char title[24];
    cpt_text detail = {0};
    const int32_t *top = v->index.top_genes.data;
    snprintf(title, sizeof title, "c%d", h->number);
    if (h->why && strcmp(h->why, "number")) cpt_text_addf(&detail, "%s; ", h->why);
    for (int i = 0; top && i < 4; i++) {
        int32_t g = top[(int64_t)h->number * CPT_TOP_GENES + i];
        if (g >= 0 && g < v->n_genes)
            cpt_text_addf(&detail, "%s%s", i ? ", " : "", cpt_view_symbol(v, g));
    }
    put_number_id(j, h->number);
    cpt_jot_put_text(j, "title", title);
    cpt_jot_put_text(j, "detail", cpt_text_str(&detail));
    cpt_text_free(&detail);
}

static void put_hit(const search *s, cpt_jot *j, int kind, const hit *h)
{
    const cpt_view *v = s->view;
    cpt_jot_open(j, '{');
    cpt_jot_put_text(j, "kind", kinds[kind]);
    if (kind == K_CONCEPT) {
        put_concept(s, j, h);
    } else if (kind == K_GENE) {
        put_number_id(j, h->number);
        cpt_jot_put_text(j, "title", cpt_view_symbol(v, h->number));
        cpt_jot_put_text(j, "detail", cpt_view_gene_name(v, h->number));
    } else if (kind == K_TERM) {
        cpt_jot_put_text(j, "id", cpt_strings_get(&v->index.term_ids, h->number));
        cpt_jot_put_text(j, "title", cpt_strings_get(&v->index.term_names, h->number));
        cpt_jot_put_text(j, "detail", cpt_strings_get(&v->index.term_ids, h->number));
    } else if (kind == K_LABEL) {
        cpt_jot_put_text(j, "id", cpt_strings_get(&v->label->categories, h->number));
        cpt_jot_put_text(j, "title", cpt_strings_get(&v->label->categories, h->number));
        cpt_jot_put_text(j, "detail", v->label->name);
    } else {
        put_number_id(j, h->number);
        cpt_jot_put_text(j, "title", cpt_strings_get(&v->cells->cell_ids, h->number));
        cpt_jot_put_text(j, "detail", "cell");
    }
    cpt_jot_close(j, '}');
}

cpt_status cpt_view_search(const cpt_view *v, const char *text, int64_t limit, char **json,
                           cpt_err *e)
{
    search s = {.view = v, .text = text + strspn(text, " ")};
    char trimmed[128];
    cpt_jot j = {0};
    cpt_status status = cpt_alloc(&s.found, KINDS, sizeof *s.found, e);
    if (status) return status;
    snprintf(trimmed, sizeof trimmed, "%s", s.text);
    for (s.length = strlen(trimmed); s.length && trimmed[s.length - 1] == ' ';)
        trimmed[--s.length] = '\0';
    s.text = trimmed;
    if (limit <= 0) limit = DEFAULT_LIMIT;
    if (limit > MOST) limit = MOST;
    if (s.length) {
        search_concepts(&s);
        search_labels(&s);
        search_cells(&s);
        if (v->have_index) {
            search_genes(&s);
            search_terms(&s);
        }
    }
    cpt_jot_open(&j, '{');
    cpt_jot_key(&j, "rows");
    cpt_jot_open(&j, '[');
    for (int g = 0; g < GRADES; g++)
        for (int k = 0; k < KINDS; k++)
            for (int i = 0; i < s.found[k][g].n && limit > 0; i++, limit--)
                put_hit(&s, &j, k, &s.found[k][g].list[i]);
    cpt_jot_close(&j, ']');
    cpt_jot_close(&j, '}');
    free(s.found);
    return cpt_jot_take(&j, json, e);
}
