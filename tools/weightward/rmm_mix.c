/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weightward rmm mix: members of a package merged. They are restored into OUT.members,
 * which goes away, and the recipe names them there; so a policy is asked about the very
 * files, every method can be used, and what comes out has the record of any merge.
 */
#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700 /* nftw */
#endif
#include "cli_rmm.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rmm_mix.h"

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

/* OUT without slashes at its end, and the folder for members. */
bool cli_mix_name(struct cli_mix *mix, const char *out)
{
    size_t len = strlen(out);
    while (len > 1 && out[len - 1] == '/') {
        len--;
    }
    mix->members = malloc(len + sizeof ".members");
    if (mix->members) {
        memcpy(mix->members, out, len);
        memcpy(mix->members + len, ".members", sizeof ".members");
    }
    return mix->members != NULL;
}

enum ww_err cli_mix_make(const struct cli_mix *mix, struct ww_error *err)
{
    if (mkdir(mix->members, 0700) != 0) {
        return errno == EEXIST
                   ? cli_rmm_error(
                         err, WW_E_EXISTS,
                         "'%.300s' is left from a run that was cut off; remove it",
                         mix->members)
                   : cli_rmm_error(err, WW_E_IO, "cannot make folder '%.300s'",
                                   mix->members);
    }
    return WW_OK;
}

enum ww_err cli_mix_remove(const struct cli_mix *mix, struct ww_error *err)
{
    return nftw(mix->members, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0
               ? WW_OK
               : cli_rmm_error(err, WW_E_IO, "cannot remove '%.300s'", mix->members);
}

/* Advice about a recipe, and what does the same where there is none. */
static const struct advice {
    const char *recipe;
    const char *option;
} advice[] = {
    {"name that as base_model", "name that with --base"},
    {"merge models named BASE+member:",
     "--form model with --base makes a model, with member:"},
    {"say tokenizer_source: union", "write a --recipe with tokenizer_source: union"},
};

void cli_mix_tell(const struct cli_mix *mix, const struct cli_rmm *opt,
                  struct ww_error *err)
{
    char from[WW_ERROR_TEXT_BYTES];
    char to[WW_ERROR_TEXT_BYTES] = "what is mixed";
    if (mix->recipe) {
        snprintf(from, sizeof from, "recipe '%s'", mix->recipe);
        if (opt->recipe) {
            snprintf(to, sizeof to, "recipe '%s'", opt->recipe);
        }
        ww_error_rename(err, from, to);
    }
    snprintf(from, sizeof from, "%s/", mix->members);
    ww_error_rename(err, from, "member:");
    for (size_t i = 0; i < sizeof advice / sizeof advice[0] && !opt->recipe; i++) {
        ww_error_rename(err, advice[i].recipe, advice[i].option);
    }
}

enum ww_err cli_mix_restore(const struct cli_mix *mix, const char *package,
                            const char *name, const struct ww_unpack_options *options,
                            struct ww_error *err)
{
    struct ww_pack_report report = {0};
    char *to = cli_mix_path(mix, name);
    enum ww_err rc =
        to ? ww_unpack(package, name, to, options, &report, err)
           : cli_rmm_error(err, WW_E_NOMEM, "out of memory for '%.300s'", name);
    ww_pack_report_release(&report);
    free(to);
    return rc;
}

static bool is_member(const struct cli_mix *mix, const char *path)
{
    const size_t len = strlen(mix->members);
    return strncmp(path, mix->members, len) == 0 && path[len] == '/';
}

/* Members that are adapters go to the package's base, or to another member. */
static enum ww_err check_bases(struct cli_mix *mix, const char *package,
                               const struct ww_merge_ask *merge, struct ww_error *err)
{
    size_t checked = SIZE_MAX;
    enum ww_err rc = WW_OK;
    for (size_t i = 0; i < merge->n_added && rc == WW_OK; i++) {
        const struct ww_merge_added *added = &merge->added[i];
        const char *base = merge->sources[added->base].path;
        bool known = false;
        if (added->base != checked && !is_member(mix, base) &&
            is_member(mix, merge->sources[added->adapter].path)) {
            rc = ww_pack_check_base(package, base, &known, err);
            mix->base_unknown = mix->base_unknown || !known;
            checked = added->base;
        }
    }
    return rc;
}

static enum ww_err ask(const struct cli_rmm *opt, struct cli_mix *mix,
                       const char *const *args, const struct ww_merge_options *options,
                       struct ww_signkey *key, struct cli_verdict *verdict,
                       struct ww_error *err)
{
    struct ww_merge_ask merge = {0};
    char *name = cli_guard_name(args[1]);
    enum ww_err rc =
        ww_merge_ask(mix->recipe, options, opt->guard.roots != NULL, &merge, err);
    if (rc == WW_OK) {
        rc = check_bases(mix, args[0], &merge, err);
    }
    if (rc == WW_OK) {
        const struct ww_policy_ask what = {.action = "merge",
                                           .method = merge.method,
                                           .recipe = mix->recipe,
                                           .sources = merge.sources,
                                           .n_sources = merge.n_sources,
                                           .output_name = name,
                                           .output_locked = merge.locked};
        rc = cli_guard_ask(&opt->guard, &opt->common, &what, args[1], key, verdict, err);
    }
    ww_merge_ask_release(&merge);
    free(name);
    return rc;
}

/* The members lie there: ask, merge, record. */
static enum ww_err merge(const struct cli_rmm *opt, struct cli_mix *mix,
                         const char *const *args, const struct ww_run_options *run,
                         struct ww_merge_report *report, struct ww_error *err)
{
    const char *out = args[1];
    struct ww_signer signer = {0};
    struct cli_verdict verdict = {0};
    struct ww_merge_options options = {.run = *run};
    enum ww_err rc = cli_signing_open(&opt->signing, &signer, &options.signer, err);

    if (rc == WW_OK) {
        rc = ask(opt, mix, args, &options, signer.key, &verdict, err);
    }
    if (rc == WW_OK) {
        rc = ww_merge_folder(mix->recipe, out, &options, report, err);
    }
    if (rc == WW_OK) {
        rc = cli_guard_record(&opt->guard, &verdict, out, err);
    }
    if (rc == WW_OK) {
        cli_bom(&opt->common, out, options.signer);
    }
    cli_guard_release(&verdict);
    ww_signkey_free(signer.key);
    return rc;
}

static enum ww_err mix_members(const struct cli_rmm *opt, struct cli_mix *mix,
                               const char *const *args, const struct ww_run_options *run,
                               struct ww_merge_report *report, struct ww_error *err)
{
    struct ww_unsealer unsealer = {0};
    const struct ww_unpack_options options = {.base = opt->base,
                                              .sources =
                                                  (const char *const *)opt->sources,
                                              .n_sources = cli_count(opt->sources),
                                              .unsealer = &unsealer,
                                              .public_key = opt->signed_by,
                                              .least_version = (uint64_t)opt->at_least,
                                              .run = *run};
    struct stat st;
    enum ww_err rc = lstat(args[1], &st) == 0
                         ? cli_rmm_error(err, WW_E_EXISTS,
                                         "'%.300s' exists; name another output", args[1])
                         : cli_mix_make(mix, err);
    if (rc) {
        return rc;
    }
    rc = cli_rmm_unsealer(opt, &unsealer, err);
    if (rc == WW_OK) {
        rc = cli_mix_recipe(opt, mix, err);
    }
    for (size_t i = 0; i < mix->package.n_members && rc == WW_OK; i++) {
        if (mix->used[i]) {
            rc = cli_mix_restore(mix, args[0], mix->package.members[i].name, &options,
                                 err);
        }
    }
    ww_secret_free(unsealer.recipient_passphrase);
    if (rc == WW_OK) {
        rc = merge(opt, mix, args, run, report, err);
    }
    struct ww_error left = {0};
    if (rc) {
        cli_mix_tell(mix, opt, err);
    }
    const enum ww_err removed = cli_mix_remove(mix, rc ? &left : err);
    return rc ? rc : removed;
}

static void cli_mix_release(struct cli_mix *mix)
{
    ww_pack_report_release(&mix->package);
    free(mix->members);
    free(mix->recipe);
    free(mix->used);
}

static int answer(const struct cli_rmm *opt, const struct cli_mix *mix,
                  const struct ww_merge_report *report, const char *out)
{
    struct ww_error err = {0};
    char *json = NULL;
    cli_warn(&opt->common, report->warnings, report->n_warnings);
    if (mix->base_unknown) {
        cli_rmm_tell_unknown(opt);
    }
    cli_say(&opt->common, "mixed into '%s' by %s: %llu tensors in %.1f s%s", out,
            report->method, (unsigned long long)report->tensors, report->run.seconds,
            opt->signing.path ? ", signed" : ", not signed (use --sign)");
    if (!opt->common.json) {
        return 0;
    }
    enum ww_err rc = ww_report_merge_json(report, &json, &err);
    return cli_answer_json("rmm", &opt->common, rc, json, &err);
}

int cli_rmm_mix(const struct cli_rmm *opt, const char *const *args)
{
    struct ww_error err = {0};
    struct ww_run_options run = {0};
    struct ww_merge_report report = {0};
    struct cli_mix mix = {0};
    if ((opt->weights != NULL) == (opt->recipe != NULL)) {
        return cli_usage("rmm",
                         "say --weight NAME=W for each member that is mixed, or --recipe "
                         "FILE with members as member:NAME");
    }
    if (opt->recipe && (opt->rank || opt->form)) {
        return cli_usage("rmm",
                         "--rank and --form go with --weight; a recipe says itself");
    }
    if (opt->rank < 0 || (opt->form && strcmp(opt->form, "model") != 0)) {
        return cli_usage("rmm", "--rank is a number from 1 on, and --form is model here");
    }
    int status = cli_run_options(&opt->common, &run);
    if (status) {
        return status;
    }
    cli_catch_signals();
    enum ww_err rc = ww_pack_list(args[0], &mix.package, &err);
    if (rc == WW_OK) {
        mix.used = calloc(mix.package.n_members + 1, sizeof *mix.used);
        rc = mix.used && cli_mix_name(&mix, args[1])
                 ? mix_members(opt, &mix, args, &run, &report, &err)
                 : cli_rmm_error(&err, WW_E_NOMEM, "out of memory for '%.300s'", args[1]);
    }
    status =
        rc ? cli_fail("rmm", &opt->common, &err) : answer(opt, &mix, &report, args[1]);
    ww_merge_report_release(&report);
    cli_mix_release(&mix);
    return status;
}
