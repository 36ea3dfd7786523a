/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/decompose_report.h"

#include <string.h>

#include "util/alloc.h"
#include "util/str.h"

void ww_decompose_forget_each(struct ww_decompose_report *report)
{
    for (size_t i = 0; i < report->n_each; i++) {
        ww_free(report->each[i].name);
    }
    ww_free(report->each);
    report->each = NULL;
    report->n_each = 0;
}

void ww_decompose_report_release(struct ww_decompose_report *report)
{
    struct ww_strlist warnings = {report->warnings, report->n_warnings,
                                  report->n_warnings};

    for (size_t i = 0; i < report->n_sources; i++) {
        ww_free(report->sources[i].name);
        ww_free(report->sources[i].note);
        ww_free(report->sources[i].reached);
    }
    ww_decompose_forget_each(report);
    for (size_t i = 0; i < report->n_ranks; i++) {
        ww_free(report->ranks[i].name);
    }
    ww_free(report->ranks);
    ww_free(report->places);
    for (size_t i = 0; i < report->n_layers; i++) {
        ww_free(report->layers[i].name);
        ww_free(report->layers[i].shares);
    }
    for (size_t i = 0; i < report->n_classes; i++) {
        ww_free(report->classes[i].shares);
    }
    ww_free(report->classes);
    ww_free(report->sources);
    ww_free(report->recipe);
    ww_free(report->disguise);
    ww_free(report->layers);
    ww_strlist_release(&warnings);
    memset(report, 0, sizeof(*report));
}

size_t ww_decompose_count_included(const struct ww_decompose_report *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->n_sources; i++) {
        n += r->sources[i].included;
    }
    return n;
}
