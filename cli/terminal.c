#include "cli.h"

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Log lines and progress on stderr: a bar with rate and time left on a terminal, a plain line every
 * ten seconds elsewhere, nothing with -q. Only one command runs per process, hence the file-static
 * state. */

static volatile int stop_flag;

static struct {
    bool terminal, quiet, verbose, bar_shown;
    struct timespec started;
    char what[64];
    double began, shown; /* seconds since start */
} state;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)(t.tv_sec - state.started.tv_sec) +
           1e-9 * (double)(t.tv_nsec - state.started.tv_nsec);
}

int cli_columns(int fd)
{
    struct winsize size;
    return isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void cli_wrap(const char *text, int used, int indent, int width)
{
    for (const char *p = text; *p;) {
        while (*p == ' ' || *p == '\n') p++;
        const size_t n = strcspn(p, " \n");
        if (used > indent && used + 1 + (int)n > width) {
            printf("\n%*s", indent, "");
            used = indent;
        }
        used += printf("%s%.*s", used > indent ? " " : "", (int)n, p);
        p += n;
    }
    putchar('\n');
}

static void clear_bar(void)
{
    if (state.bar_shown) fputs("\r\033[K", stderr);
    state.bar_shown = false;
}

static void show_log(void *data, cpt_log_level level, const char *text)
{
    static const char *const prefix[] = {"error: ", "warning: ", "", ""};
    if (level > CPT_LOG_WARN && state.quiet) return;
    if (level == CPT_LOG_WARN && state.quiet) return;
    if (level == CPT_LOG_DEBUG && !state.verbose) return;
    clear_bar();
    fprintf(stderr, "[%6.1f s] %s%s\n", seconds(), prefix[level], text);
}

static void format_time(double s, char text[32])
{
    if (s < 60) snprintf(text, 32, "%.0f s", s);
    else if (s < 3600) snprintf(text, 32, "%d:%02d min", (int)s / 60, (int)s % 60);
    else snprintf(text, 32, "%d:%02d h", (int)s / 3600, (int)s / 60 % 60);
}

/* To so many columns, never within a character; negative = as it is. */
static void cut(char *line, int columns)
{
    int shown = 0;
    for (char *p = line; *p && columns >= 0; p++) {
        shown += ((unsigned char)*p & 0xC0) != 0x80;
        if (shown > columns) *p-- = '\0';
    }
}

static void show_progress(void *data, const char *what, double done, double total, const char *note)
{
    enum { WIDTH = 24 };
    double now = seconds();
    char left[32] = "";
    if (state.quiet) return;
    if (strcmp(what, state.what) != 0) {
        snprintf(state.what, sizeof state.what, "%s", what);
        state.began = state.shown = now;
    }
    double pause = state.terminal ? 0.1 : 10.0;
    if (done >= total && total > 0) {
        clear_bar();
        if (now - state.began > 2)
            fprintf(stderr, "[%6.1f s] %s: done in %.1f s%s%s\n", now, what, now - state.began,
                    note ? ", " : "", note ? note : "");
        state.what[0] = '\0';
        return;
    }
    if (now - state.shown < pause) return;
    state.shown = now;
    double share = total > 0 ? done / total : 0, rate = done / (now - state.began + 1e-9);
    if (total > 0 && done > 0) format_time((total - done) / rate, left);
    if (!*left) snprintf(left, sizeof left, "?");
    if (!state.terminal) {
        fprintf(stderr, "[%6.1f s] %s: %.0f %%, %s left%s%s\n", now, what, 100 * share, left,
                note ? ", " : "", note ? note : "");
        return;
    }
    char bar[WIDTH + 1], line[256];
    for (int i = 0; i < WIDTH; i++) bar[i] = i < share * WIDTH ? '#' : '.';
    bar[WIDTH] = '\0';
    snprintf(line, sizeof line, "%-18s [%s] %3.0f %%  %.4g/s  %s left  %s", what, bar, 100 * share,
             rate, left, note ? note : "");
    cut(line, cli_columns(STDERR_FILENO) - 1); /* a line that wraps could not be cleared */
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    state.bar_shown = true;
}

/* First Ctrl-C: end at the next safe point. Second: at once. */
static void on_signal(int number)
{
    if (stop_flag) _exit(128 + number);
    stop_flag = 1;
}

void cli_begin(cli *c)
{
    clock_gettime(CLOCK_MONOTONIC, &state.started);
    state.terminal = isatty(STDERR_FILENO) && getenv("TERM") && strcmp(getenv("TERM"), "dumb") != 0;
    state.quiet = c->quiet;
    state.verbose = c->verbose;
    c->ctx.log = show_log;
    c->ctx.progress = show_progress;
    c->ctx.stop = &stop_flag;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

void cli_end(cli *c, int code)
{
    struct rusage own, children;
    clear_bar();
    if (!state.quiet && code == CLI_OK && (seconds() > 2 || state.verbose)) {
        getrusage(RUSAGE_SELF, &own);
        getrusage(RUSAGE_CHILDREN, &children);
        double cpu = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
                     1e-6 * (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec);
        fprintf(stderr, "[%6.1f s] conceptome %s: wall %.1f s, CPU %.1f s, peak memory %.0f MiB\n",
                seconds(), c->command->name, seconds(), cpu, (double)own.ru_maxrss / 1024.0);
    }
}

int cli_fail(const cpt_err *e)
{
    clear_bar();
    fprintf(stderr, "conceptome: %s\n", e->text);
    return e->code == CPT_ERR_USAGE ? CLI_USAGE : CLI_FAILED;
}

void cli_print_json(json_t *value)
{
    if (value) json_dumpf(value, stdout, 0);
    putchar('\n');
    json_decref(value);
}

double cli_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *cli_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

int cli_close_stdout(void)
{
    struct pollfd reader = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (fflush(stdout) == 0 && !ferror(stdout) && fclose(stdout) == 0) return CLI_OK;
    /* `| head`: the reader has seen enough; nothing to complain about. */
    if (poll(&reader, 1, 0) == 1 && (reader.revents & POLLERR)) return CLI_FAILED;
    fprintf(stderr, "conceptome: the output could not be written; is the disk full?\n");
    return CLI_FAILED;
}
