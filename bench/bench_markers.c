/* bench_markers.c - do the concepts that fit known populations rest on the genes that are known for
 * them?
 *
 * usage: bench_markers STUDY MARKERS.tsv
 * For every group of MARKERS.tsv: the concept whose active cells fit the group's cells best (F1),
 * its 20 genes with the largest positive attribution (those with q < 0.05 first) that are higher in
 * its active cells, and how many are markers; beside it the same count for the 20 top genes by
 * differential expression. One line of a Markdown table per group; exit 1 when a group has fewer
 * than 5 by attribution. */
#include "base/file.h"
#include "base/memory.h"
#include "study/study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOP = 20, WANTED = 5 };

static void die(const char *text)
{
    fprintf(stderr, "bench_markers: %s\n", text);
    exit(2);
}

/* `list` is words between separators; is `word` one of them? */
static bool is_listed(const char *list, char separator, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p; p = strchr(p, separator) ? strchr(p, separator) + 1 : NULL)
        if (strncmp(p, word, n) == 0 && (p[n] == separator || p[n] == '\0')) return true;
    return false;
}

static int32_t best_concept(const cpt_activations *u, const cpt_column *label, const char *labels,
                            double *best_f1)
{
    int64_t n_group = 0;
    int32_t best = -1;
    *best_f1 = 0;
    bool *member = calloc((size_t)label->categories.n, sizeof *member);
    if (!member) die("out of memory");
    for (int64_t i = 0; i < label->categories.n; i++)
        member[i] = is_listed(labels, '|', cpt_strings_get(&label->categories, i));
    for (int64_t i = 0; i < u->n_cells; i++)
        n_group += label->codes[i] >= 0 && member[label->codes[i]];
    for (int32_t c = 0; c < u->n_concepts; c++) {
        int64_t first = u->by_concept.indptr[c], last = u->by_concept.indptr[c + 1], inside = 0;
        for (int64_t k = first; k < last; k++) {
            int32_t code = label->codes[u->by_concept.indices[k]];
            inside += code >= 0 && member[code];
        }
        double f1 = last > first ? 2.0 * (double)inside / (double)(n_group + last - first) : 0;
        if (f1 > *best_f1) *best_f1 = f1, best = c;
    }
    free(member);
    return best;
}

/* The genes whose presence the concept needs: positive mean attribution, q < 0.05 first, and higher
 * in the active cells. Without the last condition genes count whose ABSENCE is needed (swapping in
 * the counterfactual's GNLY lowers a T cell concept as well): true of the model, but no markers. */
static int32_t top_attribution(const cpt_attribution *a, const cpt_expression *x, int32_t concept,
                               int32_t *genes)
{
    double best[TOP];
    int32_t n = 0;
    for (int32_t g = 0; g < a->n_genes; g++) {
        size_t at = (size_t) concept * (size_t)a->n_genes + (size_t)g;
        double v = a->mean[at];
        if (!(v > 0) || !(x->logfc[at] > 0)) continue;
        if (a->q[at] < 0.05) v += 1e6;
        if (n == TOP && v <= best[n - 1]) continue;
        int32_t at_rank = n < TOP ? n++ : n - 1;
        for (; at_rank > 0 && best[at_rank - 1] < v; at_rank--)
            best[at_rank] = best[at_rank - 1], genes[at_rank] = genes[at_rank - 1];
        best[at_rank] = v;
        genes[at_rank] = g;
    }
    return n;
}

static int32_t top_expression(const cpt_expression *x, int32_t concept, int32_t *genes)
{
    double best[TOP];
    int32_t n = 0;
    for (int32_t g = 0; g < x->n_genes; g++) {
        double v = x->score[(size_t) concept * (size_t)x->n_genes + (size_t)g];
        if (!(v > 0) || (n == TOP && v <= best[n - 1])) continue;
        int32_t at = n < TOP ? n++ : n - 1;
        for (; at > 0 && best[at - 1] < v; at--) best[at] = best[at - 1], genes[at] = genes[at - 1];
        best[at] = v;
        genes[at] = g;
    }
    return n;
}

static int count_markers(const cpt_universe *u, int32_t n, const int32_t *genes,
                         const char *markers, cpt_text *names)
{
    int found = 0;
    for (int32_t i = 0; i < n; i++) {
        const char *symbol = cpt_strings_get(&u->symbols, genes[i]);
        if (!is_listed(markers, ',', symbol)) continue;
        cpt_text_addf(names, "%s%s", found ? " " : "", symbol);
        found++;
    }
    return found;
}

static bool check_group(cpt_study *s, char *line)
{
    cpt_err e;
    const cpt_activations *u;
    const cpt_universe *universe;
    const cpt_expression *x;
    const cpt_attribution *a;
    const cpt_column *label;
    char *labels = strchr(line, '\t'), *markers = labels ? strchr(labels + 1, '\t') : NULL;
    char *source = markers ? strchr(markers + 1, '\t') : NULL;
    if (!source) die("four columns are expected in the table of markers");
    *labels++ = *markers++ = *source = '\0';
    if (cpt_study_activations(s, &u, &e) || cpt_study_universe(s, &universe, &e) ||
        cpt_study_expression(s, &x, &e) || cpt_study_attribution(s, &a, &e) ||
        cpt_study_column(s, "label", &label, &e))
        die(e.text);
    if (!label || !a) die("the study has no labels or no attribution");
    double f1;
    int32_t c = best_concept(u, label, labels, &f1), genes[TOP];
    if (c < 0) return true; /* no cell of this group in the study */
    cpt_text names = {0}, unused = {0};
    int n = count_markers(universe, top_attribution(a, x, c, genes), genes, markers, &names);
    int m = count_markers(universe, top_expression(x, c, genes), genes, markers, &unused);
    printf("| %s | c%d | %.2f | %d of 20 | %d of 20 | %s |\n", line, c, f1, n, m,
           cpt_text_str(&names));
    cpt_text_free(&names);
    cpt_text_free(&unused);
    return n >= WANTED;
}

int main(int argc, char **argv)
{
    cpt_err e;
    cpt_context ctx;
    cpt_study *s;
    char *line;
    bool all = true;
    if (argc != 3) die("usage: bench_markers STUDY MARKERS.tsv");
    cpt_context_init(&ctx);
    if (cpt_study_open(argv[1], &ctx, &s, &e)) die(e.text);
    cpt_lines *in = cpt_lines_open(argv[2], 1 << 16, &e);
    if (!in) die(e.text);
    printf("| population | concept | F1 | markers by attribution | by expression | which "
           "(attribution) |\n|---|---|---|---|---|---|\n");
    while (cpt_lines_next(in, &line, NULL, &e) == CPT_OK && line)
        if (line[0] && line[0] != '#') all &= check_group(s, line);
    cpt_lines_close(in);
    cpt_study_close(s);
    return all ? 0 : 1;
}
