/* svg.h - small drawings for the report: axes, histograms, bars with intervals, scatter plots.
 *
 * Everything is appended to a cpt_text as inline SVG. Colours are CSS classes of the page
 * (report_style.c), so that drawings follow light and dark mode. Texts are escaped here.
 * Coordinates have one decimal. */
#ifndef CPT_PLOT_SVG_H
#define CPT_PLOT_SVG_H

#include "base/text.h"

/* A linear or logarithmic map from data [low, high] to pixels [from, to]. */
typedef struct cpt_scale {
    double low, high, from, to;
    bool log; /* low > 0 then */
} cpt_scale;
/* Values outside are clamped to the ends; NaN goes to `from`. */
double cpt_scale_at(const cpt_scale *s, double x);
/* Round values within the scale, about `wanted` of them, at most `capacity`; returns how many. */
int cpt_scale_ticks(const cpt_scale *s, int wanted, int capacity, double *ticks);

typedef struct cpt_svg_marker {
    double x;
    const char *text; /* written above, beside a vertical line; NaN x: left out */
} cpt_svg_marker;

typedef struct cpt_svg_plot {
    int width, height;   /* pixels of the view box, without what markers' labels add above */
    const char *title;   /* for screen readers and on hover */
    const char *x_label, *y_label; /* NULL = none; no y axis without y_label */
    const cpt_svg_marker *markers;
    int n_markers;
} cpt_svg_plot;

/* counts[b]: values in bin b of n_bins equal ones (equal in log when x->log). Only low, high and
 * log of *x are read. */
void cpt_svg_histogram(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *x, int n_bins,
                       const int64_t *counts);
/* Bin of `value` under that division; -1 outside or NaN. */
int cpt_svg_bin(const cpt_scale *x, int n_bins, double value);

typedef struct cpt_svg_point {
    double x, y;
    const char *link;  /* "#c12" */
    const char *title; /* on hover */
} cpt_svg_point;
void cpt_svg_scatter(cpt_text *t, const cpt_svg_plot *plot, const cpt_scale *x, const cpt_scale *y,
                     int64_t n,
                     const cpt_svg_point *points);

/* A signed bar from 0 with a whisker low..high, on [-limit, limit]; for table cells. NaN
 * whiskers: none. `cut` > 0 draws two thin lines at +-cut. */
void cpt_svg_bar(cpt_text *t, double value, double low, double high, double limit, double cut);
/* A bar for a share of 1 and a tick for the share it is to be compared with (NaN: none). */
void cpt_svg_share(cpt_text *t, double share, double background);

#endif
