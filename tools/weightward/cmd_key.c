/* SPDX-License-Identifier: Apache-2.0 */
/* weightward key: make and describe keys. Existing files are never overwritten. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

struct key {
    struct cli_common common;
    char *out;
    char *curve;
    char **to;
    struct cli_passphrase passphrase;
    int no_passphrase;
};

static const struct {
    const char *name;
    enum ww_curve curve;
} curves[] = {
    {"P-256", WW_CURVE_P256},
    {"P-384", WW_CURVE_P384},
    {"P-521", WW_CURVE_P521},
};

static int usage(const char *text)
{
    fprintf(stderr, "weightward key: %s\ntry: weightward key --help\n", text);
    return CLI_USAGE;
}

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

static enum ww_err create(const struct key *opt, const char *kind, enum ww_curve curve,
                          struct ww_error *err)
{
    struct ww_secret *passphrase = NULL;
    size_t n_to = cli_count(opt->to);
    enum ww_err rc = WW_OK;
    if (!opt->no_passphrase && n_to == 0) {
        rc = cli_passphrase(&opt->passphrase, "New passphrase: ", true, &passphrase, err);
        if (rc == WW_OK && !passphrase) {
            rc = WW_E_PASSPHRASE;
            err->code = rc;
            snprintf(err->text, sizeof err->text, "no passphrase: there is no terminal to ask "
                     "on; use --passphrase-file, --passphrase-fd or --no-passphrase");
        }
    }
    if (rc == WW_OK && strcmp(kind, "signing") == 0) {
        rc = ww_signkey_create(opt->out, curve, passphrase, err);
    } else if (rc == WW_OK && strcmp(kind, "recipient") == 0) {
        rc = ww_recipient_create(opt->out, passphrase, err);
    } else if (rc == WW_OK) {
        rc = ww_lockkey_create(opt->out, passphrase, (const char *const *)opt->to, n_to, err);
    }
    ww_secret_free(passphrase);
    return rc;
}

static int describe(const struct key *opt, const char *verb, const char *path)
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
    static const char *const kinds[] = {"signing key", "public signing key", "lock key",
                                        "recipient key", "public recipient key",
                                        "key of a sealed model", "share of a lock key"};
    static const char *const seals[] = {"not sealed", "sealed by a passphrase",
                                        "sealed for recipients"};
    bool is_public = info.kind == WW_KEY_SIGNING_PUBLIC ||
                     info.kind == WW_KEY_RECIPIENT_PUBLIC;
    printf("%s: %s%s%s%s%s%s%s\n", path, kinds[info.kind], info.curve[0] ? " " : "",
           info.curve, is_public ? "" : ", ", is_public ? "" : seals[info.sealing],
           info.id[0] ? ", id " : "", info.id);
    return 0;
}

static int key_new(const struct key *opt, const char *kind)
{
    struct ww_error err = {0};
    enum ww_curve curve;
    bool signing = strcmp(kind, "signing") == 0;
    bool lock = strcmp(kind, "lock") == 0;
    if (!signing && !lock && strcmp(kind, "recipient") != 0) {
        return usage("the kinds are signing, lock and recipient");
    }
    if (!opt->out) {
        return usage("--out NAME is needed");
    }
    if (!find_curve(opt->curve, &curve)) {
        return usage("the curves are P-256, P-384 and P-521");
    }
    if (opt->curve && !signing) {
        return usage("--curve goes with signing keys");
    }
    if (opt->to && !lock) {
        return usage("--to goes with lock keys");
    }
    enum ww_err rc = create(opt, kind, curve, &err);
    if (rc) {
        return cli_fail("key", &opt->common, &err);
    }
    char path[4096];
    snprintf(path, sizeof path, "%s%s", opt->out, lock ? "" : ".key");
    if (signing) {
        cli_say(&opt->common, "wrote '%s.key' (keep it) and '%s.pub' (hand it out)\n"
                "others check your models with: weightward verify MODEL --key %s.pub",
                opt->out, opt->out, opt->out);
    } else {
        cli_say(&opt->common, "wrote '%s': without it a locked model cannot be unlocked; keep "
                "a copy somewhere safe", path);
    }
    return opt->common.json ? describe(opt, "key", path) : 0;
}

static int run_key(const void *opt, const char *verb, const char *const *args)
{
    if (strcmp(args[0], "new") == 0) {
        return key_new(opt, args[1]);
    }
    if (strcmp(args[0], "show") == 0) {
        return describe(opt, verb, args[1]);
    }
    return usage("the commands are 'key new' and 'key show'");
}

int cmd_key(int argc, const char **argv)
{
    struct key opt = {.passphrase.fd = -1};
    const struct poptOption table[] = {
        {"out", 'o', POPT_ARG_STRING, &opt.out, 0, "name of the new key", "NAME"},
        {"curve", 0, POPT_ARG_STRING, &opt.curve, 0, "P-256 (default), P-384 or P-521",
         "CURVE"},
        {"to", 0, POPT_ARG_ARGV, &opt.to, 0,
         "seal a lock key for this recipient (repeatable)", "PUB"},
        {"passphrase-file", 0, POPT_ARG_STRING, &opt.passphrase.file, 0,
         "passphrase for the new key", "FILE"},
        {"passphrase-fd", 0, POPT_ARG_INT, &opt.passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"no-passphrase", 0, POPT_ARG_NONE, &opt.no_passphrase, 0,
         "store the key in the clear", NULL},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "new signing|lock|recipient | show FILE", 2, 2, run_key,
                   &opt);
}
