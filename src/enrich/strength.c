/* strength.c - p has a floor of 1 / (null scores of the sign + 1), which differs from set to set with how skew its null
 * is, mostly by less than a factor of ten around 2 / permutations. Comparing floors pair by pair ("as good as one when
 * close") is no order: in steps of a little each, the last is far from the first. So all within a power of ten share
 * one place, the middle of it. Powers begin at 10^-2.2, 10^-3.2 ...: the floors of 1,000, 10,000 ... permutations
 * lie in the middle, and two or more scores beyond, of all permutations, behind it.
 */
#include "enrich/strength.h"

#include <math.h>
#include <stdbool.h>

static const double NONE_BEYOND = 1.5; /* log2err of no null score beyond is 1.85, of one 1.16 */
static const double FEWEST = -2;       /* log10: so many scores had the sign that none beyond says something */

cpt_strength cpt_strength_of(double log10p, double nes, double log2err)
{
    const bool at_floor = !isnan(nes) && log10p < FEWEST && log2err > NONE_BEYOND;
    const double shared = -(floor(-log10p - 0.2) + 0.7);
    return (cpt_strength){at_floor ? shared : log10p, isnan(nes) ? 0 : fabs(nes), log10p};
}

static int rising(double x, double y)
{
    if (isnan(x) || isnan(y)) return isnan(x) - isnan(y);
    return (x > y) - (x < y);
}

int cpt_strength_compare(cpt_strength a, cpt_strength b)
{
    int c = rising(a.log10p, b.log10p);
    if (c == 0) c = rising(b.nes, a.nes);
    return c ? c : rising(a.own, b.own);
}

int cpt_strength_then_set(cpt_strength a, int32_t set_a, cpt_strength b, int32_t set_b)
{
    int c = cpt_strength_compare(a, b);
    return c ? c : (set_a > set_b) - (set_a < set_b);
}
