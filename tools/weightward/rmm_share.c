/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weightward rmm share: more recipients of a sealed member. That hands it on, so policies
 * are asked as for packing. What a member is and was made of lies in its files: where
 * somebody is to be asked it is restored into PKG.members, which goes away.
 */
#include <stdlib.h>
#include <string.h>

#include "rmm_mix.h"

struct sharing {
    struct ww_pack_member *members; /* [n] names and paths of the different ones */
    size_t n;
    const char **pubs; /* [n_to] */
    size_t *of;        /* [n_to]: its member */
    size_t n_to;
};

static int add_recipient(struct sharing *s, const char *text)
{
    char *name = cli_rmm_cut(text, &s->pubs[s->n_to]);
    size_t i = 0;
    if (!name) {
        return cli_usage("rmm", "--to takes NAME=PUB");
    }
    while (i < s->n && strcmp(s->members[i].name, name) != 0) {
        i++;
    }
    if (i == s->n) {
        s->members[s->n++].name = name;
    } else {
        free(name);
    }
    s->of[s->n_to++] = i;
    return 0;
}

static int read_recipients(const struct cli_rmm *opt, struct sharing *s)
{
    const size_t n = cli_count(opt->to);
    int status = 0;
    s->members = calloc(n, sizeof *s->members);
    s->pubs = calloc(n, sizeof *s->pubs);
    s->of = calloc(n, sizeof *s->of);
    if (!s->members || !s->pubs || !s->of) {
        return ww_err_exit_status(WW_E_NOMEM);
    }
    for (size_t i = 0; i < n && status == 0; i++) {
        status = add_recipient(s, opt->to[i]);
    }
    return status;
}

static void release(struct sharing *s)
{
    for (size_t i = 0; s->members && i < s->n; i++) {
        free((char *)(uintptr_t)s->members[i].name);
        free((char *)(uintptr_t)s->members[i].path);
    }
    free(s->members);
    free(s->pubs);
    free(s->of);
}

/* Without a root only members that ask for policies are in the way. */
static enum ww_err check_nobody_asks(const char *package, const struct sharing *s,
                                     const struct ww_unsealer *unsealer,
                                     struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    for (size_t i = 0; i < s->n && rc == WW_OK; i++) {
        bool asks = false;
        rc = ww_pack_asks(package, s->members[i].name, unsealer, &asks, err);
        if (rc == WW_OK && asks) {
            rc = cli_rmm_error(
                err, WW_E_NOTFOUND,
                "'%.300s' asks for policies; give --policy-root and --policy",
                s->members[i].name);
        }
    }
    return rc;
}

static enum ww_err restore_and_ask(const struct cli_rmm *opt, struct sharing *s,
                                   struct cli_packing *packing,
                                   const struct ww_unpack_options *options,
                                   struct cli_verdict *verdict, struct ww_error *err)
{
    struct cli_mix mix = {0};
    struct ww_error left = {0};
    enum ww_err rc = cli_mix_name(&mix, packing->package)
                         ? cli_mix_make(&mix, err)
                         : cli_rmm_error(err, WW_E_NOMEM, "out of memory for '%.300s'",
                                         packing->package);
    if (rc) {
        goto out;
    }
    for (size_t i = 0; i < s->n && rc == WW_OK; i++) {
        s->members[i].path = cli_mix_path(&mix, s->members[i].name);
        rc = s->members[i].path
                 ? cli_mix_restore(&mix, packing->package, s->members[i].name, options,
                                   err)
                 : cli_rmm_error(err, WW_E_NOMEM, "out of memory for '%.300s'",
                                 s->members[i].name);
    }
    if (rc == WW_OK) {
        rc = cli_pack_ask(&opt->guard, &opt->common, packing, NULL, verdict, err);
    }
    if (rc) {
        cli_mix_tell(&mix, opt, err);
    }
    const enum ww_err removed = cli_mix_remove(&mix, rc ? &left : err);
    rc = rc ? rc : removed;
out:
    free(mix.members);
    return rc;
}

/* In the order given, since who is to open a version must be allowed its parent. What was
 * done when one fails is done, and is recorded. */
static enum ww_err hand_on(const struct cli_rmm *opt, const struct cli_packing *packing,
                           const struct sharing *s, const struct ww_unsealer *unsealer,
                           const struct cli_verdict *verdict,
                           struct ww_pack_report *report, struct ww_error *err)
{
    struct ww_error later = {0};
    size_t n = 0;
    enum ww_err rc = WW_OK;
    while (n < s->n_to && rc == WW_OK) {
        rc = ww_pack_share(packing->package, s->members[s->of[n]].name, &s->pubs[n], 1,
                           unsealer, err);
        n += rc == WW_OK;
    }
    if (n == 0) {
        return rc;
    }
    if (rc) {
        cli_say(&opt->common, "%zu of %zu keys were added before one that cannot be", n,
                s->n_to);
    }
    enum ww_err recorded = ww_pack_list(packing->package, report, rc ? &later : err);
    if (recorded == WW_OK) {
        recorded = cli_pack_record(&opt->common, packing, report->version, verdict,
                                   rc ? &later : err);
    }
    return rc ? rc : recorded;
}

static enum ww_err share(const struct cli_rmm *opt, const char *package,
                         struct sharing *s, struct ww_pack_report *report,
                         struct ww_error *err)
{
    struct ww_unsealer unsealer = {0};
    struct cli_verdict verdict = {0};
    struct cli_packing packing = {.package = package,
                                  .decision = opt->guard.decision,
                                  .members = s->members,
                                  .n = s->n,
                                  .shares = true};
    struct ww_unpack_options options = {.base = opt->base ? opt->base : opt->merged,
                                        .sources = (const char *const *)opt->sources,
                                        .n_sources = cli_count(opt->sources),
                                        .unsealer = &unsealer,
                                        .public_key = opt->signed_by};
    enum ww_err rc = cli_rmm_unsealer(opt, &unsealer, err);
    if (rc == WW_OK && opt->guard.roots) {
        rc = restore_and_ask(opt, s, &packing, &options, &verdict, err);
    } else if (rc == WW_OK) {
        rc = check_nobody_asks(package, s, &unsealer, err);
    }
    if (rc == WW_OK) {
        rc = hand_on(opt, &packing, s, &unsealer, &verdict, report, err);
    }
    ww_secret_free(unsealer.recipient_passphrase);
    cli_guard_release(&verdict);
    return rc;
}

/* Recipients of one member at a time: each change is one new file. */
int cli_rmm_share(const struct cli_rmm *opt, const char *const *args)
{
    struct ww_error err = {0};
    struct ww_pack_report report = {0};
    struct sharing s = {0};
    if (!opt->to) {
        return cli_usage("rmm",
                         "--to NAME=PUB is needed: which member, and who may open it");
    }
    cli_catch_signals();
    int status = read_recipients(opt, &s);
    if (status == 0) {
        enum ww_err rc = share(opt, args[0], &s, &report, &err);
        if (rc) {
            status = cli_fail("rmm", &opt->common, &err);
        } else {
            cli_say(&opt->common,
                    "one more key each; members and signature are as they were");
            status = cli_rmm_answer(opt, "share", &report, false);
        }
    }
    ww_pack_report_release(&report);
    release(&s);
    return status;
}
