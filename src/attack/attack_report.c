/* SPDX-License-Identifier: Apache-2.0 */
/* Norms are summed over tensors in the order of the model. */
#include "attack/attack_report.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

const char *ww_attack_mode_name(enum ww_attack_mode mode)
{
    static const char *const names[] = {[WW_ATTACK_JOINT] = "joint",
                                        [WW_ATTACK_AGA] = "aga",
                                        [WW_ATTACK_INVARIANT] = "invariant",
                                        [WW_ATTACK_NAIVE] = "naive"};
    return (size_t)mode < WW_LEN(names) ? names[mode] : "?";
}

static enum ww_err fill_tensor(const struct ww_attack_job *job, uint32_t t,
                               struct ww_attack_tensor *out, struct ww_error *err)
{
    const struct ww_score *s = &job->scores[t];

    *out = (struct ww_attack_tensor){
        .name = ww_strdup(job->pair->locked->model->tensors[t].name),
        .anchor_norm = sqrt(s->anchor),
        .before = sqrt(s->before),
        .after = sqrt(s->after),
        .to_truth = sqrt(s->to_truth),
        .task = sqrt(s->task),
        .bytes = s->bytes,
        .identical_bytes = s->identical};
    return out->name ? WW_OK : WW_FAIL_MEMORY(err, "a report");
}

enum ww_err ww_attack_report_fill(const struct ww_attack_job *job,
                                  struct ww_attack_report *report, struct ww_error *err)
{
    const uint32_t n = job->pair->locked->model->n_tensors;
    struct ww_score total = {0};
    enum ww_err rc = WW_OK;

    const struct ww_blend *blend = job->pair->blend;

    report->found = job->pair->found;
    if (blend) {
        report->weight = blend->weight;
        report->dropped = blend->merged > 0 ? sqrt(blend->dropped / blend->merged) : 0;
    }
    report->tensors = ww_calloc(n, sizeof(*report->tensors));
    if (!report->tensors) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    for (uint32_t t = 0; t < n && !rc; t++) {
        const struct ww_score *s = &job->scores[t];
        if (s->bytes == 0) {
            continue;
        }
        rc = fill_tensor(job, t, &report->tensors[report->n_tensors++], err);
        total.anchor += s->anchor;
        total.before += s->before;
        total.after += s->after;
        total.to_truth += s->to_truth;
        total.task += s->task;
        total.bytes += s->bytes;
        total.identical += s->identical;
    }
    if (total.anchor > 0) {
        report->distance_before = sqrt(total.before / total.anchor);
        report->distance_after = sqrt(total.after / total.anchor);
    }
    report->scored = job->truth != NULL;
    report->has_task = report->scored && total.task > 0;
    report->recovered = report->has_task ? 1 - sqrt(total.to_truth / total.task) : 0;
    report->identical =
        report->scored && total.bytes ? (double)total.identical / (double)total.bytes : 0;
    return rc;
}

enum ww_err ww_attack_measure(void *payload, const char *locked, const char *source,
                              struct ww_lock_attack *out, struct ww_error *err)
{
    const struct ww_attack_options *given = payload;
    struct ww_attack_options options = *given;
    struct ww_attack_report report;
    enum ww_err rc = WW_OK;

    options.truth = source;
    options.signer = NULL;
    rc = ww_attack_folder(locked, NULL, &options, &report, err);
    if (rc) {
        return rc;
    }
    *out = (struct ww_lock_attack){.measured = true,
                                   .has_task = report.has_task,
                                   .recovered = report.recovered,
                                   .identical = report.identical,
                                   .distance_before = report.distance_before,
                                   .distance_after = report.distance_after,
                                   .seconds = report.seconds};
    memcpy(out->mode, ww_attack_mode_name(report.mode),
           strlen(ww_attack_mode_name(report.mode)) + 1);
    ww_attack_report_release(&report);
    return WW_OK;
}

void ww_attack_report_release(struct ww_attack_report *report)
{
    for (size_t t = 0; report->tensors && t < report->n_tensors; t++) {
        ww_free(report->tensors[t].name);
    }
    ww_free(report->tensors);
    memset(report, 0, sizeof(*report));
}
