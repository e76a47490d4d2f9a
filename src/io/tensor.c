/* Copies tensors out of mapped files, converted to f32, f64 or i64.
 *
 * A tensor is a run of items along its last axis for every index of the other axes; runs are
 * converted one by one, a contiguous tensor as a single run. Mapped data may lie at any address, so
 * items are fetched with memcpy (one instruction on every compiler that matters). O(items). */
#include "io/checkpoint_owned.h"

#include <string.h>

bool cpt_tensor_lay_out(cpt_tensor *t, int n_dims, const int64_t *shape, const int64_t *strides)
{
    if (n_dims < 0 || n_dims > CPT_TENSOR_MAX_DIMS) return false;
    t->n_dims = n_dims;
    t->n_items = 1;
    t->contiguous = true;
    bool empty = false;
    int64_t gapless = 1; /* product of the lengths behind axis i, a length of 0 counted as 1 */
    for (int i = n_dims - 1; i >= 0; i--) {
        int64_t length = shape[i], step = strides ? strides[i] : gapless;
        if (length < 0 || step < 0) return false;
        t->shape[i] = length;
        t->strides[i] = step;
        if (step != gapless && length > 1) t->contiguous = false;
        if (length == 0) empty = true;
        else if (__builtin_mul_overflow(gapless, length, &gapless)) return false;
    }
    t->n_items = empty ? 0 : gapless;
    if (empty) t->contiguous = true;
    return true;
}

static float half_to_float(uint16_t h)
{
    uint32_t rest = h & 0x7fffu, bits = rest << 13;
    float f;
    memcpy(&f, &bits, sizeof f);
    f *= 0x1p112f; /* moves the exponent's bias from 15 to 127; exact, subnormals included */
    memcpy(&bits, &f, sizeof bits);
    if (rest >= 0x7c00) bits |= 0x7f800000u; /* infinity, NaN */
    bits |= (uint32_t)(h & 0x8000u) << 16;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static float bfloat_to_float(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Items `step` bytes apart, each fetched as `type` into `item` and stored as `expression`. */
#define RUN(dtype, type, expression)                                                               \
    case dtype:                                                                                    \
        for (int64_t i = 0; i < n; i++, in += step) {                                              \
            type item;                                                                             \
            memcpy(&item, in, sizeof item);                                                        \
            out[i] = expression;                                                                   \
        }                                                                                          \
        return;

#define INTEGER_RUNS(target)                                                                       \
    RUN(CPT_U8, uint8_t, (target)item)                                                             \
    RUN(CPT_I8, int8_t, (target)item)                                                              \
    RUN(CPT_U16, uint16_t, (target)item)                                                           \
    RUN(CPT_I16, int16_t, (target)item)                                                            \
    RUN(CPT_U32, uint32_t, (target)item)                                                           \
    RUN(CPT_I32, int32_t, (target)item)                                                            \
    RUN(CPT_U64, uint64_t, (target)item)                                                           \
    RUN(CPT_I64, int64_t, (target)item)                                                            \
    RUN(CPT_BOOL, uint8_t, (target)(item != 0))

static void run_f32(cpt_dtype dtype, const unsigned char *in, int64_t step, int64_t n, void *to)
{
    float *out = to;
    switch (dtype) {
        INTEGER_RUNS(float)
        RUN(CPT_F16, uint16_t, half_to_float(item))
        RUN(CPT_BF16, uint16_t, bfloat_to_float(item))
        RUN(CPT_F32, float, item)
        RUN(CPT_F64, double, (float)item)
    }
}

static void run_f64(cpt_dtype dtype, const unsigned char *in, int64_t step, int64_t n, void *to)
{
    double *out = to;
    switch (dtype) {
        INTEGER_RUNS(double)
        RUN(CPT_F16, uint16_t, half_to_float(item))
        RUN(CPT_BF16, uint16_t, bfloat_to_float(item))
        RUN(CPT_F32, float, item)
        RUN(CPT_F64, double, item)
    }
}

static void run_i64(cpt_dtype dtype, const unsigned char *in, int64_t step, int64_t n, void *to)
{
    int64_t *out = to;
    switch (dtype) {
        INTEGER_RUNS(int64_t)
    case CPT_F16:
    case CPT_BF16:
    case CPT_F32:
    case CPT_F64: return; /* refused before */
    }
}

typedef void run_fn(cpt_dtype, const unsigned char *, int64_t, int64_t, void *);

static void copy_runs(const cpt_tensor *t, run_fn *run, void *out, size_t out_size)
{
    const unsigned char *in = t->data;
    int64_t size = (int64_t)cpt_dtype_size(t->dtype);
    if (t->n_items == 0) return;
    if (t->contiguous) {
        run(t->dtype, in, size, t->n_items, out);
        return;
    }
    int last = t->n_dims - 1; /* a scalar is contiguous, so there is at least one axis */
    int64_t at[CPT_TENSOR_MAX_DIMS] = {0}, offset = 0, length = t->shape[last];
    unsigned char *to = out;
    for (;;) {
        run(t->dtype, in + offset * size, t->strides[last] * size, length, to);
        to += (size_t)length * out_size;
        int axis = last - 1;
        for (; axis >= 0; axis--) {
            offset += t->strides[axis];
            if (++at[axis] < t->shape[axis]) break;
            offset -= at[axis] * t->strides[axis];
            at[axis] = 0;
        }
        if (axis < 0) return;
    }
}

cpt_status cpt_tensor_read_f32(const cpt_tensor *t, float *out, cpt_err *e)
{
    if (t->dtype == CPT_F32 && t->contiguous) {
        if (t->n_items) memcpy(out, t->data, (size_t)t->n_items * sizeof *out);
        return CPT_OK;
    }
    copy_runs(t, run_f32, out, sizeof *out);
    return CPT_OK;
}

cpt_status cpt_tensor_read_f64(const cpt_tensor *t, double *out, cpt_err *e)
{
    copy_runs(t, run_f64, out, sizeof *out);
    return CPT_OK;
}

cpt_status cpt_tensor_read_i64(const cpt_tensor *t, int64_t *out, cpt_err *e)
{
    if (t->dtype == CPT_F16 || t->dtype == CPT_BF16 || t->dtype == CPT_F32 || t->dtype == CPT_F64)
        return cpt_fail(
            e, CPT_ERR_FORMAT,
            "tensor '%s' holds %s where whole numbers were expected; is this the right file?",
            t->name ? t->name : "", cpt_dtype_name(t->dtype));
    copy_runs(t, run_i64, out, sizeof *out);
    for (int64_t i = 0; t->dtype == CPT_U64 && i < t->n_items; i++)
        if (out[i] < 0)
            return cpt_fail(e, CPT_ERR_FORMAT,
                            "tensor '%s' holds a number above 2^63 at position %lld",
                            t->name ? t->name : "", (long long)i);
    return CPT_OK;
}
