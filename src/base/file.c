#include "base/file.h"
#include "base/memory.h"
#include "base/sha256_blocks.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { PATH_LIMIT = 4096 };

/* ---- mapping ---- */

cpt_status cpt_map_open(const char *path, cpt_map *map, cpt_err *e)
{
    *map = (cpt_map){0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cpt_fail(e, CPT_ERR_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return cpt_fail(e, CPT_ERR_IO, "%s: not a regular file", path);
    }
    if (st.st_size == 0) {
        close(fd);
        map->bytes = (const unsigned char *)"";
        return CPT_OK;
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int reason = errno;
    close(fd);
    if (p == MAP_FAILED)
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be mapped: %s", path, strerror(reason));
    *map = (cpt_map){p, (size_t)st.st_size};
    return CPT_OK;
}

void cpt_map_forget(const cpt_map *map)
{
    if (map->size) madvise((void *)(uintptr_t)map->bytes, map->size, MADV_DONTNEED);
}

void cpt_map_close(cpt_map *map)
{
    if (map->size) munmap((void *)(uintptr_t)map->bytes, map->size);
    *map = (cpt_map){0};
}

/* ---- lines: zlib reads plain files transparently ---- */

struct cpt_lines {
    gzFile gz;
    char *path, *buffer;
    size_t capacity, max_line, start, end; /* unread bytes are buffer[start, end) */
    int64_t number;
    bool at_end;
};

cpt_lines *cpt_lines_open(const char *path, size_t max_line, cpt_err *e)
{
    if (cpt_path_is_folder(path)) {
        cpt_fail(e, CPT_ERR_IO, "%s: is a folder, a file was expected", path);
        return NULL;
    }
    cpt_lines *in = calloc(1, sizeof *in);
    if (!in || !(in->path = cpt_strdup(path))) {
        cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
        cpt_lines_close(in);
        return NULL;
    }
    in->max_line = max_line;
    errno = 0;
    if (!(in->gz = gzopen(path, "rb"))) {
        cpt_fail(e, CPT_ERR_IO, "%s: %s", path, errno ? strerror(errno) : "out of memory");
        cpt_lines_close(in);
        return NULL;
    }
    gzbuffer(in->gz, 1 << 17);
    return in;
}

static cpt_status lines_refill(cpt_lines *in, cpt_err *e)
{
    if (in->start > 0) {
        memmove(in->buffer, in->buffer + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
    cpt_status status = cpt_grow(&in->buffer, &in->capacity, in->end + (1 << 16) + 1, 1, e);
    if (status) return status;
    int n = gzread(in->gz, in->buffer + in->end, 1 << 16);
    int code = Z_OK;
    const char *message = gzerror(in->gz, &code);
    if (n < 0 || (n == 0 && code != Z_OK && code != Z_STREAM_END))
        return cpt_fail(e, CPT_ERR_FORMAT, "%s: after line %lld: %s; the file is damaged or cut off",
                        in->path, (long long)in->number, message);
    in->at_end = n == 0;
    in->end += (size_t)n;
    return CPT_OK;
}

cpt_status cpt_lines_next(cpt_lines *in, char **line, size_t *length, cpt_err *e)
{
    *line = NULL;
    size_t seen = 0;
    for (;;) {
        size_t have = in->end - in->start;
        char *newline = have > seen ? memchr(in->buffer + in->start + seen, '\n', have - seen) : NULL;
        if (!newline && !in->at_end) {
            if (have > in->max_line) break;
            seen = have;
            cpt_status status = lines_refill(in, e);
            if (status) return status;
            continue;
        }
        if (!newline && have == 0) return CPT_OK; /* end of file */
        size_t n = newline ? (size_t)(newline - (in->buffer + in->start)) : have;
        if (n > in->max_line) break;
        in->number++;
        *line = in->buffer + in->start;
        in->start += newline ? n + 1 : n;
        if (n && (*line)[n - 1] == '\r') n--;
        (*line)[n] = '\0';
        if (memchr(*line, '\0', n)) return cpt_lines_fail(in, e, "contains a NUL byte; not a text file");
        if (length) *length = n;
        return CPT_OK;
    }
    in->number++;
    return cpt_lines_fail(in, e, "is longer than %zu bytes; is this the right file?", in->max_line);
}

int64_t cpt_lines_number(const cpt_lines *in)
{
    return in->number;
}

cpt_status cpt_lines_fail(const cpt_lines *in, cpt_err *e, const char *fmt, ...)
{
    char what[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return cpt_fail(e, CPT_ERR_FORMAT, "%s: line %lld: %s", in->path, (long long)in->number, what);
}

void cpt_lines_close(cpt_lines *in)
{
    if (!in) return;
    if (in->gz) gzclose(in->gz);
    free(in->path);
    free(in->buffer);
    free(in);
}

bool cpt_path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool cpt_path_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- atomic writing ---- */

cpt_status cpt_atomic_name(const char *path, char *temporary, size_t capacity, cpt_err *e)
{
    int n = snprintf(temporary, capacity, "%s.tmp-%ld", path, (long)getpid());
    if (n < 0 || (size_t)n >= capacity)
        return cpt_fail(e, CPT_ERR_IO, "%s: the path is too long", path);
    return CPT_OK;
}

static void sync_folder_of(const char *path)
{
    char folder[PATH_LIMIT];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0';
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return; /* the rename itself is done; only its durability is less certain */
    fsync(fd);
    close(fd);
}

static cpt_status move_into_place(const char *temporary, const char *path, bool relaxed, cpt_err *e)
{
    int fd = relaxed ? -1 : open(temporary, O_RDONLY | O_CLOEXEC);
    int failed = !relaxed && (fd < 0 || fsync(fd) != 0);
    if (fd >= 0) close(fd);
    if (failed || rename(temporary, path) != 0) {
        int reason = errno;
        unlink(temporary);
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be written: %s", path, strerror(reason));
    }
    if (!relaxed) sync_folder_of(path);
    return CPT_OK;
}

cpt_status cpt_atomic_move(const char *temporary, const char *path, cpt_err *e)
{
    return move_into_place(temporary, path, false, e);
}

cpt_status cpt_atomic_open(const char *path, cpt_atomic *out, cpt_err *e)
{
    char temporary[PATH_LIMIT];
    *out = (cpt_atomic){0};
    cpt_status status = cpt_atomic_name(path, temporary, sizeof temporary, e);
    if (status) return status;
    FILE *file = fopen(temporary, "wb");
    if (!file) return cpt_fail(e, CPT_ERR_IO, "%s: cannot be written: %s", path, strerror(errno));
    *out = (cpt_atomic){file, cpt_strdup(path), cpt_strdup(temporary), false};
    if (!out->path || !out->temporary) {
        fclose(file);
        unlink(temporary);
        free(out->path);
        free(out->temporary);
        *out = (cpt_atomic){0};
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    }
    return CPT_OK;
}

cpt_status cpt_atomic_commit(cpt_atomic *out, cpt_err *e)
{
    int failed = ferror(out->file), reason = failed ? EIO : 0;
    if (fflush(out->file) != 0 && !failed) failed = 1, reason = errno;
    if (fclose(out->file) != 0 && !failed) failed = 1, reason = errno;
    out->file = NULL;
    cpt_status status = failed ? cpt_fail(e, CPT_ERR_IO, "%s: cannot be written: %s", out->path,
                                          strerror(reason))
                               : move_into_place(out->temporary, out->path, out->relaxed, e);
    if (status) unlink(out->temporary);
    free(out->path);
    free(out->temporary);
    *out = (cpt_atomic){0};
    return status;
}

void cpt_atomic_abandon(cpt_atomic *out)
{
    if (!out->path) return;
    if (out->file) fclose(out->file);
    unlink(out->temporary);
    free(out->path);
    free(out->temporary);
    *out = (cpt_atomic){0};
}

cpt_status cpt_write_file(const char *path, const void *bytes, size_t size, cpt_err *e)
{
    cpt_atomic out;
    cpt_status status = cpt_atomic_open(path, &out, e);
    if (status) return status;
    if (size) fwrite(bytes, 1, size, out.file); /* a short write shows in ferror at commit */
    return cpt_atomic_commit(&out, e);
}

cpt_status cpt_make_folder(const char *path, cpt_err *e)
{
    char part[PATH_LIMIT];
    if (strlen(path) >= sizeof part || !*path)
        return cpt_fail(e, CPT_ERR_IO, "'%s': not a usable folder name", path);
    strcpy(part, path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return cpt_fail(e, CPT_ERR_IO, "%s: cannot be created: %s", part, strerror(errno));
        *slash = '/';
    }
    if (mkdir(part, 0777) != 0 && errno != EEXIST)
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be created: %s", part, strerror(errno));
    if (!cpt_path_is_folder(path))
        return cpt_fail(e, CPT_ERR_IO, "%s: is a file, a folder is needed", path);
    return CPT_OK;
}

cpt_status cpt_path_join(char *out, size_t capacity, const char *folder, const char *name, cpt_err *e)
{
    size_t n = strlen(folder);
    const char *separator = n && folder[n - 1] != '/' ? "/" : "";
    int length = snprintf(out, capacity, "%s%s%s", folder, separator, name);
    if (length < 0 || (size_t)length >= capacity)
        return cpt_fail(e, CPT_ERR_IO, "%s: the path is too long", folder);
    return CPT_OK;
}

cpt_status cpt_remove_tree(const char *path, cpt_err *e)
{
    struct stat st;
    if (lstat(path, &st) != 0) return CPT_OK;
    if (!S_ISDIR(st.st_mode)) {
        if (unlink(path) == 0) return CPT_OK;
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be removed: %s", path, strerror(errno));
    }
    DIR *folder = opendir(path);
    if (!folder) return cpt_fail(e, CPT_ERR_IO, "%s: %s", path, strerror(errno));
    cpt_status status = CPT_OK;
    for (struct dirent *entry; status == CPT_OK && (entry = readdir(folder));) {
        char inner[PATH_LIMIT];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        status = cpt_path_join(inner, sizeof inner, path, entry->d_name, e);
        if (status == CPT_OK) status = cpt_remove_tree(inner, e);
    }
    closedir(folder);
    if (status == CPT_OK && rmdir(path) != 0)
        return cpt_fail(e, CPT_ERR_IO, "%s: cannot be removed: %s", path, strerror(errno));
    return status;
}

static bool is_leftover(const char *name)
{
    const char *mark = strstr(name, ".tmp-");
    return mark && mark[5] && strspn(mark + 5, "0123456789") == strlen(mark + 5);
}

cpt_status cpt_remove_leftovers(const char *folder, const char *except, cpt_err *e)
{
    DIR *list = opendir(folder);
    if (!list) return cpt_fail(e, CPT_ERR_IO, "%s: %s", folder, strerror(errno));
    cpt_status status = CPT_OK;
    for (struct dirent *entry; status == CPT_OK && (entry = readdir(list));) {
        char inner[PATH_LIMIT];
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (except && strcmp(entry->d_name, except) == 0) continue;
        status = cpt_path_join(inner, sizeof inner, folder, entry->d_name, e);
        if (status || lstat(inner, &st) != 0) continue;
        if (is_leftover(entry->d_name)) status = cpt_remove_tree(inner, e);
        else if (S_ISDIR(st.st_mode)) status = cpt_remove_leftovers(inner, except, e);
    }
    closedir(list);
    return status;
}

/* ---- SHA-256 (FIPS 180-4) ---- */

void cpt_sha256_init(cpt_sha256 *h)
{
    *h = (cpt_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                                0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void cpt_sha256_add(cpt_sha256 *h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    while (n) {
        size_t used = (size_t)(h->n_bytes % 64), take = 64 - used < n ? 64 - used : n;
        if (take == 64) {
            take = n - n % 64;
            cpt_sha256_blocks(h->state, p, take / 64);
        } else {
            memcpy(h->block + used, p, take);
            if (used + take == 64) cpt_sha256_blocks(h->state, h->block, 1);
        }
        h->n_bytes += take;
        p += take;
        n -= take;
    }
}

void cpt_sha256_hex(cpt_sha256 *h, char hex[65])
{
    uint64_t bits = h->n_bytes * 8;
    unsigned char pad[72] = {0x80};
    size_t used = (size_t)(h->n_bytes % 64), n = (used < 56 ? 56 : 120) - used;
    for (int i = 0; i < 8; i++) pad[n + (size_t)i] = (unsigned char)(bits >> (56 - 8 * i));
    cpt_sha256_add(h, pad, n + 8);
    for (int i = 0; i < 8; i++) snprintf(hex + 8 * i, 9, "%08x", h->state[i]);
}

static cpt_status sha256_add_file(cpt_sha256 *h, const char *path, cpt_err *e)
{
    FILE *file = fopen(path, "rb");
    if (!file) return cpt_fail(e, CPT_ERR_IO, "%s: %s", path, strerror(errno));
    unsigned char buffer[1 << 16];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;) cpt_sha256_add(h, buffer, n);
    bool failed = ferror(file);
    fclose(file);
    return failed ? cpt_fail(e, CPT_ERR_IO, "%s: cannot be read", path) : CPT_OK;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static cpt_status sha256_add_folder(cpt_sha256 *h, const char *path, int depth, cpt_err *e)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, by_name);
    if (n < 0) return cpt_fail(e, CPT_ERR_IO, "%s: %s", path, strerror(errno));
    cpt_status status = CPT_OK;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        char inner[PATH_LIMIT];
        if (status == CPT_OK && name[0] != '.') {
            status = cpt_path_join(inner, sizeof inner, path, name, e);
            cpt_sha256_add(h, name, strlen(name) + 1);
            if (status == CPT_OK && cpt_path_is_folder(inner))
                status = depth < 16 ? sha256_add_folder(h, inner, depth + 1, e)
                                    : cpt_fail(e, CPT_ERR_IO, "%s: nested too deeply", path);
            else if (status == CPT_OK)
                status = sha256_add_file(h, inner, e);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

cpt_status cpt_sha256_path(const char *path, char hex[65], cpt_err *e)
{
    cpt_sha256 h;
    cpt_sha256_init(&h);
    cpt_status status = cpt_path_is_folder(path) ? sha256_add_folder(&h, path, 0, e)
                                                 : sha256_add_file(&h, path, e);
    cpt_sha256_hex(&h, hex);
    return status;
}
