#include "plot/svg_series.h"

#include "plot/svg_frame.h"

#include <math.h>
#include <stdio.h>

/* Lines with bands, and rows of bars. */

enum { LEGEND_LINE = 15, ROW = 17, NAMES = 150 };

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
        cpt_svg_text(t, at + 21, line, "start", lines[i].name);
    }
}

void cpt_svg_lines(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *x_scale,
                   const cpt_scale *y_scale, int n, const cpt_svg_line *lines)
{
    cpt_scale x = *x_scale, y = *y_scale;
    const int height = plot->height + cpt_svg_head(plot);
    x.from = CPT_SVG_LEFT;
    x.to = plot->width - CPT_SVG_RIGHT;
    y.from = height - CPT_SVG_BOTTOM;
    y.to = CPT_SVG_TOP + cpt_svg_head(plot);
    cpt_svg_open(t, plot->width, height + (n + 1) / 2 * LEGEND_LINE + 4, plot->title);
    cpt_svg_y_axis(t, &y, x.from, x.to, plot->y_label);
    cpt_svg_x_axis(t, &x, y.from, y.from, plot->x_label);
    for (int i = 0; i < n; i++) add_band(t, &lines[i], &x, &y);
    for (int i = 0; i < n; i++) add_line(t, &lines[i], &x, &y);
    cpt_svg_markers(t, plot, &x, &y);
    add_legend(t, n, lines, x.from, x.to, height + 12);
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
    cpt_svg_text(t, NAMES - 8, top + 11, "end", r->name);
    cpt_text_addf(t, "<path class=\"br %s\" d=\"M%.1f %.1fh%.1fv11h-%.1fz\"><title>", r->css, left,
                  top + 2, width, width);
    cpt_text_add_html(t, r->title ? r->title : value);
    cpt_text_add(t, "</title></path>");
    if (!isnan(r->low) && !isnan(r->high))
        cpt_text_addf(t, "<path class=\"wh\" d=\"M%.1f %.1fH%.1f\"/>", cpt_scale_at(x, r->low),
                      top + 7.5, cpt_scale_at(x, r->high));
    if (!isnan(r->null))
        cpt_text_addf(t, "<path class=\"ck\" d=\"M%.1f %.1fv15\"/>", cpt_scale_at(x, r->null), top);
    cpt_svg_text(t, x->to + 6, top + 11, "start", value);
}

void cpt_svg_rows(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *scale, int n,
                  const cpt_svg_row *rows)
{
    int shown = 0;
    cpt_scale x = *scale;
    for (int i = 0; i < n; i++) shown += !isnan(rows[i].value);
    x.from = NAMES;
    x.to = plot->width - 46;
    const double base = CPT_SVG_TOP + shown * ROW + 2;
    const int below = plot->x_label ? CPT_SVG_BOTTOM : CPT_SVG_BOTTOM - 14;
    cpt_svg_open(t, plot->width, (int)base + below, plot->title);
    cpt_svg_x_axis(t, &x, base, CPT_SVG_TOP, plot->x_label);
    shown = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(rows[i].value)) add_row(t, &rows[i], &x, CPT_SVG_TOP + shown++ * ROW);
    cpt_text_add(t, "</svg>");
}
