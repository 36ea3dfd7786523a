/* SPDX-License-Identifier: Apache-2.0 */
/* weightward rmm: packages from which every member comes back. */
#include "cli_rmm.h"

#include <stdio.h>
#include <string.h>

#define SIGN " sign sign-passphrase-file sign-passphrase-fd"
#define OPEN " open-with open-passphrase-file open-passphrase-fd"
#define CODED                                                                            \
    "base merged source exact error budget codec directions to chain versions after"

static const struct word {
    const char *name;
    cli_rmm_fn run;
    int min;
    int max;
    const char *arguments;
    const char *takes; /* options beside the common ones and those of policies */
    bool asks;         /* policies, when roots are given */
} words[] = {
    {"pack", cli_rmm_pack, 2, 4097,
     "pack PKG NAME=PATH... --exact|--error E|--budget N|--directions P [--base MODEL]",
     CODED " folder" SIGN OPEN, true},
    {"add", cli_rmm_add, 2, 4097,
     "add PKG NAME=PATH... --exact|--error E|--budget N|--directions P [--base MODEL]",
     CODED SIGN OPEN, true},
    {"drop", cli_rmm_drop, 2, 2, "drop PKG NAME", SIGN OPEN, false},
    {"share", cli_rmm_share, 1, 1, "share PKG --to NAME=PUB... --open-with KEY",
     "to base merged source signed-by" OPEN, true},
    {"list", cli_rmm_list, 1, 1, "list PKG", "", false},
    {"inspect", cli_rmm_inspect, 1, 65, "inspect PKG [NAME...] [--base MODEL]",
     "base signed-by report" OPEN, false},
    {"mix", cli_rmm_mix, 2, 2,
     "mix PKG OUT --weight NAME=W...|--recipe FILE [--base MODEL]",
     "base source weight recipe rank form signed-by at-least" SIGN OPEN, true},
    {"rows", cli_rmm_rows, 2, 66, "rows PKG OUT [NAME...] --directions P|--budget BYTES",
     "directions budget signed-by" OPEN, false},
    {"verify", cli_rmm_verify, 1, 1, "verify PKG [--key PUB] [--base MODEL]",
     "key at-least base merged source" OPEN, false},
    {"unpack", cli_rmm_unpack, 3, 3, "unpack PKG NAME OUT [--base MODEL]",
     "base merged source form tensor resume signed-by at-least" OPEN, true},
    {"unmerge", cli_rmm_unmerge, 3, 3,
     "unmerge PKG NAME OUT --merged MODEL --source MODEL...",
     "base merged source form tensor resume signed-by at-least" OPEN, true},
};

enum ww_err cli_rmm_unsealer(const struct cli_rmm *opt, struct ww_unsealer *out,
                             struct ww_error *err)
{
    struct ww_key_info info;
    char prompt[300];
    *out = (struct ww_unsealer){.recipient_key = opt->open_with};
    if (!opt->open_with) {
        return WW_OK;
    }
    enum ww_err rc = ww_key_inspect(opt->open_with, &info, err);
    if (rc == WW_OK && info.sealing == WW_SEALED_PASSPHRASE) {
        snprintf(prompt, sizeof prompt, "Passphrase for '%.200s'", opt->open_with);
        rc = cli_passphrase(&opt->open_passphrase, prompt, false,
                            &out->recipient_passphrase, err);
    }
    return rc;
}

static void show_member(const struct ww_pack_entry *m)
{
    char a[32];
    char b[32];
    printf("%-24s %-8s %10s of %10s", m->name,
           m->basis     ? "basis"
           : m->adapter ? "adapter"
                        : "model",
           cli_bytes(m->bytes, a), cli_bytes(m->files_bytes, b));
    if (m->basis) {
        printf(", codec %s, %zu direction%s", m->codec, m->directions,
               cli_s(m->directions));
    } else if (m->files_bytes > 0) {
        printf(" (%.1f %%)", 100.0 * (double)m->bytes / (double)m->files_bytes);
    }
    if (m->bounded) {
        printf(", error %.3g", m->error);
    }
    if (m->sealed) {
        printf(", sealed for %zu", m->n_recipients);
    }
    printf("\n");
    if (m->parent && m->shares) {
        printf("  shares %s: who opens it can read that, which tells of all that do\n",
               m->parent);
    } else if (m->parent) {
        printf("  version of %s: who opens it can read that too\n", m->parent);
    }
    for (size_t i = 0; i < m->n_recipients; i++) {
        printf("  recipient %s\n", m->recipients[i]);
    }
    for (size_t i = 0; i < m->n_needed; i++) {
        printf("  unmerge needs %s, tensor tree %s\n", m->needed[i].name,
               m->needed[i].tensor_tree);
    }
}

int cli_rmm_answer(const struct cli_rmm *opt, const char *word,
                   const struct ww_pack_report *report, bool show)
{
    struct ww_error err = {0};
    char *json = NULL;
    if (opt->common.json) {
        enum ww_err rc = ww_report_pack_json(word, report, &json, &err);
        return cli_answer_json("rmm", &opt->common, rc, json, &err);
    }
    if (show) {
        printf("package %s, version %llu, %s; base %s\n", report->id,
               (unsigned long long)report->version,
               report->is_signed ? "signed" : "not signed",
               report->base ? report->base : "none");
    }
    for (size_t i = 0; show && i < report->n_members; i++) {
        show_member(&report->members[i]);
    }
    return 0;
}

void cli_rmm_trim(const char *path)
{
    char *at = (char *)(uintptr_t)path;
    for (size_t n = strlen(at); n > 1 && at[n - 1] == '/'; n--) {
        at[n - 1] = 0;
    }
}

static const struct word *find_word(const char *name)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(name, words[i].name) == 0) {
            return &words[i];
        }
    }
    return NULL;
}

static int run_rmm(const void *given, const char *verb, const char *const *args)
{
    const struct cli_rmm *opt = given;
    const struct word *word = find_word(args[0]);
    char text[200];
    int n = 0;
    while (args[n + 1]) {
        n++;
    }
    if (!word) {
        return cli_unknown_word(verb, args[0],
                                "pack, add, drop, share, list, inspect, verify, unpack, "
                                "mix, rows, unmerge");
    }
    if (n < word->min || n > word->max) {
        snprintf(text, sizeof text, "the form is: weightward rmm %s", word->arguments);
        return cli_usage(verb, text);
    }
    if (opt->guard.roots && !word->asks) {
        snprintf(text, sizeof text, "rmm %s asks no policies: leave --policy-root away",
                 word->name);
        return cli_usage(verb, text);
    }
    for (size_t t = 0; t < sizeof opt->tables / sizeof opt->tables[0]; t++) {
        const int status = cli_refuse_idle(verb, word->name, opt->tables[t], word->takes);
        if (status) {
            return status;
        }
    }
    if (opt->at_least < 0) {
        return cli_usage(verb, "--at-least is a version, from 1 on");
    }
    cli_rmm_trim(args[1]);
    return word->run(opt, args + 1);
}

/* What is packed, and how. */
static const struct poptOption *member_table(struct cli_rmm *opt)
{
    static struct poptOption table[13];
    const struct poptOption filled[] = {
        {"base", 0, POPT_ARG_STRING, &opt->base, 0,
         "model that members are coded against", "MODEL"},
        {"merged", 0, POPT_ARG_STRING, &opt->merged, 0,
         "pack, unmerge: merge of which members are sources", "MODEL"},
        {"source", 0, POPT_ARG_ARGV, &opt->sources, 0,
         "another source of that merge (repeatable)", "MODEL"},
        {"exact", 0, POPT_ARG_NONE, &opt->exact, 0, "every file comes back byte for byte",
         NULL},
        {"folder", 0, POPT_ARG_NONE, &opt->folder, 0,
         "pack: as a folder with a file for each section", NULL},
        {"error", 0, POPT_ARG_DOUBLE, &opt->error, 0,
         "products of factors and changes of matrices come back within this share, the "
         "rest "
         "exactly",
         "E"},
        {"budget", 0, POPT_ARG_LONGLONG, &opt->budget, 0,
         "as close as a package of so many bytes allows; rows: as many directions",
         "BYTES"},
        {"codec", 0, POPT_ARG_STRING, &opt->codec, 0,
         "pack, add: what adapters share while they are coded: none, rows or core",
         "CODEC"},
        {"to", 0, POPT_ARG_ARGV, &opt->to, 0,
         "seal a member for a recipient (repeatable)", "NAME=PUB"},
        {"chain", 0, POPT_ARG_ARGV, &opt->chain, 0,
         "pack, add: code a member against another that it is a version of (repeatable)",
         "NAME=PARENT"},
        {"versions", 0, POPT_ARG_NONE, &opt->versions, 0,
         "pack, add: each member is a version of the one named before it", NULL},
        {"after", 0, POPT_ARG_STRING, &opt->after, 0,
         "add: the members are versions of this one", "PARENT"},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    return table;
}

static const struct poptOption *open_table(struct cli_rmm *opt)
{
    static struct poptOption table[4];
    const struct poptOption filled[] = {
        {"open-with", 0, POPT_ARG_STRING, &opt->open_with, 0,
         "recipient key that opens sealed members", "KEY"},
        {"open-passphrase-file", 0, POPT_ARG_STRING, &opt->open_passphrase.file, 0,
         "passphrase of the recipient key", "FILE"},
        {"open-passphrase-fd", 0, POPT_ARG_INT, &opt->open_passphrase.fd, 0,
         "the same from a descriptor", "N"},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    return table;
}

/* What is asked of a package that is there. */
static const struct poptOption *read_table(struct cli_rmm *opt)
{
    static struct poptOption table[12];
    const struct poptOption filled[] = {
        {"key", 'k', POPT_ARG_STRING, &opt->key, 0, "verify: who must have signed",
         "PUB"},
        {"signed-by", 0, POPT_ARG_STRING, &opt->signed_by, 0,
         "unpack, mix, inspect, rows: who must have signed", "PUB"},
        {"at-least", 0, POPT_ARG_INT, &opt->at_least, 0,
         "refuse older versions of the package", "N"},
        {"tensor", 0, POPT_ARG_STRING, &opt->tensor, 0,
         "unpack: the bytes of this tensor alone, to standard output ('-')", "NAME"},
        {"resume", 0, POPT_ARG_NONE, &opt->resume, 0,
         "unpack, unmerge: continue what an interrupted run left in OUT.partial", NULL},
        {"form", 0, POPT_ARG_STRING, &opt->form, 0,
         "unpack: form of an adapter: files, peft, portable, gguf or model; mix: model",
         "FORM"},
        {"weight", 0, POPT_ARG_ARGV, &opt->weights, 0,
         "mix: so much of this member (repeatable)", "NAME=W"},
        {"recipe", 0, POPT_ARG_STRING, &opt->recipe, 0,
         "mix: a recipe with member:NAME in it", "FILE"},
        {"rank", 0, POPT_ARG_INT, &opt->rank, 0, "mix: of the adapter, at most", "N"},
        {"directions", 0, POPT_ARG_INT, &opt->directions, 0,
         "rows, and pack with --codec: principal directions that adapters share", "P"},
        {"report", 0, POPT_ARG_STRING, &opt->report, 0, "inspect: a page with pictures",
         "FILE"},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    return table;
}

/* The word that stands first, for its help. */
static const struct word *word_of(int argc, const char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            return find_word(argv[i]);
        }
    }
    return NULL;
}

static bool wants_help(int argc, const char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

int cmd_rmm(int argc, const char **argv)
{
    struct cli_rmm opt = {
        .signing = CLI_SIGNING, .open_passphrase.fd = -1, .guard = CLI_GUARD};
    opt.tables[0] = member_table(&opt);
    opt.tables[1] = cli_signing_table(&opt.signing, false);
    opt.tables[2] = open_table(&opt);
    opt.tables[3] = read_table(&opt);
    const struct word *word = word_of(argc, argv);
    for (size_t t = 0; word && t < sizeof opt.tables / sizeof opt.tables[0]; t++) {
        cli_hide_idle(opt.tables[t], word->takes);
    }
    struct poptOption table[] = {
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)opt.tables[0], 0, NULL,
         NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)opt.tables[1], 0, NULL,
         NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)opt.tables[2], 0, NULL,
         NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)opt.tables[3], 0, NULL,
         NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)cli_guard_table(&opt.guard),
         0, "Policy options (pack, add, share, unpack, unmerge, mix):", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    if (word && !word->asks && wants_help(argc, argv)) {
        table[4] = table[5];
        table[5] = table[6];
    }
    return cli_run(argc, argv, table,
                   word ? word->arguments
                        : "pack|add|drop|share|list|inspect|verify|"
                          "unpack|mix|rows|unmerge PKG ...; with a "
                          "word --help shows what that takes",
                   1, 5000, run_rmm, &opt);
}
