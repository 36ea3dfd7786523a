/* SPDX-License-Identifier: Apache-2.0 */
/* weightward recipients: who may open a sealed folder. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CHANGES 1024

struct recipients {
    struct cli_common common;
    struct cli_lockkey key; /* what opens the model; its path stays unused */
    char **to;
    char **ids;
};

static int list(const struct recipients *opt, const char *path)
{
    struct ww_seal_access access;
    struct ww_error err = {0};
    char *json = NULL;
    enum ww_err rc = ww_seal_access_read(path, &access, &err);
    if (rc) {
        return cli_fail("recipients", &opt->common, &err);
    }
    if (opt->common.json) {
        rc = ww_report_recipients_json(path, &access, &json, &err);
        ww_seal_access_release(&access);
        return cli_answer_json("recipients", &opt->common, rc, json, &err);
    }
    if (access.sealing != WW_SEALED_RECIPIENTS) {
        printf("%s: sealed by a passphrase\n", path);
    }
    for (size_t i = 0; i < access.n_recipients; i++) {
        printf("%s\n", access.recipients[i]);
    }
    ww_seal_access_release(&access);
    return 0;
}

/* Ids of those to remove: given as such, and of public keys. */
static enum ww_err ids_to_remove(const struct recipients *opt, char (*storage)[33],
                                 const char **out, size_t *n, struct ww_error *err)
{
    *n = 0;
    for (size_t i = 0; i < cli_count(opt->ids); i++) {
        out[(*n)++] = opt->ids[i];
    }
    for (size_t i = 0; i < cli_count(opt->to); i++) {
        enum ww_err rc = ww_recipient_id_of(opt->to[i], storage[i], err);
        if (rc) {
            return rc;
        }
        out[(*n)++] = storage[i];
    }
    return WW_OK;
}

static enum ww_err apply(const struct recipients *opt, bool adding, const char *path,
                         const struct ww_unsealer *unsealer, struct ww_error *err)
{
    static char storage[MAX_CHANGES][33];
    static const char *removed[2 * MAX_CHANGES];
    struct ww_seal_change change = {0};
    enum ww_err rc = WW_OK;
    if (adding) {
        change.add = (const char *const *)opt->to;
        change.n_add = cli_count(opt->to);
    } else {
        rc = ids_to_remove(opt, storage, removed, &change.n_remove, err);
        change.remove = removed;
    }
    return rc ? rc : ww_seal_change_recipients(path, unsealer, &change, err);
}

static int change(const struct recipients *opt, bool adding, const char *path)
{
    struct ww_error err = {0};
    struct ww_unsealer unsealer = {0};
    const struct cli_seal how = {.common = &opt->common, .key = &opt->key};
    size_t n = cli_count(opt->to) + cli_count(opt->ids);
    if (n == 0 || n > MAX_CHANGES) {
        return cli_usage("recipients",
                         adding ? "--to PUB is needed: who is to come"
                                : "--to PUB or --id ID is needed: who is to go");
    }
    if (adding && opt->ids) {
        return cli_usage("recipients",
                         "--id goes with remove; to add someone, give the public key");
    }
    enum ww_err rc = cli_unsealer(path, &how, &unsealer, &err);
    if (rc == WW_OK) {
        rc = apply(opt, adding, path, &unsealer, &err);
    }
    cli_unsealer_release(&unsealer);
    if (rc) {
        return cli_fail("recipients", &opt->common, &err);
    }
    cli_say(&opt->common, "%s %zu recipient%s", adding ? "added" : "removed", n,
            n > 1 ? "s" : "");
    if (!adding) {
        cli_say(&opt->common,
                "the content key is the same: who opened the model before, or "
                "kept the old '%s', can still open it; seal the source again to shut "
                "them out",
                WW_SEAL_KEYS_FILE);
    }
    return opt->common.json ? list(opt, path) : 0;
}

static int run_recipients(const void *given, const char *verb, const char *const *args)
{
    const struct recipients *opt = given;
    const bool lists = strcmp(args[0], "list") == 0;
    const bool adds = strcmp(args[0], "add") == 0;
    if (!lists && !adds && strcmp(args[0], "remove") != 0) {
        return cli_unknown_word(verb, args[0], "list, add, remove");
    }
    if (!args[1]) {
        return cli_wrong_use(verb, "'%s' needs the sealed folder behind it", args[0]);
    }
    return lists ? list(opt, args[1]) : change(opt, adds, args[1]);
}

int cmd_recipients(int argc, const char **argv)
{
    struct recipients opt = {.key = CLI_LOCKKEY};
    const struct poptOption table[] = {
        {"open-with", 0, POPT_ARG_STRING, &opt.key.open_with, 0,
         "recipient key that opens the model (to add and remove)", "KEY"},
        {"open-passphrase-file", 0, POPT_ARG_STRING, &opt.key.open_passphrase.file, 0,
         "passphrase of the recipient key", "FILE"},
        {"open-passphrase-fd", 0, POPT_ARG_INT, &opt.key.open_passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"to", 0, POPT_ARG_ARGV, &opt.to, 0,
         "public key of who comes or goes (repeatable)", "PUB"},
        {"id", 0, POPT_ARG_ARGV, &opt.ids, 0, "id of who goes (repeatable)", "ID"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "list|add|remove FOLDER", 1, 2, run_recipients,
                   &opt);
}
