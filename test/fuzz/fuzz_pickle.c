/* The input is data.pkl; it is put into a sound archive with two storages (64 and 40 bytes), so
 * that mutations get past the checksums. */
#include "walk_checkpoint.h"

#include <libdeflate.h>

typedef struct fuzz_archive {
    uint8_t *bytes;
    size_t n;
    uint8_t directory[512];
    size_t n_directory;
} fuzz_archive;

static void fuzz_little(uint8_t *at, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) at[i] = (uint8_t)(v >> 8 * i);
}

static void fuzz_add_entry(fuzz_archive *a, const char *name, const uint8_t *payload, size_t size)
{
    size_t length = strlen(name);
    uint32_t crc = libdeflate_crc32(0, payload, size);
    uint8_t *local = a->bytes + a->n, *central = a->directory + a->n_directory;
    memset(local, 0, 30);
    memcpy(local, "PK\3\4", 4);
    fuzz_little(local + 26, length, 2);
    memcpy(local + 30, name, length);
    if (size) memcpy(local + 30 + length, payload, size);
    memset(central, 0, 46);
    memcpy(central, "PK\1\2", 4);
    fuzz_little(central + 16, crc, 4);
    fuzz_little(central + 20, size, 4);
    fuzz_little(central + 24, size, 4);
    fuzz_little(central + 28, length, 2);
    fuzz_little(central + 42, a->n, 4);
    memcpy(central + 46, name, length);
    a->n += 30 + length + size;
    a->n_directory += 46 + length;
}

static void fuzz_add_end(fuzz_archive *a, int n_entries)
{
    size_t start = a->n;
    memcpy(a->bytes + a->n, a->directory, a->n_directory);
    a->n += a->n_directory;
    uint8_t *end = a->bytes + a->n;
    memset(end, 0, 22);
    memcpy(end, "PK\5\6", 4);
    fuzz_little(end + 8, (uint64_t)n_entries, 2);
    fuzz_little(end + 10, (uint64_t)n_entries, 2);
    fuzz_little(end + 12, a->n_directory, 4);
    fuzz_little(end + 16, start, 4);
    a->n += 22;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint8_t data[64] = {1, 2, 3, 250, 251, 252};
    fuzz_archive a = {.bytes = malloc(size + 2048)};
    if (!a.bytes) return 0;
    fuzz_add_entry(&a, "a/data.pkl", bytes, size);
    fuzz_add_entry(&a, "a/data/0", data, 64);
    fuzz_add_entry(&a, "a/data/1", data, 40);
    fuzz_add_end(&a, 3);
    fuzz_checkpoint(a.bytes, a.n);
    free(a.bytes);
    return 0;
}
