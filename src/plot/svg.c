#include "plot/svg_frame.h"

#include <math.h>

/* Drawings as inline SVG. One bar of a histogram is one sub-path, one row of a table one <svg> of
 * about 150 bytes: a report has thousands of them, so each is kept short. All numbers are printed
 * with one decimal, which also makes the bytes independent of the last bits of the computation.
 * */

/* ---- scales ---- */

double cpt_scale_at(const cpt_scale *s, double x)
{
    if (isnan(x)) return s->from;
    double low = s->low, high = s->high;
    if (s->log) {
        x = log10(x > low ? x : low);
        low = log10(low);
        high = log10(high);
    }
    double at = high > low ? (x - low) / (high - low) : 0;
    if (!(at > 0)) at = 0;
    if (at > 1) at = 1;
    return s->from + at * (s->to - s->from);
}

static double round_step(double raw)
{
    double magnitude = pow(10, floor(log10(raw))), rest = raw / magnitude;
    return magnitude * (rest <= 1.5 ? 1 : rest <= 3.5 ? 2 : rest <= 7.5 ? 5 : 10);
}

int cpt_scale_ticks(const cpt_scale *s, int wanted, int capacity, double *ticks)
{
    int n = 0;
    if (!(s->high > s->low) || wanted < 1) return 0;
    if (s->log) {
        int first = (int)ceil(log10(s->low) - 1e-9), last = (int)floor(log10(s->high) + 1e-9);
        int step = (last - first) / wanted + 1;
        for (int i = first; i <= last && n < capacity; i += step) ticks[n++] = pow(10, i);
        return n;
    }
    double step = round_step((s->high - s->low) / wanted);
    double first = ceil(s->low / step - 1e-9), last = floor(s->high / step + 1e-9);
    for (double i = first; i <= last && n < capacity; i++)
        ticks[n++] = i * step + 0.0; /* never -0 */
    return n;
}

/* ---- frame ---- */

static void place(const cpt_svg_plot *plot, cpt_scale *x, cpt_scale *y)
{
    x->from = plot->y_label ? CPT_SVG_LEFT : CPT_SVG_RIGHT;
    x->to = plot->width - CPT_SVG_RIGHT;
    y->to = CPT_SVG_TOP + cpt_svg_head(plot);
    y->from = y->to - CPT_SVG_TOP + plot->height -
              (plot->x_label ? CPT_SVG_BOTTOM : CPT_SVG_BOTTOM - 14);
}

/* ---- histogram ---- */

int cpt_svg_bin(const cpt_scale *x, int n_bins, double value)
{
    if (!(value >= x->low && value <= x->high)) return -1;
    const cpt_scale bins = {x->low, x->high, 0, n_bins, x->log};
    int b = (int)cpt_scale_at(&bins, value);
    return b < n_bins ? b : n_bins - 1;
}

void cpt_svg_histogram(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *scale, int n_bins,
                       const int64_t *counts)
{
    cpt_scale x = *scale, y = {.low = 0, .high = 1};
    for (int b = 0; b < n_bins; b++)
        if ((double)counts[b] > y.high) y.high = (double)counts[b];
    place(plot, &x, &y);
    cpt_svg_open(t, plot->width, plot->height + cpt_svg_head(plot), plot->title);
    if (plot->y_label) cpt_svg_y_axis(t, &y, x.from, x.to, plot->y_label);
    double width = (x.to - x.from) / n_bins;
    cpt_text_add(t, "<path class=\"hb\" d=\"");
    for (int b = 0; b < n_bins; b++) {
        double top = cpt_scale_at(&y, (double)counts[b]);
        if (counts[b] == 0) continue;
        if (top > y.from - 1) top = y.from - 1; /* a single cell among thousands is still seen */
        cpt_text_addf(t, "M%.1f %.1fV%.1fh%.1fV%.1fz", x.from + b * width, y.from, top, width - 0.8,
                      y.from);
    }
    cpt_text_add(t, "\"/>");
    cpt_svg_x_axis(t, &x, y.from, y.from, plot->x_label);
    cpt_svg_markers(t, plot, &x, &y);
    cpt_text_add(t, "</svg>");
}

/* ---- scatter ---- */

void cpt_svg_scatter(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *x_scale,
                     const cpt_scale *y_scale, int64_t n, const cpt_svg_point *points)
{
    cpt_scale x = *x_scale, y = *y_scale;
    place(plot, &x, &y);
    cpt_svg_open(t, plot->width, plot->height + cpt_svg_head(plot), plot->title);
    if (plot->y_label) cpt_svg_y_axis(t, &y, x.from, x.to, plot->y_label);
    cpt_svg_x_axis(t, &x, y.from, y.from, plot->x_label);
    cpt_svg_markers(t, plot, &x, &y);
    for (int64_t i = 0; i < n; i++) {
        if (isnan(points[i].x) || isnan(points[i].y)) continue;
        cpt_text_add(t, "<a href=\"");
        cpt_text_add_html(t, points[i].link);
        cpt_text_addf(t, "\"><circle class=\"pt\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>",
                      cpt_scale_at(&x, points[i].x), cpt_scale_at(&y, points[i].y));
        cpt_text_add_html(t, points[i].title);
        cpt_text_add(t, "</title></circle></a>");
    }
    cpt_text_add(t, "</svg>");
}

/* ---- table cells ---- */

void cpt_svg_bar(cpt_text *t, double value, double low, double high, double limit, double cut)
{
    const cpt_scale x = {-limit, limit, 1, 119, false};
    double zero = 60, at = cpt_scale_at(&x, value);
    if (isnan(value) || !(limit > 0)) return;
    double left = at < zero ? at : zero, width = fabs(at - zero);
    cpt_text_addf(t,
                  "<svg class=\"b\" viewBox=\"0 0 120 12\"><path class=\"z\" d=\"M60 "
                  "0v12\"/><path class=\"%s\" "
                  "d=\"M%.1f 2h%.1fv8h-%.1fz\"/>",
                  value < 0 ? "n" : "p", left, width < 0.6 ? 0.6 : width,
                  width < 0.6 ? 0.6 : width);
    if (cut > 0 && cut < limit)
        cpt_text_addf(t, "<path class=\"c\" d=\"M%.1f 0v12M%.1f 0v12\"/>", cpt_scale_at(&x, -cut),
                      cpt_scale_at(&x, cut));
    if (!isnan(low) && !isnan(high))
        cpt_text_addf(t, "<path class=\"w\" d=\"M%.1f 6H%.1f\"/>", cpt_scale_at(&x, low),
                      cpt_scale_at(&x, high));
    cpt_text_add(t, "</svg>");
}

void cpt_svg_share(cpt_text *t, double share, double background)
{
    const cpt_scale x = {0, 1, 0, 120, false};
    cpt_text_addf(t,
                  "<svg class=\"b\" viewBox=\"0 0 120 12\"><path class=\"t\" d=\"M0 "
                  "2h120v8H0z\"/><path class=\"s\" "
                  "d=\"M0 2h%.1fv8H0z\"/>",
                  cpt_scale_at(&x, share));
    if (!isnan(background))
        cpt_text_addf(t, "<path class=\"k\" d=\"M%.1f 0v12\"/>", cpt_scale_at(&x, background));
    cpt_text_add(t, "</svg>");
}
