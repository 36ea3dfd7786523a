/* SPDX-License-Identifier: Apache-2.0 */
/* Recipes of mixtures: made of weights, or read with members by their names. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rmm_mix.h"

#define MEMBER "member:"
#define MAX_RECIPE ((size_t)1 << 20)

enum ww_err cli_rmm_error(struct ww_error *err, enum ww_err code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    err->code = code;
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    return code;
}

static char *join(const char *folder, const char *name)
{
    const size_t n = strlen(folder) + strlen(name) + 2;
    char *path = malloc(n);
    if (path) {
        snprintf(path, n, "%s/%s", folder, name);
    }
    return path;
}

char *cli_mix_path(const struct cli_mix *mix, const char *name)
{
    return join(mix->members, name);
}

static size_t find_member(const struct cli_mix *mix, const char *name, size_t len)
{
    for (size_t i = 0; i < mix->package.n_members; i++) {
        const char *other = mix->package.members[i].name;
        if (strlen(other) == len && memcmp(other, name, len) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* A scalar in double quotes. */
static void put_path(FILE *f, const char *base, const char *folder, const char *name)
{
    const char *const parts[] = {base ? base : "", base && folder ? "+" : "",
                                 folder ? folder : "", folder ? "/" : "",
                                 name ? name : ""};
    fputc('"', f);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        for (const char *at = parts[i]; *at; at++) {
            if (*at == '"' || *at == '\\') {
                fputc('\\', f);
            }
            fputc(*at, f);
        }
    }
    fputc('"', f);
}

struct share {
    size_t member;
    double weight;
};

static enum ww_err read_share(struct cli_mix *mix, const char *text, struct share *out,
                              struct ww_error *err)
{
    const char *equals = strrchr(text, '=');
    char *end = NULL;
    out->weight = equals ? strtod(equals + 1, &end) : 0;
    if (!equals || end == equals + 1 || *end ||
        !(out->weight > -1e6 && out->weight < 1e6)) {
        return cli_rmm_error(err, WW_E_USAGE, "--weight takes NAME=W, not '%.200s'",
                             text);
    }
    out->member = find_member(mix, text, (size_t)(equals - text));
    if (out->member == SIZE_MAX) {
        return cli_rmm_error(err, WW_E_NOTFOUND, "the package has no member '%.*s'",
                             (int)(equals - text), text);
    }
    if (mix->package.members[out->member].basis) {
        return cli_rmm_error(err, WW_E_UNSUPPORTED,
                             "'%.*s' is what adapters share, and nothing to be mixed",
                             (int)(equals - text), text);
    }
    if (mix->used[out->member]) {
        return cli_rmm_error(err, WW_E_USAGE, "member '%.*s' has two weights",
                             (int)(equals - text), text);
    }
    mix->used[out->member] = true;
    return WW_OK;
}

/* Adapters stay an adapter unless a model is wanted; a sum with a model needs the base.
 */
static enum ww_err write_sum(const struct cli_rmm *opt, struct cli_mix *mix,
                             const struct share *shares, size_t n, FILE *f,
                             struct ww_error *err)
{
    size_t n_adapters = 0;
    for (size_t i = 0; i < n; i++) {
        n_adapters += mix->package.members[shares[i].member].adapter;
    }
    const bool to_adapter = n_adapters == n && !opt->form;
    if (n_adapters > 0 && !to_adapter && !opt->base) {
        return cli_rmm_error(
            err, WW_E_USAGE,
            "a sum of adapters and models, or an adapter as a model, needs "
            "the base; name it with --base");
    }
    if (opt->rank && !to_adapter) {
        return cli_rmm_error(err, WW_E_USAGE,
                             "--rank is of a mixture that is an adapter");
    }
    const bool of_changes = !to_adapter && opt->base;
    fprintf(f, "merge_method: %s\n", of_changes ? "task_arithmetic" : "linear");
    if (opt->base) { /* a sum of adapters alone is compared with it, and nothing else */
        fputs("base_model: ", f);
        put_path(f, opt->base, NULL, NULL);
        fputc('\n', f);
    }
    fputs("models:\n", f);
    for (size_t i = 0; i < n; i++) {
        const struct ww_pack_entry *m = &mix->package.members[shares[i].member];
        fputs("  - model: ", f);
        put_path(f, m->adapter && !to_adapter ? opt->base : NULL, mix->members, m->name);
        fprintf(f, "\n    parameters: {weight: %.17g}\n", shares[i].weight);
    }
    fputs("parameters: {normalize: false}\n", f);
    if (opt->rank) {
        fprintf(f, "adapter: {rank: %d}\n", opt->rank);
    }
    return WW_OK;
}

static enum ww_err write_weights(const struct cli_rmm *opt, struct cli_mix *mix, FILE *f,
                                 struct ww_error *err)
{
    const size_t n = cli_count(opt->weights);
    struct share *shares = calloc(n, sizeof *shares);
    enum ww_err rc =
        shares ? WW_OK : cli_rmm_error(err, WW_E_NOMEM, "out of memory for weights");
    for (size_t i = 0; i < n && rc == WW_OK; i++) {
        rc = read_share(mix, opt->weights[i], &shares[i], err);
    }
    if (rc == WW_OK) {
        rc = write_sum(opt, mix, shares, n, f, err);
    }
    free(shares);
    return rc;
}

static bool in_name(char c)
{
    return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-';
}

/* The folder goes into a recipe of any style, so it must need no quotes. */
static bool is_plain(const char *path)
{
    for (; *path; path++) {
        if (!in_name(*path) && *path != '/') {
            return false;
        }
    }
    return true;
}

static enum ww_err substitute(struct cli_mix *mix, const char *text, FILE *f,
                              struct ww_error *err)
{
    for (const char *at = text; *at;) {
        size_t len = 0;
        if (strncmp(at, MEMBER, sizeof MEMBER - 1) != 0 ||
            !in_name(at[sizeof MEMBER - 1])) {
            fputc(*at++, f);
            continue;
        }
        at += sizeof MEMBER - 1;
        while (in_name(at[len])) {
            len++;
        }
        const size_t member = find_member(mix, at, len);
        if (member == SIZE_MAX) {
            return cli_rmm_error(
                err, WW_E_NOTFOUND,
                "the recipe names member '%.*s', which the package does not "
                "have",
                (int)(len < 200 ? len : 200), at);
        }
        mix->used[member] = true;
        fprintf(f, "%s/%s", mix->members, mix->package.members[member].name);
        at += len;
    }
    return WW_OK;
}

static enum ww_err copy_recipe(const struct cli_rmm *opt, struct cli_mix *mix, FILE *f,
                               struct ww_error *err)
{
    FILE *from = fopen(opt->recipe, "r");
    char *text = from ? calloc(1, MAX_RECIPE + 1) : NULL;
    const size_t n = text ? fread(text, 1, MAX_RECIPE, from) : 0;
    enum ww_err rc = WW_OK;
    if (!text || ferror(from) || n == MAX_RECIPE || strlen(text) != n) {
        rc = cli_rmm_error(
            err, from ? WW_E_RECIPE : WW_E_NOTFOUND,
            "recipe '%.300s' cannot be read as text of less than a mebibyte",
            opt->recipe);
    } else if (!is_plain(mix->members)) {
        rc = cli_rmm_error(err, WW_E_USAGE,
                           "'%.300s' goes into the recipe; name an output of letters, "
                           "digits, dots, '-', '_' and '/' alone",
                           mix->members);
    } else {
        rc = substitute(mix, text, f, err);
    }
    if (from) {
        fclose(from);
    }
    free(text);
    return rc;
}

enum ww_err cli_mix_recipe(const struct cli_rmm *opt, struct cli_mix *mix,
                           struct ww_error *err)
{
    mix->recipe = join(mix->members, "recipe.yml");
    FILE *f = mix->recipe ? fopen(mix->recipe, "wx") : NULL;
    if (!f) {
        return cli_rmm_error(err, WW_E_IO, "cannot write a recipe into '%.300s'",
                             mix->members);
    }
    enum ww_err rc =
        opt->recipe ? copy_recipe(opt, mix, f, err) : write_weights(opt, mix, f, err);
    const bool bad = ferror(f);
    if ((fclose(f) != 0 || bad) && rc == WW_OK) {
        rc = cli_rmm_error(err, WW_E_IO, "cannot write '%.300s'", mix->recipe);
    }
    return rc;
}
