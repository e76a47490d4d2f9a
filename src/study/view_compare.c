#include "study/view.h"

void cpt_view_put_comparisons(const cpt_view *v, cpt_jot *j)
{
    (void)v;
    cpt_jot_open(j, '[');
    cpt_jot_close(j, ']');
}
