/* SPDX-License-Identifier: Apache-2.0 */
/* What a report shows of a search beyond its outcome. */
#include <math.h>
#include <string.h>

#include "evo/search_int.h"
#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_search_add_point(const struct ww_search *s, uint32_t first, uint32_t n,
                                struct ww_search_report *report, struct ww_error *err)
{
    const double sign = s->space.minimise ? -1 : 1;
    double best =
        report->n_curve ? sign * report->curve[report->n_curve - 1].best : (double)NAN;
    double sum = 0;
    uint32_t good = 0;
    for (uint32_t i = first; i < first + n; i++) {
        const double value = ww_search_value(s, i);
        if (!isnan(value)) {
            best = best >= value ? best : value;
            sum += value;
            good++;
        }
    }
    void *curve =
        ww_realloc_array(report->curve, report->n_curve + 1u, sizeof(*report->curve));
    if (!curve) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    report->curve = curve;
    report->curve[report->n_curve++] =
        (struct ww_search_point){.trials = first + n,
                                 .best = sign * best,
                                 .generation = good ? sign * sum / good : (double)NAN};
    return WW_OK;
}

enum ww_err ww_search_add_numbers(const struct ww_search *s, const double *chosen,
                                  struct ww_search_report *report, struct ww_error *err)
{
    report->numbers = ww_calloc(s->space.d, sizeof(*report->numbers));
    if (!report->numbers) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    for (uint32_t i = 0; i < s->space.n_variables; i++) {
        const struct ww_space_variable *v = &s->space.variable[i];
        for (uint32_t j = 0; j < v->values; j++) {
            struct ww_search_number *to = &report->numbers[report->n_numbers++];
            *to = (struct ww_search_number){
                .name = v->values > 1 ? ww_asprintf("%s[%u]", v->name, j)
                                      : ww_strdup(v->name),
                .low = v->low,
                .high = v->high,
                .start = v->start,
                .chosen = chosen[v->first + j]};
            if (!to->name) {
                return WW_FAIL_MEMORY(err, "a report");
            }
        }
    }
    return WW_OK;
}

enum ww_err ww_search_add_front(const struct ww_search *s, const uint32_t *trial,
                                const bool *in_front, uint32_t n,
                                struct ww_search_report *report, struct ww_error *err)
{
    const uint32_t k = s->space.n_objectives;
    uint32_t rows = 0;
    report->objectives = ww_calloc(k, sizeof(char *));
    report->points = ww_calloc((size_t)n + 1, k * sizeof(*report->points));
    bool good = report->objectives && report->points;
    for (uint32_t o = 0; good && o < k; o++) {
        report->objectives[o] = ww_strdup(s->space.objectives[o]);
        report->n_objectives++;
        good = report->objectives[o] != NULL;
    }
    for (uint32_t i = 0; good && i <= n; i++) {
        if (i > 0 && !in_front[i - 1]) {
            continue;
        }
        for (uint32_t o = 0; o < k; o++) {
            const double value = ww_search_objective(s, trial[i], o);
            report->points[(size_t)rows * k + o] =
                s->space.objective_minimise[o] ? -value : value;
        }
        rows++;
    }
    return good ? WW_OK : WW_FAIL_MEMORY(err, "a report");
}
