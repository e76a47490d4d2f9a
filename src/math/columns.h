/* columns.h - many short lists sorted at once. */
#ifndef CPT_MATH_COLUMNS_H
#define CPT_MATH_COLUMNS_H

#include <stdint.h>

/* Lists lie side by side, member t of list c at [t * CPT_COLUMNS + c]. Rows come in blocks: lists that end earlier are
 * filled up with the largest number. */
enum { CPT_COLUMNS = 32, CPT_COLUMN_BLOCK = 8 };

typedef struct cpt_column_kernels {
    /* to[i] = of[from[i]] for the numbers of n_rows rows, aligned as below. Two bytes behind what is read of `of` are its
     * own as well. */
    void (*look_up16)(int32_t n_rows, const uint16_t *from, const uint16_t *of, uint16_t *to);
    /* Every list ascending. rows: aligned to 64 bytes; n_rows: a multiple of CPT_COLUMN_BLOCK. */
    void (*sort16)(int32_t n_rows, uint16_t *rows);
    void (*sort32)(int32_t n_rows, int32_t *rows);
} cpt_column_kernels;

const cpt_column_kernels *cpt_column_kernels_get(void);
const cpt_column_kernels *cpt_column_kernels_at(int level);

#endif
