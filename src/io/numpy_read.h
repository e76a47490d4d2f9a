/* numpy_read.h - NumPy arrays, scalars and types inside of pickles. */
#ifndef CPT_IO_NUMPY_READ_H
#define CPT_IO_NUMPY_READ_H

#include "io/pickle.h"

/* As the hooks of cpt_pickle: they leave alone what is not NumPy's. */
cpt_status cpt_numpy_call(cpt_pickle *p, const cpt_value *name, const cpt_value *arguments,
                          cpt_value **out, cpt_err *e);
cpt_status cpt_numpy_build(cpt_pickle *p, cpt_value *object, cpt_value *state, bool *taken,
                           cpt_err *e);

#endif
