#include "base/cpu.h"

#include <stdlib.h>
#include <string.h>

int cpt_cpu_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return CPT_CPU_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return CPT_CPU_AVX2;
#endif
    return CPT_CPU_BASE;
}

const char *cpt_cpu_level_name(int level)
{
    static const char *const names[] = {"base", "avx2", "avx512"};
    return level >= 0 && level <= CPT_CPU_AVX512 ? names[level] : "?";
}

int cpt_cpu_level(void)
{
    int best = cpt_cpu_best();
    const char *asked = getenv("CONCEPTOME_CPU");
    for (int level = 0; asked && level < best; level++)
        if (strcmp(asked, cpt_cpu_level_name(level)) == 0) return level;
    return best;
}
