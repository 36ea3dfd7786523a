/* SPDX-License-Identifier: Apache-2.0 */
/* Level sealed: what lock and unlock do with it. */
#include "cli.h"
#include "cli_guard.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum ww_err cli_unsealer(const char *path, const struct cli_seal *opt,
                         struct ww_unsealer *out, struct ww_error *err)
{
    struct ww_seal_access access;
    char prompt[300];
    *out = (struct ww_unsealer){.recipient_key = opt->key->open_with};
    enum ww_err rc = ww_seal_access_read(path, &access, err);
    if (rc) {
        return rc;
    }
    enum ww_key_sealing sealing = access.sealing;
    ww_seal_access_release(&access);
    if (sealing == WW_SEALED_PASSPHRASE) {
        snprintf(prompt, sizeof prompt, "Passphrase for '%.200s'", path);
        return cli_passphrase(&opt->key->passphrase, prompt, false, &out->passphrase,
                              err);
    }
    if (opt->key->open_with) {
        struct ww_key_info recipient;
        rc = ww_key_inspect(opt->key->open_with, &recipient, err);
        if (rc == WW_OK && recipient.sealing == WW_SEALED_PASSPHRASE) {
            snprintf(prompt, sizeof prompt, "Passphrase for '%.200s'",
                     opt->key->open_with);
            rc = cli_passphrase(&opt->key->open_passphrase, prompt, false,
                                &out->recipient_passphrase, err);
        }
    }
    return rc;
}

void cli_unsealer_release(struct ww_unsealer *unsealer)
{
    ww_secret_free(unsealer->passphrase);
    ww_secret_free(unsealer->recipient_passphrase);
}

static int answer(const char *verb, const struct cli_seal *opt,
                  const struct ww_seal_report *report)
{
    struct ww_error err = {0};
    char *json = NULL;
    if (!opt->common->json) {
        return 0;
    }
    enum ww_err rc = ww_report_seal_json(verb, report, &json, &err);
    return cli_answer_json(verb, opt->common, rc, json, &err);
}

static void warn(const struct cli_seal *opt, const struct ww_seal_report *report)
{
    cli_warn(opt->common, report->warnings, report->n_warnings);
}

static void tell_sealed(const struct cli_seal *opt, const struct ww_seal_report *report,
                        const char *out)
{
    char a[32];
    char who[64] = "by a passphrase";
    if (report->recipients) {
        snprintf(who, sizeof who, "for %llu recipient%s",
                 (unsigned long long)report->recipients, cli_s(report->recipients));
    }
    warn(opt, report);
    cli_say(opt->common,
            "sealed into '%s' %s: %llu file%s, %s encrypted (%s) in %.1f s%s", out, who,
            (unsigned long long)report->files, cli_s(report->files),
            cli_bytes(report->bytes, a), report->cipher, report->run.seconds,
            opt->signer ? ", signed" : ", not signed (use --sign)");
    cli_say(opt->common,
            "headers, config.json, the tokenizer and other files stay readable%s",
            opt->signer && !opt->no_lineage
                ? ", and so does which model it is (see --no-lineage)"
                : "");
}

int cli_seal(const struct cli_seal *opt, const char *const *args)
{
    struct ww_error err = {0};
    struct ww_seal_report report = {0};
    struct ww_seal_options options = {
        .sealer = {NULL, (const char *const *)opt->to, cli_count(opt->to)},
        .signer = opt->signer,
        .no_lineage = opt->no_lineage};
    int status = cli_run_options(opt->common, &options.run);
    if (status) {
        return status;
    }
    options.run.resume = opt->resume;
    cli_catch_signals();
    enum ww_err rc = WW_OK;
    if (!opt->to || opt->key->passphrase.file || opt->key->passphrase.fd >= 0) {
        rc = cli_passphrase(&opt->key->passphrase, "New passphrase", true,
                            &options.sealer.passphrase, &err);
    }
    if (rc == WW_OK) {
        rc = ww_seal_folder(args[0], args[1], &options, &report, &err);
    }
    if (rc) {
        status = cli_fail_out("lock", opt->common, &err, args[1], false);
    } else {
        cli_bom(opt->common, args[1], opt->no_lineage ? NULL : opt->signer);
        tell_sealed(opt, &report, args[1]);
        status = answer("lock", opt, &report);
    }
    ww_seal_report_release(&report);
    ww_secret_free(options.sealer.passphrase);
    return status;
}

static enum ww_err unseal(const struct cli_seal *opt, const char *const *args,
                          const struct ww_unsealer *unsealer,
                          const struct ww_run_options *run, struct ww_seal_report *report,
                          struct ww_error *err)
{
    char a[32];
    if (opt->file) {
        return ww_unseal_file(args[0], opt->file, unsealer, run, cli_give_bytes, NULL,
                              report, err);
    }
    enum ww_err rc = ww_unseal_folder(args[0], args[1], unsealer, run, report, err);
    if (rc == WW_OK) {
        warn(opt, report);
        cli_say(opt->common,
                "unsealed into '%s': %llu sealed file%s, %s; every file has its "
                "source's digest; %.1f s",
                args[1], (unsigned long long)report->files, cli_s(report->files),
                cli_bytes(report->bytes, a), report->run.seconds);
    }
    return rc;
}

int cli_unseal(const struct cli_seal *opt, const char *const *args)
{
    struct ww_error err = {0};
    struct ww_seal_report report = {0};
    struct ww_unsealer unsealer = {0};
    struct ww_run_options run = {0};
    bool to_pipe = strcmp(args[1], "-") == 0;
    if (to_pipe != (opt->file != NULL)) {
        return cli_usage("unlock",
                         "--file NAME writes one file to standard output: give '-' for "
                         "OUT with it, and only with it");
    }
    if (to_pipe && (opt->common->json || isatty(STDOUT_FILENO))) {
        return cli_usage("unlock",
                         "standard output carries the weights: no --json, and no "
                         "terminal");
    }
    int status = cli_run_options(opt->common, &run);
    if (status) {
        return status;
    }
    run.resume = opt->resume;
    cli_catch_signals();
    enum ww_err rc = cli_unsealer(args[0], opt, &unsealer, &err);
    if (rc == WW_OK) {
        rc = unseal(opt, args, &unsealer, &run, &report, &err);
    }
    status = rc ? cli_fail_out("unlock", opt->common, &err, args[1], true)
                : answer("unlock", opt, &report);
    ww_seal_report_release(&report);
    cli_unsealer_release(&unsealer);
    return status;
}
