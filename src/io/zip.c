/* Reads ZIP (PKWARE APPNOTE 6.3.10, sections 4.3.6 to 4.3.16) from the back: end record, with its
 * ZIP64 twin, then the central directory, then of each local header only what is needed to find the
 * payload.
 *
 *   local headers and payloads ... | central directory | [zip64 end | zip64 locator] | end record
 *
 * Traps: PyTorch leaves CRC and sizes in the local headers 0, so only the directory counts; the
 * length of the local extra field (padding up to the alignment) differs from the directory's; ZIP64
 * records are there in small files too. Sizes are claims: the payloads together must fit into the
 * file, which also bounds the work of checking them. O(entries). */
#include "io/zip.h"
#include "base/memory.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

enum {
    END_SIZE = 22,
    END64_SIZE = 56,
    LOCATOR_SIZE = 20,
    CENTRAL_SIZE = 46,
    LOCAL_SIZE = 30,
    LONGEST_COMMENT = 65535,
    MOST_ENTRIES = 10000000
};

static uint64_t little(const unsigned char *p, int n)
{
    uint64_t v = 0;
    while (n-- > 0) v = v << 8 | p[n];
    return v;
}

static bool signed_as(const unsigned char *p, unsigned char a, unsigned char b)
{
    return p[0] == 'P' && p[1] == 'K' && p[2] == a && p[3] == b;
}

static cpt_status damaged(const cpt_zip *z, cpt_err *e, const char *place, const char *what)
{
    return cpt_fail(e, CPT_ERR_FORMAT, "%s: %s%s%s; the file is damaged: download or save it again",
                    z->path, place, *place ? ": " : "", what);
}

typedef struct directory {
    uint64_t n, offset, size;
    uint64_t limit; /* where the directory must end at the latest */
} directory;

/* The end record is the one whose comment reaches exactly to the end of the file. */
static bool find_end(const cpt_map *map, uint64_t *at)
{
    if (map->size < END_SIZE) return false;
    uint64_t last = map->size - END_SIZE;
    uint64_t first = last > LONGEST_COMMENT ? last - LONGEST_COMMENT : 0;
    for (*at = last;; --*at) {
        const unsigned char *p = map->bytes + *at;
        if (signed_as(p, 5, 6) && *at + END_SIZE + little(p + 20, 2) == map->size) return true;
        if (*at == first) return false;
    }
}

/* The ZIP64 record replaces the fields of the end record, which must agree or be saturated. */
static cpt_status read_end64(cpt_zip *z, const cpt_map *map, directory *d, cpt_err *e)
{
    if (d->limit < LOCATOR_SIZE) return CPT_OK;
    const unsigned char *locator = map->bytes + d->limit - LOCATOR_SIZE;
    if (!signed_as(locator, 6, 7)) return CPT_OK;
    uint64_t at = little(locator + 8, 8), limit = d->limit - LOCATOR_SIZE;
    if (limit < END64_SIZE || at > limit - END64_SIZE || !signed_as(map->bytes + at, 6, 6))
        return damaged(z, e, "ZIP64 end record", "not where it should be");
    const unsigned char *p = map->bytes + at;
    directory wide = {little(p + 32, 8), little(p + 48, 8), little(p + 40, 8), at};
    if ((d->n != 0xffff && d->n != wide.n) ||
        (d->offset != 0xffffffff && d->offset != wide.offset) ||
        (d->size != 0xffffffff && d->size != wide.size))
        return damaged(z, e, "directory of the archive", "its two descriptions disagree");
    *d = wide;
    return CPT_OK;
}

static cpt_status find_directory(cpt_zip *z, const cpt_map *map, directory *d, cpt_err *e)
{
    uint64_t at;
    if (!find_end(map, &at))
        return cpt_fail(
            e, CPT_ERR_FORMAT,
            "%s: the end of the archive is missing after %zu bytes; the file is cut off: "
            "download or copy it again",
            z->path, map->size);
    const unsigned char *p = map->bytes + at;
    *d = (directory){little(p + 10, 2), little(p + 16, 4), little(p + 12, 4), at};
    if (little(p + 4, 2) != 0 || little(p + 6, 2) != 0 || little(p + 8, 2) != d->n)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "%s: is one part of a split archive", z->path);
    cpt_status status = read_end64(z, map, d, e);
    if (status) return status;
    if (d->offset > d->limit || d->size > d->limit - d->offset)
        return damaged(z, e, "directory of the archive", "lies outside of the file");
    if (d->n > d->size / CENTRAL_SIZE || d->n > MOST_ENTRIES)
        return damaged(z, e, "directory of the archive", "too small for the number of its entries");
    return CPT_OK;
}

/* Sizes that do not fit in 32 bits come, in this order, from the extra field with tag 1. */
static bool widen(const unsigned char *extra, size_t n, uint64_t *size, uint64_t *packed,
                  uint64_t *offset)
{
    uint64_t *fields[] = {size, packed, offset};
    if (*size != 0xffffffff && *packed != 0xffffffff && *offset != 0xffffffff) return true;
    while (n >= 4) {
        size_t tag = little(extra, 2), length = little(extra + 2, 2);
        extra += 4;
        n -= 4;
        if (length > n) return false;
        if (tag == 1) {
            for (int i = 0; i < 3; i++) {
                if (*fields[i] != 0xffffffff) continue;
                if (length < 8) return false;
                *fields[i] = little(extra, 8);
                extra += 8;
                length -= 8;
            }
            return true;
        }
        extra += length;
        n -= length;
    }
    return true; /* a size of exactly 2^32 - 1 */
}

static bool clean_name(const char *name, size_t n)
{
    if (n == 0 || name[0] == '/' || memchr(name, '\0', n) || memchr(name, '\\', n)) return false;
    for (size_t i = 0; i + 1 < n; i++)
        if (name[i] == '.' && name[i + 1] == '.' && (i == 0 || name[i - 1] == '/') &&
            (i + 2 == n || name[i + 2] == '/'))
            return false;
    return true;
}

/* Finds the payload by way of the local header, which must carry the same name. */
static cpt_status locate(const cpt_zip *z, const cpt_map *map, const directory *d, const char *name,
                         size_t name_length, uint64_t offset, cpt_zip_entry *entry, cpt_err *e)
{
    if (d->offset < LOCAL_SIZE || offset > d->offset - LOCAL_SIZE)
        return damaged(z, e, name, "starts outside of the file");
    const unsigned char *p = map->bytes + offset;
    if (!signed_as(p, 3, 4)) return damaged(z, e, name, "has no header where it should start");
    uint64_t length = little(p + 26, 2), extra = little(p + 28, 2);
    uint64_t start = offset + LOCAL_SIZE + length + extra;
    if (start > d->offset || entry->size > d->offset - start)
        return damaged(z, e, name, "reaches beyond the end of the file");
    if (length != name_length || memcmp(p + LOCAL_SIZE, name, name_length) != 0)
        return damaged(z, e, name, "is called otherwise in its own header");
    if (little(p + 8, 2) != 0)
        return damaged(z, e, name, "its own header says that it is compressed");
    entry->bytes = map->bytes + start;
    return CPT_OK;
}

/* One entry of the directory at p; *used = its length. */
static cpt_status read_entry(cpt_zip *z, const cpt_map *map, const directory *d,
                             const unsigned char *p, uint64_t left, uint64_t *used, cpt_err *e)
{
    if (left < CENTRAL_SIZE || !signed_as(p, 1, 2))
        return damaged(z, e, "directory of the archive", "ends before its last entry");
    uint64_t flags = little(p + 8, 2), method = little(p + 10, 2);
    uint64_t packed = little(p + 20, 4), size = little(p + 24, 4), offset = little(p + 42, 4);
    size_t name_length = little(p + 28, 2), extra = little(p + 30, 2);
    *used = CENTRAL_SIZE + name_length + extra + little(p + 32, 2);
    const char *raw = (const char *)p + CENTRAL_SIZE;
    if (*used > left || !widen(p + CENTRAL_SIZE + name_length, extra, &size, &packed, &offset))
        return damaged(z, e, "directory of the archive", "an entry reaches beyond its end");
    if (!clean_name(raw, name_length))
        return damaged(z, e, "directory of the archive", "an entry has a forbidden name");
    cpt_status status = cpt_strings_add(&z->names, raw, name_length, e);
    if (status) return status;
    const char *name = cpt_strings_get(&z->names, z->names.n - 1);
    if (flags & 1)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED, "%s: %s: is encrypted; decrypt the file first",
                        z->path, name);
    if (method != 0 || packed != size)
        return cpt_fail(
            e, CPT_ERR_UNSUPPORTED,
            "%s: %s: is compressed, which PyTorch never does; open the file with torch.load "
            "and save it again",
            z->path, name);
    cpt_zip_entry *entry = &z->entries[z->n];
    *entry = (cpt_zip_entry){.size = size, .crc32 = (uint32_t)little(p + 16, 4)};
    status = locate(z, map, d, name, name_length, offset, entry, e);
    if (status == CPT_OK) z->n++;
    return status;
}

/* Names move while their list grows, so they are set, and checked to be unique, at the end. */
static cpt_status index_entries(cpt_zip *z, cpt_err *e)
{
    if (!(z->index = cpt_index_new(z->n, e))) return CPT_ERR_MEMORY;
    for (size_t i = 0; i < z->n; i++) {
        int64_t first;
        z->entries[i].name = cpt_strings_get(&z->names, (int64_t)i);
        cpt_status status = cpt_index_add(z->index, z->entries[i].name, (int64_t)i, &first, e);
        if (status) return status;
        if (first != (int64_t)i)
            return damaged(z, e, z->entries[i].name, "is in the archive twice");
    }
    return CPT_OK;
}

cpt_status cpt_zip_open(const char *path, const cpt_map *map, cpt_zip *zip, cpt_err *e)
{
    directory d = {0};
    *zip = (cpt_zip){.path = path};
    cpt_status status = find_directory(zip, map, &d, e);
    if (status == CPT_OK) status = cpt_alloc(&zip->entries, (size_t)d.n, sizeof *zip->entries, e);
    if (status) return status;
    const unsigned char *p = map->bytes + d.offset;
    uint64_t left = d.size, used = 0, payloads = 0;
    for (uint64_t i = 0; i < d.n; i++, p += used, left -= used) {
        if ((status = read_entry(zip, map, &d, p, left, &used, e)) != CPT_OK) return status;
        payloads += zip->entries[i].size; /* each is below the size of the map: no overflow */
        if (payloads > map->size)
            return damaged(zip, e, "directory of the archive", "the entries overlap");
    }
    if (left != 0)
        return damaged(zip, e, "directory of the archive", "has more entries than announced");
    return index_entries(zip, e);
}

const cpt_zip_entry *cpt_zip_find(const cpt_zip *zip, const char *name)
{
    int64_t i = cpt_index_get(zip->index, name);
    return i < 0 ? NULL : &zip->entries[i];
}

cpt_status cpt_zip_verify(const cpt_zip *zip, const cpt_zip_entry *entry, cpt_err *e)
{
    if (libdeflate_crc32(0, entry->bytes, entry->size) == entry->crc32) return CPT_OK;
    return damaged(zip, e, entry->name, "the checksum (CRC-32) does not match");
}

void cpt_zip_free(cpt_zip *zip)
{
    free(zip->entries);
    cpt_strings_free(&zip->names);
    cpt_index_free(zip->index);
    *zip = (cpt_zip){0};
}
