/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lock and unlock: the same options, two directions. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

struct lock {
    struct cli_common common;
    bool unlocking;
    char *key;
    struct cli_passphrase key_passphrase;
    char *open_with;
    struct cli_passphrase open_passphrase;
    char *sign;
    struct cli_passphrase sign_passphrase;
    char *certificate;
    char **chain;
    char *level;
    int scale;
    int resume;
    char *descriptor;
    char *descriptor_dir;
    char *base;
};

static enum ww_err load_lock_key(const struct lock *opt, struct ww_secret **secret,
                                 struct ww_error *err)
{
    struct ww_key_info info;
    struct ww_unsealer unsealer = {.recipient_key = opt->open_with};
    char prompt[300];
    enum ww_err rc = ww_key_inspect(opt->key, &info, err);
    if (rc) {
        return rc;
    }
    if (info.sealing == WW_SEALED_PASSPHRASE) {
        snprintf(prompt, sizeof prompt, "Passphrase for '%.200s': ", opt->key);
        rc = cli_passphrase(&opt->key_passphrase, prompt, false, &unsealer.passphrase, err);
    } else if (info.sealing == WW_SEALED_RECIPIENTS && opt->open_with) {
        struct ww_key_info recipient;
        rc = ww_key_inspect(opt->open_with, &recipient, err);
        if (rc == WW_OK && recipient.sealing == WW_SEALED_PASSPHRASE) {
            snprintf(prompt, sizeof prompt, "Passphrase for '%.200s': ", opt->open_with);
            rc = cli_passphrase(&opt->open_passphrase, prompt, false,
                                &unsealer.recipient_passphrase, err);
        }
    }
    if (rc == WW_OK) {
        rc = ww_lockkey_load(opt->key, &unsealer, secret, err);
    }
    ww_secret_free(unsealer.passphrase);
    ww_secret_free(unsealer.recipient_passphrase);
    return rc;
}

static void tell(const struct lock *opt, const struct ww_lock_report *report,
                 const char *out)
{
    char a[32];
    for (size_t i = 0; i < report->n_warnings; i++) {
        cli_say(&opt->common, "warning: %s", report->warnings[i]);
    }
    if (opt->base) {
        cli_say(&opt->common, "carried %s '%s': %llu of %llu tensors moved%s",
                opt->unlocking ? "back into" : "over into", out,
                (unsigned long long)report->tensors_changed,
                (unsigned long long)report->tensors_total,
                opt->unlocking ? "; the file has its original digest" : "");
        return;
    }
    if (opt->unlocking) {
        cli_say(&opt->common, "unlocked into '%s': every file has its source's digest; %s in "
                "%.1f s", out, cli_bytes(report->run.bytes_written, a), report->run.seconds);
        return;
    }
    cli_say(&opt->common, "checked %u blocks, %llu linear maps on the real weights: off by at "
            "most %.2g", report->check.blocks, (unsigned long long)report->check.linears,
            report->check.max_relative_error);
    cli_say(&opt->common, "locked into '%s': %llu of %llu tensors moved; %s in %.1f s%s", out,
            (unsigned long long)report->tensors_changed,
            (unsigned long long)report->tensors_total,
            cli_bytes(report->run.bytes_written, a), report->run.seconds,
            opt->sign ? ", signed" : ", not signed (use --sign)");
}

static int run_lock(const struct lock *opt, const char *verb, const char *const *args)
{
    struct ww_error err = {0};
    struct ww_lock_report report = {0};
    struct ww_signkey *signkey = NULL;
    struct ww_signer signer = {.certificate = opt->certificate,
                               .chain = (const char *const *)opt->chain,
                               .n_chain = cli_count(opt->chain)};
    struct ww_lock_options options = {
        .scale = opt->scale != 0,
        .layout = {opt->descriptor_dir, opt->descriptor},
    };
    int status = cli_run_options(&opt->common, &options.run);
    if (status) {
        return status;
    }
    options.run.resume = opt->resume != 0;
    cli_catch_signals();
    enum ww_err rc = load_lock_key(opt, &options.secret, &err);
    if (rc) {
        goto out;
    }
    if (opt->sign) {
        rc = cli_signkey(opt->sign, &opt->sign_passphrase, &signkey, &err);
        if (rc) {
            goto out;
        }
        signer.key = signkey;
        options.signer = &signer;
    }
    if (opt->base) {
        rc = ww_lock_adapter(args[0], opt->base, args[1], opt->unlocking, &options, &report,
                             &err);
    } else if (opt->unlocking) {
        rc = ww_unlock_folder(args[0], args[1], &options, &report, &err);
    } else {
        rc = ww_lock_folder(args[0], args[1], &options, &report, &err);
    }
    if (rc) {
        goto out;
    }
    tell(opt, &report, args[1]);
    if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_lock_json(verb, &report, &json, &err);
        status = cli_answer_json(verb, &opt->common, rc, json, &err);
        rc = WW_OK;
    }
out:
    if (rc) {
        status = cli_fail(verb, &opt->common, &err);
    }
    ww_lock_report_release(&report);
    ww_signkey_free(signkey);
    ww_secret_free(options.secret);
    return status;
}

static int check_usage(const struct lock *opt, const char *verb)
{
    const char *what = NULL;
    if (!opt->key) {
        what = "--key LOCKKEY is needed (make one: weightward key new lock --out NAME)";
    } else if (opt->level && strcmp(opt->level, "exact") != 0) {
        what = "this version has --level exact only";
    } else if (opt->certificate && !opt->sign) {
        what = "--certificate needs --sign KEY";
    }
    if (what) {
        fprintf(stderr, "weightward %s: %s\n", verb, what);
        return CLI_USAGE;
    }
    return 0;
}

static int lock_main(int argc, const char **argv, bool unlocking)
{
    struct lock opt = {.unlocking = unlocking, .key_passphrase.fd = -1,
                       .open_passphrase.fd = -1, .sign_passphrase.fd = -1};
    const struct poptOption lock_only[] = {
        {"sign", 0, POPT_ARG_STRING, &opt.sign, 0, "sign what is written", "KEY"},
        {"sign-passphrase-file", 0, POPT_ARG_STRING, &opt.sign_passphrase.file, 0,
         "passphrase of the signing key", "FILE"},
        {"sign-passphrase-fd", 0, POPT_ARG_INT, &opt.sign_passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"certificate", 0, POPT_ARG_STRING, &opt.certificate, 0,
         "sign with this certificate (PEM)", "FILE"},
        {"certificate-chain", 0, POPT_ARG_ARGV, &opt.chain, 0,
         "certificates above it (repeatable)", "FILE"},
        {"level", 0, POPT_ARG_STRING, &opt.level, 0, "exact (default)", "LEVEL"},
        {"scale", 0, POPT_ARG_NONE, &opt.scale, 0,
         "powers of two as well: such models do not merge while locked", NULL},
        POPT_TABLEEND,
    };
    const struct poptOption table[] = {
        {"key", 'k', POPT_ARG_STRING, &opt.key, 0, "lock key", "LOCKKEY"},
        {"passphrase-file", 0, POPT_ARG_STRING, &opt.key_passphrase.file, 0,
         "passphrase of the lock key", "FILE"},
        {"passphrase-fd", 0, POPT_ARG_INT, &opt.key_passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"open-with", 0, POPT_ARG_STRING, &opt.open_with, 0,
         "recipient key that opens the lock key", "KEY"},
        {"open-passphrase-file", 0, POPT_ARG_STRING, &opt.open_passphrase.file, 0,
         "passphrase of the recipient key", "FILE"},
        {"open-passphrase-fd", 0, POPT_ARG_INT, &opt.open_passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"base", 0, POPT_ARG_STRING, &opt.base, 0,
         "MODEL is an adapter: carry it over to (unlock: back from) this locked model",
         "LOCKED"},
        {"resume", 0, POPT_ARG_NONE, &opt.resume, 0,
         "continue what an interrupted run left in OUT.partial", NULL},
        {"descriptor", 0, POPT_ARG_STRING, &opt.descriptor, 0,
         "use this architecture descriptor", "ID"},
        {"descriptor-dir", 0, POPT_ARG_STRING, &opt.descriptor_dir, 0,
         "folder with more descriptors", "DIR"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)(unlocking ? lock_only + 7
                                                                        : lock_only),
         0, unlocking ? NULL : "Lock options:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    poptContext ctx = NULL;
    const char **args = NULL;
    int status = cli_parse(argc, argv, table, "MODEL OUT", 2, 2, &ctx, &args);
    if (status || !args) {
        goto out;
    }
    status = check_usage(&opt, argv[0]);
    if (status == 0) {
        status = run_lock(&opt, argv[0], args);
    }
out:
    cli_finish(ctx, table);
    return status;
}

int cmd_lock(int argc, const char **argv)
{
    return lock_main(argc, argv, false);
}

int cmd_unlock(int argc, const char **argv)
{
    return lock_main(argc, argv, true);
}
