/* zip.h - the directory of a mapped ZIP or ZIP64 archive whose entries are stored uncompressed.
 *
 * What PyTorch writes. Compressed, encrypted or split archives are refused.
 */
#ifndef CPT_IO_ZIP_H
#define CPT_IO_ZIP_H

#include "base/file.h"
#include "base/text.h"

typedef struct cpt_zip_entry {
    const char *name;
    const unsigned char *bytes; /* payload, inside the map */
    size_t size;
    uint32_t crc32; /* as the directory says; see cpt_zip_verify */
} cpt_zip_entry;

typedef struct cpt_zip {
    const char *path; /* borrowed, for errors */
    cpt_zip_entry *entries;
    size_t n;
    cpt_strings names;
    cpt_index *index;
} cpt_zip;

/* On CPT_OK every payload lies inside the map and names are unique. Free it either way. */
cpt_status cpt_zip_open(const char *path, const cpt_map *map, cpt_zip *zip, cpt_err *e);
const cpt_zip_entry *cpt_zip_find(const cpt_zip *zip, const char *name);
/* Compares the payload with its CRC-32. */
cpt_status cpt_zip_verify(const cpt_zip *zip, const cpt_zip_entry *entry, cpt_err *e);
void cpt_zip_free(cpt_zip *zip); /* accepts a zeroed one */

#endif
