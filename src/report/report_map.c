#include "base/memory.h"
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The map of the cells and the data its script draws from.
 *
 * 160 maps of 9,000 SVG circles would be 100 MB; instead the coordinates are stored once (16 bits
 * each, base64) and per concept the active cells only: differences of their numbers as variable-
 * length integers and one byte of activation each, about 3 characters per active cell. The script
 * draws a canvas when its card comes into view.
 *
 * Above CPT_REPORT_MAP_CELLS cells a part is drawn: every label gets its share, at least 100
 * cells (all, if it has fewer), spread evenly over its cells in input order; none is drawn at random. */

enum { LABEL_FLOOR = 100, COORDINATES = 65535 };

/* ---- base64 ---- */

typedef struct bytes {
    unsigned char *data;
    size_t n, capacity;
} bytes;

static cpt_status add_byte(bytes *b, unsigned value, cpt_err *e)
{
    cpt_status status = b->n < b->capacity ? CPT_OK : cpt_grow(&b->data, &b->capacity, b->n + 1, 1,
                                                               e);
    if (status == CPT_OK) b->data[b->n++] = (unsigned char)value;
    return status;
}

/* Seven bits at a time, lowest first; the top bit says that more follow. */
static cpt_status add_varint(bytes *b, uint64_t value, cpt_err *e)
{
    cpt_status status = CPT_OK;
    for (; value >= 128 && status == CPT_OK; value >>= 7) status =
        add_byte(b, 128 | (value & 127), e);
    return status ? status : add_byte(b, (unsigned)value, e);
}

static cpt_status add_u16(bytes *b, unsigned value, cpt_err *e)
{
    cpt_status status = add_byte(b, value & 255, e);
    return status ? status : add_byte(b, value >> 8, e);
}

static void add_base64(cpt_text *t, const bytes *b)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < b->n; i += 3) {
        unsigned v = (unsigned)b->data[i] << 16;
        if (i + 1 < b->n) v |= (unsigned)b->data[i + 1] << 8;
        if (i + 2 < b->n) v |= b->data[i + 2];
        const char four[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < b->n ?
                              digits[v >> 6 & 63] : '=',
                              i + 2 < b->n ? digits[v & 63] : '='};
        cpt_text_add_bytes(t, four, 4);
    }
}

/* ---- which cells are drawn ---- */

static bool placed(const cpt_report *r, int64_t cell)
{
    return isfinite(r->umap[2 * cell]) && isfinite(r->umap[2 * cell + 1]);
}

/* at[cell] = number of the cell on the map, -1 = not drawn; *n = cells drawn. Strata are labels;
 * cells without one form the last. */
static cpt_status choose_cells(const cpt_report *r, int32_t *at, int64_t *n, cpt_err *e)
{
    int64_t n_strata = r->label ? r->label->categories.n + 1 : 1, n_placed = 0;
    int64_t *size = NULL, *seen = NULL, *quota = NULL;
    cpt_status status;
    CPT_TRY(cpt_alloc(&size, (size_t)n_strata, sizeof *size, e));
    CPT_TRY(cpt_alloc(&seen, (size_t)n_strata, sizeof *seen, e));
    CPT_TRY(cpt_alloc(&quota, (size_t)n_strata, sizeof *quota, e));
    for (int64_t i = 0; i < r->cells->n_cells; i++) {
        if (!placed(r, i)) continue;
        n_placed++;
        size[r->label && r->label->codes[i] >= 0 ? r->label->codes[i] : n_strata - 1]++;
    }
    for (int64_t k = 0; k < n_strata; k++) {
        quota[k] = size[k];
        if (n_placed <= CPT_REPORT_MAP_CELLS) continue;
        quota[k] = (int64_t)((double)size[k] * CPT_REPORT_MAP_CELLS / (double)n_placed);
        if (quota[k] < LABEL_FLOOR) quota[k] = size[k] < LABEL_FLOOR ? size[k] : LABEL_FLOOR;
    }
    *n = 0;
    for (int64_t i = 0; i < r->cells->n_cells; i++) {
        int64_t k = r->label && r->label->codes[i] >= 0 ? r->label->codes[i] : n_strata - 1;
        at[i] = -1;
        if (!placed(r, i)) continue;
        double share = (double)quota[k] / (double)size[k], j = (double)seen[k]++;
        if (quota[k] == size[k] || floor((j + 1) * share) > floor(j * share)) at[i] =
            (int32_t)(*n)++;
    }
done:
    free(size);
    free(seen);
    free(quota);
    return status;
}

/* ---- data ---- */

/* Both axes by one factor, so that the shape of the map stays; the shorter one is centred. */
static cpt_status add_coordinates(cpt_report *r, const int32_t *at, cpt_err *e)
{
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    bytes xy = {0};
    cpt_status status = CPT_OK;
    for (int64_t i = 0; i < r->cells->n_cells; i++)
        for (int d = 0; d < 2 && at[i] >= 0; d++) {
            low[d] = fmin(low[d], (double)r->umap[2 * i + d]);
            high[d] = fmax(high[d], (double)r->umap[2 * i + d]);
        }
    double span = fmax(high[0] - low[0], high[1] - low[1]);
    for (int64_t i = 0; i < r->cells->n_cells && status == CPT_OK; i++)
        for (int d = 0; d < 2 && at[i] >= 0 && status == CPT_OK; d++) {
            double value = (double)r->umap[2 * i + d] - (low[d] + high[d]) / 2;
            double unit = span > 0 ? 0.5 + value / span : 0.5;
            status = add_u16(&xy, (unsigned)lround((d ? 1 - unit : unit) * COORDINATES), e);
        }
    cpt_text_add(&r->html, "\"xy\":\"");
    add_base64(&r->html, &xy);
    cpt_text_add(&r->html, "\"");
    free(xy.data);
    return status;
}

static cpt_status add_labels(cpt_report *r, const int32_t *at, cpt_err *e)
{
    bytes codes = {0};
    cpt_status status = CPT_OK;
    for (int64_t i = 0; r->label && i < r->cells->n_cells && status == CPT_OK; i++) {
        int32_t code = r->label->codes[i];
        if (at[i] >= 0) status = add_u16(&codes, code < 0 || code > 65534 ? 65535 : (unsigned)code,
                                         e);
    }
    cpt_text_add(&r->html, ",\"labels\":\"");
    add_base64(&r->html, &codes);
    cpt_text_add(&r->html, "\"");
    free(codes.data);
    return status;
}

static cpt_status add_concept(cpt_report *r, const int32_t *at, int32_t concept, bytes *b,
                              cpt_err *e)
{
    const cpt_csr *m = &r->u->by_concept;
    double max = r->u->stats[concept].max;
    int64_t last = 0;
    cpt_status status = CPT_OK;
    b->n = 0;
    for (int64_t k = m->indptr[concept]; k < m->indptr[concept + 1] && status == CPT_OK; k++) {
        int32_t cell = at[m->indices[k]];
        if (cell < 0) continue;
        double level = max > 0 ? 255 * (double)m->values[k] / max : 0;
        status = add_varint(b, (uint64_t)(cell - last), e);
        last = cell;
        if (status == CPT_OK) status = add_byte(b, level < 1 ? 1 : level > 255 ? 255 :
                                                (unsigned)level, e);
    }
    add_base64(&r->html, b);
    return status;
}

cpt_status cpt_report_data(cpt_report *r, cpt_err *e)
{
    int32_t *at = NULL;
    bytes b = {0};
    int64_t n;
    cpt_status status;
    CPT_TRY(cpt_alloc(&at, (size_t)r->cells->n_cells, sizeof *at, e));
    CPT_TRY(choose_cells(r, at, &n, e));
    cpt_text_addf(&r->html, "<script type=\"application/json\" id=\"data\">{\"n\":%lld,",
                  (long long)n);
    CPT_TRY(add_coordinates(r, at, e));
    CPT_TRY(add_labels(r, at, e));
    cpt_text_add(&r->html, ",\"concepts\":{");
    for (int32_t i = 0; i < r->n_cards; i++) {
        cpt_text_addf(&r->html, "%s\"%d\":\"", i ? "," : "", r->order[i]);
        CPT_TRY(add_concept(r, at, r->order[i], &b, e));
        cpt_text_add(&r->html, "\"");
    }
    cpt_text_add(&r->html, "}}</script>\n");
done:
    free(at);
    free(b.data);
    return status;
}

/* ---- the panel ---- */

/* Labels by falling number of cells get the colours; written in that order. */
static void add_legend(cpt_report *r)
{
    const cpt_column *label = r->label;
    cpt_text *t = &r->html;
    int64_t last_count = INT64_MAX, last = -1;
    cpt_text_add(t, "<ul class=\"legend\" id=\"legend\">");
    for (int64_t i = 0; i < label->categories.n; i++) { /* the next after (last_count,
                                                                           last) in that order */
        int64_t best = -1;
        for (int64_t l = 0; l < label->categories.n; l++) {
            int64_t n = r->label_counts[l];
            bool after = n < last_count || (n == last_count && l > last);
            if (after && n > 0 && (best < 0 || n > r->label_counts[best])) best = l;
        }
        if (best < 0) break;
        last = best;
        last_count = r->label_counts[best];
        cpt_text_addf(t, "<li><button type=\"button\" data-l=\"%lld\" "
                         "aria-pressed=\"false\"><i></i><span>", (long long)best);
        cpt_text_add_html(t, cpt_strings_get(&label->categories, best));
        cpt_text_add(t, "</span> <small title=\"cells\">");
        cpt_report_count(t, last_count);
        cpt_text_add(t, "</small></button></li>");
    }
    cpt_text_add(t, "</ul>");
}

static void add_selector(cpt_report *r)
{
    cpt_text *t = &r->html;
    cpt_text_add(t, "<label class=\"by\">Colour by <select id=\"by\"><option value=\"\">");
    cpt_text_add_html(t, r->label ? r->label->name : "nothing");
    cpt_text_add(t, "</option>");
    for (int32_t c = 0; c < r->u->n_concepts; c++) {
        const cpt_report_concept *k = &r->concepts[c];
        if (!k->card) continue;
        cpt_text_addf(t, "<option value=\"%d\" data-max=\"%.3g\">c%d", c,
                      (double)r->u->stats[c].max, c);
        if (k->label >= 0) {
            cpt_text_add(t, " · ");
            cpt_text_add_html(t, cpt_strings_get(&r->label->categories, k->label));
        }
        cpt_text_add(t, "</option>");
    }
    cpt_text_add(t, "</select></label>");
}

void cpt_report_map(cpt_report *r)
{
    cpt_text *t = &r->html;
    int64_t n_placed = 0;
    for (int64_t i = 0; i < r->cells->n_cells; i++) n_placed += placed(r, i);
    cpt_text_add(t, "<aside class=\"mapbox\"><div class=\"mapin\">");
    add_selector(r);
    cpt_text_add(t, "<canvas id=\"map\" role=\"img\" aria-label=\"Map of the cells\"></canvas>"
                    "<div class=\"ramp\" id=\"ramp\" hidden><span>0</span><i></i><span "
                    "id=\"rampmax\"></span>"
                    "<small>activation; grey: inactive</small></div>");
    if (r->label) add_legend(r);
    else cpt_text_add(t, "<p class=\"note\">No label column was given: cells are drawn in one "
                         "colour. "
                         "<code>--label COL</code> names one.</p>");
    cpt_text_add(t, "<p class=\"note\">Each dot is a cell, placed by UMAP of the embedding. "
                    "Distances between groups "
                    "mean little.");
    if (n_placed > CPT_REPORT_MAP_CELLS)
        cpt_text_addf(t, " About %d of %lld cells are drawn, evenly from every label (at least %d "
                         "of each); all "
                      "numbers are of all cells.", CPT_REPORT_MAP_CELLS, (long long)n_placed,
                          LABEL_FLOOR);
    if (n_placed < r->cells->n_cells)
        cpt_text_addf(t, " %lld cells without a usable embedding are not drawn.",
                      (long long)(r->cells->n_cells - n_placed));
    cpt_text_add(t, "</p><noscript><p class=\"note\">The maps are drawn by a script, which is off "
                    "here; all tables and "
                    "the other figures are complete.</p></noscript></div></aside>\n");
}
