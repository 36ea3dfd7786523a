/* SPDX-License-Identifier: Apache-2.0 */
/* weightward key: make and describe keys. Existing files are never overwritten. */
#include "cli_key.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum ww_curve curve;
} curves[] = {
    {"P-256", WW_CURVE_P256},
    {"P-384", WW_CURVE_P384},
    {"P-521", WW_CURVE_P521},
};

static bool find_curve(const char *name, enum ww_curve *out)
{
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++) {
        if (strcmp(name ? name : "P-256", curves[i].name) == 0) {
            *out = curves[i].curve;
            return true;
        }
    }
    return false;
}

enum ww_err cli_key_sealer(const struct cli_key *opt, struct ww_sealer *sealer,
                           struct ww_error *err)
{
    const bool by_passphrase = opt->passphrase.file || opt->passphrase.fd != -1;
    *sealer = (struct ww_sealer){NULL, (const char *const *)opt->to, cli_count(opt->to)};
    if ((opt->to != NULL) + (opt->no_passphrase != 0) + by_passphrase > 1) {
        err->code = WW_E_USAGE;
        snprintf(
            err->text, sizeof err->text,
            "a key is sealed in one way: --to PUB, a passphrase, or --no-passphrase");
        return WW_E_USAGE;
    }
    if (opt->no_passphrase || opt->to) {
        return WW_OK;
    }
    enum ww_err rc = cli_passphrase(&opt->passphrase, "New passphrase", true,
                                    &sealer->passphrase, err);
    if (rc == WW_OK && !sealer->passphrase) {
        rc = WW_E_PASSPHRASE;
        err->code = rc;
        snprintf(err->text, sizeof err->text,
                 "no passphrase: there is no terminal to ask "
                 "on; use --passphrase-file, --passphrase-fd or --no-passphrase");
    }
    return rc;
}

static const char *const purposes[] = {"any", "lock", "unlock"};

static bool find_purpose(const char *name, enum ww_key_purpose *out)
{
    for (size_t i = 0; i < sizeof purposes / sizeof purposes[0]; i++) {
        if (strcmp(name, purposes[i]) == 0) {
            *out = (enum ww_key_purpose)i;
            return true;
        }
    }
    return false;
}

enum ww_err cli_key_binding(const struct cli_key *opt, struct ww_key_binding *binding,
                            struct ww_error *err)
{
    enum ww_key_purpose purpose = binding->purpose;
    if (opt->purpose) {
        (void)find_purpose(opt->purpose, &purpose); /* checked before */
    }
    if (opt->for_model) {
        struct ww_run_options run = {0};
        (void)cli_run_options(&opt->common, &run);
        enum ww_err rc = ww_lock_binding_of(opt->for_model, &run, binding, err);
        if (rc) {
            return rc;
        }
    }
    binding->purpose = purpose;
    return WW_OK;
}

static enum ww_err create_lock(const struct cli_key *opt, const struct ww_sealer *sealer,
                               struct ww_error *err)
{
    struct ww_key_binding binding = {0};
    enum ww_err rc = cli_key_binding(opt, &binding, err);
    return rc ? rc : ww_lockkey_create_bound(opt->out, &binding, sealer, err);
}

static enum ww_err create(const struct cli_key *opt, const char *kind,
                          enum ww_curve curve, struct ww_error *err)
{
    struct ww_sealer sealer = {0};
    enum ww_err rc = cli_key_sealer(opt, &sealer, err);
    if (rc == WW_OK && strcmp(kind, "signing") == 0) {
        rc = ww_signkey_create(opt->out, curve, sealer.passphrase, err);
    } else if (rc == WW_OK && strcmp(kind, "recipient") == 0) {
        rc = ww_recipient_create(opt->out, sealer.passphrase, err);
    } else if (rc == WW_OK) {
        rc = create_lock(opt, &sealer, err);
    }
    ww_secret_free(sealer.passphrase);
    return rc;
}

int cli_key_describe(const struct cli_key *opt, const char *verb, const char *path)
{
    struct ww_key_info info = {0};
    struct ww_error err = {0};
    char *json = NULL;
    enum ww_err rc = ww_key_inspect(path, &info, &err);
    if (rc) {
        return cli_fail(verb, &opt->common, &err);
    }
    if (opt->common.json) {
        rc = ww_report_key_json(verb, path, &info, &json, &err);
        return cli_answer_json(verb, &opt->common, rc, json, &err);
    }
    static const char *const kinds[] = {
        "signing key",        "public signing key",   "lock key",
        "recipient key",      "public recipient key", "key of a sealed model",
        "share of a lock key"};
    static const char *const seals[] = {"not sealed", "sealed by a passphrase",
                                        "sealed for recipients"};
    bool is_public =
        info.kind == WW_KEY_SIGNING_PUBLIC || info.kind == WW_KEY_RECIPIENT_PUBLIC;
    printf("%s: %s%s%s%s%s%s%s\n", path, kinds[info.kind], info.curve[0] ? " " : "",
           info.curve, is_public ? "" : ", ", is_public ? "" : seals[info.sealing],
           info.id[0] ? ", id " : "", info.id);
    if (info.kind == WW_KEY_SHARE) {
        printf("share %u of %u, any %u of which give the key\n", info.share,
               info.n_shares, info.threshold);
    }
    return 0;
}

static int key_new(const struct cli_key *opt, const char *kind)
{
    struct ww_error err = {0};
    enum ww_curve curve;
    bool signing = strcmp(kind, "signing") == 0;
    bool lock = strcmp(kind, "lock") == 0;
    if (!signing && !lock && strcmp(kind, "recipient") != 0) {
        return cli_choice("key", "new", "signing, lock or recipient", kind);
    }
    if (!opt->out) {
        return cli_usage("key", "--out NAME is needed: where the key goes");
    }
    if (!find_curve(opt->curve, &curve)) {
        return cli_choice("key", "--curve", "P-256, P-384 or P-521", opt->curve);
    }
    enum ww_err rc = create(opt, kind, curve, &err);
    if (rc) {
        return cli_fail("key", &opt->common, &err);
    }
    char path[4096];
    snprintf(path, sizeof path, "%s%s", opt->out, lock ? "" : ".key");
    if (signing) {
        cli_say(&opt->common,
                "wrote '%s.key' (keep it) and '%s.pub' (hand it out)\n"
                "others check your models with: weightward verify MODEL --key %s.pub",
                opt->out, opt->out, opt->out);
    } else if (!lock) {
        cli_say(&opt->common,
                "wrote '%s.key' (keep it) and '%s.pub' (hand it out): what is "
                "sealed for '%s.pub' opens with the key alone",
                opt->out, opt->out, opt->out);
    } else {
        cli_say(&opt->common,
                "wrote '%s': without it a locked model cannot be unlocked; keep "
                "a copy somewhere safe",
                path);
    }
    return opt->common.json ? cli_key_describe(opt, "key", path) : 0;
}

static bool is_word(const char *arg)
{
    static const char *const words[] = {"new", "show", "bind", "split", "combine"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(arg, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

#define SEALED "out passphrase-file passphrase-fd no-passphrase"
#define READ "key-passphrase-file key-passphrase-fd open-with open-passphrase-file"

/* Options that a word does nothing with are refused: who gave --shares to a new key would
 * take it for a split one. */
static int check_options(const struct cli_key *opt, const char *verb,
                         const char *const *args)
{
    static const struct {
        const char *word;
        const char *takes;
    } words[] = {
        {"new signing", SEALED " curve"},
        {"new recipient", SEALED},
        {"new lock", SEALED " to for-model purpose"},
        {"show", ""},
        {"bind", SEALED " to for-model purpose " READ},
        {"split", "out to no-passphrase shares threshold share-passphrase-file sign "
                  "sign-passphrase-file sign-passphrase-fd " READ},
        {"combine", SEALED " to open-with open-passphrase-file share-passphrase-file "
                           "signed-by"},
    };
    char word[32];
    int status = 0;
    snprintf(word, sizeof word, "%s%s%s", args[0], strcmp(args[0], "new") == 0 ? " " : "",
             strcmp(args[0], "new") == 0 ? args[1] : "");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (size_t t = 0; t < 2 && strcmp(word, words[i].word) == 0 && !status; t++) {
            status = cli_refuse_idle(verb, word, opt->tables[t], words[i].takes);
        }
    }
    return status;
}

static int run_key(const void *given, const char *verb, const char *const *args)
{
    const struct cli_key *opt = given;
    enum ww_key_purpose purpose;
    if (!is_word(args[0])) {
        return cli_unknown_word(verb, args[0], "new, show, bind, split, combine");
    }
    if (!args[1]) {
        return cli_wrong_use(
            verb, "'%s' needs a name behind it; try: weightward key --help", args[0]);
    }
    if (opt->purpose && !find_purpose(opt->purpose, &purpose)) {
        return cli_choice(verb, "--purpose", "any, lock or unlock", opt->purpose);
    }
    const bool combines = strcmp(args[0], "combine") == 0;
    const int status = check_options(opt, verb, args);
    if (status) {
        return status;
    }
    if (combines) {
        return cli_key_combine(opt, args + 1);
    }
    if (args[2]) {
        return cli_usage(verb, "one argument too many; only combine takes several files");
    }
    if (strcmp(args[0], "new") == 0) {
        return key_new(opt, args[1]);
    }
    if (strcmp(args[0], "show") == 0) {
        return cli_key_describe(opt, verb, args[1]);
    }
    if (strcmp(args[0], "bind") == 0) {
        return cli_key_bind(opt, args[1]);
    }
    return cli_key_split(opt, args[1]);
}

int cmd_key(int argc, const char **argv)
{
    struct cli_key opt = {
        .passphrase.fd = -1, .key_passphrase.fd = -1, .sign_passphrase.fd = -1};
    const struct poptOption part_options[] = {
        {"key-passphrase-file", 0, POPT_ARG_STRING, &opt.key_passphrase.file, 0,
         "passphrase of the lock key that is read", "FILE"},
        {"key-passphrase-fd", 0, POPT_ARG_INT, &opt.key_passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"open-with", 0, POPT_ARG_ARGV, &opt.open_with, 0,
         "recipient key that opens the lock key, or shares (repeatable)", "KEY"},
        {"open-passphrase-file", 0, POPT_ARG_ARGV, &opt.open_passphrase_files, 0,
         "passphrase of such a key, in their order (repeatable)", "FILE"},
        {"shares", 0, POPT_ARG_INT, &opt.shares, 0, "split: how many", "N"},
        {"threshold", 0, POPT_ARG_INT, &opt.threshold, 0,
         "split: how many give the key back", "K"},
        {"share-passphrase-file", 0, POPT_ARG_ARGV, &opt.share_passphrase_files, 0,
         "passphrase of the shares, or of each (repeatable)", "FILE"},
        {"sign", 0, POPT_ARG_STRING, &opt.sign, 0, "split: sign every share", "KEY"},
        {"sign-passphrase-file", 0, POPT_ARG_STRING, &opt.sign_passphrase.file, 0,
         "passphrase of the signing key", "FILE"},
        {"sign-passphrase-fd", 0, POPT_ARG_INT, &opt.sign_passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"signed-by", 0, POPT_ARG_STRING, &opt.signed_by, 0,
         "combine: this key must have signed every share", "PUB"},
        POPT_TABLEEND,
    };
    const struct poptOption table[] = {
        {"out", 'o', POPT_ARG_STRING, &opt.out, 0, "name of the new key", "NAME"},
        {"curve", 0, POPT_ARG_STRING, &opt.curve, 0, "P-256 (default), P-384 or P-521",
         "CURVE"},
        {"to", 0, POPT_ARG_ARGV, &opt.to, 0,
         "seal a lock key, or a share each, for this recipient (repeatable)", "PUB"},
        {"passphrase-file", 0, POPT_ARG_STRING, &opt.passphrase.file, 0,
         "passphrase for the new key", "FILE"},
        {"passphrase-fd", 0, POPT_ARG_INT, &opt.passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"no-passphrase", 0, POPT_ARG_NONE, &opt.no_passphrase, 0,
         "store the key in the clear", NULL},
        {"for-model", 0, POPT_ARG_STRING, &opt.for_model, 0,
         "bind a lock key to this model, or to this locked model", "FOLDER"},
        {"purpose", 0, POPT_ARG_STRING, &opt.purpose, 0,
         "bind a lock key to any (default), lock or unlock", "WHAT"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)part_options, 0,
         "Options of bind, split and combine:", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    opt.tables[0] = table;
    opt.tables[1] = part_options;
    return cli_run(
        argc, argv, table,
        "new signing|lock|recipient | show FILE | bind LOCKKEY | split LOCKKEY | "
        "combine SHARE...",
        1, 256, run_key, &opt);
}
