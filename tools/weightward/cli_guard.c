/* SPDX-License-Identifier: Apache-2.0 */
/* Asking policies before an action, and leaving the decision behind. */
#include "cli_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct poptOption *cli_guard_table(struct cli_guard *guard)
{
    static struct poptOption table[12];
    const struct poptOption filled[] = {
        {"policy-root", 0, POPT_ARG_ARGV, &guard->roots, 0,
         "ask policies: the trust root that is believed, then its successors "
         "(repeatable)",
         "ROOT"},
        {"policy", 0, POPT_ARG_ARGV, &guard->policies, 0,
         "a signed policy that the root names (repeatable, all of them)", "FILE"},
        {"policy-state", 0, POPT_ARG_STRING, &guard->state, 0,
         "refuse roots and policies older than this file has seen", "FILE"},
        {"as", 0, POPT_ARG_STRING, &guard->as, 0,
         "signing key of who asks and of the decision (default: that of --sign)", "KEY"},
        {"as-passphrase-file", 0, POPT_ARG_STRING, &guard->as_passphrase.file, 0,
         "passphrase of that key", "FILE"},
        {"as-passphrase-fd", 0, POPT_ARG_INT, &guard->as_passphrase.fd, 0,
         "the same from a descriptor", "N"},
        {"request", 0, POPT_ARG_STRING, &guard->request, 0,
         "signed request (default: made here)", "FILE"},
        {"approval", 0, POPT_ARG_ARGV, &guard->approvals, 0,
         "signed approval of the request (repeatable)", "FILE"},
        {"purpose", 0, POPT_ARG_STRING, &guard->purpose, 0,
         "what it is for, as policies name it", "WORD"},
        {"decision", 0, POPT_ARG_STRING, &guard->decision, 0,
         "where the signed decision goes (default: into OUT; beside it for a refusal)",
         "FILE"},
        POPT_TABLEEND,
    };
    memcpy(table, filled, sizeof filled);
    return table;
}

char *cli_guard_name(const char *out)
{
    size_t len = strlen(out);
    size_t start = 0;
    while (len > 1 && out[len - 1] == '/') {
        len--;
    }
    start = len;
    while (start > 0 && out[start - 1] != '/') {
        start--;
    }
    return strndup(out + start, len - start);
}

static void tell(const struct cli_common *common, const struct ww_verdict *verdict)
{
    struct ww_verdict_view view;
    char rules[300] = "";
    size_t at = 0;
    ww_verdict_view(verdict, &view);
    for (size_t i = 0; i < view.n_rules && at + 1 < sizeof rules; i++) {
        const int n = snprintf(rules + at, sizeof rules - at, "%s%s", i ? ", " : " by ",
                               view.rules[i]);
        at += n > 0 ? (size_t)n : 0;
    }
    cli_say(common, "policy: %s%s%s",
            view.permit ? "permitted" : "denied: ", view.permit ? "" : view.reason,
            rules);
}

/* A refusal that cannot be written down is still a refusal. */
static void record_refusal(const struct cli_guard *guard, const struct cli_common *common,
                           const struct cli_verdict *verdict, const char *out)
{
    struct ww_error err = {0};
    char *path = NULL;
    if (!guard->decision && asprintf(&path, "%s.decision.sigstore.json", out) < 0) {
        return;
    }
    const char *to = guard->decision ? guard->decision : path;
    if (ww_verdict_record(verdict->verdict, NULL, to, verdict->key, &err)) {
        cli_say(common, "the decision was not recorded: %s", err.text);
    } else {
        cli_say(common, "the decision is in '%s'", to);
    }
    free(path);
}

/* The first option that asks for policies where none would be asked; NULL: none is. */
static const char *idle_option(const struct cli_guard *guard)
{
    const struct {
        bool given;
        const char *name;
    } options[] = {
        {guard->policies, "policy"},
        {guard->state, "policy-state"},
        {guard->as, "as"},
        {guard->request, "request"},
        {guard->approvals, "approval"},
        {guard->purpose, "purpose"},
        {guard->decision, "decision"},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options && !guard->roots; i++) {
        if (options[i].given) {
            return options[i].name;
        }
    }
    return NULL;
}

enum ww_err cli_guard_ask(const struct cli_guard *guard, const struct cli_common *common,
                          const struct ww_policy_ask *given, const char *out,
                          struct ww_signkey *sign, struct cli_verdict *verdict,
                          struct ww_error *err)
{
    struct ww_policy_ask ask = *given;
    struct ww_guard_options options = {
        .trust = {.roots = (const char *const *)guard->roots,
                  .n_roots = cli_count(guard->roots),
                  .policies = (const char *const *)guard->policies,
                  .n_policies = cli_count(guard->policies),
                  .state = guard->state},
        .request = guard->request,
        .approvals = (const char *const *)guard->approvals,
        .n_approvals = cli_count(guard->approvals),
    };
    const char *idle = idle_option(guard);
    enum ww_err rc = WW_OK;
    memset(verdict, 0, sizeof *verdict);
    if (idle) {
        err->code = WW_E_USAGE;
        snprintf(err->text, sizeof err->text,
                 "--%s alone asks no policy: give --policy-root ROOT as well", idle);
        return WW_E_USAGE;
    }
    if (guard->as) {
        rc = cli_signkey(guard->as, &guard->as_passphrase, &verdict->own_key, err);
        if (rc) {
            return rc;
        }
    }
    verdict->key = verdict->own_key ? verdict->own_key : sign;
    if (options.trust.n_roots > 0 && !verdict->key) {
        err->code = WW_E_USAGE;
        snprintf(err->text, sizeof err->text,
                 "a decision is somebody's and is signed: give --as KEY or --sign KEY");
        return WW_E_USAGE;
    }
    options.key = verdict->key;
    ask.purpose = guard->purpose;
    rc = ww_policy_guard(&ask, &options, &verdict->verdict, err);
    if (verdict->verdict) {
        tell(common, verdict->verdict);
        if (rc) {
            record_refusal(guard, common, verdict, out);
        }
    }
    return rc;
}

enum ww_err cli_guard_record(const struct cli_guard *guard,
                             const struct cli_verdict *verdict, const char *out,
                             struct ww_error *err)
{
    if (!verdict->verdict) {
        return WW_OK;
    }
    return ww_verdict_record(verdict->verdict, out, guard->decision, verdict->key, err);
}

void cli_guard_release(struct cli_verdict *verdict)
{
    ww_verdict_free(verdict->verdict);
    ww_signkey_free(verdict->own_key);
    memset(verdict, 0, sizeof *verdict);
}
