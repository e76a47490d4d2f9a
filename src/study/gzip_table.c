#include "study/gzip_table.h"
#include "base/file.h"
#include "base/memory.h"

#include <stdlib.h>
#include <zlib.h>

/* Compression by pieces: each piece is a gzip member of its own, without time stamp, so that the
 * file depends on the pieces and their order only. */

cpt_status cpt_gzip_member_make(const cpt_text *t, cpt_gzip_member *out, cpt_err *e)
{
    z_stream z = {0};
    *out = (cpt_gzip_member){0};
    if (t->length == 0) return CPT_OK;
    if (t->length > UINT32_MAX / 2)
        return cpt_fail(e, CPT_ERR_UNSUPPORTED,
                        "a piece of a table exceeds 2 GiB; use fewer gene sets");
    if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    size_t bound = deflateBound(&z, (uLong)t->length) + 32;
    cpt_status status = cpt_alloc(&out->bytes, bound, 1, e);
    if (status == CPT_OK) {
        z.next_in = (Bytef *)(uintptr_t)cpt_text_str(t);
        z.avail_in = (uInt)t->length;
        z.next_out = out->bytes;
        z.avail_out = (uInt)bound;
        if (deflate(&z, Z_FINISH) != Z_STREAM_END)
            status = cpt_fail(e, CPT_ERR_INTERNAL, "compression of a table failed");
        out->n = z.total_out;
    }
    deflateEnd(&z);
    return status;
}

cpt_status cpt_gzip_table_write(const char *path, const char *header, int32_t n,
                                const cpt_gzip_member *members, cpt_err *e)
{
    cpt_atomic out = {0};
    cpt_text t = {0};
    cpt_gzip_member head = {0};
    cpt_status status;
    cpt_text_add(&t, header);
    CPT_TRY(cpt_text_status(&t, e));
    CPT_TRY(cpt_gzip_member_make(&t, &head, e));
    CPT_TRY(cpt_atomic_open(path, &out, e));
    fwrite(head.bytes, 1, head.n, out.file);
    for (int32_t i = 0; i < n; i++)
        if (members[i].n) fwrite(members[i].bytes, 1, members[i].n, out.file);
    status = cpt_atomic_commit(&out, e);
done:
    cpt_atomic_abandon(&out);
    cpt_text_free(&t);
    free(head.bytes);
    return status;
}
