/* svg_frame.h - what all drawings of this room have around them: margins, axes, markers, text.
 * Private to the room. Everything is appended; texts are escaped here. */
#ifndef CPT_PLOT_SVG_FRAME_H
#define CPT_PLOT_SVG_FRAME_H

#include "plot/svg.h"

enum { CPT_SVG_LEFT = 50, CPT_SVG_RIGHT = 12, CPT_SVG_TOP = 8, CPT_SVG_BOTTOM = 34 };

/* <svg class="plot"> with its title; the caller closes it. */
void cpt_svg_open(cpt_text *t, int width, int height, const char *title);
/* anchor: "start", "middle" or "end". */
void cpt_svg_text(cpt_text *t, double x, double y, const char *anchor, const char *text);
/* 0.001 stays plain, 1e-4 does not; 15,000 becomes 15k. */
void cpt_svg_tick_text(double value, char *text, size_t capacity);

/* An axis along x->from .. x->to at height `base`, with lines up to `top` (none when top = base). */
void cpt_svg_x_axis(cpt_text *t, const cpt_scale *x, double base, double top, const char *label);
/* Ticks left of `left`, lines from there to `right`. label NULL = none. */
void cpt_svg_y_axis(cpt_text *t, const cpt_scale *y, double left, double right, const char *label);
/* Pixels above the data that the labels of markers want; a drawing is higher by them. */
int cpt_svg_head(const cpt_svg_plot *plot);
/* The plot's markers that are not NaN. */
void cpt_svg_markers(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *x, const cpt_scale *y);

#endif
