/* The input is data.pkl; it is put into a sound archive with two storages, so that mutations get
 * past the checksums. */
#include "small_archive.h"
#include "walk_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    size_t n;
    uint8_t *archive = archive_of_pickle(bytes, size, &n);
    if (archive) fuzz_checkpoint(archive, n);
    free(archive);
    return 0;
}
