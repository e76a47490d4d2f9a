#include "plot/svg_series.h"

#include <math.h>
#include <stdio.h>

/* Lines with bands, and rows of bars. The frame is that of svg.c: same margins, same classes. */

enum {
    MAX_TICKS = 12,
    LEFT = 50,
    RIGHT = 12,
    TOP = 8,
    BOTTOM = 34,
    LEGEND_LINE = 15,
    ROW = 17,
    NAMES = 150
};

static void open_svg(cpt_text *t, int width, int height, const char *title)
{
    cpt_text_addf(t, "<svg class=\"plot\" viewBox=\"0 0 %d %d\" role=\"img\"><title>", width,
                  height);
    cpt_text_add_html(t, title ? title : "");
    cpt_text_add(t, "</title>");
}

static void add_text(cpt_text *t, double x, double y, const char *anchor, const char *text)
{
    cpt_text_addf(t, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    cpt_text_add_html(t, text);
    cpt_text_add(t, "</text>");
}

static void add_x_axis(cpt_text *t, const cpt_scale *x, double base, double top, const char *label)
{
    double ticks[MAX_TICKS];
    const int n = cpt_scale_ticks(x, 5, MAX_TICKS, ticks);
    cpt_text_addf(t, "<path class=\"ax\" d=\"M%.1f %.1fH%.1f\"/>", x->from, base, x->to);
    for (int i = 0; i < n; i++) {
        char text[32];
        const double at = cpt_scale_at(x, ticks[i]);
        snprintf(text, sizeof text, ticks[i] > 0 && ticks[i] < 0.99e-3 ? "%.0e" : "%.4g", ticks[i]);
        if (top < base)
            cpt_text_addf(t, "<path class=\"gl\" d=\"M%.1f %.1fV%.1f\"/>", at, base, top);
        cpt_text_addf(t, "<path class=\"ax\" d=\"M%.1f %.1fv4\"/>", at, base);
        add_text(t, at, base + 15, "middle", text);
    }
    if (label) add_text(t, (x->from + x->to) / 2, base + 29, "middle", label);
}

static void add_y_axis(cpt_text *t, const cpt_scale *y, double left, double right,
                       const char *label)
{
    double ticks[MAX_TICKS];
    const int n = cpt_scale_ticks(y, 4, MAX_TICKS, ticks);
    for (int i = 0; i < n; i++) {
        char text[32];
        const double at = cpt_scale_at(y, ticks[i]);
        snprintf(text, sizeof text, "%.4g", ticks[i]);
        cpt_text_addf(t, "<path class=\"gl\" d=\"M%.1f %.1fH%.1f\"/>", left, at, right);
        add_text(t, left - 5, at + 4, "end", text);
    }
    if (!label) return;
    const double middle = (y->from + y->to) / 2;
    cpt_text_addf(
        t, "<text x=\"11\" y=\"%.1f\" text-anchor=\"middle\" transform=\"rotate(-90 11 %.1f)\">",
        middle, middle);
    cpt_text_add_html(t, label);
    cpt_text_add(t, "</text>");
}

/* ---- lines ---- */

static void add_band(cpt_text *t, const cpt_svg_line *l, const cpt_scale *x, const cpt_scale *y)
{
    if (!l->low || !l->high) return;
    cpt_text_addf(t, "<path class=\"bd %s\" d=\"", l->css);
    for (int i = 0; i < l->n; i++)
        if (!isnan(l->high[i]))
            cpt_text_addf(t, "%c%.1f %.1f", i ? 'L' : 'M', cpt_scale_at(x, l->x[i]),
                          cpt_scale_at(y, l->high[i]));
    for (int i = l->n - 1; i >= 0; i--)
        if (!isnan(l->low[i]))
            cpt_text_addf(t, "L%.1f %.1f", cpt_scale_at(x, l->x[i]), cpt_scale_at(y, l->low[i]));
    cpt_text_add(t, "z\"/>");
}

static void add_line(cpt_text *t, const cpt_svg_line *l, const cpt_scale *x, const cpt_scale *y)
{
    bool open = false;
    cpt_text_addf(t, "<path class=\"ln %s\" d=\"", l->css);
    for (int i = 0; i < l->n; i++) {
        if (isnan(l->y[i])) {
            open = false;
            continue;
        }
        cpt_text_addf(t, "%c%.1f %.1f", open ? 'L' : 'M', cpt_scale_at(x, l->x[i]),
                      cpt_scale_at(y, l->y[i]));
        open = true;
    }
    cpt_text_add(t, "\"><title>");
    cpt_text_add_html(t, l->name);
    cpt_text_add(t, "</title></path>");
}

static void add_legend(cpt_text *t, int n, const cpt_svg_line *lines, double left, double right,
                       double y)
{
    const double width = (right - left) / 2;
    for (int i = 0; i < n; i++) {
        const double at = left + i % 2 * width, line = y + i / 2 * LEGEND_LINE;
        cpt_text_addf(t, "<path class=\"ln %s\" d=\"M%.1f %.1fh16\"/>", lines[i].css, at, line - 4);
        add_text(t, at + 21, line, "start", lines[i].name);
    }
}

void cpt_svg_lines(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *x_scale,
                   const cpt_scale *y_scale, int n, const cpt_svg_line *lines)
{
    cpt_scale x = *x_scale, y = *y_scale;
    x.from = LEFT;
    x.to = plot->width - RIGHT;
    y.from = plot->height - BOTTOM;
    y.to = TOP;
    open_svg(t, plot->width, plot->height + (n + 1) / 2 * LEGEND_LINE + 4, plot->title);
    add_y_axis(t, &y, x.from, x.to, plot->y_label);
    add_x_axis(t, &x, y.from, y.from, plot->x_label);
    for (int i = 0; i < n; i++) add_band(t, &lines[i], &x, &y);
    for (int i = 0; i < n; i++) add_line(t, &lines[i], &x, &y);
    for (int i = 0; i < plot->n_markers; i++) {
        const double at = cpt_scale_at(&x, plot->markers[i].x);
        const bool left = at > x.from + 0.66 * (x.to - x.from);
        if (isnan(plot->markers[i].x)) continue;
        cpt_text_addf(t, "<path class=\"mk\" d=\"M%.1f %.1fV%.1f\"/>", at, y.from, y.to);
        add_text(t, at + (left ? -4 : 4), y.to + 9 + 13 * i, left ? "end" : "start",
                 plot->markers[i].text);
    }
    add_legend(t, n, lines, x.from, x.to, plot->height + 12);
    cpt_text_add(t, "</svg>");
}

/* ---- rows ---- */

static void add_row(cpt_text *t, const cpt_svg_row *r, const cpt_scale *x, double top)
{
    const double zero = cpt_scale_at(x, x->low > 0 ? x->low : 0), at = cpt_scale_at(x, r->value);
    const double left = at < zero ? at : zero,
                 width = fabs(at - zero) < 0.6 ? 0.6 : fabs(at - zero);
    char value[32];
    snprintf(value, sizeof value, fabs(r->value) < 10 ? "%.3f" : "%.3g", r->value);
    add_text(t, NAMES - 8, top + 11, "end", r->name);
    cpt_text_addf(t, "<path class=\"br %s\" d=\"M%.1f %.1fh%.1fv11h-%.1fz\"><title>", r->css, left,
                  top + 2, width, width);
    cpt_text_add_html(t, r->title ? r->title : value);
    cpt_text_add(t, "</title></path>");
    if (!isnan(r->low) && !isnan(r->high))
        cpt_text_addf(t, "<path class=\"wh\" d=\"M%.1f %.1fH%.1f\"/>", cpt_scale_at(x, r->low),
                      top + 7.5, cpt_scale_at(x, r->high));
    if (!isnan(r->null))
        cpt_text_addf(t, "<path class=\"ck\" d=\"M%.1f %.1fv15\"/>", cpt_scale_at(x, r->null), top);
    add_text(t, x->to + 6, top + 11, "start", value);
}

void cpt_svg_rows(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *scale, int n,
                  const cpt_svg_row *rows)
{
    int shown = 0;
    cpt_scale x = *scale;
    for (int i = 0; i < n; i++) shown += !isnan(rows[i].value);
    x.from = NAMES;
    x.to = plot->width - 46;
    const double base = TOP + shown * ROW + 2;
    open_svg(t, plot->width, (int)base + (plot->x_label ? BOTTOM : BOTTOM - 14), plot->title);
    add_x_axis(t, &x, base, TOP, plot->x_label);
    shown = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(rows[i].value)) add_row(t, &rows[i], &x, TOP + shown++ * ROW);
    cpt_text_add(t, "</svg>");
}
