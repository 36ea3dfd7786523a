/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A package of at most so many bytes. Half the error costs about one more bit for each
 * number, so the size is nearly a line over the logarithm of the error: a few packages
 * that are measured and not kept find the smallest error that fits. The error is in the
 * package and decides its bytes, so no libm is asked for it. The base is open all the
 * time, so what was read of it for the first of them is what the last one states.
 */
#include "rmm/pack_budget.h"

#include <string.h>

#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MAX_TRIES 9
#define LEAST_ERROR 1e-4
#define CLOSE 0.995 /* of the budget: no better one is looked for */

struct search {
    struct ww_packing *p; /* as the caller filled it in */
    struct ww_pack_options options;
    struct ww_pack_report *report;
    struct ww_base_roots base;
};

static enum ww_err size_of(struct search *s, double error, uint64_t *bytes,
                           struct ww_error *err)
{
    struct ww_packing p = *s->p;
    enum ww_err rc = WW_OK;

    s->options.error = error;
    p.options = &s->options;
    p.measured = bytes;
    rc = ww_packing_run(&p, s->report, err);
    ww_pack_report_release(s->report);
    return rc;
}

static double middle(double fine, double coarse, double fine_bytes, double coarse_bytes,
                     double budget)
{
    const double share = (fine_bytes - budget) / (fine_bytes - coarse_bytes);
    const double kept = share < 0.1 ? 0.1 : share > 0.9 ? 0.9 : share;

    return fine * ww_fix_exp(kept * ww_fix_log(coarse / fine));
}

/* Errors between one that is too dear and one that fits. Near an error of 1 the size is
 * no line, and the same end would come nearer by less and less: then the middle is tried.
 */
static enum ww_err narrow(struct search *s, uint64_t budget, uint64_t fine_bytes,
                          uint64_t coarse_bytes, double *error, struct ww_error *err)
{
    double fine = LEAST_ERROR;
    double coarse = 1;
    unsigned same = 0; /* tries in a row that moved one end */
    bool fits = false; /* and which */
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < MAX_TRIES && !rc; i++) {
        const double next = same > 1 ? fine * ww_fix_exp(0.5 * ww_fix_log(coarse / fine))
                                     : middle(fine, coarse, (double)fine_bytes,
                                              (double)coarse_bytes, (double)budget);
        uint64_t bytes = 0;
        if ((double)coarse_bytes >= CLOSE * (double)budget || coarse / fine < 1.005) {
            break;
        }
        rc = size_of(s, next, &bytes, err);
        same = i > 0 && fits == (bytes <= budget) ? same + 1 : 1;
        fits = bytes <= budget;
        if (fits) {
            coarse = next;
            coarse_bytes = bytes;
        } else {
            fine = next;
            fine_bytes = bytes;
        }
    }
    *error = coarse;
    return rc;
}

static enum ww_err find(struct search *s, uint64_t budget, double *error,
                        struct ww_error *err)
{
    uint64_t exact = 0;
    uint64_t coarsest = 0;
    enum ww_err rc = size_of(s, 0, &exact, err);

    *error = 0;
    if (rc || exact <= budget) {
        return rc;
    }
    rc = size_of(s, 1, &coarsest, err);
    if (!rc && coarsest > budget) {
        return WW_FAIL(
            err, WW_E_LIMIT,
            "a budget of %llu bytes: with all changes rounded away the package "
            "has %llu; allow more",
            (unsigned long long)budget, (unsigned long long)coarsest);
    }
    return rc ? rc : narrow(s, budget, exact, coarsest, error, err);
}

/* The most directions whose package fits. Too many for the adapters are too many. */
static enum ww_err find_directions(struct search *s, uint64_t budget,
                                   struct ww_error *err)
{
    size_t fit = 0;
    size_t more = s->p->n_given; /* one less, and the rank, are what makes sense */

    for (size_t next = 1; fit + 1 < more || fit == 0;) {
        struct ww_error why = {0};
        uint64_t bytes = 0;
        s->options.directions = next;
        const enum ww_err rc = size_of(s, 0, &bytes, &why);
        if (rc && (rc != WW_E_LIMIT || next == 1)) {
            return WW_FAIL(err, rc, "%s", why.text);
        }
        if (next == 1 && bytes > budget) {
            return WW_FAIL(err, WW_E_LIMIT,
                           "a budget of %llu bytes: with one direction the package has "
                           "%llu; allow more",
                           (unsigned long long)budget, (unsigned long long)bytes);
        }
        if (rc || bytes > budget) {
            more = next;
        } else {
            fit = next;
        }
        next = fit + (more - fit) / 2;
    }
    s->options.directions = fit;
    return WW_OK;
}

enum ww_err ww_packing_within(struct ww_packing *p, struct ww_pack_report *report,
                              struct ww_error *err)
{
    struct search s = {.p = p, .options = *p->options, .report = report};
    double error = 0;
    const bool alone = p->options->codec == WW_PACK_ALONE;
    enum ww_err rc = ww_packing_group_check(p, err);

    if (!rc && p->options->base && !p->options->inverses) {
        rc = ww_model_open(p->options->base, &p->base, err);
        p->base_lent = !rc;
        p->measured_base = &s.base;
    }
    s.options.budget = alone ? p->options->budget : 0; /* directions take its place */
    if (!rc) {
        rc = alone ? find(&s, p->options->budget, &error, err)
                   : find_directions(&s, p->options->budget, err);
    }
    memset(report, 0, sizeof(*report));
    if (!rc) {
        s.options.error = error;
        p->most = p->options->budget;
        p->options = &s.options;
        rc = ww_packing_run(p, report, err);
    }
    if (p->base_lent) {
        ww_model_close(p->base);
    }
    ww_free(s.base.of);
    return rc;
}
