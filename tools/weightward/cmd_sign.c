/* SPDX-License-Identifier: Apache-2.0 */
/* weightward sign: an OpenSSF Model Signing signature over a folder. */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>

struct sign {
    struct cli_common common;
    char *key;
    char *signer;
    int signer_seconds;
    struct cli_passphrase passphrase;
    char *signature;
    char *certificate;
    char **chain;
    char **ignore;
    char *cache;
    int tensors;
    int replace;
    int origin;
};

/* The key itself, or with --signer its public half and who holds the other. */
static enum ww_err open_key(const struct sign *opt, struct ww_signkey **key,
                            struct ww_error *err)
{
    if (opt->signer) {
        return ww_signkey_open_program(opt->signer, opt->key,
                                       (unsigned)opt->signer_seconds, key, err);
    }
    return cli_signkey(opt->key, &opt->passphrase, key, err);
}

static int check_usage(const struct sign *opt, const char *verb)
{
    const struct cli_rule rules[] = {
        {!opt->key,
         "--key KEY is needed (make one: weightward key new signing --out NAME)"},
        {opt->origin && (opt->signature || opt->ignore),
         "--origin goes with a signature in the folder over all of its files"},
        {opt->signer_seconds < 0 || (opt->signer_seconds > 0 && !opt->signer),
         "--signer-timeout is a positive number of seconds for --signer"},
    };

    return cli_rules(verb, rules, sizeof rules / sizeof rules[0]);
}

static void tell(const struct sign *opt, const struct ww_sign_report *report,
                 const char *model)
{
    cli_say(&opt->common, "signed %" PRIu64 " file%s of '%s' with key %s", report->files,
            cli_s(report->files), model, report->hint);
    if (opt->cache) {
        cli_say(&opt->common, "%" PRIu64 " of them unchanged by the cache '%s'",
                report->cached, opt->cache);
    }
}

static int run_sign(const void *given, const char *verb, const char *const *args)
{
    const struct sign *opt = given;
    struct ww_error err = {0};
    struct ww_sign_report report = {0};
    struct ww_signer signer = {.certificate = opt->certificate,
                               .chain = (const char *const *)opt->chain,
                               .n_chain = cli_count(opt->chain)};
    struct ww_sign_options options = {
        .signature = opt->signature,
        .ignore_paths = (const char *const *)opt->ignore,
        .n_ignore_paths = cli_count(opt->ignore),
        .tensors = opt->tensors != 0,
        .replace = opt->replace != 0,
        .cache = opt->cache,
    };
    char *json = NULL;
    enum ww_err rc = WW_OK;
    int status = check_usage(opt, verb);
    if (status == 0) {
        status = cli_run_options(&opt->common, &options.run);
    }
    if (status) {
        return status;
    }
    cli_catch_signals();
    rc = open_key(opt, &signer.key, &err);
    if (rc == WW_OK) {
        rc = ww_sign_folder(args[0], &signer, &options, &report, &err);
    }
    if (rc == WW_OK && opt->origin) {
        rc = ww_origin_state(args[0], &signer, options.replace, &err);
    }
    if (rc) {
        status = cli_fail(verb, &opt->common, &err);
    } else {
        tell(opt, &report, args[0]);
    }
    if (rc == WW_OK && opt->common.json) {
        rc = ww_report_sign_json(&report, &json, &err);
        status = cli_answer_json(verb, &opt->common, rc, json, &err);
    }
    ww_signkey_free(signer.key);
    return status;
}

int cmd_sign(int argc, const char **argv)
{
    struct sign opt = {.passphrase.fd = -1};
    const struct poptOption table[] = {
        {"key", 'k', POPT_ARG_STRING, &opt.key, 0,
         "signing key, or pkcs11: URI of one in a token", "KEY"},
        {"signer", 0, POPT_ARG_STRING, &opt.signer, 0,
         "program that signs the digest; --key is its public key", "PROGRAM"},
        {"signer-timeout", 0, POPT_ARG_INT, &opt.signer_seconds, 0,
         "seconds it may take (default: 60)", "N"},
        {"passphrase-file", 0, POPT_ARG_STRING, &opt.passphrase.file, 0,
         "passphrase of the key, or PIN of the token", "FILE"},
        {"passphrase-fd", 0, POPT_ARG_INT, &opt.passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"signature", 0, POPT_ARG_STRING, &opt.signature, 0,
         "where to write (default: MODEL/model.sig)", "FILE"},
        {"ignore-paths", 0, POPT_ARG_ARGV, &opt.ignore, 0,
         "leave out this path of the folder (repeatable)", "PATH"},
        {"certificate", 0, POPT_ARG_STRING, &opt.certificate, 0,
         "sign with this certificate (PEM)", "FILE"},
        {"certificate-chain", 0, POPT_ARG_ARGV, &opt.chain, 0,
         "certificates above it (repeatable)", "FILE"},
        {"tensors", 0, POPT_ARG_NONE, &opt.tensors, 0, "sign the tensor tree as well",
         NULL},
        {"origin", 0, POPT_ARG_NONE, &opt.origin, 0,
         "also state that the model was made of no other model", NULL},
        {"cache", 0, POPT_ARG_STRING, &opt.cache, 0,
         "digests of an earlier run, for files that have not changed", "FILE"},
        {"replace", 0, POPT_ARG_NONE, &opt.replace, 0, "overwrite an existing signature",
         NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "MODEL", 1, 1, run_sign, &opt);
}
