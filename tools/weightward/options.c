/* SPDX-License-Identifier: Apache-2.0 */
/* Option parsing by popt tables: exact names only, positional arguments counted. */
#include "cli.h"
#include "cli_help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct poptOption *cli_common_table(struct cli_common *common)
{
    static struct poptOption table[7];
    const struct poptOption filled[] = {
        {"json", 0, POPT_ARG_NONE, &common->json, 0, "print one JSON object on stdout",
         NULL},
        {"quiet", 'q', POPT_ARG_NONE, &common->quiet, 0, "no talk on stderr", NULL},
        {"progress", 0, POPT_ARG_STRING, &common->progress, 0,
         "show progress: auto, always or never", "WHEN"},
        {"threads", 0, POPT_ARG_INT, &common->threads, 0, "worker threads", "N"},
        {"memory", 0, POPT_ARG_INT, &common->memory_mib, 0, "buffers in all, in MiB",
         "MIB"},
        {"no-direct-io", 0, POPT_ARG_NONE, &common->no_direct, 0,
         "go through the page cache", NULL},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    return table;
}

static int usage_error(poptContext ctx, const char *verb, const char *what,
                       const char *subject)
{
    (void)cli_wrong_use(verb, "%s%s%s%s", what, subject ? " '" : "",
                        subject ? subject : "", subject ? "'" : "");
    fprintf(stderr, "try: weightward %s --help\n", verb);
    poptFreeContext(ctx);
    return CLI_USAGE;
}

/* popt names the value that it cannot read, not the option before it. */
static int parse_error(poptContext ctx, const char *verb, int rc, int argc,
                       const char **argv)
{
    const char *bad = poptBadOption(ctx, 0);
    char what[120];

    snprintf(what, sizeof what, "%s", poptStrerror(rc));
    for (int i = 2; i < argc && (rc == POPT_ERROR_BADNUMBER || rc == POPT_ERROR_OVERFLOW);
         i++) {
        if (bad && strcmp(argv[i], bad) == 0 && argv[i - 1][0] == '-') {
            snprintf(what, sizeof what, "%.60s: %s", argv[i - 1], poptStrerror(rc));
        }
    }
    return usage_error(ctx, verb, what, bad);
}

int cli_parse(int argc, const char **argv, const struct poptOption *table,
              const char *synopsis, int min, int max, poptContext *ctx,
              const char ***args)
{
    int help = 0;
    const struct poptOption outer[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)table, 0, NULL, NULL},
        {"help", 'h', POPT_ARG_NONE, &help, 0, "show this help", NULL},
        POPT_TABLEEND,
    };
    *args = NULL;
    /* popt's help shows argv[0], which is the verb alone here. */
    const char *verb = argv[0];
    char name[80];
    snprintf(name, sizeof name, "weightward %s", verb);
    argv[0] = name;
    poptContext c = poptGetContext(name, argc, argv, outer, 0);
    poptSetOtherOptionHelp(c, synopsis);
    int rc = poptGetNextOpt(c);
    if (rc >= -1 && help) {
        poptPrintHelp(c, stdout, 0);
        cli_help_end(stdout, verb);
    }
    argv[0] = verb;
    if (rc < -1) {
        return parse_error(c, verb, rc, argc, argv);
    }
    if (help) {
        poptFreeContext(c);
        *ctx = NULL;
        return 0;
    }
    const char **rest = poptGetArgs(c);
    int n = 0;
    while (rest && rest[n]) {
        n++;
    }
    if (n < min) {
        return usage_error(c, verb, "an argument is missing; expected are", synopsis);
    }
    if (n > max) {
        return usage_error(c, verb, "one argument too many:", rest[max]);
    }
    static const char *none[] = {NULL};
    *args = rest ? rest : none;
    *ctx = c;
    return 0;
}

/* popt hands out copies of strings and lists of them. */
static void free_values(const struct poptOption *table)
{
    for (; table->longName || table->shortName || table->arg; table++) {
        unsigned type = table->argInfo & POPT_ARG_MASK;
        if (type == POPT_ARG_INCLUDE_TABLE) {
            free_values(table->arg);
        } else if (type == POPT_ARG_STRING) {
            free(*(char **)table->arg);
        } else if (type == POPT_ARG_ARGV) {
            char **list = *(char ***)table->arg;
            for (size_t i = 0; list && list[i]; i++) {
                free(list[i]);
            }
            free(list);
        }
    }
}

void cli_finish(poptContext ctx, const struct poptOption *table)
{
    free_values(table);
    poptFreeContext(ctx);
}

int cli_run(int argc, const char **argv, const struct poptOption *table,
            const char *synopsis, int min, int max, cli_command_fn run, const void *opt)
{
    poptContext ctx = NULL;
    const char **args = NULL;
    int status = cli_parse(argc, argv, table, synopsis, min, max, &ctx, &args);
    if (status == 0 && args) {
        status = run(opt, argv[0], args);
    }
    cli_finish(ctx, table);
    return status;
}

/* Descriptors of passphrases are -1 when nobody gave one. */
static bool is_given(const struct poptOption *option)
{
    switch (option->argInfo & POPT_ARG_MASK) {
    case POPT_ARG_STRING:
    case POPT_ARG_ARGV:
        return *(void *const *)option->arg != NULL;
    case POPT_ARG_NONE:
        return *(const int *)option->arg != 0;
    case POPT_ARG_INT:
        return *(const int *)option->arg != 0 && *(const int *)option->arg != -1;
    case POPT_ARG_LONGLONG:
        return *(const long long *)option->arg != 0;
    case POPT_ARG_DOUBLE:
        return *(const double *)option->arg != 0;
    default:
        return false;
    }
}

static bool is_word_of(const char *name, const char *words)
{
    const size_t len = strlen(name);
    for (const char *at = words; *at;) {
        const size_t n = strcspn(at, " ");
        if (n == len && memcmp(at, name, n) == 0) {
            return true;
        }
        at += n + (at[n] == ' ');
    }
    return false;
}

void cli_hide_idle(const struct poptOption *table, const char *takes)
{
    struct poptOption *at = (struct poptOption *)(uintptr_t)table;
    for (; at->longName || at->shortName || at->arg; at++) {
        if (at->longName && !is_word_of(at->longName, takes)) {
            at->argInfo |= POPT_ARGFLAG_DOC_HIDDEN;
        }
    }
}

int cli_refuse_idle(const char *verb, const char *word, const struct poptOption *table,
                    const char *takes)
{
    char text[200];
    for (; table->longName || table->shortName || table->arg; table++) {
        if (table->longName && is_given(table) && !is_word_of(table->longName, takes)) {
            snprintf(
                text, sizeof text,
                "'%s %s' does nothing with --%s; leave it away, weightward-%s(1) says "
                "which words take it",
                verb, word, table->longName, verb);
            return cli_usage(verb, text);
        }
    }
    return 0;
}

size_t cli_count(char *const *list)
{
    size_t n = 0;
    while (list && list[n]) {
        n++;
    }
    return n;
}
