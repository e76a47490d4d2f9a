/* cpu.h - which instruction set the kernels use on this machine.
 *
 * Files in src/math/kernels are compiled once per level with CPT_LEVEL set to its number; level 0 is
 * plain C for any processor. Each family of kernels is a struct of function pointers; the file is
 *
 *     const cpt_foo_kernels CPT_LEVEL_NAME(cpt_foo_kernels) = { ... };   (per level)
 *     CPT_KERNEL_DISPATCH(cpt_foo_kernels)                               (expands at level 0 only)
 *
 * which defines `const cpt_foo_kernels *cpt_foo_kernels_get(void)`, and
 * `const cpt_foo_kernels *cpt_foo_kernels_at(int level)` for tests (NULL when the CPU lacks it).
 */
#ifndef CPT_BASE_CPU_H
#define CPT_BASE_CPU_H

#include <stddef.h>

/* The last two are AVX-512 with more: dot products of bfloat16 pairs, and tiles (matrix registers). Only matrix
 * products (math/gemm.h) know them; every other kernel runs at AVX512 there. */
enum { CPT_CPU_BASE, CPT_CPU_AVX2, CPT_CPU_AVX512, CPT_CPU_AVX512_BF16, CPT_CPU_AMX };

/* The best level of this processor, or a lower one named by the environment variable
 * CONCEPTOME_CPU = base | avx2 | avx512 | avx512bf16 | amx (for tests and for comparing machines). AMX counts only
 * when the kernel lets this process use the tiles, which is asked once. */
int cpt_cpu_level(void);
int cpt_cpu_best(void); /* what the processor can do, whatever the environment says */
const char *cpt_cpu_level_name(int level);

#define CPT_PASTE_(a, b) a##_level##b
#define CPT_PASTE(a, b) CPT_PASTE_(a, b)
#define CPT_LEVEL_NAME(name) CPT_PASTE(name, CPT_LEVEL)

#if defined(CPT_LEVELS) && CPT_LEVELS > 1 /* the Makefile builds levels 0, 1 and 2 on x86-64 */
#define CPT_KERNEL_DISPATCH_(name)                                                                 \
    extern const name name##_level1, name##_level2;                                                \
    const name *name##_at(int level)                                                               \
    {                                                                                              \
        if (level > cpt_cpu_best()) return NULL;                                                   \
        return level >= 2 ? &name##_level2 : level == 1 ? &name##_level1 : &name##_level0;         \
    }                                                                                              \
    const name *name##_get(void) { return name##_at(cpt_cpu_level()); }
#else
#define CPT_KERNEL_DISPATCH_(name)                                                                 \
    const name *name##_at(int level) { return level == 0 ? &name##_level0 : NULL; }                \
    const name *name##_get(void) { return &name##_level0; }
#endif
#if defined(CPT_LEVEL) && CPT_LEVEL == 0
#define CPT_KERNEL_DISPATCH(name) CPT_KERNEL_DISPATCH_(name)
#else
#define CPT_KERNEL_DISPATCH(name)
#endif

#endif
