/* Whole files, told by content: ZIP directories, bare pickles, everything mistaken for a model. */
#include "walk_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_checkpoint(bytes, size);
    return 0;
}
