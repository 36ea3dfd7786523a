/* SPDX-License-Identifier: Apache-2.0 */
/* The paper's method on the adapters that are here: its sizes and errors, measured. */
#include <math.h>
#include <string.h>

#include "rmm/inspect.h"
#include "rmm/rows_set.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err module(struct ww_rows_set *t, size_t k, double *norms, double *errors,
                          struct ww_error *err)
{
    enum ww_err rc = ww_rows_set_read(t, k, err);

    for (size_t p = 1; p <= ww_rows_set_most(t) && !rc; p++) {
        rc = ww_rows_set_go(t, p, err);
        for (size_t i = 0; i < t->n && !rc; i++) {
            double norm2 = 0;
            double error2 = 0;
            ww_rows_set_measure(t, i, &norm2, &error2);
            norms[p - 1] += norm2;
            errors[p - 1] += error2;
        }
    }
    ww_rows_set_drop(t);
    return rc;
}

static enum ww_err measure(struct ww_rows_set *t, struct ww_pack_inspection *report,
                           struct ww_error *err)
{
    const size_t most = ww_rows_set_most(t);
    const size_t step = (t->n_pairs + WW_INSPECT_SAMPLE - 1) / WW_INSPECT_SAMPLE;
    double *sums = ww_calloc(most, 2 * sizeof(*sums));
    enum ww_err rc = WW_OK;

    report->rows = ww_calloc(most, sizeof(*report->rows));
    if (!sums || !report->rows) {
        rc = WW_FAIL_MEMORY(err, "directions");
    }
    for (size_t k = 0; k < t->n_pairs && !rc; k += step) {
        rc = module(t, k, sums, sums + most, err);
    }
    for (size_t p = 1; p <= most && !rc; p++) {
        const struct ww_rows rows = {.n = t->n, .r = t->r, .p = p};
        report->rows[report->n_rows++] = (struct ww_inspect_rate){
            16 * (double)ww_rows_numbers(&rows) / (double)(t->n * t->r),
            sums[p - 1] > 0 ? sqrt(sums[most + p - 1] / sums[p - 1]) : 0};
    }
    ww_free(sums);
    return rc;
}

enum ww_err ww_inspect_rows(struct ww_inspecting *x, struct ww_error *err)
{
    struct ww_rows_set t = {.n = 0};
    const char *why = NULL;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < x->report->n_members && !rc; i++) {
        if (x->peeks[i].open && x->peeks[i].adapter) {
            rc = ww_rows_set_add(&t, &x->peeks[i], err);
        }
    }
    if (!rc) {
        why = ww_rows_set_why_not(&t);
    }
    if (!rc && why) {
        x->report->no_rows = ww_strdup(why);
        rc = x->report->no_rows ? WW_OK : WW_FAIL_MEMORY(err, "directions");
    } else if (!rc) {
        rc = measure(&t, x->report, err);
    }
    ww_rows_set_release(&t);
    return rc;
}
