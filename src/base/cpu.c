#include "base/cpu.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__)
/* cpuid 7.0 edx: AMX-BF16 is bit 22, AMX-TILE bit 24. */
static bool has_tiles(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1);
}

/* The system saves the tiles (8 KiB) at context switches only for processes that have asked; it refuses where it is
 * too old or forbidden to. The answer holds for all threads of the process. */
static bool may_use_tiles(void)
{
#if defined(__linux__)
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
#else
    return false;
#endif
}

static int detect(void)
{
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")))
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? CPT_CPU_AVX2
                                                                               : CPT_CPU_BASE;
    if (!__builtin_cpu_supports("avx512bf16")) return CPT_CPU_AVX512;
    return has_tiles() && may_use_tiles() ? CPT_CPU_AMX : CPT_CPU_AVX512_BF16;
}
#else
static int detect(void)
{
    return CPT_CPU_BASE;
}
#endif

static int best;

static void set_best(void)
{
    best = detect();
}

int cpt_cpu_best(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_best);
    return best;
}

const char *cpt_cpu_level_name(int level)
{
    static const char *const names[] = {"base", "avx2", "avx512", "avx512bf16", "amx"};
    return level >= 0 && level <= CPT_CPU_AMX ? names[level] : "?";
}

int cpt_cpu_level(void)
{
    const int highest = cpt_cpu_best();
    const char *asked = getenv("CONCEPTOME_CPU");
    for (int level = 0; asked && level < highest; level++)
        if (strcmp(asked, cpt_cpu_level_name(level)) == 0) return level;
    return highest;
}
