/* file.h - files that are whole or not there: mapped reading, atomic writing, lines, checksums. */
#ifndef CPT_BASE_FILE_H
#define CPT_BASE_FILE_H

#include "base/error.h"
#include <stdio.h>

/* ---- reading ---- */

/* A read-only mapping of a whole file. bytes is never NULL on success, also for an empty file. */
typedef struct cpt_map {
    const unsigned char *bytes;
    size_t size;
} cpt_map;
cpt_status cpt_map_open(const char *path, cpt_map *map, cpt_err *e);
/* The pages that were read count as this process' memory until they are forgotten; reading them
 * again brings them back (from the system's cache, mostly). */
void cpt_map_forget(const cpt_map *map);
void cpt_map_close(cpt_map *map); /* accepts a zeroed one */

/* Line by line out of a plain or gzip file (told by its first bytes), CR LF accepted.
 * Lines over `max_line` bytes are an error that names the line. */
typedef struct cpt_lines cpt_lines;
cpt_lines *cpt_lines_open(const char *path, size_t max_line, cpt_err *e);
/* *line is NUL-terminated, without newline, valid until the next call, and may be modified.
 * At the end of the file *line = NULL with CPT_OK. A NUL byte inside a line is an error. */
cpt_status cpt_lines_next(cpt_lines *in, char **line, size_t *length, cpt_err *e);
int64_t cpt_lines_number(const cpt_lines *in); /* of the line returned last, from 1 */
/* An error of code CPT_ERR_FORMAT that says "FILE: line N: what". */
cpt_status cpt_lines_fail(const cpt_lines *in, cpt_err *e, const char *fmt, ...) CPT_PRINTF(3, 4);
void cpt_lines_close(cpt_lines *in);

bool cpt_path_exists(const char *path);
bool cpt_path_is_folder(const char *path);

/* ---- writing: to PATH.tmp-PID beside the target, fsync, rename. ---- */

typedef struct cpt_atomic {
    FILE *file; /* write here */
    char *path, *temporary;
    bool relaxed; /* set after _open: commit leaves the bytes to the system and does not wait for
                     the disk. For large files that can be made again and whose reader notices when
                     a power cut has left them short. */
} cpt_atomic;
cpt_status cpt_atomic_open(const char *path, cpt_atomic *out, cpt_err *e);
cpt_status cpt_atomic_commit(cpt_atomic *out, cpt_err *e); /* on failure nothing is left behind */
void cpt_atomic_abandon(cpt_atomic *out);                  /* no-op after commit or when zeroed */
cpt_status cpt_write_file(const char *path, const void *bytes, size_t size, cpt_err *e);
/* The same two steps for libraries that open files themselves (HDF5): fills `temporary` (size
 * `capacity`) with the name to write, and later moves it into place after fsync. */
cpt_status cpt_atomic_name(const char *path, char *temporary, size_t capacity, cpt_err *e);
cpt_status cpt_atomic_move(const char *temporary, const char *path, cpt_err *e);

cpt_status cpt_make_folder(const char *path, cpt_err *e);   /* with parents; existing is fine */
cpt_status cpt_remove_tree(const char *path, cpt_err *e);   /* absent is fine; follows no links */
/* Removes what killed writers left: files *.tmp-NUMBER in the folder and below it. Only for a folder that
 * nobody else writes to (it is locked); folders called `except` (NULL = none) are not entered. */
cpt_status cpt_remove_leftovers(const char *folder, const char *except, cpt_err *e);
/* "a/b" + "c" -> "a/b/c"; error when it does not fit. */
cpt_status cpt_path_join(char *out, size_t capacity, const char *folder, const char *name, cpt_err *e);

/* ---- checksums ---- */
typedef struct cpt_sha256 {
    uint32_t state[8];
    uint64_t n_bytes;
    unsigned char block[64];
} cpt_sha256;
void cpt_sha256_init(cpt_sha256 *h);
void cpt_sha256_add(cpt_sha256 *h, const void *bytes, size_t n);
void cpt_sha256_hex(cpt_sha256 *h, char hex[65]); /* ends the computation */
/* Of a file, or of a folder: then over the sorted relative names and the contents of its files. */
cpt_status cpt_sha256_path(const char *path, char hex[65], cpt_err *e);

#endif
