/* review_agreement.c - from answers to the figures of evaluate/agreement.h.
 *
 * Units are told by their key, so that sessions about the same dictionary meet and others do not.
 * An expert's rating of a unit is that of its first showing in the expert's first session with it.
 */
#include "base/memory.h"
#include "evaluate/agreement.h"
#include "notes/notes_db.h"
#include "notes/review.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* More would keep a page waiting; a file that a stranger made can have any number. */
enum { CATEGORIES = 5, REPLICATES = 10000, MAX_EXPERTS = 100, MAX_RATINGS = 200000 };

/* One answered item; of several answers the last. */
typedef struct answer {
    char author[CPT_NOTES_AUTHOR + 1];
    int32_t expert, unit, kind, rating;
    bool repeat;
    int64_t session, position, repeats; /* repeats: position of the first showing */
    double seconds;
} answer;

typedef struct answers {
    answer *rows; /* by session and position */
    size_t n, capacity;
    int32_t n_experts, n_units;
    int32_t *kinds;       /* [n_units] */
    int32_t *ratings;     /* [n_experts][n_units] of first showings */
    const char **authors; /* [n_experts] */
} answers;

/* Experts and units are numbered by the database: in the order of their names and keys. */
static const char all_answers[] =
    "SELECT s.author, dense_rank() OVER (ORDER BY s.author) - 1, dense_rank() OVER (ORDER BY "
    "i.key) - 1,"
    " i.kind, a.rating, i.repeats, a.seconds, i.position, s.session FROM sessions s"
    " JOIN items i ON i.session = s.session JOIN answers a ON a.session = i.session AND a.item = "
    "i.item"
    " WHERE a.uid = (SELECT l.uid FROM answers l WHERE l.session = i.session AND l.item = i.item"
    "  ORDER BY l.time DESC, l.uid DESC LIMIT 1)"
    " ORDER BY s.created, s.session, i.position";

static cpt_status add_answer(answers *a, sqlite3_stmt *st, int64_t session, cpt_err *e)
{
    answer row = {.expert = sqlite3_column_int(st, 1),
                  .unit = sqlite3_column_int(st, 2),
                  .rating = sqlite3_column_int(st, 4),
                  .repeats = sqlite3_column_int64(st, 5),
                  .repeat = sqlite3_column_int64(st, 5) >= 0,
                  .seconds = sqlite3_column_double(st, 6),
                  .position = sqlite3_column_int64(st, 7),
                  .session = session};
    while (strcmp(cpt_unit_kind_names[row.kind], cpt_notes_text(st, 3)) != 0) row.kind++;
    if (row.expert >= a->n_experts) a->n_experts = row.expert + 1;
    if (row.unit >= a->n_units) a->n_units = row.unit + 1;
    cpt_status status = cpt_grow(&a->rows, &a->capacity, a->n + 1, sizeof *a->rows, e);
    if (status) return status;
    snprintf(row.author, sizeof row.author, "%s", cpt_notes_text(st, 0));
    a->rows[a->n++] = row;
    return CPT_OK;
}

static cpt_status read_answers(cpt_notes *n, answers *a, cpt_err *e)
{
    sqlite3_stmt *st = NULL;
    char last[CPT_NOTES_KEY + 1] = "";
    int64_t session = -1;
    bool more = true;
    cpt_status status = cpt_notes_lock(n, false, e);
    if (status == CPT_OK && n->db) status = cpt_notes_sql(n->db, n->path, &st, e, all_answers, "");
    while (status == CPT_OK && st &&
           (status = cpt_notes_step(n->db, n->path, st, &more, e)) == CPT_OK && more) {
        if (strcmp(last, cpt_notes_text(st, 8)) != 0) session++;
        snprintf(last, sizeof last, "%s", cpt_notes_text(st, 8));
        status = add_answer(a, st, session, e);
    }
    sqlite3_finalize(st);
    cpt_notes_unlock(n);
    return status;
}

static cpt_status make_table(answers *a, cpt_err *e)
{
    cpt_status status;
    if (a->n_experts > MAX_EXPERTS || (int64_t)a->n_experts * a->n_units > MAX_RATINGS)
        return cpt_fail(
            e, CPT_ERR_DATA,
            "%d experts and %d units; agreement is computed for up to %d experts and %d "
            "ratings",
            a->n_experts, a->n_units, MAX_EXPERTS, MAX_RATINGS);
    CPT_TRY(
        cpt_alloc(&a->ratings, (size_t)a->n_experts * (size_t)a->n_units, sizeof *a->ratings, e));
    CPT_TRY(cpt_alloc(&a->kinds, (size_t)a->n_units, sizeof *a->kinds, e));
    CPT_TRY(cpt_alloc(&a->authors, (size_t)a->n_experts, sizeof *a->authors, e));
    for (size_t i = 0; i < a->n; i++) {
        const answer *r = &a->rows[i];
        int32_t *cell = &a->ratings[r->expert * a->n_units + r->unit];
        if (!r->repeat && *cell == 0) *cell = r->rating;
        a->kinds[r->unit] = r->kind;
        a->authors[r->expert] = r->author;
    }
done:
    return status;
}

static void free_answers(answers *a)
{
    free(a->rows);
    free(a->kinds);
    free(a->ratings);
    free(a->authors);
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* ---- with oneself ---- */

static int by_position(const void *a, const void *b)
{
    const answer *x = a, *y = b;
    if (x->session != y->session) return (x->session > y->session) - (x->session < y->session);
    return (x->position > y->position) - (x->position < y->position);
}

static const answer *first_showing(const answers *a, const answer *repeat)
{
    const answer wanted = {.session = repeat->session, .position = repeat->repeats};
    return bsearch(&wanted, a->rows, a->n, sizeof *a->rows, by_position);
}

static cpt_status expert_json(const answers *a, int32_t expert, json_t *list, cpt_err *e)
{
    int32_t *first = NULL, *second = NULL, n = 0, answered = 0;
    double seconds = 0;
    cpt_status status;
    CPT_TRY(cpt_alloc(&first, a->n, sizeof *first, e));
    CPT_TRY(cpt_alloc(&second, a->n, sizeof *second, e));
    for (size_t i = 0; i < a->n; i++) {
        const answer *r = &a->rows[i];
        if (r->expert != expert) continue;
        answered++;
        seconds += r->seconds;
        const answer *f = r->repeat ? first_showing(a, r) : NULL;
        if (!f) continue;
        first[n] = f->rating;
        second[n++] = r->rating;
    }
    cpt_kappa k = cpt_kappa_weighted(first, second, n, CATEGORIES);
    if (json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:o, s:o, s:o}", "author",
                                              a->authors[expert], "answered", answered, "repeats",
                                              k.n, "intra_kappa", number(k.kappa), "intra_exact",
                                              number(k.exact), "mean_seconds",
                                              number(answered ? seconds / answered : NAN))) != 0)
        status = cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
done:
    free(first);
    free(second);
    return status;
}

/* ---- with others ---- */

static json_t *inter_json(const answers *a)
{
    const cpt_ratings r = {a->n_experts, a->n_units, CATEGORIES, a->ratings};
    int32_t n_common, n_fleiss;
    json_t *pairs = json_array();
    for (int32_t i = 0; i < r.n_raters; i++)
        for (int32_t j = i + 1; j < r.n_raters; j++) {
            cpt_kappa k =
                cpt_kappa_weighted(r.ratings + (int64_t)i * r.n_units,
                                   r.ratings + (int64_t)j * r.n_units, r.n_units, CATEGORIES);
            json_array_append_new(pairs, json_pack("{s:s, s:s, s:i, s:o, s:o}", "a", a->authors[i],
                                                   "b", a->authors[j], "n", k.n, "kappa",
                                                   number(k.kappa), "exact", number(k.exact)));
        }
    double fleiss = cpt_kappa_fleiss(&r, &n_fleiss), alpha = cpt_alpha_ordinal(&r, &n_common);
    return json_pack("{s:o, s:o, s:i, s:o, s:i}", "pairs", pairs, "fleiss", number(fleiss),
                     "fleiss_items", n_fleiss, "krippendorff", number(alpha), "items", n_common);
}

/* ---- against controls ---- */

static cpt_status kinds_json(const answers *a, json_t *list, cpt_err *e)
{
    const cpt_ratings r = {a->n_experts, a->n_units, CATEGORIES, a->ratings};
    cpt_status status = CPT_OK;
    for (int32_t k = 0; k < CPT_UNIT_KINDS && status == CPT_OK; k++) {
        cpt_rating_mean m;
        status = cpt_rating_mean_of(&r, a->kinds, k, REPLICATES, 0, &m, e);
        if (status == CPT_OK)
            json_array_append_new(list, json_pack("{s:s, s:i, s:i, s:o, s:o, s:o}", "kind",
                                                  cpt_unit_kind_names[k], "n", m.n_units, "ratings",
                                                  m.n_ratings, "mean", number(m.mean), "low",
                                                  number(m.low), "high", number(m.high)));
    }
    return status;
}

static cpt_status contrast_json(const answers *a, cpt_unit_kind control, json_t **out, cpt_err *e)
{
    const cpt_ratings r = {a->n_experts, a->n_units, CATEGORIES, a->ratings};
    cpt_rating_contrast c;
    cpt_status status =
        cpt_rating_compare(&r, a->kinds, CPT_UNIT_CONCEPT, (int32_t)control, REPLICATES, 0, &c, e);
    if (status) return status;
    *out = isnan(c.difference)
               ? json_null()
               : json_pack("{s:f, s:o, s:o, s:f, s:i, s:i, s:i, s:i}", "difference", c.difference,
                           "low", number(c.low), "high", number(c.high), "p", c.p, "permutations",
                           c.n_permutations, "experts", c.n_raters, "concepts", c.n_a, "controls",
                           c.n_b);
    return CPT_OK;
}

cpt_status cpt_review_agree(cpt_notes *n, json_t **out, cpt_err *e)
{
    answers a = {0};
    json_t *root = json_object(), *experts = json_array(), *kinds = json_array(), *contrast;
    cpt_status status;
    *out = NULL;
    CPT_TRY(read_answers(n, &a, e));
    CPT_TRY(make_table(&a, e));
    for (int32_t i = 0; i < a.n_experts; i++) CPT_TRY(expert_json(&a, i, experts, e));
    CPT_TRY(kinds_json(&a, kinds, e));
    json_object_set(root, "experts", experts);
    json_object_set_new(root, "inter", inter_json(&a));
    json_object_set(root, "kinds", kinds);
    CPT_TRY(contrast_json(&a, CPT_UNIT_NEURON, &contrast, e));
    json_object_set_new(root, "concepts_against_neurons", contrast);
    CPT_TRY(contrast_json(&a, CPT_UNIT_RANDOM, &contrast, e));
    json_object_set_new(root, "concepts_against_random", contrast);
    *out = json_incref(root);
done:
    json_decref(root);
    json_decref(experts);
    json_decref(kinds);
    free_answers(&a);
    return status;
}
