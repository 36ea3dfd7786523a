/* SPDX-License-Identifier: Apache-2.0 */
/* weightward rmm: the words that read a package. */
#include "cli_rmm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cli_rmm_list(const struct cli_rmm *opt, const char *const *args)
{
    struct ww_error err = {0};
    struct ww_pack_report report = {0};
    enum ww_err rc = ww_pack_list(args[0], &report, &err);
    int status = rc ? cli_fail("rmm", &opt->common, &err)
                    : cli_rmm_answer(opt, "list", &report, true);
    ww_pack_report_release(&report);
    return status;
}

/* Packages of older versions, and adapters that were packed without --base. */
void cli_rmm_tell_unknown(const struct cli_rmm *opt)
{
    cli_say(&opt->common,
            "warning: the package does not say of every tensor of '%s' that it is the "
            "base of its adapters, so it may be another one; packed with --base it says",
            opt->base ? opt->base : opt->merged);
}

static void tell_verified(const struct cli_rmm *opt, const struct ww_pack_report *report)
{
    char a[32];
    cli_say(&opt->common, "every section has its digest: %zu member%s, %s, version %llu",
            report->n_members, cli_s(report->n_members), cli_bytes(report->bytes, a),
            (unsigned long long)report->version);
    if (opt->base || opt->merged) {
        const bool all = report->restored == report->n_members;
        cli_say(&opt->common, "%llu of %zu members restored in memory%s%s",
                (unsigned long long)report->restored, report->n_members,
                report->restored ? ", every file with its digest" : "",
                all              ? ""
                : opt->open_with ? "; the others are sealed, and not for this key"
                                 : "; the others are sealed: --open-with KEY");
        if (report->base_unknown) {
            cli_rmm_tell_unknown(opt);
        }
    }
    if (report->n_foreign > 0) {
        cli_say(&opt->common,
                "warning: '%s' lies in the folder and is no part of the package%s; it "
                "was not looked at, move it away",
                report->foreign, report->n_foreign > 1 ? ", nor is more" : "");
    }
    if (report->signer[0]) {
        cli_say(&opt->common, "signed by %s", report->signer);
    } else {
        cli_say(&opt->common, "signature not checked: say --key PUB; digests alone find "
                              "accidents, not changes on purpose");
    }
}

int cli_rmm_verify(const struct cli_rmm *opt, const char *const *args)
{
    struct ww_error err = {0};
    struct ww_pack_report report = {0};
    struct ww_unsealer unsealer = {0};
    struct ww_pack_verify_options options = {.public_key = opt->key,
                                             .base = opt->base ? opt->base : opt->merged,
                                             .sources = (const char *const *)opt->sources,
                                             .n_sources = cli_count(opt->sources),
                                             .unsealer = &unsealer};
    int status = cli_run_options(&opt->common, &options.run);
    if (status) {
        return status;
    }
    options.least_version = (uint64_t)opt->at_least;
    cli_catch_signals();
    enum ww_err rc = cli_rmm_unsealer(opt, &unsealer, &err);
    if (rc == WW_OK) {
        rc = ww_pack_verify(args[0], &options, &report, &err);
    }
    if (rc) {
        status = cli_fail("rmm", &opt->common, &err);
    } else {
        tell_verified(opt, &report);
        status = cli_rmm_answer(opt, "verify", &report, false);
    }
    ww_secret_free(unsealer.recipient_passphrase);
    ww_pack_report_release(&report);
    return status;
}

struct asking {
    const struct cli_rmm *opt;
    const char *const *args;
    struct cli_verdict verdict;
};

/* What a member is and was made of lies in its files, so it is restored before anybody
 * can be asked; what is denied never gets its name. */
static enum ww_err ask(void *payload, const char *folder, struct ww_error *err)
{
    struct asking *a = payload;
    char *path = strdup(folder);
    char *name = cli_guard_name(a->args[2]);
    const struct ww_policy_source source = {
        .path = path, .weight = 1000000, .name = a->args[1]};
    const struct ww_policy_ask what = {.action = "extract",
                                       .sources = &source,
                                       .n_sources = 1,
                                       .output_name = name,
                                       .restores = true};
    enum ww_err rc = cli_guard_ask(&a->opt->guard, &a->opt->common, &what, a->args[2],
                                   NULL, &a->verdict, err);
    free(path);
    free(name);
    return rc;
}

static int unpack(const struct cli_rmm *opt, const char *const *args,
                  struct ww_unpack_options *options)
{
    struct ww_error err = {0};
    struct ww_pack_report report = {0};
    struct asking asking = {.opt = opt, .args = args};
    int status = 0;
    options->before_commit = ask;
    options->before_commit_payload = &asking;
    enum ww_err rc = opt->tensor
                         ? ww_unpack_tensor(args[0], args[1], opt->tensor, options,
                                            cli_give_bytes, NULL, &err)
                         : ww_unpack(args[0], args[1], args[2], options, &report, &err);
    if (rc == WW_OK && !opt->tensor) {
        rc = cli_guard_record(&opt->guard, &asking.verdict, args[2], &err);
    }
    if (rc) {
        status = cli_fail_out("rmm", &opt->common, &err, args[2], true);
    } else if (!opt->tensor) {
        if (options->form > WW_UNPACK_PEFT) {
            cli_say(&opt->common,
                    "restored '%s' with the digests that the manifest commits "
                    "to, and wrote it as '%s', form %s",
                    args[1], args[2], opt->form);
            cli_warn(&opt->common, report.warnings, report.n_warnings);
            if (report.base_unknown) {
                cli_rmm_tell_unknown(opt);
            }
        } else {
            cli_say(&opt->common,
                    "restored '%s' as '%s': every file has the digest that the "
                    "manifest commits to; %.1f s",
                    args[1], args[2], report.run.seconds);
        }
        status = cli_rmm_answer(opt, "unpack", &report, false);
    }
    ww_pack_report_release(&report);
    cli_guard_release(&asking.verdict);
    return status;
}

static int read_form(const struct cli_rmm *opt, enum ww_unpack_form *form)
{
    *form = WW_UNPACK_FILES;
    for (int i = 0; opt->form && i < WW_UNPACK_FORMS; i++) {
        if (strcmp(ww_unpack_form_name((enum ww_unpack_form)i), opt->form) == 0) {
            *form = (enum ww_unpack_form)i;
            return opt->tensor
                       ? cli_usage("rmm", "--form and --tensor do not go together")
                       : 0;
        }
    }
    return opt->form ? cli_choice("rmm", "--form", "files, peft, portable, gguf or model",
                                  opt->form)
                     : 0;
}

int cli_rmm_unpack(const struct cli_rmm *opt, const char *const *args)
{
    struct ww_error err = {0};
    struct ww_unsealer unsealer = {0};
    struct ww_unpack_options options = {.base = opt->base ? opt->base : opt->merged,
                                        .sources = (const char *const *)opt->sources,
                                        .n_sources = cli_count(opt->sources),
                                        .unsealer = &unsealer,
                                        .public_key = opt->signed_by,
                                        .least_version = (uint64_t)opt->at_least};
    const bool to_pipe = strcmp(args[2], "-") == 0;
    if (to_pipe != (opt->tensor != NULL) ||
        (to_pipe && (opt->common.json || isatty(STDOUT_FILENO)))) {
        return cli_usage("rmm",
                         "--tensor NAME writes to standard output: give '-' for OUT with "
                         "it, and only with it, no --json, and no terminal");
    }
    if (opt->tensor && opt->resume) {
        return cli_usage("rmm", "--tensor leaves nothing that --resume could continue");
    }
    if (opt->tensor && opt->guard.roots) {
        return cli_usage("rmm",
                         "policies are asked about whole members: no --tensor with "
                         "--policy-root");
    }
    int status = read_form(opt, &options.form);
    if (!status) {
        status = cli_run_options(&opt->common, &options.run);
    }
    if (status) {
        return status;
    }
    options.run.resume = opt->resume != 0;
    cli_catch_signals();
    enum ww_err rc = cli_rmm_unsealer(opt, &unsealer, &err);
    status = rc ? cli_fail("rmm", &opt->common, &err) : unpack(opt, args, &options);
    ww_secret_free(unsealer.recipient_passphrase);
    return status;
}

int cli_rmm_unmerge(const struct cli_rmm *opt, const char *const *args)
{
    if (!opt->merged || opt->base || opt->form || opt->tensor) {
        return cli_usage("rmm",
                         "unmerge takes --merged MODEL and --source MODEL for each "
                         "other source, and gives back files");
    }
    return cli_rmm_unpack(opt, args);
}
