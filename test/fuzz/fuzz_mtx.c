/* libFuzzer target: a 10x folder out of one input, three texts separated by bytes 0xff
 * (barcodes, features, matrix). The importer must return, whatever they are. */
#include "base/file.h"
#include "io/import.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"barcodes.tsv", "features.tsv", "matrix.mtx"};
    char folder[200], cache[256], path[256];
    const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    cpt_err err;
    snprintf(folder, sizeof folder, "%s/cpt-fuzz-mtx-%ld", where, (long)getpid());
    snprintf(cache, sizeof cache, "%s/cache", folder);
    if (cpt_make_folder(folder, &err)) return 0;
    for (int i = 0; i < 3; i++) {
        const uint8_t *end = size ? memchr(data, 0xff, size) : NULL;
        size_t n = end && i < 2 ? (size_t)(end - data) : size;
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        FILE *f = fopen(path, "wb");
        if (!f) return 0;
        if (n) fwrite(data, 1, n, f);
        fclose(f);
        data += n;
        size -= n;
        if (size) data++, size--;
    }
    cpt_import_options options = {.need_counts = true, .allow_non_counts = true};
    cpt_import(folder, cache, &options, NULL, &err);
    cpt_remove_tree(folder, NULL);
    return 0;
}
