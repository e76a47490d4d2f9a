/* similarity.c - how alike two terms of the Gene Ontology are, by information content or by graph.
 *
 * Resnik (IJCAI 1995), Lin (ICML 1998) and SimRel (Schlicker et al. 2006) look at the most informative
 * common ancestor; Wang et al. (2007) at the share of ancestors, each weighted by its best path:
 * S(t) = max over children c in the graph below of w(edge) S(c), S(self) = 1,
 * sim(a, b) = sum over common ancestors of (S_a + S_b) / (sum S_a + sum S_b).
 *
 * A term is an ancestor of itself here (REVIGO uses proper ancestors, so its numbers differ). Wang is by
 * definition, the largest product over all paths; GOSemSim 2.24 takes the first path it finds, and
 * its relation names do not match its own weights.
 *
 * O(n * ancestors) to collect, then O(n^2 * ancestors) with a stamp per term; a term has some 10 to 60
 * ancestors. By information content the search mostly ends early: ancestors come by falling IC.
 */
#include "enrich/redundancy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

typedef struct ancestor {
    int32_t term;
    double weight; /* IC, or Wang's S */
} ancestor;

typedef struct ancestry {
    int64_t *first; /* [n + 1] */
    ancestor *list; /* of term i: list[first[i]] .. */
    size_t capacity;
    double *mark;   /* [n_terms] */
    int32_t *stamp; /* [n_terms] last term that visited */
} ancestry;

cpt_status cpt_term_ic(const cpt_go *go, const cpt_annotation *a, double *ic, cpt_err *e)
{
    uint8_t *seen;
    double root[3] = {0};
    cpt_status status = cpt_alloc(&seen, (size_t)a->n_universe, 1, e);
    if (status) return status;
    for (int32_t t = 0; t < go->n_terms; t++)
        for (int64_t i = a->first[t]; i < a->first[t + 1]; i++)
            seen[a->genes[i]] |= (uint8_t)(1 << go->aspect[t]);
    for (int32_t g = 0; g < a->n_universe; g++)
        for (int k = 0; k < 3; k++) root[k] += seen[g] >> k & 1;
    for (int32_t t = 0; t < go->n_terms; t++) {
        double size = (double)(a->first[t + 1] - a->first[t]);
        ic[t] = size > 0 ? log(root[go->aspect[t]] / size) : INFINITY;
    }
    free(seen);
    return CPT_OK;
}

/* ---- ancestors ---- */

static cpt_status visit(ancestry *a, int64_t *n, int32_t term, int32_t self, cpt_err *e)
{
    if (a->stamp[term] == self) return CPT_OK;
    cpt_status status = cpt_grow(&a->list, &a->capacity, (size_t)*n + 1, sizeof *a->list, e);
    if (status) return status;
    a->stamp[term] = self;
    a->mark[term] = 0;
    a->list[(*n)++].term = term;
    return CPT_OK;
}

/* Appends the ancestors of `term`, itself first, breadth first. */
static cpt_status collect(ancestry *a, const cpt_go *go, int32_t self, int32_t term, cpt_err *e)
{
    int64_t n = a->first[self];
    cpt_status status = visit(a, &n, term, self, e);
    for (int64_t at = a->first[self]; at < n && status == CPT_OK; at++) {
        int32_t t = a->list[at].term;
        for (int32_t i = go->parent_first[t]; i < go->parent_first[t + 1] && status == CPT_OK; i++)
            status = visit(a, &n, go->parents[i], self, e);
    }
    a->first[self + 1] = n;
    return status;
}

static int by_weight(const void *x, const void *y)
{
    const ancestor *a = x, *b = y;
    if (a->weight != b->weight) return a->weight > b->weight ? -1 : 1;
    return (a->term > b->term) - (a->term < b->term);
}

/* Wang's S, deepest terms first: a parent's level is always below its child's. */
static void weigh_paths(ancestry *a, const cpt_go *go, int32_t self)
{
    static const double edge_weight[] = {0.8, 0.6};
    ancestor *list = a->list + a->first[self];
    int64_t n = a->first[self + 1] - a->first[self];
    a->mark[list[0].term] = 1;
    for (int64_t i = 0; i < n; i++) list[i].weight = go->level[list[i].term];
    qsort(list, (size_t)n, sizeof *list, by_weight);
    for (int64_t k = 0; k < n; k++) {
        int32_t t = list[k].term;
        list[k].weight = a->mark[t];
        for (int32_t i = go->parent_first[t]; i < go->parent_first[t + 1]; i++) {
            double s = edge_weight[go->parent_kind[i]] * a->mark[t];
            if (s > a->mark[go->parents[i]]) a->mark[go->parents[i]] = s;
        }
    }
}

static void weigh_information(ancestry *a, const double *ic, int32_t self)
{
    ancestor *list = a->list + a->first[self];
    int64_t n = a->first[self + 1] - a->first[self];
    for (int64_t i = 0; i < n; i++) list[i].weight = ic[list[i].term];
    qsort(list, (size_t)n, sizeof *list, by_weight);
}

static cpt_status collect_all(ancestry *a, const cpt_go *go, const double *ic, int32_t n,
                              const int32_t *terms, cpt_err *e)
{
    cpt_status status;
    CPT_TRY(cpt_alloc(&a->first, (size_t)n + 1, sizeof *a->first, e));
    CPT_TRY(cpt_alloc(&a->mark, (size_t)go->n_terms, sizeof *a->mark, e));
    CPT_TRY(cpt_alloc(&a->stamp, (size_t)go->n_terms, sizeof *a->stamp, e));
    for (int32_t t = 0; t < go->n_terms; t++) a->stamp[t] = -1;
    for (int32_t i = 0; i < n; i++) {
        CPT_TRY(collect(a, go, i, terms[i], e));
        if (ic) weigh_information(a, ic, i);
        else weigh_paths(a, go, i);
    }
done:
    return status;
}

/* ---- pairs: the ancestors of i are stamped with n + i, their weights in mark ---- */

static double most_informative(const ancestry *a, int32_t stamp, int32_t j)
{
    for (int64_t k = a->first[j]; k < a->first[j + 1]; k++)
        if (a->stamp[a->list[k].term] == stamp) return a->list[k].weight;
    return 0; /* another aspect, or another root */
}

static double by_information(const ancestry *a, cpt_similarity kind, int32_t stamp, int32_t j,
                             double ic_i, double ic_j)
{
    double common = most_informative(a, stamp, j);
    if (kind == CPT_SIMILARITY_RESNIK) return common;
    if (isinf(ic_i) || isinf(ic_j)) return 0; /* a term without genes is like nothing */
    double lin = ic_i + ic_j > 0 ? 2 * common / (ic_i + ic_j) : NAN;
    return kind == CPT_SIMILARITY_LIN ? lin : lin * (1 - exp(-common));
}

static double by_paths(const ancestry *a, int32_t stamp, int32_t i, int32_t j)
{
    double shared = 0, all = 0;
    for (int64_t k = a->first[i]; k < a->first[i + 1]; k++) all += a->list[k].weight;
    for (int64_t k = a->first[j]; k < a->first[j + 1]; k++) {
        all += a->list[k].weight;
        if (a->stamp[a->list[k].term] == stamp) shared += a->list[k].weight + a->mark[a->list[k].term];
    }
    return shared / all;
}

cpt_status cpt_term_similarity(const cpt_go *go, const double *ic, cpt_similarity kind, int32_t n,
                               const int32_t *terms, double *out, cpt_err *e)
{
    ancestry a = {0};
    cpt_status status = CPT_OK;
    bool wang = kind == CPT_SIMILARITY_WANG;
    for (int32_t i = 0; i < n; i++)
        if (terms[i] < 0 || terms[i] >= go->n_terms)
            return cpt_fail(e, CPT_ERR_USAGE, "term %d of %d is not in the ontology", terms[i], go->n_terms);
    CPT_TRY(collect_all(&a, go, wang ? NULL : ic, n, terms, e));
    for (int32_t i = 0; i < n; i++) {
        int32_t stamp = n + i;
        for (int64_t k = a.first[i]; k < a.first[i + 1]; k++) {
            a.stamp[a.list[k].term] = stamp;
            a.mark[a.list[k].term] = a.list[k].weight;
        }
        for (int32_t j = i; j < n; j++) {
            double s = wang ? by_paths(&a, stamp, i, j)
                            : by_information(&a, kind, stamp, j, ic[terms[i]], ic[terms[j]]);
            out[(int64_t)i * n + j] = out[(int64_t)j * n + i] = s;
        }
    }
done:
    free(a.first);
    free(a.list);
    free(a.mark);
    free(a.stamp);
    return status;
}

void cpt_list_similarity(int32_t n, const int64_t *first, const int32_t *genes, double *out)
{
    for (int32_t i = 0; i < n; i++)
        for (int32_t j = i; j < n; j++) {
            int64_t a = first[i], b = first[j], shared = 0;
            while (a < first[i + 1] && b < first[j + 1]) {
                int32_t x = genes[a], y = genes[b];
                shared += x == y;
                a += x <= y;
                b += y <= x;
            }
            int64_t all = first[i + 1] - first[i] + first[j + 1] - first[j] - shared;
            double s = all ? (double)shared / (double)all : 0;
            out[(int64_t)i * n + j] = out[(int64_t)j * n + i] = s;
        }
}
