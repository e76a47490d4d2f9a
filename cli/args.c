#include "cli.h"

#include <getopt.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Arguments by getopt_long over the command's extras and the library's option table, which
 * therefore has one spelling for the command line, --config files and study.json. */

enum { COMMON = 8, CODE_EXTRA = 1000, CODE_OPTION = 2000 };

static const struct option common[COMMON] = {
    {"threads", required_argument, NULL, 't'}, {"seed", required_argument, NULL, 's'},
    {"quiet", no_argument, NULL, 'q'},         {"verbose", no_argument, NULL, 'v'},
    {"json", no_argument, NULL, 'j'},          {"help", no_argument, NULL, 'h'},
    {"config", required_argument, NULL, 'C'},  {NULL, 0, NULL, 0},
};

int cli_usage(const cli *c, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "conceptome %s: ", c->command->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nusage: conceptome %s %s\n", c->command->name, c->command->usage);
    return CLI_USAGE;
}

static bool serves(const cli_command *command, const char *group)
{
    const char *list = command->option_groups;
    if (strcmp(list, "all") == 0) return true;
    size_t n = strlen(group);
    for (const char *p = strstr(list, group); p; p = strstr(p + 1, group))
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0')) return true;
    return false;
}

/* All long options of the command; the caller frees the array. */
static struct option *long_options(const cli *c, size_t n_table, const cpt_option_info *table)
{
    struct option *all = calloc(COMMON + CLI_MAX_EXTRAS + n_table + 1, sizeof *all);
    size_t n = 0;
    if (!all) return NULL;
    for (int i = 0; common[i].name; i++) all[n++] = common[i];
    for (int i = 0; i < CLI_MAX_EXTRAS && c->extras[i].name; i++)
        all[n++] = (struct option){c->extras[i].name,
                                   c->extras[i].argument ? required_argument : no_argument, NULL,
                                   CODE_EXTRA + i};
    for (size_t i = 0; i < n_table; i++)
        if (serves(c->command, table[i].group))
            all[n++] = (struct option){table[i].name,
                                       table[i].kind == CPT_OPTION_FLAG ? optional_argument
                                                                        : required_argument,
                                       NULL, CODE_OPTION + (int)i};
    return all;
}

static void short_options(const cli *c, char *text, size_t capacity)
{
    size_t n = (size_t)snprintf(text, capacity, ":t:s:qvjh");
    for (int i = 0; i < CLI_MAX_EXTRAS && c->extras[i].name && n + 3 < capacity; i++)
        if (c->extras[i].letter)
            n += (size_t)snprintf(text + n, capacity - n, "%c%s", c->extras[i].letter,
                                  c->extras[i].argument ? ":" : "");
}

static int unknown_option(const cli *c, const char *argument, const struct option *all)
{
    /* The library knows the nearest name of its table; ask it with the bare word. */
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(argument + strspn(argument, "-"), "="),
             argument + strspn(argument, "-"));
    cpt_err err;
    cpt_options *probe = cpt_options_new(&err);
    const char *hint = NULL;
    if (probe && cpt_options_set(probe, word, "", &err) && strstr(err.text, "did you mean"))
        hint = strstr(err.text, "did you mean");
    int code =
        cli_usage(c, "unknown option '%s'%s%s", argument, hint ? "; " : "", hint ? hint : "");
    cpt_options_free(probe);
    return code;
}

static int set_option(cli *c, const char *name, const char *value)
{
    cpt_err err;
    if (cpt_options_set(c->options, name, value ? value : "yes", &err) == CPT_OK) return CLI_OK;
    return cli_usage(c, "%s", err.text);
}

static int set_threads(cli *c, const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);
    if (*end || n < 1 || n > 1024)
        return cli_usage(c, "-t: '%s' is not a number of threads (1 to 1024)", text);
    c->ctx.n_threads = (int32_t)n;
    omp_set_num_threads((int)n); /* for what has no context: checks of a cache, compression */
    return CLI_OK;
}

static int handle(cli *c, int code, const cpt_option_info *table, const char **config)
{
    switch (code) {
    case 't': return set_threads(c, optarg);
    case 's': return set_option(c, "seed", optarg);
    case 'q': c->quiet = true; return CLI_OK;
    case 'v': c->verbose = true; return CLI_OK;
    case 'j': c->json = true; return CLI_OK;
    case 'h': c->help = true; return CLI_OK;
    case 'C': *config = optarg; return CLI_OK;
    }
    for (int i = 0; i < CLI_MAX_EXTRAS && c->extras[i].name; i++)
        if (code == CODE_EXTRA + i || (c->extras[i].letter && code == c->extras[i].letter)) {
            c->extras[i].value = c->extras[i].argument ? optarg : "";
            return CLI_OK;
        }
    return set_option(c, table[code - CODE_OPTION].name, optarg);
}

static char *join_line(int argc, char **argv)
{
    size_t n = 16;
    for (int i = 0; i < argc; i++) n += strlen(argv[i]) + 1;
    char *line = malloc(n);
    if (!line) return NULL;
    strcpy(line, "conceptome");
    for (int i = 0; i < argc; i++) {
        strcat(line, " ");
        strcat(line, argv[i]);
    }
    return line;
}

int cli_parse(cli *c, const cli_command *command, int argc, char **argv)
{
    cpt_err err;
    size_t n_table;
    const cpt_option_info *table = cpt_option_list(&n_table);
    const char *config = NULL;
    char letters[64];
    *c = (cli){.command = command};
    cpt_context_init(&c->ctx);
    for (int i = 0; command->extras && command->extras[i].name; i++)
        c->extras[i] = command->extras[i];
    c->options = cpt_options_new(&err);
    c->line = join_line(argc, argv);
    struct option *all = long_options(c, n_table, table);
    if (!c->options || !c->line || !all) return CLI_FAILED;
    short_options(c, letters, sizeof letters);
    int result = CLI_OK, code;
    opterr = 0;
    optind = 1; /* argv[0] is the command's name */
    while (result == CLI_OK && (code = getopt_long(argc, argv, letters, all, NULL)) != -1) {
        const char letter[3] = {'-', (char)optopt, '\0'}; /* one of several in a word: -vx */
        if (code == '?')
            result = unknown_option(c, optopt > 0 && optopt < 128 ? letter : argv[optind - 1], all);
        else if (code == ':') result = cli_usage(c, "option '%s' needs a value", argv[optind - 1]);
        else result = handle(c, code, table, &config);
    }
    for (int i = optind; i < argc && result == CLI_OK; i++) {
        if (c->n_operands == CLI_MAX_OPERANDS) result = cli_usage(c, "too many arguments");
        else c->operands[c->n_operands++] = argv[i];
    }
    if (result == CLI_OK && config && cpt_options_read(c->options, config, &err) != CPT_OK)
        result = cli_usage(c, "%s", err.text);
    c->ctx.seed = (uint64_t)cpt_options_integer(c->options, "seed");
    free(all);
    return result;
}

const char *cli_value(const cli *c, const char *extra)
{
    for (int i = 0; i < CLI_MAX_EXTRAS && c->extras[i].name; i++)
        if (strcmp(c->extras[i].name, extra) == 0) return c->extras[i].value;
    return NULL;
}

int cli_count(cli *c, const char *extra, long low, long high, long fallback, long *out)
{
    const char *text = cli_value(c, extra);
    char *end;
    *out = fallback;
    if (!text) return CLI_OK;
    *out = strtol(text, &end, 10);
    if (end == text || *end || *out < low || *out > high)
        return cli_usage(c, "--%s: '%s' is not a whole number from %ld to %ld", extra, text, low,
                         high);
    return CLI_OK;
}

int cli_operands(const cli *c, int least, int most)
{
    if (c->n_operands < least) return cli_usage(c, "an argument is missing");
    if (c->n_operands > most)
        return cli_usage(c, "'%s' is one argument too many", c->operands[most]);
    return CLI_OK;
}

/* ---- help ---- */

void cli_help(const char *program_name)
{
    size_t n;
    const cli_command *list = cli_commands(&n);
    printf("Conceptome %s\nreads the concepts that a single-cell foundation model has learned\n\n"
           "usage: %s COMMAND [options]\n",
           CPT_VERSION, program_name);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(list[i].group, list[i - 1].group) != 0)
            printf("\n%s\n", list[i].group);
        printf("  %-10s %s\n", list[i].name, list[i].line);
    }
    printf("\n`%s help COMMAND` tells its options with their defaults,\n`%s --version` the build.\n"
           "Start:  %s run cells.h5ad -o study\n",
           program_name, program_name, program_name);
}

/* On a terminal as wide as it is, within reason; else as a page that can be searched and printed. */
static int help_width(void)
{
    enum { LEAST = 60, MOST = 120, PAGE = 100 };
    const int columns = cli_columns(STDOUT_FILENO);
    return columns == 0 ? PAGE : columns < LEAST ? LEAST : columns > MOST ? MOST : columns;
}

static void print_option(const char *name, char letter, const char *argument, const char *help,
                         const char *fallback)
{
    enum { WIDE = 34, NARROW = 28 };
    const int width = help_width(), COLUMN = width < 90 ? NARROW : WIDE;
    char left[128], text[1024];
    int n = snprintf(left, sizeof left, "%s%c%s--%s%s%s", letter ? "-" : "", letter ? letter : ' ',
                     letter ? ", " : "   ", name, argument && *argument ? " " : "",
                     argument ? argument : "");
    printf("  %s", left);
    if (n > COLUMN) printf("\n  %*s ", COLUMN, "");
    else printf("%*s ", COLUMN - n, "");
    snprintf(text, sizeof text, "%s%s%s%s", help, fallback && *fallback ? " [" : "",
             fallback ? fallback : "", fallback && *fallback ? "]" : "");
    cli_wrap(text, COLUMN + 3, COLUMN + 3, width);
}

void cli_help_command(const cli_command *command)
{
    size_t n;
    const cpt_option_info *table = cpt_option_list(&n);
    printf("usage: conceptome %s %s\n\n", command->name, command->usage);
    cli_wrap(command->about, 0, 0, help_width());
    printf("\noptions\n");
    for (int i = 0; command->extras && command->extras[i].name; i++)
        print_option(command->extras[i].name, command->extras[i].letter,
                     command->extras[i].argument, command->extras[i].help, NULL);
    print_option("threads", 't', "N", "threads; results do not depend on it", "all cores");
    print_option("seed", 's', "N", "every random number derives from it", "0");
    print_option("quiet", 'q', NULL, "nothing but errors on stderr", NULL);
    print_option("verbose", 'v', NULL, "details on stderr", NULL);
    print_option("json", 'j', NULL, "machine-readable result on stdout", NULL);
    print_option("config", 0, "FILE.json", "options by name from a file; the command line wins",
                 NULL);
    const char *group = "";
    for (size_t i = 0; i < n; i++) {
        if (!serves(command, table[i].group) || strcmp(table[i].group, "common") == 0) continue;
        if (strcmp(group, table[i].group) != 0) printf("\n%s\n", group = table[i].group);
        print_option(table[i].name, 0, table[i].argument, table[i].help, table[i].fallback);
    }
}
