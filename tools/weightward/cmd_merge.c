/* SPDX-License-Identifier: Apache-2.0 */
/* weightward merge: by a recipe into a folder, the plan alone, or a folder once more. */
#include "cli_guard.h"
#include "cli_reversible.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_NUMBER LLONG_MIN /* not asked for */

struct merge {
    struct cli_common common;
    int dry_run;
    int paper;
    char *arithmetic;
    int order_free;
    int allow_mixed;
    int no_source_trees;
    int resume;
    long long seed;
    long long sample;
    char *shard_size;
    char *rederive;
    char *report;
    struct cli_signing signing;
    char **unlock_with;
    char *lock;
    char *part;
    long long join;
    struct cli_lockkey lockkey; /* how lock keys are opened; its path stays unused */
    char *license;
    char *hub_cache;
    char *cache;
    struct cli_guard guard;
    struct cli_reversible reversible;
    const struct poptOption *tables[4]; /* its own, of keys, of signing and of policies */
};

/* "5B", "500M": powers of 1000, as mergekit has them. 0 when it is no size. */
static unsigned long long read_size(const char *text)
{
    static const char units[] = "kKmMgGbB";
    static const unsigned long long factors[] = {1000, 1000000, 1000000000, 1000000000};
    char *end = NULL;
    unsigned long long n = 0;
    if (text[0] < '0' || text[0] > '9') {
        return 0;
    }
    n = strtoull(text, &end, 10);
    if (*end) {
        const char *unit = strchr(units, *end);
        if (!unit || end[1] != '\0' || n > 1000000000) {
            return 0;
        }
        n *= factors[(unit - units) / 2];
    }
    return n;
}

/* "2/3" */
static bool read_part(const char *text, uint32_t *part, uint32_t *n)
{
    char *end = NULL;
    const unsigned long i = strtoul(text, &end, 10);
    unsigned long of = 0;

    if (text[0] < '0' || text[0] > '9' || *end != '/' || end[1] < '0' || end[1] > '9') {
        return false;
    }
    of = strtoul(end + 1, &end, 10);
    *part = (uint32_t)i;
    *n = (uint32_t)of;
    return *end == '\0' && i >= 1 && i <= of && of <= 1024;
}

static void tell_warnings(const struct merge *opt, const struct ww_merge_report *report)
{
    cli_warn(&opt->common, report->warnings, report->n_warnings);
}

static void tell(const struct merge *opt, const struct ww_merge_report *report,
                 const char *out)
{
    char a[32];
    if (opt->rederive && report->tensors_checked < report->tensors) {
        cli_say(&opt->common,
                "%llu of the %llu tensors of '%s', chosen at random, are what the recipe "
                "and the sources give, in %.1f s; the others, and the digests of files, "
                "were not looked at",
                (unsigned long long)report->tensors_checked,
                (unsigned long long)report->tensors, out, report->run.seconds);
        return;
    }
    if (opt->rederive) {
        cli_say(&opt->common,
                "'%s' is what the recipe and the sources give: %llu of %llu "
                "tensors computed again and equal, in %.1f s",
                out, (unsigned long long)report->tensors_checked,
                (unsigned long long)report->tensors, report->run.seconds);
        return;
    }
    if (opt->part) {
        cli_say(&opt->common, "part %s of '%s': %llu of %llu tensors, %s in %.1f s",
                opt->part, out, (unsigned long long)report->tensors_checked,
                (unsigned long long)report->tensors,
                cli_bytes(report->run.bytes_written, a), report->run.seconds);
        return;
    }
    cli_say(&opt->common, "merged into '%s' by %s: %llu tensors, %s in %.1f s%s%s", out,
            report->method, (unsigned long long)report->tensors,
            cli_bytes(report->run.bytes_written, a), report->run.seconds,
            opt->lock ? ", locked" : "",
            opt->signing.path ? ", signed" : ", not signed (use --sign)");
    if (opt->cache) {
        cli_say(&opt->common,
                "%llu weight files of the sources unchanged by the cache '%s'",
                (unsigned long long)report->cached, opt->cache);
    }
    cli_say(&opt->common, "%s: %s", report->method, report->evidence);
}

static bool is_page(const char *path)
{
    const size_t len = strlen(path);
    return len > 5 && strcmp(path + len - 5, ".html") == 0;
}

static enum ww_err write_page(const char *path, const struct ww_merge_report *report,
                              struct ww_error *err)
{
    char *html = NULL;
    enum ww_err rc = ww_report_merge_html(report, &html, err);
    if (rc == WW_OK) {
        rc = cli_write_new(path, html, err);
    }
    ww_string_free(html);
    return rc;
}

static enum ww_err answer(const struct merge *opt, const struct ww_merge_report *report,
                          struct ww_error *err)
{
    char *json = NULL;
    enum ww_err rc = WW_OK;
    if (!opt->common.json && !opt->report) {
        return WW_OK;
    }
    rc = ww_report_merge_json(report, &json, err);
    if (rc == WW_OK && opt->report) {
        rc = is_page(opt->report) ? write_page(opt->report, report, err)
                                  : cli_write_new(opt->report, json, err);
    }
    if (rc == WW_OK && opt->common.json) {
        fputs(json, stdout);
    }
    ww_string_free(json);
    return rc;
}

static enum ww_err run_job(const struct merge *opt,
                           const struct ww_merge_options *options,
                           const char *const *args, struct ww_merge_report *report,
                           struct ww_error *err)
{
    char *text = NULL;
    enum ww_err rc = WW_OK;
    if (opt->rederive) {
        const uint64_t sample = opt->sample == NO_NUMBER ? 0 : (uint64_t)opt->sample;
        return ww_merge_rederive(args[0], opt->rederive, sample, options, report, err);
    }
    if (!opt->dry_run) {
        return ww_merge_folder(args[0], args[1], options, report, err);
    }
    rc = ww_merge_describe(args[0], options, report, &text, err);
    if (rc == WW_OK && !opt->common.json) {
        fputs(text, stdout);
    }
    ww_string_free(text);
    return rc;
}

/* Policies are asked about what the recipe names, before a byte is merged. */
static enum ww_err guard(const struct merge *opt, const struct ww_merge_options *options,
                         const char *const *args, struct ww_signkey *signkey,
                         struct cli_verdict *verdict, struct ww_error *err)
{
    struct ww_merge_ask merge = {0};
    char *name = cli_guard_name(args[1]);
    enum ww_err rc =
        ww_merge_ask(args[0], options, opt->guard.roots != NULL, &merge, err);
    if (rc == WW_OK) {
        const struct ww_policy_ask ask = {.action = "merge",
                                          .method = merge.method,
                                          .recipe = args[0],
                                          .sources = merge.sources,
                                          .n_sources = merge.n_sources,
                                          .output_name = name,
                                          .output_license = opt->license,
                                          .output_locked = merge.locked || opt->lock};
        rc = cli_guard_ask(&opt->guard, &opt->common, &ask, args[1], signkey, verdict,
                           err);
    }
    ww_merge_ask_release(&merge);
    free(name);
    return rc;
}

/* What decides the bytes of a merge comes from its record. */
static int check_rederive(const struct merge *opt)
{
    static const char takes[] = "rederive sample seed unlock-with passphrase-file "
                                "open-with open-passphrase-file hub-cache report";
    int status =
        opt->report && is_page(opt->report)
            ? cli_usage("merge", "--rederive measures nothing that has a picture: name "
                                 "a --report that is JSON")
            : 0;

    for (size_t i = 0; i < sizeof opt->tables / sizeof opt->tables[0] && status == 0;
         i++) {
        status = cli_refuse_idle("merge", "--rederive", opt->tables[i], takes);
    }
    return status;
}

static int check_usage(const struct merge *opt, const char *const *args)
{
    const int n = args[0] ? 1 + (args[1] != NULL) : 0;
    const bool sampled = opt->sample != NO_NUMBER;
    const bool seeded = opt->seed != NO_NUMBER;
    const struct cli_reversible *back = &opt->reversible;
    uint32_t part = 0;
    uint32_t of = 0;
    const struct cli_rule rules[] = {
        {opt->rederive && n > 1,
         "--rederive takes the recipe at most; the folder is its value"},
        {!opt->rederive && opt->dry_run && n < 1, "--dry-run needs a recipe"},
        {!opt->rederive && !opt->dry_run && n < 2,
         "a recipe and an output folder are needed"},
        {opt->rederive && (opt->dry_run || opt->signing.path || opt->resume || opt->lock),
         "--rederive writes nothing: no --dry-run, --sign, --lock or --resume with it"},
        {opt->rederive && seeded,
         "--rederive takes the seed from the record: no --seed with it"},
        {sampled && !opt->rederive, "--sample goes with --rederive"},
        {opt->sample == 0, "--sample is a number of tensors from 1; leave it away to "
                           "compute all of them"},
        {sampled && opt->sample < 0, "--sample may not be negative"},
        {seeded && opt->seed < 0, "--seed may not be negative"},
        {opt->shard_size && read_size(opt->shard_size) == 0,
         "--shard-size is a number of bytes, with K, M, G or B behind it if you like"},
        {opt->part && !read_part(opt->part, &part, &of),
         "--part is a number of a part and how many there are: 2/3, at most 1024"},
        {opt->join < 0 || opt->join > 1024,
         "--join is the number of parts, at most 1024"},
        {(opt->part != NULL) + (opt->join != 0) + (opt->rederive != NULL) + opt->dry_run >
             1,
         "--part, --join, --rederive and --dry-run are one each"},
        {opt->part && opt->signing.path, "a part is not signed; sign when joining"},
        {opt->arithmetic && strcmp(opt->arithmetic, "exact") != 0 &&
             strcmp(opt->arithmetic, "mergekit") != 0,
         "--arithmetic is exact or mergekit"},
        {back->to && !back->path, "--reversible-to goes with --reversible"},
        {back->path && (opt->rederive || opt->dry_run || opt->part || opt->lock ||
                        opt->unlock_with || opt->no_source_trees),
         "--reversible is of a whole merge of open models, with their tensor trees: no "
         "--rederive, --dry-run, --part, --lock, --unlock-with or --no-source-trees"},
        {back->path && (opt->guard.request || opt->guard.approvals),
         "--reversible asks policies about packing too, and a request is of one action: "
         "merge with it, then use rmm pack --merged"},
        {opt->cache && (!opt->signing.path || opt->lock || opt->join),
         "--cache needs --sign KEY, and goes with neither --lock nor --join"},
        {opt->signing.certificate && !opt->signing.path,
         "--certificate needs --sign KEY"},
    };
    const int status = cli_rules("merge", rules, sizeof rules / sizeof rules[0]);

    if (status == 0 && opt->dry_run) { /* nobody may take a plan for a permission */
        return cli_refuse_idle("merge", "--dry-run", opt->tables[3], "");
    }
    return status == 0 && opt->rederive ? check_rederive(opt) : status;
}

/* What a merge is unlocked, locked and signed with. */
struct merge_keys {
    struct cli_lockkeys unlock;
    struct cli_lockkeys lock;
    struct ww_signer signer;
};

static void release_keys(struct merge_keys *keys)
{
    ww_signkey_free(keys->signer.key);
    cli_lockkeys_free(&keys->unlock);
    cli_lockkeys_free(&keys->lock);
}

/* They are the caller's on failure too. */
static enum ww_err open_keys(const struct merge *opt, struct merge_keys *keys,
                             struct ww_merge_options *options, struct ww_error *err)
{
    enum ww_err rc = cli_lockkeys(opt->unlock_with, &opt->lockkey, &keys->unlock, err);
    if (rc) {
        return rc;
    }
    options->unlock = keys->unlock.keys;
    options->n_unlock = keys->unlock.n;
    rc = cli_lockkeys(opt->lock ? (char *[]){opt->lock, NULL} : NULL, &opt->lockkey,
                      &keys->lock, err);
    options->lock = keys->lock.keys;
    return rc ? rc
              : cli_signing_open(&opt->signing, &keys->signer, &options->signer, err);
}

static struct ww_merge_options options_of(const struct merge *opt)
{
    struct ww_merge_options options = {
        .paper = opt->paper != 0,
        .peer_arithmetic = opt->arithmetic && strcmp(opt->arithmetic, "mergekit") == 0,
        .order_free = opt->order_free != 0,
        .allow_mixed = opt->allow_mixed != 0,
        .no_source_trees = opt->no_source_trees != 0,
        .measure = opt->report && is_page(opt->report),
        .seed = opt->seed == NO_NUMBER ? 0 : (uint64_t)opt->seed,
        .license = opt->license,
        .hub_cache = opt->hub_cache,
        .digest_cache = opt->cache,
        .shard_bytes = opt->shard_size ? read_size(opt->shard_size) : 0,
        .n_parts = (uint32_t)opt->join,
    };

    if (opt->part) {
        (void)read_part(opt->part, &options.part, &options.n_parts);
    }
    return options;
}

/* Asked about, and begun, before anything is merged. */
static enum ww_err begin_package(const struct merge *opt, const char *recipe,
                                 struct ww_merge_options *options,
                                 struct ww_signkey *asker, struct cli_verdict *packed,
                                 struct cli_reversing **reversing, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    if (!opt->reversible.path) {
        return WW_OK;
    }
    rc = cli_reversible_check(&opt->reversible, recipe, options, err);
    if (rc == WW_OK) {
        rc = cli_reversible_ask(&opt->reversible, &opt->guard, &opt->common, recipe,
                                options, asker, packed, err);
    }
    return rc ? rc
              : cli_reversible_begin(&opt->reversible, recipe, options, reversing, err);
}

/* A merge on its way; options borrow the keys. */
struct merging {
    struct ww_merge_options options;
    struct merge_keys keys;
    struct cli_verdict verdict;
    struct cli_verdict packed;
    struct cli_reversing *reversing;
    struct ww_merge_report report;
};

static int prepare(const struct merge *opt, const char *verb, const char *const *args,
                   struct merging *m)
{
    int status = check_usage(opt, args);

    if (status == 0) {
        m->options = options_of(opt);
        status = cli_run_options(&opt->common, &m->options.run);
    }
    if (status == 0) {
        status = cli_report_free(verb, &opt->common, opt->report);
    }
    m->options.run.resume = opt->resume != 0;
    return status;
}

/* Keys, policies, then the merge. */
static enum ww_err run_steps(const struct merge *opt, const char *const *args,
                             struct merging *m, struct ww_error *err)
{
    const bool makes = !opt->rederive && !opt->dry_run;
    enum ww_err rc = open_keys(opt, &m->keys, &m->options, err);

    if (rc == WW_OK && makes) {
        rc = guard(opt, &m->options, args, m->keys.signer.key, &m->verdict, err);
    }
    if (rc == WW_OK) {
        rc = begin_package(opt, args[0], &m->options, m->verdict.key, &m->packed,
                           &m->reversing, err);
    }
    if (rc) {
        return rc;
    }
    rc = run_job(opt, &m->options, args, &m->report, err);
    /* The parts of a merge are not the folder that was asked about; the joined one is. */
    if (rc == WW_OK && makes && !opt->part) {
        rc = cli_guard_record(&opt->guard, &m->verdict, args[1], err);
        if (rc == WW_OK) {
            cli_bom(&opt->common, args[1], m->options.signer);
        }
    }
    tell_warnings(opt, &m->report);
    return rc;
}

/* What was done, and the package that goes with it. */
static enum ww_err finish(const struct merge *opt, const char *const *args,
                          struct merging *m, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!opt->dry_run) {
        tell(opt, &m->report, opt->rederive ? opt->rederive : args[1]);
    }
    rc = answer(opt, &m->report, err);
    if (rc == WW_OK && opt->reversible.path) {
        rc = cli_reversible_write(&opt->reversible, &opt->common, m->reversing, args[1],
                                  &m->options, &m->packed, err);
    }
    return rc;
}

static int run_merge(const void *from, const char *verb, const char *const *args)
{
    const struct merge *opt = from;
    struct merging m = {0};
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;
    int status = prepare(opt, verb, args, &m);

    if (status) {
        return status;
    }
    cli_catch_signals();
    rc = run_steps(opt, args, &m, &err);
    if (rc == WW_OK) {
        rc = finish(opt, args, &m, &err);
    }
    if (rc) {
        status = cli_fail_out(verb, &opt->common, &err, args[0] ? args[1] : NULL, true);
    }
    ww_merge_report_release(&m.report);
    cli_reversible_free(m.reversing);
    cli_guard_release(&m.packed);
    cli_guard_release(&m.verdict);
    release_keys(&m.keys);
    return status;
}

static const struct poptOption *key_table(struct merge *opt)
{
    static struct poptOption table[6];
    const struct poptOption filled[] = {
        {"unlock-with", 0, POPT_ARG_ARGV, &opt->unlock_with, 0,
         "lock key of locked sources, which are then read as open ones (repeatable)",
         "KEY"},
        {"lock", 0, POPT_ARG_STRING, &opt->lock, 0,
         "write the merge locked with this lock key, never open", "KEY"},
        {"passphrase-file", 0, POPT_ARG_STRING, &opt->lockkey.passphrase.file, 0,
         "passphrase of the lock keys", "FILE"},
        {"open-with", 0, POPT_ARG_STRING, &opt->lockkey.open_with, 0,
         "recipient key that opens the lock keys", "KEY"},
        {"open-passphrase-file", 0, POPT_ARG_STRING, &opt->lockkey.open_passphrase.file,
         0, "passphrase of the recipient key", "FILE"},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    return table;
}

int cmd_merge(int argc, const char **argv)
{
    const int foreign = cli_mergekit_option("merge", argc, argv);
    struct merge opt = {.guard = CLI_GUARD,
                        .sample = NO_NUMBER,
                        .seed = NO_NUMBER,
                        .signing = CLI_SIGNING,
                        .lockkey = CLI_LOCKKEY};
    opt.tables[1] = key_table(&opt);
    opt.tables[2] = cli_signing_table(&opt.signing, true);
    opt.tables[3] = cli_guard_table(&opt.guard);
    const struct poptOption table[] = {
        {"dry-run", 0, POPT_ARG_NONE, &opt.dry_run, 0, "print the plan, write nothing",
         NULL},
        {"rederive", 0, POPT_ARG_STRING, &opt.rederive, 0,
         "compute this merged folder again from its record and compare", "OUT"},
        {"sample", 0, POPT_ARG_LONGLONG, &opt.sample, 0,
         "of so many tensors only, chosen at random", "N"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)opt.tables[1], 0, NULL,
         NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)opt.tables[2], 0, NULL,
         NULL},
        {"part", 0, POPT_ARG_STRING, &opt.part, 0,
         "compute one of so many parts, beside OUT", "I/N"},
        {"join", 0, POPT_ARG_LONGLONG, &opt.join, 0, "put so many parts together", "N"},
        {"order-free", 0, POPT_ARG_NONE, &opt.order_free, 0,
         "nothing by the order of elements: what a merge of locked models gives", NULL},
        {"paper", 0, POPT_ARG_NONE, &opt.paper, 0,
         "rescale and trim task vectors as the papers of DARE and TIES do", NULL},
        {"arithmetic", 0, POPT_ARG_STRING, &opt.arithmetic, 0,
         "exact (the default), or mergekit: round after every step as it does", "HOW"},
        {"allow-mixed", 0, POPT_ARG_NONE, &opt.allow_mixed, 0,
         "merge what models of different make share, and say what is left out", NULL},
        {"seed", 0, POPT_ARG_LONGLONG, &opt.seed, 0, "seed of random masks (0)", "N"},
        {"shard-size", 0, POPT_ARG_STRING, &opt.shard_size, 0,
         "largest weight file; without it files are cut as the base's", "SIZE"},
        {"no-source-trees", 0, POPT_ARG_NONE, &opt.no_source_trees, 0,
         "record file digests of the sources only, which saves hashing their tensors",
         NULL},
        {"reversible", 0, POPT_ARG_STRING, &opt.reversible.path, 0,
         "write a package from which rmm unmerge gives each source back", "PKG"},
        {"reversible-to", 0, POPT_ARG_ARGV, &opt.reversible.to, 0,
         "seal all of it for a recipient (repeatable)", "PUB"},
        {"resume", 0, POPT_ARG_NONE, &opt.resume, 0,
         "continue what an interrupted run left in OUT.partial", NULL},
        {"report", 0, POPT_ARG_STRING, &opt.report, 0,
         "write the JSON answer, or a page with pictures (.html), into a new file",
         "FILE"},
        {"hub-cache", 0, POPT_ARG_STRING, &opt.hub_cache, 0,
         "where models that are no folders are looked for, as huggingface_hub keeps them",
         "DIR"},
        {"cache", 0, POPT_ARG_STRING, &opt.cache, 0,
         "digests of an earlier signed merge, for sources that have not changed", "FILE"},
        {"license", 0, POPT_ARG_STRING, &opt.license, 0,
         "licence that the card of the output states", "ID"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)opt.tables[3], 0,
         "Policy options:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    opt.tables[0] = table;
    return foreign ? foreign
                   : cli_run(argc, argv, table, "RECIPE OUT", 0, 2, run_merge, &opt);
}
