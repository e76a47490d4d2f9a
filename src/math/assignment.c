/* Problem: the linear assignment problem, exactly, for some thousand rows and columns.
 *
 * Method: shortest augmenting paths (Jonker and Volgenant 1987; Crouse 2016). Rows are matched one
 * after the other; each time a Dijkstra search over reduced costs finds the cheapest path to a free
 * column, and the dual prices are updated so that reduced costs stay >= 0. Where there are more
 * rows than columns the transposed problem is solved.
 *
 * Cost: O(min^2 max) time, O(n_rows + n_cols) memory (plus a transposed copy).
 * Trap: equal optima exist; which one is found is fixed by the order of the loops. */
#include "math/assignment.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

static const double LARGEST_COST = 1e150;

/* Columns are numbered from 1: column 0 is where each search starts. */
typedef struct search {
    const double *cost; /* [n_rows][n_cols], n_rows <= n_cols */
    int32_t n_rows, n_cols;
    double *row_price;    /* [n_rows + 1] */
    double *column_price; /* [n_cols + 1] */
    int32_t *row_of;      /* [n_cols + 1] matched row, from 1; 0 = free */
    int32_t *came_from;   /* [n_cols + 1] previous column on the shortest path */
    double *distance;     /* [n_cols + 1] */
    bool *done;           /* [n_cols + 1] */
} search;

static cpt_status search_init(search *s, cpt_err *e)
{
    cpt_status status;
    size_t rows = (size_t)s->n_rows + 1, cols = (size_t)s->n_cols + 1;
    CPT_TRY(cpt_alloc(&s->row_price, rows, sizeof *s->row_price, e));
    CPT_TRY(cpt_alloc(&s->column_price, cols, sizeof *s->column_price, e));
    CPT_TRY(cpt_alloc(&s->row_of, cols, sizeof *s->row_of, e));
    CPT_TRY(cpt_alloc(&s->came_from, cols, sizeof *s->came_from, e));
    CPT_TRY(cpt_alloc(&s->distance, cols, sizeof *s->distance, e));
    CPT_TRY(cpt_alloc(&s->done, cols, sizeof *s->done, e));
done:
    return status;
}

static void search_free(search *s)
{
    free(s->row_price);
    free(s->column_price);
    free(s->row_of);
    free(s->came_from);
    free(s->distance);
    free(s->done);
}

/* Settles column `here` and returns the open column that is now nearest. */
static int32_t advance(search *s, int32_t here)
{
    int32_t row = s->row_of[here], nearest = 0;
    const double *cost = s->cost + (size_t)(row - 1) * (size_t)s->n_cols;
    double step = INFINITY;
    s->done[here] = true;
    for (int32_t j = 1; j <= s->n_cols; j++) {
        if (s->done[j]) continue;
        double reduced = cost[j - 1] - s->row_price[row] - s->column_price[j];
        if (reduced < s->distance[j]) {
            s->distance[j] = reduced;
            s->came_from[j] = here;
        }
        if (s->distance[j] < step) {
            step = s->distance[j];
            nearest = j;
        }
    }
    for (int32_t j = 0; j <= s->n_cols; j++) /* distances are kept relative to the latest column */
        if (s->done[j]) {
            s->row_price[s->row_of[j]] += step;
            s->column_price[j] -= step;
        } else {
            s->distance[j] -= step;
        }
    return nearest;
}

static void match_row(search *s, int32_t row)
{
    int32_t here = 0;
    s->row_of[0] = row;
    for (int32_t j = 0; j <= s->n_cols; j++) {
        s->distance[j] = INFINITY;
        s->done[j] = false;
    }
    do here = advance(s, here);
    while (s->row_of[here] != 0);
    while (here != 0) { /* every row of the path moves on by one column */
        int32_t before = s->came_from[here];
        s->row_of[here] = s->row_of[before];
        here = before;
    }
}

static cpt_status check_costs(const double *cost, int32_t n_rows, int32_t n_cols, cpt_err *e)
{
    if (n_rows < 0 || n_cols < 0)
        return cpt_fail(e, CPT_ERR_USAGE, "assignment of %d rows to %d columns", n_rows, n_cols);
    for (int64_t i = 0; i < (int64_t)n_rows * n_cols; i++)
        if (!(fabs(cost[i]) <= LARGEST_COST)) /* sums of prices must not overflow */
            return cpt_fail(e, CPT_ERR_DATA, "assignment: the cost in row %lld, column %lld (counted from 0) is "
                            "not finite or beyond 1e150", (long long)(i / n_cols), (long long)(i % n_cols));
    return CPT_OK;
}

cpt_status cpt_assignment(const double *cost, int32_t n_rows, int32_t n_cols, int32_t *column_of,
                          double *total, cpt_err *e)
{
    cpt_status status;
    double *turned = NULL;
    bool turn = n_rows > n_cols;
    search s = {.cost = cost, .n_rows = turn ? n_cols : n_rows, .n_cols = turn ? n_rows : n_cols};
    CPT_TRY(check_costs(cost, n_rows, n_cols, e));
    if (turn) {
        CPT_TRY(cpt_alloc(&turned, (size_t)n_rows * (size_t)n_cols, sizeof *turned, e));
        for (int64_t i = 0; i < n_rows; i++)
            for (int64_t j = 0; j < n_cols; j++) turned[j * n_rows + i] = cost[i * n_cols + j];
        s.cost = turned;
    }
    CPT_TRY(search_init(&s, e));
    for (int32_t row = 1; row <= s.n_rows; row++) match_row(&s, row);

    for (int32_t i = 0; i < n_rows; i++) column_of[i] = -1;
    for (int32_t j = 1; j <= s.n_cols; j++)
        if (s.row_of[j] && turn) column_of[j - 1] = s.row_of[j] - 1;
        else if (s.row_of[j]) column_of[s.row_of[j] - 1] = j - 1;
    if (total) {
        *total = 0;
        for (int64_t i = 0; i < n_rows; i++)
            if (column_of[i] >= 0) *total += cost[i * n_cols + column_of[i]];
    }
done:
    search_free(&s);
    free(turned);
    return status;
}
