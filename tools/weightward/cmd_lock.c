/* SPDX-License-Identifier: Apache-2.0 */
/* weightward lock and unlock: the same options, two directions. */
#include "cli_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lock {
    struct cli_common common;
    bool unlocking;
    struct cli_lockkey key;
    struct cli_signing signing;
    char *level;
    int scale;
    int no_scale;
    double condition;
    int resume;
    char *descriptor;
    char *descriptor_dir;
    char *base;
    char *recipient;
    char *ledger;
    int mend;
    char *anchor;
    char **to;
    int no_lineage;
    char *file;
    int weights_only;
    struct cli_guard guard;
};

static void tell_attack(const struct lock *opt, const struct ww_lock_attack *attack)
{
    if (!attack->measured) {
        return;
    }
    cli_say(&opt->common,
            "attacked with the anchor, mode %s: %.1f %% of the bytes are the "
            "source's again%s",
            attack->mode, 100 * attack->identical,
            attack->identical == 1 ? "; who has such a model can undo this lock" : "");
    if (attack->has_task && attack->identical < 1) {
        cli_say(&opt->common, "recovered %.1f %% of what the source adds to the anchor",
                100 * attack->recovered);
    }
}

static bool is_dense(const struct lock *opt)
{
    return opt->level && strcmp(opt->level, "dense") == 0;
}

static void tell_dense(const struct lock *opt, const struct ww_dense_report *dense)
{
    char a[32];
    if (!dense->used) {
        return;
    }
    cli_say(&opt->common,
            "mixed %llu weights: projections change by %.2g; the residual that "
            "restores them is %s, %.2f bits per weight",
            (unsigned long long)dense->weights, dense->projection_error,
            cli_bytes(dense->residual_bytes, a), dense->bits_per_weight);
    if (dense->blocks_run) {
        cli_say(&opt->common,
                "outputs of %u blocks change by at most %.2g of what they add",
                dense->blocks_run, dense->output_change);
    }
}

static void tell(const struct lock *opt, const struct ww_lock_report *report,
                 const char *out)
{
    char a[32];
    cli_warn(&opt->common, report->warnings, report->n_warnings);
    if (opt->base) {
        cli_say(&opt->common, "carried %s '%s': %llu of %llu tensors moved%s",
                opt->unlocking ? "back into" : "over into", out,
                (unsigned long long)report->tensors_changed,
                (unsigned long long)report->tensors_total,
                opt->unlocking ? "; the file has its original digest" : "");
        return;
    }
    if (opt->unlocking) {
        /* A merge of locked models has no lock of its own, nor a source. */
        cli_say(&opt->common, "unlocked into '%s'%s; %s in %.1f s", out,
                report->lock_id[0] == '\0' ? ""
                : opt->weights_only ? ": every restored file has its source's digest"
                                    : ": every file has its source's digest",
                cli_bytes(report->run.bytes_written, a), report->run.seconds);
        return;
    }
    cli_say(&opt->common,
            "checked %u blocks, %llu linear maps on the real weights: off by at "
            "most %.2g",
            report->check.blocks, (unsigned long long)report->check.linears,
            report->check.max_relative_error);
    if (opt->recipient) {
        cli_say(&opt->common, "the copy is entered in '%s' for '%s'", opt->ledger,
                opt->recipient);
    }
    tell_attack(opt, &report->attack);
    tell_dense(opt, &report->dense);
    cli_say(&opt->common, "locked into '%s': %llu of %llu tensors moved; %s in %.1f s%s",
            out, (unsigned long long)report->tensors_changed,
            (unsigned long long)report->tensors_total,
            cli_bytes(report->run.bytes_written, a), report->run.seconds,
            opt->signing.path ? ", signed" : ", not signed (use --sign)");
}

/* An adapter follows its base: it is the model that is asked about, with the base. */
static enum ww_err guard(const struct lock *opt, const char *verb,
                         const char *const *args, struct ww_signkey *signkey,
                         struct cli_verdict *verdict, struct ww_error *err)
{
    char *model = strdup(args[0]);
    char *base = opt->base ? strdup(opt->base) : NULL;
    char *name = cli_guard_name(args[1]);
    const struct ww_policy_source sources[] = {{.path = model, .weight = 1000000},
                                               {.path = base, .weight = 1000000}};
    const struct ww_policy_ask ask = {.action = verb,
                                      .method = opt->unlocking ? NULL
                                                : opt->level   ? opt->level
                                                               : "exact",
                                      .sources = sources,
                                      .n_sources = base ? 2 : 1,
                                      .output_name = name,
                                      .output_locked = !opt->unlocking,
                                      .restores = opt->unlocking != 0};
    enum ww_err rc =
        cli_guard_ask(&opt->guard, &opt->common, &ask, args[1], signkey, verdict, err);
    free(model);
    free(base);
    free(name);
    return rc;
}

static int check_usage(const struct lock *opt, const char *verb)
{
    const char *what = NULL;
    if (!opt->key.path) {
        what = opt->unlocking
                   ? "--key LOCKKEY is needed: the key that the model was locked with"
                   : "--key LOCKKEY is needed (make one: weightward key new lock --out "
                     "NAME)";
    } else if (opt->level && strcmp(opt->level, "exact") != 0 && !is_dense(opt)) {
        return cli_choice(verb, "--level", "exact, dense or sealed", opt->level);
    } else if (opt->condition != 0 && !is_dense(opt)) {
        what = "--condition needs --level dense";
    } else if (opt->scale && opt->no_scale) {
        what = "--scale and --no-scale exclude each other";
    } else if (opt->condition != 0 && !(opt->condition > 1 && opt->condition <= 4)) {
        what = "--condition is a number above 1 and at most 4";
    } else if (opt->to || opt->file) {
        what =
            opt->to ? "--to goes with --level sealed" : "--file goes with sealed models";
    } else if (opt->anchor && opt->base) {
        what = "an adapter follows its base: --anchor MODEL goes with the base";
    } else if (opt->no_lineage) {
        what = "--no-lineage goes with --level sealed";
    } else if (opt->signing.certificate && !opt->signing.path) {
        what = "--certificate needs --sign KEY";
    } else if (!opt->recipient != !opt->ledger) {
        what = "--for NAME and --ledger FILE go together";
    } else if (opt->mend && !opt->ledger) {
        what = "--mend-ledger goes with --ledger FILE";
    } else if (opt->recipient && !opt->signing.path) {
        what = "--for NAME needs --sign KEY: the ledger is signed";
    } else if (opt->recipient && opt->base) {
        what = "an adapter follows its base: --for NAME goes with the base";
    } else if (opt->weights_only && opt->base) {
        what = "an adapter comes back whole: --weights-only goes with models";
    } else if (opt->recipient && opt->resume) {
        what = "--resume cannot go with --for NAME: every such run draws another nonce";
    }
    return what ? cli_usage(verb, what) : 0;
}

static bool is_sealed(const struct lock *opt, const char *model)
{
    return opt->unlocking ? ww_folder_is_sealed(model)
                          : opt->level && strcmp(opt->level, "sealed") == 0;
}

/* A sealed model is encrypted, and nothing in it moves. */
static int check_sealed(const struct lock *opt, const char *verb)
{
    const struct cli_rule rules[] = {
        {opt->key.path && opt->unlocking, "the model is sealed: --open-with KEY opens "
                                          "it, --key LOCKKEY is of locked ones"},
        {opt->key.path, "level sealed encrypts for --to PUB, without --key"},
        {opt->scale || opt->no_scale, "--scale and --no-scale go with locks, not with "
                                      "level sealed"},
        {opt->base, "--base goes with locks, not with level sealed"},
        {opt->descriptor || opt->descriptor_dir,
         "--descriptor and --descriptor-dir go with locks, not with level sealed"},
        {opt->anchor, "--anchor goes with locks, not with level sealed"},
        {opt->recipient || opt->ledger || opt->mend,
         "--for, --ledger and --mend-ledger go with locks, not with level sealed"},
        {opt->condition != 0, "--condition needs --level dense"},
        {opt->weights_only, "--weights-only goes with locks, not with level sealed"},
        {opt->signing.certificate && !opt->signing.path,
         "--certificate needs --sign KEY"},
    };
    return cli_rules(verb, rules, sizeof rules / sizeof *rules);
}

static int run_sealed(const struct lock *opt, const char *verb, const char *const *args)
{
    struct ww_signer signer = {0};
    const struct ww_signer *use = NULL;
    struct cli_seal seal = {.common = &opt->common,
                            .to = opt->to,
                            .key = &opt->key,
                            .file = opt->file,
                            .resume = opt->resume != 0,
                            .no_lineage = opt->no_lineage != 0};
    int status = check_sealed(opt, verb);
    if (status) {
        return status;
    }
    struct cli_verdict verdict = {0};
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;
    rc = cli_signing_open(&opt->signing, &signer, &use, &err);
    seal.signer = use;
    if (rc == WW_OK) {
        rc = guard(opt, verb, args, signer.key, &verdict, &err);
    }
    if (rc == WW_OK) {
        status = opt->unlocking ? cli_unseal(&seal, args) : cli_seal(&seal, args);
    }
    if (rc == WW_OK && status == 0 && !opt->file) {
        rc = cli_guard_record(&opt->guard, &verdict, args[1], &err);
    }
    if (rc) {
        status = cli_fail(verb, &opt->common, &err);
    }
    cli_guard_release(&verdict);
    ww_signkey_free(signer.key);
    return status;
}

/* What was asked for, once keys are open and policies have permitted it. */
static enum ww_err transform(const struct lock *opt, const char *const *args,
                             const struct ww_lock_options *options,
                             struct ww_lock_report *report, struct ww_error *err)
{
    const struct ww_ledger_options ledger = {
        .path = opt->ledger, .recipient = opt->recipient, .mend = opt->mend != 0};
    if (opt->base) {
        return ww_lock_adapter(args[0], opt->base, args[1], opt->unlocking, options,
                               report, err);
    }
    if (opt->unlocking) {
        return ww_unlock_folder(args[0], args[1], options, report, err);
    }
    return opt->recipient ? ww_lock_for(args[0], args[1], &ledger, options, report, err)
                          : ww_lock_folder(args[0], args[1], options, report, err);
}

/* A lock or an unlock on its way; options borrow the rest. */
struct locking {
    struct ww_lock_options options;
    struct ww_attack_options attack;
    struct ww_key_binding binding;
    struct ww_signer signer;
    struct cli_verdict verdict;
    struct ww_lock_report report;
};

static int prepare(const struct lock *opt, const char *verb, struct locking *l)
{
    int status = check_usage(opt, verb);

    l->options = (struct ww_lock_options){
        .scale = opt->scale != 0,
        .scale_if_room = !opt->no_scale,
        .dense = is_dense(opt),
        .condition = opt->condition,
        .binding = &l->binding,
        .weights_only = opt->weights_only != 0,
        .layout = {opt->descriptor_dir, opt->descriptor},
    };
    if (status == 0) {
        status = cli_run_options(&opt->common, &l->options.run);
    }
    l->options.run.resume = opt->resume != 0;
    l->attack = (struct ww_attack_options){
        .anchor = opt->anchor, .layout = l->options.layout, .run = l->options.run};
    if (opt->anchor) {
        l->options.measure = ww_attack_measure;
        l->options.measure_payload = &l->attack;
    }
    return status;
}

static enum ww_err run_steps(const struct lock *opt, const char *verb,
                             const char *const *args, struct locking *l,
                             struct ww_error *err)
{
    enum ww_err rc = cli_lockkey_bound(&opt->key, &l->options.secret, &l->binding, err);

    if (!rc) {
        rc = cli_signing_open(&opt->signing, &l->signer, &l->options.signer, err);
    }
    if (!rc) {
        rc = guard(opt, verb, args, l->signer.key, &l->verdict, err);
    }
    if (!rc) {
        rc = transform(opt, args, &l->options, &l->report, err);
    }
    return rc ? rc : cli_guard_record(&opt->guard, &l->verdict, args[1], err);
}

static int run_lock(const void *given, const char *verb, const char *const *args)
{
    const struct lock *opt = given;
    struct locking l = {0};
    struct ww_error err = {0};
    char *json = NULL;
    enum ww_err rc = WW_OK;
    int status = 0;

    if (is_sealed(opt, args[0])) {
        return run_sealed(opt, verb, args);
    }
    status = prepare(opt, verb, &l);
    if (status) {
        return status;
    }
    cli_catch_signals();
    rc = run_steps(opt, verb, args, &l, &err);
    if (rc) {
        status = cli_fail_out(verb, &opt->common, &err, args[1], !opt->recipient);
    } else {
        cli_bom(&opt->common, args[1], l.options.signer);
        tell(opt, &l.report, args[1]);
    }
    if (!rc && opt->common.json) {
        rc = ww_report_lock_json(verb, &l.report, &json, &err);
        status = cli_answer_json(verb, &opt->common, rc, json, &err);
    }
    ww_lock_report_release(&l.report);
    cli_guard_release(&l.verdict);
    ww_signkey_free(l.signer.key);
    ww_secret_free(l.options.secret);
    return status;
}

static int lock_main(int argc, const char **argv, bool unlocking)
{
    struct lock opt = {.unlocking = unlocking,
                       .key = CLI_LOCKKEY,
                       .guard = CLI_GUARD,
                       .signing = CLI_SIGNING};
    const struct poptOption lock_only[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_signing_table(&opt.signing, true), 0, NULL, NULL},
        {"level", 0, POPT_ARG_STRING, &opt.level, 0, "exact (default), dense or sealed",
         "LEVEL"},
        {"condition", 0, POPT_ARG_DOUBLE, &opt.condition, 0,
         "dense: matrices of at most this condition number, not orthogonal ones", "C"},
        {"to", 0, POPT_ARG_ARGV, &opt.to, 0,
         "level sealed: encrypt for this recipient (repeatable)", "PUB"},
        {"no-lineage", 0, POPT_ARG_NONE, &opt.no_lineage, 0,
         "level sealed: sign, but do not say which model it is and what it was made of",
         NULL},
        {"scale", 0, POPT_ARG_NONE, &opt.scale, 0,
         "refuse a model that has no room for factors of two (F16)", NULL},
        {"no-scale", 0, POPT_ARG_NONE, &opt.no_scale, 0,
         "no factors of two: every order-free method then merges while locked", NULL},
        {"anchor", 0, POPT_ARG_STRING, &opt.anchor, 0,
         "attack the result with this related model and record how that went", "MODEL"},
        {"for", 0, POPT_ARG_STRING, &opt.recipient, 0,
         "a copy for this recipient alone, which can be traced", "NAME"},
        {"ledger", 0, POPT_ARG_STRING, &opt.ledger, 0,
         "where such copies are entered (needs --sign)", "FILE"},
        {"mend-ledger", 0, POPT_ARG_NONE, &opt.mend, 0,
         "cut off a last line that an interrupted run left unfinished", NULL},
        POPT_TABLEEND,
    };
    const struct poptOption unlock_only[] = {
        {"file", 0, POPT_ARG_STRING, &opt.file, 0,
         "of a sealed model: write this file alone to standard output (OUT is '-')",
         "NAME"},
        {"weights-only", 0, POPT_ARG_NONE, &opt.weights_only, 0,
         "leave out files beside the weights that are lost or other ones now", NULL},
        POPT_TABLEEND,
    };
    const struct poptOption table[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)cli_lockkey_table(&opt.key),
         0, NULL, NULL},
        {"base", 0, POPT_ARG_STRING, &opt.base, 0,
         "MODEL is an adapter: carry it over to (unlock: back from) this locked model",
         "LOCKED"},
        {"resume", 0, POPT_ARG_NONE, &opt.resume, 0,
         "continue what an interrupted run left in OUT.partial", NULL},
        {"descriptor", 0, POPT_ARG_STRING, &opt.descriptor, 0,
         "use this architecture descriptor", "ID"},
        {"descriptor-dir", 0, POPT_ARG_STRING, &opt.descriptor_dir, 0,
         "folder with more descriptors", "DIR"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)(unlocking ? unlock_only : lock_only), 0,
         unlocking ? "Unlock options:" : "Lock options:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)cli_guard_table(&opt.guard),
         0, "Policy options:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "MODEL OUT", 2, 2, run_lock, &opt);
}

int cmd_lock(int argc, const char **argv)
{
    return lock_main(argc, argv, false);
}

int cmd_unlock(int argc, const char **argv)
{
    return lock_main(argc, argv, true);
}
