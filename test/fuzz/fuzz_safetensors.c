/* .safetensors: the input is the JSON header and data, after a length that says how much is header,
 * so that mutations of the header do not have to keep the length right. */
#include "walk_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    fuzz_checkpoint(bytes, size); /* as it is */
    const uint8_t *end = size ? memchr(bytes, '\n', size) : NULL;
    size_t header = end ? (size_t)(end - bytes) : size;
    uint8_t *file = malloc(size + 8);
    if (!file) return 0;
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)((uint64_t)header >> 8 * i);
    memcpy(file + 8, bytes, header);
    if (end) memcpy(file + 8 + header, end + 1, size - header - 1);
    fuzz_checkpoint(file, 8 + size - (end ? 1 : 0));
    free(file);
    return 0;
}
