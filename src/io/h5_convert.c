/* See h5_convert.h. One loop per pair of types, simple enough for the compiler to vectorise. */
#include "io/h5_convert.h"

#include <stdint.h>
#include <string.h>

h5_number h5_number_of(hid_t type)
{
    const struct {
        hid_t type;
        h5_number number;
    } known[] = {{H5T_NATIVE_INT8, H5_I8},   {H5T_NATIVE_UINT8, H5_U8},   {H5T_NATIVE_INT16, H5_I16},
                 {H5T_NATIVE_UINT16, H5_U16}, {H5T_NATIVE_INT32, H5_I32},  {H5T_NATIVE_UINT32, H5_U32},
                 {H5T_NATIVE_INT64, H5_I64},  {H5T_NATIVE_UINT64, H5_U64}, {H5T_NATIVE_FLOAT, H5_F32},
                 {H5T_NATIVE_DOUBLE, H5_F64}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (H5Tequal(type, known[i].type) > 0) return known[i].number;
    return H5_NO_NUMBER;
}

bool h5_converts(h5_number from, h5_number to)
{
    if (from == H5_NO_NUMBER) return false;
    return to == H5_F32 || to == H5_F64 || ((to == H5_I32 || to == H5_I64) && from < H5_F32);
}

#define PLAINLY(TYPE, TO)                                                                      \
    do {                                                                                           \
        const TYPE *x = in;                                                                        \
        TO *y = out;                                                                               \
        for (size_t i = 0; i < n; i++) y[i] = (TO)x[i];                                            \
    } while (0)

#define CUT_ABOVE(TYPE, TO, HIGH)                                                                  \
    do {                                                                                           \
        const TYPE *x = in;                                                                        \
        TO *y = out;                                                                               \
        for (size_t i = 0; i < n; i++) y[i] = x[i] > (TYPE)(HIGH) ? (HIGH) : (TO)x[i];             \
    } while (0)

static void cut_i64(const int64_t *x, size_t n, int32_t *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > INT32_MAX ? INT32_MAX : x[i] < INT32_MIN ? INT32_MIN : (int32_t)x[i];
}

#define FLOATING_TO(TO)                                                                            \
    switch (from) {                                                                                \
    case H5_I8: PLAINLY(int8_t, TO); break;                                                    \
    case H5_U8: PLAINLY(uint8_t, TO); break;                                                   \
    case H5_I16: PLAINLY(int16_t, TO); break;                                                  \
    case H5_U16: PLAINLY(uint16_t, TO); break;                                                 \
    case H5_I32: PLAINLY(int32_t, TO); break;                                                  \
    case H5_U32: PLAINLY(uint32_t, TO); break;                                                 \
    case H5_I64: PLAINLY(int64_t, TO); break;                                                  \
    case H5_U64: PLAINLY(uint64_t, TO); break;                                                 \
    case H5_F32: PLAINLY(float, TO); break;                                                    \
    case H5_F64: PLAINLY(double, TO); break;                                                   \
    default: break;                                                                                \
    }

static void to_i32(h5_number from, const void *in, size_t n, void *out)
{
    switch (from) {
    case H5_I8: PLAINLY(int8_t, int32_t); break;
    case H5_U8: PLAINLY(uint8_t, int32_t); break;
    case H5_I16: PLAINLY(int16_t, int32_t); break;
    case H5_U16: PLAINLY(uint16_t, int32_t); break;
    case H5_I32: memcpy(out, in, n * sizeof(int32_t)); break;
    case H5_U32: CUT_ABOVE(uint32_t, int32_t, INT32_MAX); break;
    case H5_I64: cut_i64(in, n, out); break;
    case H5_U64: CUT_ABOVE(uint64_t, int32_t, INT32_MAX); break;
    default: break;
    }
}

static void to_i64(h5_number from, const void *in, size_t n, void *out)
{
    switch (from) {
    case H5_I8: PLAINLY(int8_t, int64_t); break;
    case H5_U8: PLAINLY(uint8_t, int64_t); break;
    case H5_I16: PLAINLY(int16_t, int64_t); break;
    case H5_U16: PLAINLY(uint16_t, int64_t); break;
    case H5_I32: PLAINLY(int32_t, int64_t); break;
    case H5_U32: PLAINLY(uint32_t, int64_t); break;
    case H5_I64: memcpy(out, in, n * sizeof(int64_t)); break;
    case H5_U64: CUT_ABOVE(uint64_t, int64_t, INT64_MAX); break;
    default: break;
    }
}

void h5_convert(h5_number from, h5_number to, const void *in, size_t n, void *out)
{
    switch (to) {
    case H5_I32: to_i32(from, in, n, out); break;
    case H5_I64: to_i64(from, in, n, out); break;
    case H5_F32: FLOATING_TO(float) break;
    case H5_F64: FLOATING_TO(double) break;
    default: break;
    }
}
