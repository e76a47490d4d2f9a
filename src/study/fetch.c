#include "base/file.h"
#include "base/log.h"
#include "conceptome.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Public demo data, downloaded once into $XDG_CACHE_HOME/conceptome (or ~/.cache/conceptome), taken
 * only when the SHA-256 is as expected. */

typedef struct data_set {
    const char *name, *file, *url, *sha256, *about;
} data_set;

static const data_set data_sets[] = {
    {"pbmc3k", "pbmc3k_filtered_gene_bc_matrices.tar.gz",
     "https://cf.10xgenomics.com/samples/cell-exp/1.1.0/pbmc3k/"
     "pbmc3k_filtered_gene_bc_matrices.tar.gz",
     "847d6ebd9a1ec9a768f2be7e40ca42cbfe75ebeb6d76a4c24167041699dc28b5",
     "2,700 peripheral blood cells of a healthy donor (10x Genomics, CC BY 4.0)"},
};
enum { N_DATA_SETS = sizeof data_sets / sizeof *data_sets, MAX_BYTES = 1 << 30 };

typedef struct download {
    FILE *out;
    const cpt_context *ctx;
    const char *name;
    curl_off_t received;
} download;

static size_t on_data(char *bytes, size_t size, size_t n, void *data)
{
    download *d = data;
    d->received += (curl_off_t)(size * n);
    return d->received > MAX_BYTES ? 0 : fwrite(bytes, size, n, d->out);
}

static int on_progress(void *data, curl_off_t total, curl_off_t done, curl_off_t a, curl_off_t b)
{
    const download *d = data;
    if (total > 0 && done < total) cpt_progress(d->ctx, d->name, (double)done, (double)total, NULL);
    return cpt_check_stop(d->ctx, NULL) != CPT_OK;
}

static cpt_status cache_folder(char *path, size_t capacity, cpt_err *e)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if ((!cache || !*cache) && (!home || !*home))
        return cpt_fail(
            e, CPT_ERR_IO,
            "neither XDG_CACHE_HOME nor HOME is set: there is no place for the download");
    if (cache && *cache) snprintf(path, capacity, "%s/conceptome", cache);
    else snprintf(path, capacity, "%s/.cache/conceptome", home);
    return cpt_make_folder(path, e);
}

static cpt_status transfer(const data_set *set, download *d, cpt_err *e)
{
    char reason[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    if (!curl) return cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    curl_easy_setopt(curl, CURLOPT_URL, set->url);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 20L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1000L); /* bytes per second ... */
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 30L);    /* ... for so many seconds: give up */
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, d);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, d);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    if (code == CURLE_OK) return CPT_OK;
    if (cpt_check_stop(d->ctx, e)) return CPT_ERR_INTERRUPTED;
    return cpt_fail(e, CPT_ERR_IO, "%s: %s; check the network, or give a file of your own",
                    set->url, reason[0] ? reason : curl_easy_strerror(code));
}

static cpt_status verify(const char *path, const data_set *set, cpt_err *e)
{
    char hex[65];
    cpt_status status = cpt_sha256_path(path, hex, e);
    if (status) return status;
    if (strcmp(hex, set->sha256) == 0) return CPT_OK;
    return cpt_fail(e, CPT_ERR_FORMAT,
                    "%s: SHA-256 is %s, expected %s; the download was altered or cut off", path,
                    hex, set->sha256);
}

static cpt_status fetch_into(const data_set *set, const char *path, const cpt_context *ctx,
                             cpt_err *e)
{
    cpt_atomic out;
    cpt_status status = cpt_atomic_open(path, &out, e);
    if (status) return status;
    download d = {.out = out.file, .ctx = ctx, .name = set->name};
    cpt_info(ctx, "%s: %s", set->name, set->about);
    CPT_TRY(transfer(set, &d, e));
    if (fflush(out.file) != 0) {
        status = cpt_fail(e, CPT_ERR_IO, "%s: %s", path, strerror(errno));
        goto done;
    }
    CPT_TRY(verify(out.temporary, set, e));
    status = cpt_atomic_commit(&out, e);
done:
    cpt_atomic_abandon(&out);
    return status;
}

/* tar is on every system that has a compiler; the archive's checksum is verified before it runs.
 * The folder gets its name when all is in it. */
static cpt_status unpack(const char *archive, const char *folder, cpt_err *e)
{
    char half[4096];
    int wait_status = -1,
        length = snprintf(half, sizeof half, "%s.tmp-%ld", folder, (long)getpid());
    if (length >= (int)sizeof half)
        return cpt_fail(e, CPT_ERR_IO, "%s: the path is too long", folder);
    cpt_status status = cpt_make_folder(half, e);
    if (status) return status;
    pid_t child = fork();
    if (child == 0) {
        execlp("tar", "tar", "-xzf", archive, "-C", half, (char *)NULL);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {}
    if (child < 0 || wait_status != 0)
        status = cpt_fail(e, CPT_ERR_IO, "%s: cannot be unpacked by tar", archive);
    else if (rename(half, folder) != 0)
        status = cpt_fail(e, CPT_ERR_IO, "%s: cannot be made: %s", folder, strerror(errno));
    if (status) cpt_remove_tree(half, NULL);
    return status;
}

cpt_status cpt_fetch(const char *name, char *path, size_t capacity, const cpt_context *ctx,
                     cpt_err *e)
{
    char cache[2048], archive[4096], folder[4096];
    const data_set *set = NULL;
    for (int i = 0; i < N_DATA_SETS; i++)
        if (strcmp(data_sets[i].name, name) == 0) set = &data_sets[i];
    if (!set)
        return cpt_fail(e, CPT_ERR_USAGE, "'%s' is not a data set known here; there is: pbmc3k",
                        name);
    cpt_status status = cache_folder(cache, sizeof cache, e);
    if (status == CPT_OK) status = cpt_path_join(archive, sizeof archive, cache, set->file, e);
    if (status == CPT_OK) status = cpt_path_join(folder, sizeof folder, cache, set->name, e);
    if (status) return status;
    if (!cpt_path_exists(archive) || verify(archive, set, e) != CPT_OK) {
        status = fetch_into(set, archive, ctx, e);
        if (status) return status;
    }
    if (!cpt_path_is_folder(folder)) status = unpack(archive, folder, e);
    if (status) return status;
    return cpt_path_join(path, capacity, folder, "filtered_gene_bc_matrices/hg19", e);
}
