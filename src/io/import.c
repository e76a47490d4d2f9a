/* Any input of cells into a flat cache; HDF5 only ever runs in a child process.
 *
 * Problem: the HDF5 library reads out of bounds, loops, or asks for absurd amounts of memory when a
 * file is damaged or hostile, and the program must survive that with one clear sentence.
 * Method: fork without exec. The child reads and writes the cache, without OpenMP but with threads
 * of its own that call nothing of HDF5 (crew.h), and reports through a pipe; the parent relays progress, watches for silence and for the
 * stop flag, kills when it must, and then opens the cache with its own checks. The pipe carries
 * messages of one byte of type, four bytes of length and that many bytes.
 * Traps: the child leaves by _exit, so that buffers shared with the parent are not flushed twice;
 * it dies with its parent; memory is limited by RLIMIT_DATA rather than RLIMIT_AS, because the
 * cache is mapped and mapped files cost no memory (and neither limit goes with AddressSanitizer).
 */
#include "io/import.h"
#include "base/memory.h"
#include "io/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif

enum { DEFAULT_SILENCE_S = 120, POLL_MS = 100, MAX_MESSAGE = 64 << 20, HEAD_BYTES = 5 };
enum { TYPE_PROGRESS = 'p', TYPE_ERROR = 'e', TYPE_TEXT = 't', TYPE_DONE = 'd' };

/* ---- child: sending ---- */

typedef struct job {
    const char *path, *folder; /* folder NULL: inspect */
    const cpt_import_options *options;
    const cpt_context *ctx;
    bool tenx_folder;
    int n_threads;
    int32_t silence_s;
} job;

typedef struct progress_message {
    double done, total;
    char what[96];
} progress_message;

typedef struct child_state {
    int fd;
    struct timespec last; /* of the last progress sent */
} child_state;

static void send_bytes(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n) {
        ssize_t sent = write(fd, p, n);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) _exit(3);
        p += sent;
        n -= (size_t)sent;
    }
}

static void send_message(int fd, char type, const void *bytes, size_t n)
{
    char head[HEAD_BYTES] = {type};
    uint32_t length = (uint32_t)n;
    memcpy(head + 1, &length, 4);
    send_bytes(fd, head, sizeof head);
    send_bytes(fd, bytes, n);
}

static void send_progress(void *data, const char *what, double done, double total, const char *note)
{
    child_state *state = data;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double since = (double)(now.tv_sec - state->last.tv_sec) +
                   1e-9 * (double)(now.tv_nsec - state->last.tv_nsec);
    if (since < 0.05 && done < total) return;
    state->last = now;
    progress_message m = {.done = done, .total = total};
    snprintf(m.what, sizeof m.what, "%s", what);
    send_message(state->fd, TYPE_PROGRESS, &m, sizeof m);
}

/* ---- child: limits and work ---- */

static void limit_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    rlim_t used = 0, most;
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long size, resident, shared, text, lib, data;
    if (f) {
        if (fscanf(f, "%lu %lu %lu %lu %lu %lu", &size, &resident, &shared, &text, &lib, &data) ==
            6)
            used = (rlim_t)data * (rlim_t)page; /* what the parent had already counts here too */
        fclose(f);
    }
    if (UNDER_ASAN || pages <= 0 || page <= 0 || !used) return;
    most = (rlim_t)pages * (rlim_t)page / 2;
    if (most < (rlim_t)2 << 30) most = (rlim_t)2 << 30;
    setrlimit(RLIMIT_DATA, &(struct rlimit){used + most, used + most});
}

static void prepare_child(pid_t parent)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGPIPE, SIGTERM};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        signal(fatal[i], SIG_DFL); /* a handler of the program must not run here */
    signal(SIGINT, SIG_IGN); /* the parent decides what Ctrl-C means, and kills */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(3);
    int nowhere = UNDER_ASAN ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere >= 0)
        dup2(nowhere, STDERR_FILENO); /* the C library's last words on a broken heap */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    limit_memory();
}

static void run_child(const job *j, int fd, pid_t parent)
{
    cpt_err err = {0};
    char *json = NULL;
    child_state state = {.fd = fd};
    cpt_context ctx = {.n_threads = 1, .progress = send_progress, .progress_data = &state};
    prepare_child(parent);
    cpt_reader r = {.path = j->path, .folder = j->folder, .options = j->options, .ctx = &ctx,
                    .n_threads = j->n_threads};
    cpt_status status = j->folder ? cpt_read_h5(&r, &err) : cpt_inspect_h5(j->path, &json, &err);
    if (status) {
        err.code = status;
        send_message(fd, TYPE_ERROR, &err, sizeof err);
        _exit(1);
    }
    if (json) send_message(fd, TYPE_TEXT, json, strlen(json) + 1);
    send_message(fd, TYPE_DONE, "", 0);
    _exit(0);
}

/* ---- parent: listening ---- */

typedef struct listener {
    const job *job;
    char *buffer;
    size_t n, capacity;
    bool done, failed;
    cpt_err error; /* the child's */
    char *json;
} listener;

static cpt_status take_message(listener *l, char type, const char *bytes, size_t n, cpt_err *e)
{
    progress_message p;
    switch (type) {
    case TYPE_PROGRESS:
        if (n != sizeof p) break;
        memcpy(&p, bytes, n);
        p.what[sizeof p.what - 1] = '\0';
        cpt_progress(l->job->ctx, p.what, p.done, p.total, NULL);
        return CPT_OK;
    case TYPE_ERROR:
        if (n != sizeof l->error) break;
        memcpy(&l->error, bytes, n);
        l->error.text[sizeof l->error.text - 1] = '\0';
        l->failed = true;
        return CPT_OK;
    case TYPE_TEXT:
        if (!n || bytes[n - 1] != '\0') break;
        free(l->json);
        l->json = cpt_strdup(bytes);
        return l->json ? CPT_OK : cpt_fail(e, CPT_ERR_MEMORY, "out of memory");
    case TYPE_DONE:
        l->done = true;
        return CPT_OK;
    default: break;
    }
    return cpt_fail(e, CPT_ERR_INTERNAL, "%s: the reading process sent nonsense", l->job->path);
}

static cpt_status take_messages(listener *l, cpt_err *e)
{
    size_t at = 0;
    while (l->n - at >= HEAD_BYTES) {
        uint32_t length;
        memcpy(&length, l->buffer + at + 1, 4);
        if (length > MAX_MESSAGE)
            return cpt_fail(e, CPT_ERR_INTERNAL, "%s: the reading process sent nonsense",
                            l->job->path);
        if (l->n - at - HEAD_BYTES < length) break;
        cpt_status status = take_message(l, l->buffer[at], l->buffer + at + HEAD_BYTES, length, e);
        if (status) return status;
        at += HEAD_BYTES + length;
    }
    memmove(l->buffer, l->buffer + at, l->n - at);
    l->n -= at;
    return CPT_OK;
}

/* Until the child closes its end. An error here means: kill it. */
static cpt_status listen_to_child(listener *l, int fd, cpt_err *e)
{
    int64_t silent_ms = 0, limit_ms = (int64_t)l->job->silence_s * 1000;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        cpt_status status = cpt_check_stop(l->job->ctx, e);
        if (status) return status;
        int ready = poll(&p, 1, POLL_MS);
        if (ready < 0 && errno != EINTR)
            return cpt_fail(e, CPT_ERR_INTERNAL, "%s: lost the reading process", l->job->path);
        if (ready <= 0) {
            if ((silent_ms += POLL_MS) < limit_ms) continue;
            return cpt_fail(e, CPT_ERR_FORMAT,
                            "%s: reading made no progress for %d s and was stopped; "
                            "the file is damaged, copy or write it again",
                            l->job->path, l->job->silence_s);
        }
        silent_ms = 0;
        if ((status = cpt_grow(&l->buffer, &l->capacity, l->n + 65536, 1, e))) return status;
        ssize_t got = read(fd, l->buffer + l->n, 65536);
        if (got == 0) return CPT_OK;
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return cpt_fail(e, CPT_ERR_INTERNAL, "%s: lost the reading process", l->job->path);
        if (got > 0) l->n += (size_t)got;
        if ((status = take_messages(l, e))) return status;
    }
}

static cpt_status judge_end(const listener *l, bool known, int how, cpt_err *e)
{
    const char *path = l->job->path;
    if (l->failed) {
        if (e) *e = l->error;
        if (e && !strstr(e->text, path)) cpt_fail_in(e, "%s", path); /* memory, mostly */
        return l->error.code;
    }
    if (l->done) return CPT_OK;
    if (known && WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL)
        return cpt_fail(e, CPT_ERR_MEMORY,
                        "%s: the process that read it was killed, by lack of memory or by "
                        "hand; try again with more memory",
                        path);
    if (known && WIFSIGNALED(how))
        return cpt_fail(e, CPT_ERR_FORMAT,
                        "%s: the HDF5 library crashed while reading it (%s); the file is "
                        "damaged, copy or write it again",
                        path, strsignal(WTERMSIG(how)));
    return cpt_fail(e, CPT_ERR_FORMAT,
                    "%s: the HDF5 library crashed while reading it; the file is damaged, "
                    "copy or write it again",
                    path);
}

/* Runs the job in a child. With inspect, *json gets the text. */
static cpt_status run_in_child(const job *j, char **json, cpt_err *e)
{
    int ends[2], how = 0;
    listener l = {.job = j};
    pid_t parent = getpid();
    if (pipe2(ends, O_CLOEXEC) != 0)
        return cpt_fail(e, CPT_ERR_IO, "%s: no pipe: %s", j->path, strerror(errno));
    pid_t child = fork();
    if (child < 0) {
        int reason = errno;
        close(ends[0]);
        close(ends[1]);
        return cpt_fail(e, CPT_ERR_MEMORY, "%s: no process to read it in: %s", j->path,
                        strerror(reason));
    }
    if (child == 0) {
        close(ends[0]);
        run_child(j, ends[1], parent);
    }
    close(ends[1]);
    cpt_status status = listen_to_child(&l, ends[0], e);
    close(ends[0]);
    if (status) kill(child, SIGKILL);
    pid_t ended;
    while ((ended = waitpid(child, &how, 0)) < 0 && errno == EINTR) continue;
    if (status == CPT_OK) status = judge_end(&l, ended == child, how, e);
    if (json && status == CPT_OK) {
        *json = l.json;
        l.json = NULL;
    }
    free(l.buffer);
    free(l.json);
    return status;
}

/* ---- what a path is ---- */

static cpt_status detect_folder(const char *path, cpt_input_kind *kind, cpt_err *e)
{
    static const char *const inner[] = {"filtered_feature_bc_matrix", "raw_feature_bc_matrix"};
    char name[4096];
    for (int i = 0; i < 2; i++)
        if (cpt_path_join(name, sizeof name, path, i ? "matrix.mtx.gz" : "matrix.mtx", e) ==
                CPT_OK &&
            cpt_path_exists(name)) {
            *kind = CPT_INPUT_TENX_FOLDER;
            return CPT_OK;
        }
    for (int i = 0; i < 2; i++)
        if (cpt_path_join(name, sizeof name, path, inner[i], e) == CPT_OK &&
            cpt_path_is_folder(name))
            return cpt_fail(e, CPT_ERR_USAGE, "%s: holds several things; give %s", path, name);
    return cpt_fail(e, CPT_ERR_FORMAT,
                    "%s: a folder without matrix.mtx or matrix.mtx.gz; give a 10x folder, "
                    "a 10x .h5 file or an .h5ad file",
                    path);
}

static cpt_status not_cells(const char *path, const unsigned char *head, size_t n, cpt_err *e)
{
    const char *what = "not an HDF5 file; give an .h5ad file, a 10x .h5 file or a 10x folder";
    if (n == 0) what = "the file is empty; copy or download it again";
    else if (n >= 2 && head[0] == 0x1f && head[1] == 0x8b)
        what = "the whole file is compressed with gzip; unpack it with gunzip first";
    else if (n >= 4 && memcmp(head, "PK\3\4", 4) == 0) what = "a ZIP archive; unpack it first";
    else if (n >= 8 && memcmp(head, "version ", 8) == 0)
        what = "a git LFS pointer, not the data; fetch the file with `git lfs pull`";
    else if (n >= 14 && memcmp(head, "%%MatrixMarket", 14) == 0)
        what = "a MatrixMarket file; give the folder that holds it together with barcodes and "
               "features";
    return cpt_fail(e, CPT_ERR_FORMAT, "%s: %s", path, what);
}

cpt_status cpt_input_detect(const char *path, cpt_input_kind *kind, cpt_err *e)
{
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char head[16];
    *kind = CPT_INPUT_UNKNOWN;
    if (cpt_path_is_folder(path)) return detect_folder(path, kind, e);
    FILE *f = fopen(path, "rb");
    if (!f) return cpt_fail(e, CPT_ERR_IO, "%s: %s", path, strerror(errno));
    size_t n = fread(head, 1, sizeof head, f);
    bool found = n >= 8 && memcmp(head, signature, 8) == 0;
    for (long at = 512; !found && at <= 1 << 20; at *= 2) { /* after a user block */
        unsigned char later[8];
        if (fseek(f, at, SEEK_SET) != 0 || fread(later, 1, 8, f) != 8) break;
        found = memcmp(later, signature, 8) == 0;
    }
    fclose(f);
    if (!found) return not_cells(path, head, n, e);
    *kind = CPT_INPUT_H5AD;
    return CPT_OK;
}

/* ---- the two entries ---- */

cpt_status cpt_import(const char *path, const char *folder, const cpt_import_options *options,
                      const cpt_context *ctx, cpt_err *e)
{
    static const cpt_import_options usual = {.need_counts = true};
    cpt_input_kind kind;
    cpt_cells *cells = NULL;
    if (!options) options = &usual;
    cpt_status status = cpt_input_detect(path, &kind, e);
    if (status) return status;
    job j = {.path = path,
             .folder = folder,
             .options = options,
             .ctx = ctx,
             .n_threads = cpt_threads(ctx),
             .silence_s =
                 options->silence_limit_s > 0 ? options->silence_limit_s : DEFAULT_SILENCE_S};
    if (kind == CPT_INPUT_TENX_FOLDER) {
        cpt_reader r = {.path = path, .folder = folder, .options = options, .ctx = ctx};
        status = cpt_read_tenx_folder(&r, e);
    } else {
        status = run_in_child(&j, NULL, e);
    }
    if (status == CPT_OK) status = cpt_cells_open(folder, &cells, e);
    cpt_cells_free(cells);
    if (status) cpt_remove_tree(folder, NULL);
    return status;
}

cpt_status cpt_import_inspect(const char *path, char **json, cpt_err *e)
{
    cpt_input_kind kind;
    *json = NULL;
    cpt_status status = cpt_input_detect(path, &kind, e);
    if (status) return status;
    if (kind == CPT_INPUT_TENX_FOLDER) return cpt_inspect_tenx_folder(path, json, e);
    job j = {.path = path, .silence_s = DEFAULT_SILENCE_S};
    status = run_in_child(&j, json, e);
    if (status == CPT_OK && !*json)
        return cpt_fail(e, CPT_ERR_INTERNAL, "%s: nothing came back from the reading process",
                        path);
    return status;
}
