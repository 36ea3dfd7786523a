/* SPDX-License-Identifier: Apache-2.0 */
/* What the bits of a replay say. */
#include "lineage/draws.h"
#include "lineage/replay_work.h"
#include "util/alloc.h"
#include "util/fail.h"

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

static void add_up(const struct ww_matches *m, struct ww_match *sum)
{
    for (uint32_t t = 0; t < m->n; t++) {
        const struct ww_match *one = &m->tensors[t];
        sum->moved += one->moved;
        sum->undecided += one->undecided;
        for (unsigned a = 0; a < WW_ARITHMETICS; a++) {
            sum->same[a] += one->same[a];
            sum->fits[a] += one->fits[a];
            sum->agree[a] += one->agree[a];
        }
    }
}

/* Kinds that could compute all that moved; the best of them. */
static enum ww_err judge_kinds(struct ww_replaying *r, const struct ww_match *sum,
                               unsigned *best, struct ww_error *err)
{
    struct ww_replay_report *report = r->report;

    report->kinds = ww_calloc(WW_ARITHMETICS, sizeof(*report->kinds));
    if (!report->kinds) {
        return WW_FAIL_MEMORY(err, "a replay");
    }
    *best = 0;
    report->ceiling = 1;
    for (unsigned a = 0; a < WW_ARITHMETICS; a++) {
        if (sum->fits[a] < sum->moved) {
            continue;
        }
        report->kinds[report->n_kinds++] =
            (struct ww_replay_kind){ww_arithmetic_name(a), ww_arithmetic_summary(a),
                                    share(sum->same[a], sum->moved)};
        if (sum->same[a] > sum->same[*best]) {
            *best = a;
        }
        if (ww_arithmetic_is_wide(a) && sum->moved) {
            const double agree = share(sum->agree[a], sum->moved);
            report->ceiling = agree < report->ceiling ? agree : report->ceiling;
        }
    }
    report->arithmetic = ww_arithmetic_name(*best);
    report->match = share(sum->same[*best], sum->moved);
    report->moved = sum->moved;
    report->undecided = sum->undecided;
    return WW_OK;
}

static enum ww_err draw_interval(struct ww_replaying *r, unsigned best,
                                 struct ww_error *err)
{
    const struct ww_matches *m = &r->matches;
    uint64_t *same = ww_calloc(2 * (size_t)m->n + 1, sizeof(*same));
    uint64_t *moved = same + m->n;
    size_t n = 0;
    enum ww_err rc = same ? WW_OK : WW_FAIL_MEMORY(err, "a replay");

    for (uint32_t t = 0; t < m->n && !rc; t++) {
        if (m->tensors[t].moved) {
            same[n] = m->tensors[t].same[best];
            moved[n++] = m->tensors[t].moved;
        }
    }
    if (!rc) {
        rc = ww_draw_interval(same, moved, n, r->options->seed, &r->report->low,
                              &r->report->high, err);
    }
    ww_free(same);
    return rc;
}

enum ww_err ww_replay_judge(struct ww_replaying *r, struct ww_error *err)
{
    struct ww_replay_report *report = r->report;
    struct ww_match sum = {0};
    unsigned best = 0;
    enum ww_err rc = WW_OK;

    add_up(&r->matches, &sum);
    rc = judge_kinds(r, &sum, &best, err);
    if (!rc) {
        rc = draw_interval(r, best, err);
    }
    report->supports = report->match >= WW_REPLAY_SUPPORTED;
    for (size_t c = 0; c < report->n_controls; c++) {
        report->controls[c].match = share(r->others[c], sum.moved);
        report->supports &=
            1 - report->controls[c].match > WW_REPLAY_TIMES_WORSE * (1 - report->match);
    }
    if (!rc && r->drawn && !report->supports) {
        rc = ww_drawn_judge(r->drawn, &r->plan, ww_recipe_view_recipe(&r->view),
                            &report->apart, err);
    }
    if (!rc && sum.moved == 0) {
        rc =
            ww_strlist_add(&r->warnings,
                           "the recipe moves nothing: all its models are equal where the "
                           "suspect has tensors",
                           err);
    }
    return rc;
}
