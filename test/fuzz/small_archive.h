/* small_archive.h - wraps a pickle into a sound PyTorch archive, for fuzzing and for tests. */
#ifndef CPT_FUZZ_SMALL_ARCHIVE_H
#define CPT_FUZZ_SMALL_ARCHIVE_H

#include <libdeflate.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct small_archive {
    uint8_t *bytes;
    size_t n;
    uint8_t directory[512];
    size_t n_directory;
} small_archive;

static inline void archive_little(uint8_t *at, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) at[i] = (uint8_t)(v >> 8 * i);
}

static inline void archive_add(small_archive *a, const char *name, const uint8_t *payload,
                               size_t size)
{
    size_t length = strlen(name);
    uint32_t crc = libdeflate_crc32(0, payload, size);
    uint8_t *local = a->bytes + a->n, *central = a->directory + a->n_directory;
    memset(local, 0, 30);
    memcpy(local, "PK\3\4", 4);
    archive_little(local + 26, length, 2);
    memcpy(local + 30, name, length);
    if (size) memcpy(local + 30 + length, payload, size);
    memset(central, 0, 46);
    memcpy(central, "PK\1\2", 4);
    archive_little(central + 16, crc, 4);
    archive_little(central + 20, size, 4);
    archive_little(central + 24, size, 4);
    archive_little(central + 28, length, 2);
    archive_little(central + 42, a->n, 4);
    memcpy(central + 46, name, length);
    a->n += 30 + length + size;
    a->n_directory += 46 + length;
}

static inline void archive_end(small_archive *a, int n_entries)
{
    size_t start = a->n;
    memcpy(a->bytes + a->n, a->directory, a->n_directory);
    a->n += a->n_directory;
    uint8_t *end = a->bytes + a->n;
    memset(end, 0, 22);
    memcpy(end, "PK\5\6", 4);
    archive_little(end + 8, (uint64_t)n_entries, 2);
    archive_little(end + 10, (uint64_t)n_entries, 2);
    archive_little(end + 12, a->n_directory, 4);
    archive_little(end + 16, start, 4);
    a->n += 22;
}

/* The bytes of a .pt with this data.pkl and the storages "0" (64 bytes) and "1" (40 bytes), from
 * malloc; NULL when out of memory. */
static inline uint8_t *archive_of_pickle(const void *pickle, size_t size, size_t *n)
{
    static const uint8_t data[64] = {1, 2, 3, 250, 251, 252};
    small_archive a = {.bytes = malloc(size + 2048)};
    if (!a.bytes) return NULL;
    archive_add(&a, "a/data.pkl", pickle, size);
    archive_add(&a, "a/data/0", data, 64);
    archive_add(&a, "a/data/1", data, 40);
    archive_end(&a, 3);
    *n = a.n;
    return a.bytes;
}

#endif
