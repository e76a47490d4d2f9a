/* fuzz_file.h - hands the fuzzer's bytes to a reader that takes a path: one file in memory per process. */
#ifndef CPT_FUZZ_FUZZ_FILE_H
#define CPT_FUZZ_FUZZ_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conceptome.h"

/* Path of a file that holds the bytes until the next call. */
static inline const char *fuzz_file(const void *bytes, size_t size)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size) abort();
    return path;
}

/* A refusal says why, and never because of a bug. */
static inline void fuzz_check_refusal(const cpt_err *err)
{
    if (err->code == CPT_OK || err->code == CPT_ERR_INTERNAL || !*err->text) abort();
}

#endif
