/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members are coded while the merge is computed, and the package is put together when the
 * merge is there. Where that cannot be (see ww_pack_beside_new) the sources are read once
 * more for their tensor trees, and for each member once more.
 */
#include "cli_reversible.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli_rmm.h"
#include "weightward/package.h"

#define LEAST_MEMORY ((uint64_t)128 << 20) /* half of it for coding beside the merge */
#define CHECK_MEMORY ((uint64_t)1) /* too little to code, and what cannot be is said */

struct cli_reversing {
    struct ww_merge_ask ask;
    struct ww_pack_beside *beside;  /* NULL: nothing is coded beside the merge */
    uint64_t memory_bytes;          /* of the whole run */
    const char **paths;             /* [ask.n_sources] members first */
    struct ww_pack_member *members; /* [n] */
    struct ww_merge_inverse *inverses;
    size_t n;
};

static enum ww_err fail(struct ww_error *err, enum ww_err code, const char *subject,
                        const char *text)
{
    err->code = code;
    snprintf(err->text, sizeof err->text, "'%.300s' %s", subject, text);
    return code;
}

enum ww_err cli_reversible_check(const struct cli_reversible *opt, const char *recipe,
                                 const struct ww_merge_options *options,
                                 struct ww_error *err)
{
    struct ww_merge_ask ask = {0};
    struct stat st;
    cli_rmm_trim(opt->path);
    if (lstat(opt->path, &st) == 0) {
        return fail(err, WW_E_EXISTS, opt->path, "exists; name a new package");
    }
    enum ww_err rc = ww_merge_ask(recipe, options, false, &ask, err);
    if (rc == WW_OK && strcmp(ask.method, "linear") != 0 &&
        strcmp(ask.method, "task_arithmetic") != 0) {
        rc = fail(
            err, WW_E_UNSUPPORTED, ask.method,
            "is a method that cannot be solved for a source; --reversible takes linear "
            "and task_arithmetic");
    }
    ww_merge_ask_release(&ask);
    return rc;
}

/* The folder's own name, with a number behind it when another source has it too. */
static char *member_name(const struct cli_reversing *r, const char *path)
{
    char *name = cli_guard_name(path);
    char *numbered = NULL;
    for (size_t k = 2, i = 0; name && i < r->n;) {
        if (strcmp(r->members[i].name, numbered ? numbered : name) != 0) {
            i++;
            continue;
        }
        const size_t room = strlen(name) + 24;
        free(numbered);
        numbered = malloc(room);
        if (!numbered) {
            break;
        }
        snprintf(numbered, room, "%s-%zu", name, k++);
        i = 0;
    }
    if (numbered) {
        free(name);
        return numbered;
    }
    return name;
}

static enum ww_err make_members(struct cli_reversing *r, const struct cli_reversible *opt,
                                struct ww_error *err)
{
    const size_t n = r->ask.n_sources;
    r->paths = calloc(n + 1, sizeof *r->paths);
    r->members = calloc(n + 1, sizeof *r->members);
    r->inverses = calloc(n + 1, sizeof *r->inverses);
    if (!r->paths || !r->members || !r->inverses) {
        return fail(err, WW_E_NOMEM, opt->path, "needs more memory than there is");
    }
    for (size_t i = 0; i < n; i++) {
        const char *path = r->ask.sources[i].path;
        if (path == r->ask.base) {
            r->paths[n - 1] = path;
            continue;
        }
        struct ww_pack_member *member = &r->members[r->n];
        member->name = member_name(r, path);
        if (!member->name) {
            return fail(err, WW_E_NOMEM, opt->path, "needs more memory than there is");
        }
        member->path = path;
        member->to = (const char *const *)opt->to;
        member->n_to = cli_count(opt->to);
        r->paths[r->n++] = path;
    }
    return WW_OK;
}

static void release(struct cli_reversing *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free((void *)(uintptr_t)r->members[i].name);
        ww_merge_inverse_release(&r->inverses[i]);
    }
    free(r->paths);
    free(r->members);
    free(r->inverses);
    ww_merge_ask_release(&r->ask);
}

static struct cli_packing packing_of(const struct cli_reversing *r, const char *package)
{
    return (struct cli_packing){.package = package, .members = r->members, .n = r->n};
}

enum ww_err cli_reversible_ask(const struct cli_reversible *opt,
                               const struct cli_guard *guard,
                               const struct cli_common *common, const char *recipe,
                               const struct ww_merge_options *options,
                               struct ww_signkey *key, struct cli_verdict *verdict,
                               struct ww_error *err)
{
    struct cli_reversing r = {.n = 0};
    struct cli_guard again = *guard;
    enum ww_err rc = ww_merge_ask(recipe, options, false, &r.ask, err);
    if (rc == WW_OK) {
        rc = make_members(&r, opt, err);
    }
    if (rc == WW_OK) {
        const struct cli_packing packing = packing_of(&r, opt->path);
        again.as = NULL;
        rc = cli_pack_ask(&again, common, &packing, key, verdict, err);
    }
    release(&r);
    return rc;
}

enum ww_err cli_reversible_begin(const struct cli_reversible *opt, const char *recipe,
                                 struct ww_merge_options *options,
                                 struct cli_reversing **out, struct ww_error *err)
{
    struct cli_reversing *r = calloc(1, sizeof *r);
    struct ww_run_options half = options->run;
    *out = r;
    if (!r) {
        return fail(err, WW_E_NOMEM, opt->path, "needs more memory than there is");
    }
    r->memory_bytes = options->run.memory_bytes;
    enum ww_err rc = ww_merge_ask(recipe, options, false, &r->ask, err);
    if (rc == WW_OK) {
        rc = make_members(r, opt, err);
    }
    const bool room = r->memory_bytes == 0 || r->memory_bytes >= LEAST_MEMORY;
    half.memory_bytes = room ? r->memory_bytes / 2 : CHECK_MEMORY;
    if (rc == WW_OK) {
        rc = ww_pack_beside_new(opt->path, r->paths, r->ask.n_sources, r->n, &half,
                                &r->beside, err);
    }
    if (rc == WW_OK) {
        options->watch = ww_pack_beside_watch(r->beside);
        options->run.memory_bytes = room ? half.memory_bytes : r->memory_bytes;
    }
    return rc;
}

void cli_reversible_free(struct cli_reversing *r)
{
    if (r) {
        ww_pack_beside_free(r->beside);
        release(r);
        free(r);
    }
}

static enum ww_err invert(const struct cli_reversing *r, const char *merged,
                          const struct ww_run_options *run, struct ww_error *err)
{
    bool known = false;
    enum ww_err rc = WW_OK;
    if (r->beside) {
        rc = ww_pack_beside_invert(r->beside, r->inverses, &known, err);
    }
    if (rc == WW_OK && !known) {
        rc = ww_merge_invert(merged, r->paths, r->ask.n_sources, r->n, run, r->inverses,
                             err);
    }
    return rc;
}

enum ww_err cli_reversible_write(const struct cli_reversible *opt,
                                 const struct cli_common *common, struct cli_reversing *r,
                                 const char *merged,
                                 const struct ww_merge_options *options,
                                 const struct cli_verdict *verdict, struct ww_error *err)
{
    struct ww_pack_report report = {0};
    struct ww_pack_options pack = {.base = merged,
                                   .beside = r->beside,
                                   .signer = options->signer,
                                   .run = options->run};
    char a[32];
    char b[32];
    pack.run.resume = false;
    pack.run.memory_bytes = r->memory_bytes;
    enum ww_err rc = invert(r, merged, &pack.run, err);
    if (rc == WW_OK) {
        pack.inverses = r->inverses;
        rc = ww_pack_create(opt->path, r->members, r->n, &pack, &report, err);
    }
    if (rc == WW_OK) {
        const struct cli_packing packing = packing_of(r, opt->path);
        cli_bom(common, opt->path, options->signer);
        cli_say(common,
                "wrote '%s': %zu sources, %s of %s; rmm unmerge gives one back, with the "
                "others",
                opt->path, report.n_members, cli_bytes(report.bytes, a),
                cli_bytes(report.files_bytes, b));
        rc = cli_pack_record(common, &packing, report.version, verdict, err);
    } else {
        cli_say(common, "'%s' is merged; what failed is its package", merged);
    }
    ww_pack_report_release(&report);
    return rc;
}
