/* SPDX-License-Identifier: Apache-2.0 */
/* weightward verify, which is also all that weightward-verify does. */
#include "cli.h"
#include "cli_chain.h"
#include "weightward/package.h"

#include <stdint.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verify {
    struct cli_common common;
    char **keys;
    char **chain;
    char **roots;
    char *state;
    int walk;
    char *page;
    char *bom;
    char *trusted_root;
    char *identity;
    char *provider;
    char *signature;
    char **ignore;
    int ignore_unsigned;
    char *tensor;
    char *when;
    int64_t at;
};

/* --ignore-paths may name a path inside the folder from outside: the part behind MODEL/
 * counts, as in the reference client. */
static void strip_model(char **ignore, const char *model)
{
    char *root = realpath(model, NULL);
    for (size_t i = 0; ignore && ignore[i]; i++) {
        const char *bases[] = {model, root};
        for (size_t b = 0; b < 2; b++) {
            size_t len = bases[b] ? strlen(bases[b]) : 0;
            while (len > 0 && bases[b][len - 1] == '/') {
                len--;
            }
            if (len > 0 && strncmp(ignore[i], bases[b], len) == 0 &&
                ignore[i][len] == '/') {
                memmove(ignore[i], ignore[i] + len + 1, strlen(ignore[i] + len + 1) + 1);
                break;
            }
        }
    }
    free(root);
}

static void tell(const struct verify *opt, const struct ww_verify_report *report,
                 const char *model)
{
    if (opt->common.json) {
        return;
    }
    printf("OK: '%s' is signed by %s\n", model, report->signer);
    if (opt->tensor) {
        printf("checked: tensor '%s' alone\n", opt->tensor);
    } else {
        printf("checked: %" PRIu64 " file%s%s\n", report->files_checked,
               cli_s(report->files_checked),
               report->locked ? "; the model is locked" : "");
    }
    printf("not checked: ");
    for (size_t i = 0; i < report->n_not_checked; i++) {
        printf("%s%s", i ? "; " : "", report->not_checked[i]);
    }
    printf("%s\n", report->n_not_checked ? "" : "nothing was left out");
}

static int run_chain(const struct verify *opt, const char *verb, const char *model)
{
    struct cli_chain chain = {
        .common = &opt->common,
        .page = opt->page,
        .bom = opt->bom,
        .options = {.keys = (const char *const *)opt->keys,
                    .n_keys = cli_count(opt->keys),
                    .certificates = (const char *const *)opt->chain,
                    .n_certificates = cli_count(opt->chain),
                    .at_unix = opt->at,
                    .trusted_root = opt->trusted_root,
                    .identity = opt->identity,
                    .identity_provider = opt->provider,
                    .ignore_paths = (const char *const *)opt->ignore,
                    .n_ignore_paths = cli_count(opt->ignore),
                    .ignore_unsigned_files = opt->ignore_unsigned != 0,
                    .check_file = ww_pack_check_file},
        .trust = {.roots = (const char *const *)opt->roots,
                  .n_roots = cli_count(opt->roots),
                  .state = opt->state,
                  .at_unix = opt->at},
    };
    if (opt->tensor || opt->signature) {
        return cli_usage(
            verb,
            "--chain is of a whole folder or file: not with --signature or --tensor");
    }
    if (opt->roots && opt->keys) {
        return cli_usage(verb, "--root names the keys that count; leave --key out");
    }
    if (opt->state && !opt->roots) {
        return cli_usage(verb, "--state is of a trust root: add --root");
    }
    const int status = cli_run_options(&opt->common, &chain.options.run);
    return status ? status : cli_verify_chain(&chain, verb, model);
}

/* Exactly one answer to the question whom the caller trusts; along a chain, one or more.
 */
static int choose_method(const struct verify *opt, const char *verb,
                         enum ww_verify_method *method)
{
    const bool is_keyless = opt->identity != NULL || opt->provider != NULL;
    const int given = (opt->keys != NULL) + (opt->chain != NULL) + is_keyless;
    if (opt->walk ? given == 0 && !opt->roots : given != 1) {
        return cli_usage(verb, "give one of --key PUB, --certificate-chain FILE and "
                               "--identity ID: whom do you trust?");
    }
    if (is_keyless && (!opt->identity || !opt->provider || !opt->trusted_root)) {
        return cli_usage(verb, "--identity, --identity-provider and --trusted-root go "
                               "together");
    }
    if (!opt->walk && (opt->roots || opt->state)) {
        return cli_usage(verb, "--root and --state are of a chain: add --chain");
    }
    if (opt->keys && opt->trusted_root && !opt->walk) {
        return cli_usage(verb, "--trusted-root says nothing about a key; leave it out");
    }
    if (is_keyless && opt->at && !opt->walk) {
        return cli_usage(verb, "--at has no use with --identity: the log says when");
    }
    *method = is_keyless   ? WW_VERIFY_KEYLESS
              : opt->chain ? WW_VERIFY_CERTIFICATE
                           : WW_VERIFY_KEY;
    return 0;
}

/* As policies write it, or seconds since 1970. */
static bool read_time(const char *text, int64_t *at)
{
    char *end = NULL;

    if (ww_time_parse(text, at)) {
        return true;
    }
    errno = 0;
    *at = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

static struct ww_verify_options options_of(const struct verify *opt)
{
    return (struct ww_verify_options){
        .public_key = opt->keys ? opt->keys[0] : NULL,
        .chain = (const char *const *)opt->chain,
        .n_chain = cli_count(opt->chain),
        .at_unix = opt->at,
        .trusted_root = opt->trusted_root,
        .identity = opt->identity,
        .identity_provider = opt->provider,
        .signature = opt->signature,
        .ignore_paths = (const char *const *)opt->ignore,
        .n_ignore_paths = cli_count(opt->ignore),
        .ignore_unsigned_files = opt->ignore_unsigned != 0,
        .tensor = opt->tensor,
    };
}

static int run_one(const struct verify *opt, const char *verb, const char *model,
                   enum ww_verify_method method)
{
    struct ww_verify_options options = options_of(opt);
    struct ww_verify_report report = {0};
    struct ww_error err = {0};
    char *json = NULL;
    int status = cli_run_options(&opt->common, &options.run);
    if (status) {
        return status;
    }
    options.method = method;
    enum ww_err rc = ww_verify_folder(model, &options, &report, &err);
    cli_progress_done();
    if (rc) {
        status = cli_fail(verb, &opt->common, &err);
        if (!opt->common.json && ww_err_class_of(rc) == WW_CLASS_REFUSED) {
            printf("REFUSED: '%s'\n", model);
        }
        goto out;
    }
    tell(opt, &report, model);
    if (opt->common.json) {
        rc = ww_report_verify_json(&report, &json, &err);
        status = cli_answer_json(verb, &opt->common, rc, json, &err);
    }
out:
    ww_verify_report_release(&report);
    return status;
}

static int run_verify(const void *given, const char *verb, const char *const *args)
{
    struct verify timed = *(const struct verify *)given;
    const struct verify *opt = &timed;
    const char *model = args[0];
    enum ww_verify_method method = WW_VERIFY_KEY;
    if (timed.when && !read_time(timed.when, &timed.at)) {
        return cli_choice(verb, "--at",
                          "a time like 2026-11-25T12:00:00Z, or seconds since 1970",
                          timed.when);
    }
    int status = choose_method(opt, verb, &method);
    if (status) {
        return status;
    }
    strip_model(opt->ignore, model);
    if ((opt->page || opt->bom) && !opt->walk) {
        return cli_usage(verb, "--report and --bom are of a chain: add --chain");
    }
    if (opt->walk) {
        return run_chain(opt, verb, model);
    }
    if (cli_count(opt->keys) > 1) {
        return cli_usage(verb, "several keys are for --chain; a model is signed by one");
    }
    return run_one(opt, verb, model, method);
}

int cmd_verify(int argc, const char **argv)
{
    struct verify opt = {0};
    const struct poptOption table[] = {
        {"key", 'k', POPT_ARG_ARGV, &opt.keys, 0,
         "public key (PEM; repeatable with --chain)", "PUB"},
        {"chain", 0, POPT_ARG_NONE, &opt.walk, 0,
         "verify the evidence of all ancestors too, each by one of those trusted", NULL},
        {"root", 0, POPT_ARG_ARGV, &opt.roots, 0,
         "with --chain: the trust root that is believed, then its successors "
         "(repeatable)",
         "ROOT"},
        {"state", 0, POPT_ARG_STRING, &opt.state, 0,
         "with --root: refuse roots older than this file has seen", "FILE"},
        {"report", 0, POPT_ARG_STRING, &opt.page, 0,
         "with --chain: also write what was found as a page (HTML)", "FILE"},
        {"bom", 0, POPT_ARG_STRING, &opt.bom, 0,
         "with --chain: also write it as a bill of materials (CycloneDX 1.6)", "FILE"},
        {"certificate-chain", 0, POPT_ARG_ARGV, &opt.chain, 0,
         "trusted certificates (PEM, repeatable)", "FILE"},
        {"identity", 0, POPT_ARG_STRING, &opt.identity, 0,
         "keyless: who must have signed", "ID"},
        {"identity-provider", 0, POPT_ARG_STRING, &opt.provider, 0,
         "keyless: who vouched for that identity", "URL"},
        {"trusted-root", 0, POPT_ARG_STRING, &opt.trusted_root, 0,
         "pinned root of the Sigstore instance", "FILE"},
        {"at", 0, POPT_ARG_STRING, &opt.when, 0,
         "check certificates at this time, as 2026-11-25T12:00:00Z or in seconds since "
         "1970 (default: now)",
         "TIME"},
        {"signature", 0, POPT_ARG_STRING, &opt.signature, 0,
         "signature file (default: MODEL/model.sig)", "FILE"},
        {"ignore-paths", 0, POPT_ARG_ARGV, &opt.ignore, 0,
         "leave out this path of the folder (repeatable)", "PATH"},
        {"ignore-unsigned-files", 0, POPT_ARG_NONE, &opt.ignore_unsigned, 0,
         "accept files that the signature does not name", NULL},
        {"tensor", 0, POPT_ARG_STRING, &opt.tensor, 0,
         "verify this tensor alone, by the signed tensor tree", "NAME"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "MODEL", 1, 1, run_verify, &opt);
}
