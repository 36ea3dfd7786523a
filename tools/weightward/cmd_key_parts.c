/* SPDX-License-Identifier: Apache-2.0 */
/* weightward key bind, split and combine: existing lock keys in another form. */
#include "cli_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPENERS 512

static enum ww_err fail(struct ww_error *err, enum ww_err code, const char *text)
{
    err->code = code;
    snprintf(err->text, sizeof err->text, "%s", text);
    return code;
}

/* What may open keys and shares; storage for many, since each holder has one. */
struct openers {
    struct ww_unsealer list[MAX_OPENERS];
    size_t n;
};

static void drop_openers(struct openers *o)
{
    for (size_t i = 0; i < o->n; i++) {
        ww_secret_free(o->list[i].passphrase);
        ww_secret_free(o->list[i].recipient_passphrase);
    }
    free(o);
}

/* The i-th recipient's key that is sealed by a passphrase takes the i-th passphrase file;
 * without one the terminal is asked. */
static enum ww_err add_recipients(const struct cli_key *opt, struct openers *o,
                                  struct ww_error *err)
{
    size_t n_files = cli_count(opt->open_passphrase_files);
    size_t next = 0;
    for (size_t i = 0; i < cli_count(opt->open_with) && o->n < MAX_OPENERS; i++) {
        struct ww_unsealer *u = &o->list[o->n++];
        struct ww_key_info info;
        struct cli_passphrase from = {.fd = -1};
        char prompt[300];
        u->recipient_key = opt->open_with[i];
        enum ww_err rc = ww_key_inspect(u->recipient_key, &info, err);
        if (rc == WW_OK && info.sealing == WW_SEALED_PASSPHRASE) {
            from.file = next < n_files ? opt->open_passphrase_files[next++] : NULL;
            snprintf(prompt, sizeof prompt, "Passphrase for '%.200s'", u->recipient_key);
            rc = cli_passphrase(&from, prompt, false, &u->recipient_passphrase, err);
        }
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

static enum ww_err add_passphrases(char *const *files, struct openers *o,
                                   struct ww_error *err)
{
    for (size_t i = 0; i < cli_count(files) && o->n < MAX_OPENERS; i++) {
        enum ww_err rc =
            ww_passphrase_from_file(files[i], &o->list[o->n].passphrase, err);
        if (rc) {
            return rc;
        }
        o->n++;
    }
    return WW_OK;
}

/* The lock key that bind and split read, with what it is bound to. */
static enum ww_err load(const struct cli_key *opt, const char *path,
                        struct ww_secret **key, struct ww_key_binding *binding,
                        struct ww_error *err)
{
    const struct cli_lockkey from = {
        .path = (char *)(uintptr_t)path,
        .passphrase = opt->key_passphrase,
        .open_with = opt->open_with ? opt->open_with[0] : NULL,
        .open_passphrase = {
            opt->open_passphrase_files ? opt->open_passphrase_files[0] : NULL, -1}};
    return cli_lockkey_bound(&from, key, binding, err);
}

static enum ww_err bind(const struct cli_key *opt, const char *path, struct ww_error *err)
{
    struct ww_secret *key = NULL;
    struct ww_sealer sealer = {0};
    struct ww_key_binding binding = {0};
    enum ww_err rc = load(opt, path, &key, &binding, err);
    if (rc == WW_OK) {
        rc = cli_key_binding(opt, &binding, err);
    }
    if (rc == WW_OK) {
        rc = cli_key_sealer(opt, &sealer, err);
    }
    if (rc == WW_OK) {
        rc = ww_lockkey_save(opt->out, key, &binding, &sealer, err);
    }
    ww_secret_free(sealer.passphrase);
    ww_secret_free(key);
    return rc;
}

int cli_key_bind(const struct cli_key *opt, const char *path)
{
    struct ww_error err = {0};
    if (!opt->out || (!opt->for_model && !opt->purpose)) {
        return cli_usage("key",
                         "bind needs --out NAME, and --for-model FOLDER or --purpose");
    }
    if (bind(opt, path, &err)) {
        return cli_fail("key", &opt->common, &err);
    }
    cli_say(&opt->common, "wrote '%s': the same key, bound; '%s' stays as it was",
            opt->out, path);
    return opt->common.json ? cli_key_describe(opt, "key", opt->out) : 0;
}

/* Passphrases for shares: one for all, or one for each. */
static enum ww_err share_passphrases(const struct cli_key *opt, struct ww_secret **out,
                                     size_t *n, struct ww_error *err)
{
    *n = 0;
    for (size_t i = 0; i < cli_count(opt->share_passphrase_files) && i < 255; i++) {
        enum ww_err rc =
            ww_passphrase_from_file(opt->share_passphrase_files[i], &out[i], err);
        if (rc) {
            return rc;
        }
        (*n)++;
    }
    if (*n == 0 && !opt->to && !opt->no_passphrase) {
        return fail(err, WW_E_PASSPHRASE,
                    "shares are sealed: give --to PUB for each, or "
                    "--share-passphrase-file, or --no-passphrase");
    }
    return WW_OK;
}

static enum ww_err split(const struct cli_key *opt, const char *path,
                         struct ww_error *err)
{
    struct ww_secret *passphrases[255] = {0};
    struct ww_split how = {.threshold = (unsigned)opt->threshold,
                           .n_shares = (unsigned)opt->shares,
                           .recipients = (const char *const *)opt->to,
                           .n_recipients = cli_count(opt->to),
                           .passphrases = passphrases};
    struct ww_secret *key = NULL;
    struct ww_signkey *signer = NULL;
    struct ww_key_binding binding = {0};
    enum ww_err rc = load(opt, path, &key, &binding, err);
    if (rc == WW_OK) {
        rc = share_passphrases(opt, passphrases, &how.n_passphrases, err);
    }
    if (rc == WW_OK && opt->sign) {
        rc = cli_signkey(opt->sign, &opt->sign_passphrase, &signer, err);
        how.signer = signer;
    }
    if (rc == WW_OK) {
        rc = ww_lockkey_split(opt->out, key, &binding, &how, err);
    }
    for (size_t i = 0; i < 255; i++) {
        ww_secret_free(passphrases[i]);
    }
    ww_signkey_free(signer);
    ww_secret_free(key);
    return rc;
}

int cli_key_split(const struct cli_key *opt, const char *path)
{
    struct ww_error err = {0};
    char first[4096];
    if (!opt->out || opt->threshold < 2 || opt->shares < opt->threshold ||
        opt->shares > 255) {
        return cli_usage("key",
                         "split needs --out BASE, --shares N and --threshold K, with K "
                         "from 2 to N, and N at most 255");
    }
    if (split(opt, path, &err)) {
        return cli_fail("key", &opt->common, &err);
    }
    cli_say(
        &opt->common,
        "wrote %d shares '%s-1.share' to '%s-%d.share'; any %d of them give "
        "the key back, fewer say nothing about it\n'%s' itself is still there: remove it "
        "when the shares are with their holders",
        opt->shares, opt->out, opt->out, opt->shares, opt->threshold, path);
    snprintf(first, sizeof first, "%s-1.share", opt->out);
    return opt->common.json ? cli_key_describe(opt, "key", first) : 0;
}

static enum ww_err combine(const struct cli_key *opt, const char *const *paths,
                           struct ww_error *err)
{
    struct openers *openers = calloc(1, sizeof *openers);
    struct ww_combine how = {.paths = paths, .signed_by = opt->signed_by};
    struct ww_secret *key = NULL;
    struct ww_sealer sealer = {0};
    struct ww_key_binding binding = {0};
    if (!openers) {
        return fail(err, WW_E_NOMEM, "out of memory");
    }
    while (paths[how.n_paths]) {
        how.n_paths++;
    }
    enum ww_err rc = add_recipients(opt, openers, err);
    if (rc == WW_OK) {
        rc = add_passphrases(opt->share_passphrase_files, openers, err);
    }
    if (rc == WW_OK) {
        how.unsealers = openers->list;
        how.n_unsealers = openers->n;
        rc = ww_lockkey_combine(&how, &key, &binding, err);
    }
    if (rc == WW_OK) {
        rc = cli_key_sealer(opt, &sealer, err);
    }
    if (rc == WW_OK) {
        rc = ww_lockkey_save(opt->out, key, &binding, &sealer, err);
    }
    ww_secret_free(sealer.passphrase);
    ww_secret_free(key);
    drop_openers(openers);
    return rc;
}

int cli_key_combine(const struct cli_key *opt, const char *const *paths)
{
    struct ww_error err = {0};
    if (!opt->out) {
        return cli_usage("key", "--out LOCKKEY is needed");
    }
    if (combine(opt, paths, &err)) {
        return cli_fail("key", &opt->common, &err);
    }
    cli_say(&opt->common, "wrote '%s': the key that was split, as its commitment says%s",
            opt->out,
            opt->signed_by ? "; every share is signed"
                           : "; signatures of the "
                             "shares were not asked for (--signed-by)");
    return opt->common.json ? cli_key_describe(opt, "key", opt->out) : 0;
}
