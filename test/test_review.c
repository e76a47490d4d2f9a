/* Blind review: what a session shows, that answers stay, and what comes out of them. */
#include "check.h"

#include "base/file.h"
#include "base/random.h"
#include "notes/review.h"

enum { POOL = 60 };
static char pool_keys[CPT_UNIT_KINDS][POOL][CPT_NOTES_KEY + 1];
static int32_t pool_units[POOL];
static char folder[64], path[128];

static cpt_review_pool pool_of(int32_t concepts, int32_t neurons, int32_t randoms)
{
    cpt_review_pool p = {
        {concepts, neurons, randoms}, {pool_units, pool_units, pool_units}, {NULL}};
    for (int k = 0; k < CPT_UNIT_KINDS; k++) {
        for (int i = 0; i < POOL; i++) {
            snprintf(pool_keys[k][i], sizeof pool_keys[k][i], "%015x%x", i, k);
            pool_units[i] = 2 * i;
        }
        p.keys[k] = (const char(*)[CPT_NOTES_KEY + 1]) pool_keys[k];
    }
    return p;
}

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/cpt-review-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/notes.sqlite", folder);
    return 0;
}

static int drop_folder(void **state)
{
    return cpt_remove_tree(folder, NULL) == CPT_OK ? 0 : -1;
}

/* ---- plans ---- */

static void a_plan_has_what_it_should(void **state)
{
    cpt_err err;
    const cpt_review_pool p = pool_of(60, 20, 60);
    for (uint64_t seed = 0; seed < 30; seed++) {
        cpt_review_item *items;
        int32_t n, kinds[CPT_UNIT_KINDS] = {0}, repeats = 0;
        assert_ok(cpt_review_plan(&p, 50, seed, "Ada", &items, &n, &err));
        assert_int_equal(n, 55);
        for (int32_t i = 0; i < n; i++) {
            const cpt_review_item *r = &items[i];
            assert_int_equal(strlen(r->item), CPT_REVIEW_ITEM);
            assert_string_equal(r->key, pool_keys[r->kind][r->unit / 2]);
            if (r->repeats >= 0) {
                repeats++;
                assert_true(r->repeats <= i - 16); /* a third of 50 later, at least */
                assert_string_equal(items[r->repeats].key, r->key);
                assert_int_equal(items[r->repeats].repeats, -1);
            } else {
                kinds[r->kind]++;
            }
            for (int32_t j = 0; j < i; j++) {
                assert_string_not_equal(items[j].item, r->item);
                if (r->repeats < 0) assert_string_not_equal(items[j].key, r->key);
            }
        }
        assert_int_equal(repeats, 5);
        assert_int_equal(kinds[CPT_UNIT_CONCEPT], 20);
        assert_int_equal(kinds[CPT_UNIT_NEURON], 20);
        assert_int_equal(kinds[CPT_UNIT_RANDOM], 10);
        free(items);
    }
}

static bool has_key(const cpt_review_item *items, int32_t n, const char *key)
{
    for (int32_t i = 0; i < n; i++)
        if (strcmp(items[i].key, key) == 0) return true;
    return false;
}

/* Experts see the same units in orders of their own; a longer session contains a shorter one. */
static void experts_share_units_not_orders(void **state)
{
    cpt_err err;
    cpt_review_item *a, *b, *again, *longer;
    int32_t n, m, k, same = 0;
    const cpt_review_pool p = pool_of(60, 60, 60);
    assert_ok(cpt_review_plan(&p, 40, 7, "Ada", &a, &n, &err));
    assert_ok(cpt_review_plan(&p, 40, 7, "Ben", &b, &m, &err));
    assert_ok(cpt_review_plan(&p, 40, 7, "Ada", &again, &k, &err));
    assert_int_equal(n, m);
    assert_memory_equal(a, again, (size_t)n * sizeof *a);
    for (int32_t i = 0; i < n; i++) {
        assert_true(has_key(b, n, a[i].key));
        same += strcmp(a[i].key, b[i].key) == 0;
    }
    assert_true(same < n / 4);
    assert_ok(cpt_review_plan(&p, 80, 7, "Ada", &longer, &m, &err));
    for (int32_t i = 0; i < n; i++) assert_true(has_key(longer, m, a[i].key));
    free(a);
    free(b);
    free(again);
    free(longer);
}

static void kinds_cannot_be_told_by_place(void **state)
{
    cpt_err err;
    double sum[CPT_UNIT_KINDS] = {0}, n_of[CPT_UNIT_KINDS] = {0};
    const cpt_review_pool p = pool_of(60, 60, 60);
    for (uint64_t seed = 0; seed < 200; seed++) {
        cpt_review_item *items;
        int32_t n;
        assert_ok(cpt_review_plan(&p, 50, seed, "Ada", &items, &n, &err));
        for (int32_t i = 0; i < n; i++) {
            if (items[i].repeats >= 0) continue;
            sum[items[i].kind] += (double)i / n;
            n_of[items[i].kind]++;
        }
        free(items);
    }
    /* Places are uniform: sd 0.29, so 4 standard errors of a mean of 2,000 are 0.026. */
    for (int k = 1; k < CPT_UNIT_KINDS; k++) assert_near(sum[k] / n_of[k], sum[0] / n_of[0], 0.04);
}

static void small_pools(void **state)
{
    cpt_err err;
    cpt_review_item *items;
    int32_t n;
    cpt_review_pool p = pool_of(3, 0, 0);
    assert_ok(cpt_review_plan(&p, 50, 1, "Ada", &items, &n, &err));
    assert_int_equal(n, 3);
    free(items);
    p = pool_of(60, 2, 0);
    assert_ok(cpt_review_plan(&p, 20, 1, "Ada", &items, &n, &err));
    assert_int_equal(n, 22);
    free(items);
    p = pool_of(1, 0, 0);
    assert_int_equal(cpt_review_plan(&p, 20, 1, "Ada", &items, &n, &err), CPT_ERR_DATA);
    assert_int_equal(cpt_review_plan(&p, 2, 1, "Ada", &items, &n, &err), CPT_ERR_USAGE);
    assert_int_equal(cpt_review_plan(&p, 100000, 1, "Ada", &items, &n, &err), CPT_ERR_USAGE);
    assert_non_null(strstr(err.text, "a session has 3 to 2000"));
}

/* ---- sessions ---- */

static char *begin(cpt_notes *n, const char *author, int32_t n_items, uint64_t seed)
{
    cpt_err err;
    cpt_review_item *items;
    int32_t n_plan;
    json_t *session;
    const cpt_review_pool p = pool_of(60, 60, 60);
    assert_ok(cpt_review_plan(&p, n_items, seed, author, &items, &n_plan, &err));
    assert_ok(cpt_review_begin(n, author, seed, items, n_plan, &session, &err));
    assert_int_equal(json_integer_value(json_object_get(session, "items")), n_plan);
    assert_int_equal(json_integer_value(json_object_get(session, "answered")), 0);
    char *id = strdup(json_string_value(json_object_get(session, "session")));
    json_decref(session);
    free(items);
    return id;
}

/* The next item's name into item; false at the end. */
static bool next(cpt_notes *n, const char *session, char item[CPT_REVIEW_ITEM + 1])
{
    cpt_err err;
    json_t *out;
    assert_ok(cpt_review_open_item(n, session, -1, &out, &err));
    const char *name = json_string_value(json_object_get(out, "item"));
    if (name) snprintf(item, CPT_REVIEW_ITEM + 1, "%s", name);
    else assert_true(json_is_true(json_object_get(out, "done")));
    json_decref(out);
    return name != NULL;
}

/* Rates concepts about 4, neurons about 3, random directions about 2; `noise` of the time one off.
 */
static void rate_all(cpt_notes *n, const char *session, uint64_t who, double noise, int most)
{
    cpt_err err;
    char item[CPT_REVIEW_ITEM + 1];
    for (int i = 0; i < most && next(n, session, item); i++) {
        cpt_review_item what;
        int64_t answered;
        cpt_stream s;
        assert_ok(cpt_review_item_of(n, session, item, &what, &err));
        cpt_stream_init(&s, who, CPT_RANDOM_TEST, (uint64_t)what.unit * 3 + what.kind);
        cpt_review_answer r = {.confidence = 2, .label = "x", .note = "", .seconds = 10};
        r.rating = 4 - (int32_t)what.kind + what.unit % 4 / 2;
        if (cpt_stream_uniform(&s) < noise) r.rating += what.unit % 4 ? -1 : 1;
        assert_ok(cpt_review_reply_to(n, session, item, &r, &answered, &err));
    }
}

static void sessions_go_on_where_they_were(void **state)
{
    cpt_err err;
    cpt_notes *n;
    char item[CPT_REVIEW_ITEM + 1], again[CPT_REVIEW_ITEM + 1];
    json_t *list;
    assert_ok(cpt_notes_open_file(path, true, &n, &err));
    char *session = begin(n, "Ada", 20, 1);
    rate_all(n, session, 1, 0, 9);
    assert_true(next(n, session, item));
    cpt_notes_close(n);
    assert_ok(cpt_notes_open_file(path, true, &n, &err));
    assert_true(next(n, session, again));
    assert_string_equal(item, again);
    assert_ok(cpt_review_list(n, &list, &err));
    const json_t *row = json_array_get(json_object_get(list, "rows"), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "answered")), 9);
    assert_int_equal(json_integer_value(json_object_get(row, "items")), 22);
    json_decref(list);
    assert_ok(cpt_review_open_item(n, session, 9, &list, &err)); /* the ninth was skipped */
    assert_int_equal(json_integer_value(json_object_get(list, "position")), 10);
    json_decref(list);
    assert_ok(cpt_review_open_item(n, session, 21, &list, &err)); /* and comes again at the end */
    assert_int_equal(json_integer_value(json_object_get(list, "position")), 9);
    json_decref(list);
    rate_all(n, session, 1, 0, 100);
    assert_false(next(n, session, item));
    free(session);
    cpt_notes_close(n);
}

static void answers_sent_twice_count_once(void **state)
{
    cpt_err err;
    cpt_notes *n;
    char item[CPT_REVIEW_ITEM + 1];
    int64_t answered, before, after;
    assert_ok(cpt_notes_open_file(path, true, &n, &err));
    char *session = begin(n, "Ada", 20, 1);
    assert_true(next(n, session, item));
    cpt_review_answer r = {4, 2, "T cell", "a note", 3};
    assert_ok(cpt_review_reply_to(n, session, item, &r, &answered, &err));
    assert_ok(cpt_notes_revision(n, &before, &err));
    assert_ok(cpt_review_reply_to(n, session, item, &r, &answered, &err));
    assert_ok(cpt_notes_revision(n, &after, &err));
    assert_int_equal(before, after);
    r.rating = 2; /* changes the mind: a row more, the last counts */
    assert_ok(cpt_review_reply_to(n, session, item, &r, &answered, &err));
    assert_int_equal(answered, 1);
    json_t *a;
    assert_ok(cpt_review_agree(n, &a, &err));
    double sum = 0;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(a, "kinds"), i,
                       row) if (json_integer_value(json_object_get(row, "n"))) sum =
        json_number_value(json_object_get(row, "mean"));
    assert_near(sum, 2, 0);
    json_decref(a);
    free(session);
    cpt_notes_close(n);
}

static void wrong_answers_are_refused(void **state)
{
    cpt_err err;
    cpt_notes *n;
    char item[CPT_REVIEW_ITEM + 1];
    int64_t answered;
    json_t *out;
    assert_ok(cpt_notes_open_file(path, true, &n, &err));
    char *session = begin(n, "Ada", 20, 1);
    assert_true(next(n, session, item));
    const struct {
        cpt_review_answer r;
        const char *session, *item, *message;
    } cases[] = {
        {{0, 2, "", "", 1}, session, item, "rating: 0"},
        {{6, 2, "", "", 1}, session, item, "rating: 6"},
        {{3, 4, "", "", 1}, session, item, "confidence: 4"},
        {{3, 2, "", "", -1}, session, item, "seconds"},
        {{3, 2, "a\nb", "", 1}, session, item, "label: has a"},
        {{3, 2, "", "", NAN}, session, item, "seconds"},
        {{3, 2, "", "", 1}, "nowhere", item, "no item"},
        {{3, 2, "", "", 1}, session, "x'--", "no item 'x'--'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            cpt_review_reply_to(n, cases[i].session, cases[i].item, &cases[i].r, &answered, &err),
            CPT_ERR_USAGE);
        if (!strstr(err.text, cases[i].message))
            fail_msg("'%s' lacks '%s'", err.text, cases[i].message);
    }
    assert_int_equal(cpt_review_open_item(n, "nowhere", -1, &out, &err), CPT_ERR_USAGE);
    free(session);
    cpt_notes_close(n);
}

/* Three experts, one of them on another machine whose file is merged: the whole way to the figures.
 */
static void from_sessions_to_agreement(void **state)
{
    cpt_err err;
    cpt_notes *n, *other;
    char second[128];
    json_t *a, *dump;
    cpt_notes_merged m;
    snprintf(second, sizeof second, "%s/other.sqlite", folder);
    assert_ok(cpt_notes_open_file(path, true, &n, &err));
    assert_ok(cpt_notes_open_file(second, true, &other, &err));
    char *ada = begin(n, "Ada", 40, 3), *ben = begin(n, "Ben", 40, 3),
         *cleo = begin(other, "Cleo", 40, 3);
    rate_all(n, ada, 1, 0, 100);
    rate_all(n, ben, 2, 0.3, 100);
    rate_all(other, cleo, 3, 0.5, 100);
    assert_ok(cpt_notes_dump(other, &dump, &err));
    char *text = json_dumps(dump, 0);
    assert_ok(cpt_notes_import(n, "cleo.json", text, strlen(text), &m, &err));
    assert_int_equal(m.added, 1 + 44 + 44);
    assert_ok(cpt_notes_import(n, "cleo.json", text, strlen(text), &m, &err));
    assert_int_equal(m.added, 0);
    assert_ok(cpt_review_agree(n, &a, &err));
    const json_t *experts = json_object_get(a, "experts"), *inter = json_object_get(a, "inter");
    assert_int_equal(json_array_size(experts), 3);
    const json_t *first = json_array_get(experts, 0);
    assert_string_equal(json_string_value(json_object_get(first, "author")), "Ada");
    assert_int_equal(json_integer_value(json_object_get(first, "answered")), 44);
    assert_int_equal(json_integer_value(json_object_get(first, "repeats")), 4);
    assert_near(json_number_value(json_object_get(first, "intra_exact")), 1, 0);
    assert_near(json_number_value(json_object_get(first, "mean_seconds")), 10, 1e-9);
    assert_int_equal(json_array_size(json_object_get(inter, "pairs")), 3);
    assert_int_equal(json_integer_value(json_object_get(inter, "items")), 40);
    double kappa = json_number_value(
        json_object_get(json_array_get(json_object_get(inter, "pairs"), 0), "kappa"));
    assert_true(kappa > 0.6 && kappa < 1);
    const json_t *random = json_object_get(a, "concepts_against_random");
    assert_near(json_number_value(json_object_get(random, "difference")), 2, 0.4);
    assert_true(json_number_value(json_object_get(random, "p")) < 0.001);
    assert_true(json_number_value(json_object_get(random, "p")) > 0);
    assert_int_equal(json_integer_value(json_object_get(random, "experts")), 3);
    double low = json_number_value(json_object_get(random, "low"));
    assert_true(low > 1 && low < json_number_value(json_object_get(random, "difference")));
    json_decref(a);
    json_decref(dump);
    free(text);
    free(ada);
    free(ben);
    free(cleo);
    cpt_notes_close(n);
    cpt_notes_close(other);
}

static void agreement_of_nothing(void **state)
{
    cpt_err err;
    cpt_notes *n;
    json_t *a;
    assert_ok(cpt_notes_open_file(path, true, &n, &err));
    assert_ok(cpt_review_agree(n, &a, &err));
    assert_int_equal(json_array_size(json_object_get(a, "experts")), 0);
    assert_true(json_is_null(json_object_get(a, "concepts_against_neurons")));
    json_decref(a);
    cpt_notes_close(n);
    assert_false(cpt_path_exists(path));
}

#define T(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_has_what_it_should),
        cmocka_unit_test(experts_share_units_not_orders),
        cmocka_unit_test(kinds_cannot_be_told_by_place),
        cmocka_unit_test(small_pools),
        T(sessions_go_on_where_they_were),
        T(answers_sent_twice_count_once),
        T(wrong_answers_are_refused),
        T(from_sessions_to_agreement),
        T(agreement_of_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
