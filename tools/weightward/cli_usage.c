/* SPDX-License-Identifier: Apache-2.0 */
/* Wrong use: one line for people at once, and one object for programs at the end, when it
 * is known that no command has answered. */
#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char said[WW_ERROR_TEXT_BYTES];

int cli_wrong_use(const char *verb, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(said, sizeof said, fmt, ap);
    va_end(ap);
    for (char *at = said; *at; at++) {
        *at = *at == '\n' ? ' ' : *at; /* what was typed begins no line of its own */
    }
    fprintf(stderr, "weightward%s%s: %s\n", verb ? " " : "", verb ? verb : "", said);
    return CLI_USAGE;
}

int cli_usage(const char *verb, const char *what)
{
    return cli_wrong_use(verb, "%s", what);
}

int cli_choice(const char *verb, const char *what, const char *known, const char *given)
{
    return cli_wrong_use(verb, "%s takes %s, not '%.60s'", what, known, given);
}

int cli_unknown_word(const char *verb, const char *word, const char *known)
{
    return cli_wrong_use(verb, "unknown word '%.60s'; known are: %s", word, known);
}

void cli_list_add(char *list, size_t bytes, const char *name)
{
    const size_t used = strlen(list);

    snprintf(list + used, bytes - used, "%s%s", used ? ", " : "", name);
}

int cli_rules(const char *verb, const struct cli_rule *rules, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (rules[i].broken) {
            return cli_usage(verb, rules[i].what);
        }
    }
    return 0;
}

static bool wants_json(int argc, const char *const *argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            return true;
        }
    }
    return false;
}

void cli_usage_json(const char *verb, int argc, const char *const *argv)
{
    struct ww_error err = {.code = WW_E_USAGE};
    struct ww_error second = {0};
    char *json = NULL;

    if (!said[0] || !wants_json(argc, argv)) {
        return;
    }
    memcpy(err.text, said, sizeof err.text);
    if (ww_report_error_json(verb, &err, &json, &second) == WW_OK) {
        fputs(json, stdout);
    }
    ww_string_free(json);
}
