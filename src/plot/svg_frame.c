#include "plot/svg_frame.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The frame of a drawing. Colours are the page's: ax axis, gl grid line, mk marker. */

enum { MAX_TICKS = 12, TICK = 32 };

void cpt_svg_open(cpt_text *t, int width, int height, const char *title)
{
    cpt_text_addf(t, "<svg class=\"plot\" viewBox=\"0 0 %d %d\" role=\"img\"><title>", width,
                  height);
    cpt_text_add_html(t, title ? title : "");
    cpt_text_add(t, "</title>");
}

void cpt_svg_text(cpt_text *t, double x, double y, const char *anchor, const char *text)
{
    cpt_text_addf(t, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    cpt_text_add_html(t, text);
    cpt_text_add(t, "</text>");
}

void cpt_svg_tick_text(double value, char *text, size_t capacity)
{
    const double size = fabs(value);
    if (size >= 1e4 && size < 1e6) snprintf(text, capacity, "%.4gk", value / 1e3);
    else if (size >= 1e6 && size < 1e9) snprintf(text, capacity, "%.4gM", value / 1e6);
    else snprintf(text, capacity, size > 0 && size < 0.99e-3 ? "%.0e" : "%.4g", value);
}

void cpt_svg_x_axis(cpt_text *t, const cpt_scale *x, double base, double top, const char *label)
{
    double ticks[MAX_TICKS];
    char text[TICK];
    const int n = cpt_scale_ticks(x, 5, MAX_TICKS, ticks);
    cpt_text_addf(t, "<path class=\"ax\" d=\"M%.1f %.1fH%.1f\"/>", x->from, base, x->to);
    for (int i = 0; i < n; i++) {
        const double at = cpt_scale_at(x, ticks[i]);
        cpt_svg_tick_text(ticks[i], text, sizeof text);
        if (top < base)
            cpt_text_addf(t, "<path class=\"gl\" d=\"M%.1f %.1fV%.1f\"/>", at, base, top);
        cpt_text_addf(t, "<path class=\"ax\" d=\"M%.1f %.1fv4\"/>", at, base);
        cpt_svg_text(t, at, base + 15, "middle", text);
    }
    if (label) cpt_svg_text(t, (x->from + x->to) / 2, base + 29, "middle", label);
}

void cpt_svg_y_axis(cpt_text *t, const cpt_scale *y, double left, double right, const char *label)
{
    double ticks[MAX_TICKS];
    char text[TICK];
    const int n = cpt_scale_ticks(y, 4, MAX_TICKS, ticks);
    for (int i = 0; i < n; i++) {
        const double at = cpt_scale_at(y, ticks[i]);
        cpt_svg_tick_text(ticks[i], text, sizeof text);
        cpt_text_addf(t, "<path class=\"gl\" d=\"M%.1f %.1fH%.1f\"/>", left, at, right);
        cpt_svg_text(t, left - 5, at + 4, "end", text);
    }
    if (!label) return;
    const double middle = (y->from + y->to) / 2;
    cpt_text_addf(
        t, "<text x=\"11\" y=\"%.1f\" text-anchor=\"middle\" transform=\"rotate(-90 11 %.1f)\">",
        middle, middle);
    cpt_text_add_html(t, label);
    cpt_text_add(t, "</text>");
}

/* Labels stand in lines of their own above the data: of two markers the left one's is higher, so
 * that no label is crossed by the line of another. Labels without room to the right turn left. */
enum { LABEL_LINE = 13, LETTER = 6 };

int cpt_svg_head(const cpt_svg_plot *plot)
{
    int n = 0;
    for (int i = 0; i < plot->n_markers; i++) n += !isnan(plot->markers[i].x);
    return LABEL_LINE * n;
}

static int left_of(const cpt_svg_plot *plot, int marker)
{
    const double x = plot->markers[marker].x;
    int n = 0;
    for (int i = 0; i < plot->n_markers; i++)
        n += plot->markers[i].x < x || (plot->markers[i].x == x && i < marker);
    return n;
}

void cpt_svg_markers(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *x, const cpt_scale *y)
{
    for (int i = 0; i < plot->n_markers; i++) {
        if (isnan(plot->markers[i].x)) continue;
        const double at = cpt_scale_at(x, plot->markers[i].x);
        const double top = CPT_SVG_TOP + LABEL_LINE * left_of(plot, i);
        const bool left = at + 4 + LETTER * (double)strlen(plot->markers[i].text) > plot->width;
        cpt_text_addf(t, "<path class=\"mk\" d=\"M%.1f %.1fV%.1f\"/>", at, y->from, top);
        cpt_svg_text(t, at + (left ? -4 : 4), top + 9, left ? "end" : "start",
                     plot->markers[i].text);
    }
}
