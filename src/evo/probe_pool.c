/* SPDX-License-Identifier: Apache-2.0 */
/* A whole pool probed: each member's facts or failure, and the tokenizers compared. */
#include <string.h>

#include "evo/collect.h"
#include "evo/meter.h"
#include "evo/pool.h"
#include "util/alloc.h"
#include "util/fail.h"

struct probing {
    struct ww_members members;
    struct ww_member_facts facts[WW_POOL_MAX_MEMBERS];
    struct ww_endpoint *endpoint[WW_POOL_MAX_MEMBERS];
    struct ww_spending spending;
    struct ww_meter meter;
};

static enum ww_err probe_one(struct probing *p, uint32_t k, uint32_t top,
                             struct ww_evo_member *out, struct ww_error *err)
{
    const struct ww_member *m = &p->members.member[k];
    const struct ww_endpoint_options o = {.tries = 2, .meter = &p->meter};
    struct ww_error local = {0};
    bool same = false;
    bool exact = false;
    enum ww_err rc = ww_endpoint_open(m, &o, &p->endpoint[k], &local);
    rc = rc ? rc : ww_probe(p->endpoint[k], m, top, &p->facts[k], &local);
    rc =
        rc ? rc
           : ww_probe_canary(p->endpoint[k], m, &p->facts[k], top, &same, &exact, &local);
    if (rc == WW_E_NOMEM) {
        return WW_FAIL(err, rc, "%s", local.text);
    }
    if (rc) {
        out->failure = ww_strdup(local.text);
        p->facts[k].scores_prompts = false;
    }
    out->deterministic = exact;
    rc = ww_describe_member(m, &p->facts[k], out, err);
    return rc || !local.code || out->failure ? rc : WW_FAIL_MEMORY(err, "a report");
}

enum ww_err ww_evo_probe(const char *pool, unsigned top, struct ww_probe_report *report,
                         struct ww_error *err)
{
    const struct ww_budget none = {-1, -1, -1, -1};
    memset(report, 0, sizeof(*report));
    struct probing *p = ww_calloc(1, sizeof(*p));
    if (!p) {
        return WW_FAIL_MEMORY(err, "probing");
    }
    ww_spending_init(&p->spending, &none, NULL);
    p->meter = ww_spending_meter(&p->spending);
    enum ww_err rc =
        top > WW_SCORED_MAX_TOP
            ? WW_FAIL(err, WW_E_USAGE, "lists of at most %d tokens are possible",
                      WW_SCORED_MAX_TOP)
            : ww_members_read(pool, &p->members, err);
    if (!rc) {
        report->members = ww_calloc(p->members.k, sizeof(*report->members));
        rc = report->members ? WW_OK : WW_FAIL_MEMORY(err, "a report");
    }
    for (uint32_t k = 0; k < p->members.k && !rc; k++) {
        report->n_members++;
        rc = probe_one(p, k, top ? top : WW_EVO_TOP, &report->members[k], err);
        report->n_failed += report->members[k].failure != NULL;
    }
    rc =
        rc ? rc : ww_probe_tokens(p->endpoint, &p->members, p->facts, false, report, err);
    report->calls = p->spending.calls;
    for (uint32_t k = 0; k < p->members.k; k++) {
        ww_member_facts_release(&p->facts[k]);
        ww_endpoint_free(p->endpoint[k]);
    }
    ww_members_release(&p->members);
    ww_spending_release(&p->spending);
    ww_free(p);
    if (rc) {
        ww_probe_report_release(report);
    }
    return rc;
}

void ww_probe_report_release(struct ww_probe_report *report)
{
    for (size_t k = 0; k < report->n_members; k++) {
        ww_evo_member_release(&report->members[k]);
    }
    ww_free(report->members);
    memset(report, 0, sizeof(*report));
}
