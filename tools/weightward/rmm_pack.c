/* SPDX-License-Identifier: Apache-2.0 */
/* weightward rmm: the words that write a package. */
#include "cli_rmm.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct members {
    struct ww_pack_member *items;
    char **names;       /* own */
    const char **after; /* what each is a version of, or NULL */
    size_t n;
};

static void members_free(struct members *m)
{
    for (size_t i = 0; i < m->n; i++) {
        free(m->names[i]);
        free((void *)(uintptr_t)m->items[i].to);
    }
    free(m->items);
    free((void *)m->after);
    free(m->names);
}

static int out_of_memory(void)
{
    fprintf(stderr, "weightward rmm: out of memory\n");
    return ww_err_exit_status(WW_E_NOMEM);
}

char *cli_rmm_cut(const char *text, const char **rest)
{
    const char *equals = strchr(text, '=');
    *rest = equals ? equals + 1 : NULL;
    return equals ? strndup(text, (size_t)(equals - text)) : NULL;
}

static int add_recipient(struct members *m, const char *text, size_t n_to)
{
    char message[400];
    const char *pub = NULL;
    char *name = cli_rmm_cut(text, &pub);
    bool found = false;
    for (size_t i = 0; name && i < m->n; i++) {
        struct ww_pack_member *member = &m->items[i];
        if (strcmp(m->names[i], name) != 0) {
            continue;
        }
        const char **to = (const char **)(uintptr_t)member->to;
        if (!to) {
            to = calloc(n_to, sizeof *to);
            member->to = to;
        }
        if (!to) {
            free(name);
            return out_of_memory();
        }
        to[member->n_to++] = pub;
        found = true;
    }
    free(name);
    if (found) {
        return 0;
    }
    snprintf(message, sizeof message,
             "--to takes NAME=PUB with the name of a member that is being packed, not "
             "'%.200s'",
             text);
    return cli_usage("rmm", message);
}

/* NAME=PARENT of a member that is given. */
static int add_parent(struct members *m, const char *text)
{
    char message[400];
    const char *parent = NULL;
    char *name = cli_rmm_cut(text, &parent);
    for (size_t i = 0; name && i < m->n; i++) {
        if (strcmp(m->names[i], name) == 0) {
            m->after[i] = parent;
            free(name);
            return 0;
        }
    }
    free(name);
    snprintf(
        message, sizeof message,
        "--chain takes NAME=PARENT with the name of a member that is being packed, not "
        "'%.200s'",
        text);
    return cli_usage("rmm", message);
}

static int read_parents(const struct cli_rmm *opt, struct members *m)
{
    if (opt->versions && m->n < 2 && !opt->after) {
        return cli_usage("rmm", "--versions: one member is given and none before it; a "
                                "version of one that is in the package is added with "
                                "--after PARENT");
    }
    for (size_t i = 0; i < m->n; i++) {
        m->after[i] = opt->versions && i > 0 ? m->names[i - 1] : opt->after;
    }
    for (size_t i = 0; i < cli_count(opt->chain); i++) {
        int status = add_parent(m, opt->chain[i]);
        if (status) {
            return status;
        }
    }
    return 0;
}

static int read_members(const struct cli_rmm *opt, const char *const *args,
                        struct members *out)
{
    size_t n = 0;
    while (args[n]) {
        n++;
    }
    out->items = calloc(n + 1, sizeof *out->items);
    out->names = calloc(n + 1, sizeof *out->names);
    out->after = calloc(n + 1, sizeof *out->after);
    if (!out->items || !out->names || !out->after) {
        return out_of_memory();
    }
    for (; out->n < n; out->n++) {
        struct ww_pack_member *member = &out->items[out->n];
        out->names[out->n] = cli_rmm_cut(args[out->n], &member->path);
        member->name = out->names[out->n];
        if (!member->name) {
            return cli_usage("rmm", "members are given as NAME=PATH");
        }
    }
    for (size_t i = 0; i < cli_count(opt->to); i++) {
        int status = add_recipient(out, opt->to[i], cli_count(opt->to));
        if (status) {
            return status;
        }
    }
    return read_parents(opt, out);
}

static void tell(const struct cli_rmm *opt, const char *path,
                 const struct ww_pack_report *report)
{
    char a[32];
    char b[32];
    char share[64] = ""; /* of the files, where there are some */
    if (report->files_bytes) {
        snprintf(share, sizeof share, " of %s (%.1f %%)",
                 cli_bytes(report->files_bytes, b),
                 100.0 * (double)report->bytes / (double)report->files_bytes);
    }
    cli_say(&opt->common, "wrote '%s' version %llu: %zu member%s, %s%s in %.1f s%s", path,
            (unsigned long long)report->version, report->n_members,
            cli_s(report->n_members), cli_bytes(report->bytes, a), share,
            report->run.seconds,
            report->is_signed ? ", signed" : ", not signed (use --sign)");
    cli_warn(&opt->common, report->warnings, report->n_warnings);
}

/* What the merge says of each member, with the others and those of --source. */
static enum ww_err invert(const struct cli_rmm *opt, const struct members *members,
                          const struct ww_run_options *run, struct ww_merge_inverse **out,
                          struct ww_error *err)
{
    const size_t n = members->n + cli_count(opt->sources);
    const char **all = calloc(n + 1, sizeof *all);
    enum ww_err rc = WW_E_NOMEM;
    *out = calloc(members->n + 1, sizeof **out);
    if (all && *out) {
        for (size_t i = 0; i < n; i++) {
            all[i] =
                i < members->n ? members->items[i].path : opt->sources[i - members->n];
        }
        rc = ww_merge_invert(opt->merged, all, n, members->n, run, *out, err);
    } else {
        err->code = rc;
        snprintf(err->text, sizeof err->text, "out of memory");
    }
    free(all);
    return rc;
}

static bool is_codec(const struct cli_rmm *opt, const char *name)
{
    return opt->codec && strcmp(opt->codec, name) == 0;
}

static bool shares(const struct cli_rmm *opt)
{
    return is_codec(opt, "rows") || is_codec(opt, "core");
}

/* A package being written: add, drop or pack; options borrow the rest. */
struct writing {
    const char *word;
    const char *path;
    const struct members *members; /* NULL: drop */
    const char *dropped;
    struct ww_pack_options options;
    struct ww_signer signer;
    struct ww_unsealer unsealer;
    struct ww_merge_inverse *inverses;
    struct cli_verdict verdict;
    struct ww_pack_report report;
};

static int prepare(const struct cli_rmm *opt, struct writing *w)
{
    w->options = (struct ww_pack_options){.base = opt->base,
                                          .error = opt->error,
                                          .budget = (uint64_t)opt->budget,
                                          .folder = opt->folder != 0,
                                          .after = w->members ? w->members->after : NULL,
                                          .unsealer = &w->unsealer};
    if (w->members && shares(opt)) {
        w->options.codec = is_codec(opt, "rows") ? WW_PACK_ROWS : WW_PACK_CORE;
        w->options.directions = (size_t)opt->directions;
        w->options.residual = opt->exact != 0;
    }
    return cli_run_options(&opt->common, &w->options.run);
}

static enum ww_err open_keys(const struct cli_rmm *opt, struct writing *w,
                             struct ww_error *err)
{
    enum ww_err rc = cli_rmm_unsealer(opt, &w->unsealer, err);

    return rc ? rc : cli_signing_open(&opt->signing, &w->signer, &w->options.signer, err);
}

static enum ww_err write_file(struct writing *w, struct ww_error *err)
{
    const struct members *m = w->members;

    if (!m) {
        return ww_pack_drop(w->path, w->dropped, &w->options, &w->report, err);
    }
    return (w->word[0] == 'a' ? ww_pack_add : ww_pack_create)(
        w->path, m->items, m->n, &w->options, &w->report, err);
}

/* Keys, policies, and then one of the writers. */
static enum ww_err run_steps(const struct cli_rmm *opt, struct writing *w,
                             struct ww_error *err)
{
    const struct cli_packing packing = {.package = w->path,
                                        .decision = opt->guard.decision,
                                        .members = w->members ? w->members->items : NULL,
                                        .n = w->members ? w->members->n : 0,
                                        .adds = w->word[0] == 'a'};
    enum ww_err rc = open_keys(opt, w, err);

    if (rc == WW_OK && w->members) {
        rc = cli_pack_ask(&opt->guard, &opt->common, &packing, w->signer.key, &w->verdict,
                          err);
    }
    if (rc == WW_OK && opt->merged && w->members) {
        rc = invert(opt, w->members, &w->options.run, &w->inverses, err);
        w->options.base = opt->merged;
        w->options.inverses = w->inverses;
    }
    if (rc == WW_OK) {
        rc = write_file(w, err);
    }
    return rc ? rc
              : cli_pack_record(&opt->common, &packing, w->report.version, &w->verdict,
                                err);
}

static int write_package(const struct cli_rmm *opt, const char *word, const char *path,
                         const struct members *members, const char *dropped)
{
    struct writing w = {
        .word = word, .path = path, .members = members, .dropped = dropped};
    struct ww_error err = {0};
    int status = prepare(opt, &w);

    if (status) {
        return status;
    }
    cli_catch_signals();
    if (run_steps(opt, &w, &err)) {
        status = cli_fail("rmm", &opt->common, &err);
    } else {
        if (w.report.n_members > 0) {
            cli_bom(&opt->common, path, w.options.signer);
        }
        tell(opt, path, &w.report);
        status = cli_rmm_answer(opt, word, &w.report, false);
    }
    for (size_t i = 0; w.inverses && i < members->n; i++) {
        ww_merge_inverse_release(&w.inverses[i]);
    }
    free(w.inverses);
    ww_secret_free(w.unsealer.recipient_passphrase);
    ww_pack_report_release(&w.report);
    cli_guard_release(&w.verdict);
    ww_signkey_free(w.signer.key);
    return status;
}

/* How close adapters that share numbers come back; 0, or what to answer. */
static int check_shared(const struct cli_rmm *opt)
{
    if (opt->codec && !shares(opt) && !is_codec(opt, "none")) {
        return cli_choice("rmm", "--codec", "none, rows or core", opt->codec);
    }
    if (!shares(opt)) {
        return opt->directions == 0
                   ? 0
                   : cli_usage("rmm", "--directions goes with --codec rows or core");
    }
    if (is_codec(opt, "rows") &&
        (opt->error != 0 || opt->directions < 0 || opt->budget < 0 ||
         (opt->directions > 0) == (opt->budget > 0))) {
        return cli_usage("rmm",
                         "--codec rows takes --directions P or --budget BYTES, and "
                         "--exact when what they leave is to be coded too");
    }
    if (is_codec(opt, "core") && (opt->directions <= 0 || opt->budget != 0 ||
                                  (opt->error != 0) == (opt->exact != 0))) {
        return cli_usage("rmm", "--codec core takes --directions P, and --error E or "
                                "--exact: how close what comes back is to be");
    }
    if (opt->merged || opt->versions || opt->chain || opt->after) {
        return cli_usage("rmm", "--codec goes without --merged, --versions, --chain and "
                                "--after");
    }
    return 0;
}

static int pack(const struct cli_rmm *opt, const char *word, const char *const *args)
{
    struct members members = {0};
    int status = check_shared(opt);
    if (status) {
        return status;
    }
    if (!shares(opt) &&
        ((opt->exact != 0) + (opt->error != 0) + (opt->budget != 0) != 1 ||
         opt->budget < 0)) {
        return cli_usage("rmm",
                         "say one of --exact, --error E: how close what comes back is to "
                         "be, and --budget BYTES: how large the package may be");
    }
    if (opt->merged && (opt->base || !opt->exact)) {
        return cli_usage("rmm",
                         "--merged takes the place of --base and goes with --exact");
    }
    if (opt->after && word[0] != 'a') {
        return cli_usage("rmm", "--after goes with add; say --chain NAME=PARENT");
    }
    status = read_members(opt, args + 1, &members);
    if (status == 0) {
        status = write_package(opt, word, args[0], &members, NULL);
    }
    members_free(&members);
    return status;
}

int cli_rmm_pack(const struct cli_rmm *opt, const char *const *args)
{
    return pack(opt, "pack", args);
}

int cli_rmm_add(const struct cli_rmm *opt, const char *const *args)
{
    return pack(opt, "add", args);
}

static bool shares_basis(const char *path, const char *name)
{
    struct ww_error err = {0};
    struct ww_pack_report report = {0};
    bool found = false;
    if (ww_pack_list(path, &report, &err) == WW_OK) {
        for (size_t i = 0; i < report.n_members; i++) {
            const struct ww_pack_entry *m = &report.members[i];
            found = found || (m->shares && strcmp(m->name, name) == 0);
        }
        ww_pack_report_release(&report);
    }
    return found;
}

int cli_rmm_drop(const struct cli_rmm *opt, const char *const *args)
{
    const bool shared = shares_basis(args[0], args[1]);
    int status = write_package(opt, "drop", args[0], NULL, args[1]);
    if (status == 0) {
        cli_say(&opt->common,
                "the member and its key are not in the package any more%s; copies "
                "of the old file still hold them",
                shared ? ", but what the basis tells of it is" : "");
    }
    return status;
}
