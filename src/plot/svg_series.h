/* svg_series.h - drawings of several series: lines with bands, and bars with whiskers beside their
 * null. As in svg.h: inline SVG, colours are CSS classes of the page (s0, s1, ... and nl for a
 * null). */
#ifndef CPT_PLOT_SVG_SERIES_H
#define CPT_PLOT_SVG_SERIES_H

#include "plot/svg.h"

typedef struct cpt_svg_line {
    const char *name; /* in the legend */
    const char *css;  /* "s0" ... "s5", "nl" */
    int n;
    const double *x, *y;      /* [n]; NaN breaks the line */
    const double *low, *high; /* [n] a band; NULL = none */
} cpt_svg_line;

/* Lines in one frame, with a legend below. */
void cpt_svg_lines(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *x, const cpt_scale *y,
                   int n, const cpt_svg_line *lines);

typedef struct cpt_svg_row {
    const char *name, *css;
    double value, low, high; /* NaN whiskers: none; NaN value: the row is left out */
    double null;             /* a tick: what chance gives; NaN = none */
    const char *title;       /* on hover */
} cpt_svg_row;

/* Horizontal bars, one below the other, on x->low .. x->high. */
void cpt_svg_rows(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *x, int n,
                  const cpt_svg_row *rows);

#endif
