#include "pipeline/enrich_plots.h"
#include "base/file.h"
#include "base/memory.h"
#include "enrich/strength.h"
#include "plot/svg.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Three panels over one axis, the rank of the genes: the running sum with its peak, a tick per member
 * of the set, and the statistic. Members of the leading edge are coloured in both. Unlike the
 * drawings of the report these stand alone: they carry their style, on white. */

enum { WIDTH = 720, HEIGHT = 430, LEFT = 64, RIGHT = 700 };
enum { SUM_TOP = 62, SUM_BOTTOM = 262, TICK_TOP = 272, TICK_BOTTOM = 300, STAT_TOP = 312, STAT_BOTTOM = 384 };
enum { COLUMNS = 318 }; /* points of the statistic's outline */

static const char style[] =
    "<style>text{font:12px system-ui,Helvetica,Arial,sans-serif;fill:#222}.t{font-size:15px;font-weight:600}"
    ".m{text-anchor:middle}.e{text-anchor:end}.g{stroke:#ddd}.z{stroke:#888}.c{fill:none;stroke:#1f5fa8;"
    "stroke-width:1.8}.l{stroke:#c8601a;stroke-width:1}.h{stroke:#667;stroke-width:1}.a{fill:#c8601a;"
    "fill-opacity:.09}.s{fill:#9db4cc}.p{fill:#c8601a}</style>";

typedef struct curve {
    int32_t n, *x;
    double *y;
    int32_t peak;          /* breakpoint where the score is */
    int32_t n_members, first_leading, n_leading;
    cpt_scale across, up;
} curve;

static void add_number(cpt_text *t, double v)
{
    if (isnan(v)) cpt_text_add(t, "not defined");
    else if (v != 0 && (fabs(v) < 1e-3 || fabs(v) >= 1e5)) cpt_text_addf(t, "%.2e", v);
    else cpt_text_addf(t, "%.3g", v);
}

static void add_heading(cpt_text *t, const cpt_genesets *sets, const cpt_gsea_row *row, int32_t n)
{
    const char *name = cpt_strings_get(&sets->names, row->set), *id = cpt_strings_get(&sets->ids, row->set);
    char shown[88];
    snprintf(shown, sizeof shown, "%s", *name ? name : id);
    if (strlen(shown) == sizeof shown - 1) strcpy(shown + sizeof shown - 4, "...");
    cpt_text_addf(t, "<text class=\"t\" x=\"%d\" y=\"24\">", LEFT);
    cpt_text_add_html(t, shown);
    cpt_text_addf(t, "</text><text x=\"%d\" y=\"44\">", LEFT);
    cpt_text_add_html(t, sets->collection);
    cpt_text_add(t, " · ");
    if (strcmp(id, name) != 0 && strlen(id) < 24) cpt_text_add_html(t, id), cpt_text_add(t, " · ");
    cpt_text_add(t, "ES ");
    add_number(t, row->es);
    cpt_text_add(t, " · NES ");
    add_number(t, row->nes);
    cpt_text_add(t, row->below_eps ? " · p &lt; " : " · p ");
    add_number(t, row->p);
    cpt_text_add(t, " · q ");
    add_number(t, row->q);
    cpt_text_addf(t, " · %d of %d genes, %d in the leading edge</text>", row->size, n, row->n_leading);
}

static void add_axes(cpt_text *t, const curve *c)
{
    double ticks[12];
    int n = cpt_scale_ticks(&c->up, 5, 12, ticks);
    for (int i = 0; i < n; i++) {
        double y = cpt_scale_at(&c->up, ticks[i]);
        cpt_text_addf(t, "<line class=\"%s\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"e\" "
                         "x=\"%d\" y=\"%.1f\">%.3g</text>",
                      fabs(ticks[i]) < 1e-9 ? "z" : "g", LEFT, RIGHT, y, y, LEFT - 6, y + 4, ticks[i] + 0.0);
    }
    n = cpt_scale_ticks(&c->across, 6, 12, ticks);
    for (int i = 0; i < n; i++)
        cpt_text_addf(t, "<text class=\"m\" x=\"%.1f\" y=\"%d\">%.0f</text>", cpt_scale_at(&c->across, ticks[i]),
                      STAT_BOTTOM + 16, ticks[i]);
    cpt_text_addf(t, "<text class=\"m\" x=\"%d\" y=\"%d\">rank of the gene</text>", (LEFT + RIGHT) / 2, HEIGHT - 8);
    cpt_text_addf(t, "<text class=\"m\" transform=\"translate(16 %d) rotate(-90)\">running sum</text>",
                  (SUM_TOP + SUM_BOTTOM) / 2);
    cpt_text_addf(t, "<text class=\"m\" transform=\"translate(16 %d) rotate(-90)\">statistic</text>",
                  (STAT_TOP + STAT_BOTTOM) / 2);
}

static void add_curve(cpt_text *t, const curve *c)
{
    double from = cpt_scale_at(&c->across, c->y[c->peak] >= 0 ? 0 : c->x[c->peak]);
    double to = cpt_scale_at(&c->across, c->y[c->peak] >= 0 ? c->x[c->peak] : c->across.high);
    double px = cpt_scale_at(&c->across, c->x[c->peak]), py = cpt_scale_at(&c->up, c->y[c->peak]);
    cpt_text_addf(t, "<rect class=\"a\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>", from, SUM_TOP,
                  to - from, TICK_BOTTOM - SUM_TOP);
    cpt_text_add(t, "<path class=\"c\" d=\"");
    for (int32_t i = 0; i < c->n; i++)
        cpt_text_addf(t, "%c%.1f %.1f", i ? 'L' : 'M', cpt_scale_at(&c->across, c->x[i]),
                      cpt_scale_at(&c->up, c->y[i]));
    cpt_text_addf(t, "\"/><circle class=\"p\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"/>", px, py);
}

static void add_ticks(cpt_text *t, const curve *c)
{
    for (int leading = 0; leading < 2; leading++) { /* the coloured ones on top */
        cpt_text_addf(t, "<path class=\"%c\" d=\"", leading ? 'l' : 'h');
        for (int32_t i = 0; i < c->n_members; i++) {
            bool in = i >= c->first_leading && i < c->first_leading + c->n_leading;
            if (in != leading) continue;
            cpt_text_addf(t, "M%.1f %dV%d", cpt_scale_at(&c->across, c->x[1 + 2 * i] + 0.5), TICK_TOP, TICK_BOTTOM);
        }
        cpt_text_add(t, "\"/>");
    }
}

static void add_statistic(cpt_text *t, const curve *c, int32_t n, const double *sorted)
{
    double high = fmax(sorted[0], 0), low = fmin(sorted[n - 1], 0);
    const cpt_scale up = {.low = low, .high = high > low ? high : low + 1, .from = STAT_BOTTOM, .to = STAT_TOP};
    cpt_text_addf(t, "<path class=\"s\" d=\"M%d %.1f", LEFT, cpt_scale_at(&up, 0));
    for (int i = 0; i <= COLUMNS; i++) {
        double at = (double)i / COLUMNS * (n - 1);
        cpt_text_addf(t, "L%.1f %.1f", cpt_scale_at(&c->across, at + 0.5), cpt_scale_at(&up, sorted[(int32_t)at]));
    }
    cpt_text_addf(t, "L%d %.1fZ\"/>", RIGHT, cpt_scale_at(&up, 0));
    for (int end = 0; end < 2; end++)
        cpt_text_addf(t, "<text class=\"e\" x=\"%d\" y=\"%.1f\">%.3g</text>", LEFT - 6,
                      (end ? STAT_BOTTOM : STAT_TOP) + 4.0, end ? low : up.high);
}

static cpt_status make_curve(const cpt_genesets *sets, const cpt_gsea_row *row, const double *statistic,
                             double weight, int32_t n, curve *c, cpt_err *e)
{
    cpt_status status =
        cpt_gsea_running_sum(sets, statistic, row->set, weight, &c->x, &c->y, &c->n, e);
    if (status) return status;
    double low = 0, high = 0;
    for (int32_t i = 0; i < c->n; i++) {
        if (row->es >= 0 ? c->y[i] > c->y[c->peak] : c->y[i] < c->y[c->peak]) c->peak = i;
        low = fmin(low, c->y[i]);
        high = fmax(high, c->y[i]);
    }
    double margin = 0.06 * fmax(high - low, 1e-6);
    c->n_members = (c->n - 2) / 2;
    c->n_leading = row->n_leading;
    c->first_leading = row->es >= 0 ? 0 : c->n_members - row->n_leading;
    c->across = (cpt_scale){.low = 0, .high = n, .from = LEFT, .to = RIGHT};
    c->up = (cpt_scale){.low = low - margin, .high = high + margin, .from = SUM_BOTTOM, .to = SUM_TOP};
    return CPT_OK;
}

cpt_status cpt_enrich_plot(cpt_text *t, const cpt_genesets *sets, const cpt_gsea_row *row, const double *statistic,
                           double weight, int32_t n, const double *sorted, cpt_err *e)
{
    curve c = {0};
    cpt_status status = make_curve(sets, row, statistic, weight, n, &c, e);
    if (status) goto done;
    cpt_text_addf(t, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">%s"
                     "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>",
                  WIDTH, HEIGHT, WIDTH, HEIGHT, style);
    add_heading(t, sets, row, n);
    add_axes(t, &c);
    add_curve(t, &c);
    add_ticks(t, &c);
    add_statistic(t, &c, n, sorted);
    cpt_text_add(t, "</svg>\n");
    status = cpt_text_status(t, e);
done:
    free(c.x);
    free(c.y);
    return status;
}

/* ---- files ---- */

static void add_safe(cpt_text *t, const char *s)
{
    for (int n = 0; *s && n < 60; s++, n++) {
        char c = isalnum((unsigned char)*s) || *s == '-' ? *s : '_';
        cpt_text_add_bytes(t, &c, 1);
    }
}

static cpt_status write_plot(const char *folder, int32_t rank, const cpt_genesets *sets, const cpt_gsea_row *row,
                             const cpt_text *svg, cpt_err *e)
{
    cpt_text path = {0};
    cpt_text_addf(&path, "%s/", folder);
    add_safe(&path, sets->collection);
    cpt_text_addf(&path, "-%02d-", rank);
    add_safe(&path, cpt_strings_get(&sets->ids, row->set));
    cpt_text_add(&path, ".svg");
    cpt_status status = cpt_text_status(&path, e);
    if (status == CPT_OK) status = cpt_write_file(path.bytes, svg->bytes, svg->length, e);
    cpt_text_free(&path);
    return status;
}

static int by_strength(const void *a, const void *b)
{
    const cpt_gsea_row *x = *(const cpt_gsea_row *const *)a, *y = *(const cpt_gsea_row *const *)b;
    return cpt_strength_then_set(cpt_strength_of(x->log10p, x->nes, x->log2err), x->set,
                                 cpt_strength_of(y->log10p, y->nes, y->log2err), y->set);
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

cpt_status cpt_enrich_plots(const char *folder, int32_t most, const cpt_genesets *sets, const cpt_gsea *result,
                            const double *statistic, double weight, int32_t *n_written, cpt_err *e)
{
    const cpt_gsea_row **found = NULL;
    double *sorted = NULL;
    int32_t n = 0, n_found = 0;
    cpt_status status;
    *n_written = 0;
    CPT_TRY(cpt_make_folder(folder, e));
    CPT_TRY(cpt_alloc(&found, (size_t)result->n_rows, sizeof *found, e));
    CPT_TRY(cpt_alloc(&sorted, (size_t)sets->n_universe, sizeof *sorted, e));
    for (int32_t g = 0; g < sets->n_universe; g++)
        if (!isnan(statistic[g])) sorted[n++] = statistic[g];
    qsort(sorted, (size_t)n, sizeof *sorted, descending);
    for (int32_t i = 0; i < result->n_rows; i++)
        if (result->rows[i].q < 0.05) found[n_found++] = &result->rows[i];
    qsort(found, (size_t)n_found, sizeof *found, by_strength);
    for (int32_t i = 0; i < n_found && i < most; i++) {
        cpt_text svg = {0};
        status = cpt_enrich_plot(&svg, sets, found[i], statistic, weight, n, sorted, e);
        if (status == CPT_OK) status = write_plot(folder, i + 1, sets, found[i], &svg, e);
        cpt_text_free(&svg);
        if (status) goto done;
        ++*n_written;
    }
done:
    free(found);
    free(sorted);
    return status;
}
