/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of an attack. */
#include "report/object.h"
#include "weightward/report.h"

static void write_found(struct ww_jw *w, const struct ww_attack_found *found)
{
    const struct {
        const char *key;
        uint64_t n;
    } rows[] = {
        {"residual_moved", found->residual_moved},
        {"residual_negated", found->residual_negated},
        {"residual_rotated", found->residual_rotated},
        {"heads_moved", found->heads_moved},
        {"inner_moved", found->inner_moved},
        {"inner_negated", found->inner_negated},
        {"neurons_moved", found->neurons_moved},
        {"neurons_negated", found->neurons_negated},
        {"experts_moved", found->experts_moved},
        {"scaled", found->scaled},
        {"dense_heads", found->dense_heads},
        {"product_heads", found->product_heads},
        {"rows_alone", found->rows_alone},
    };

    ww_jw_key(w, "found");
    ww_jw_object(w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ww_jw_ku64(w, rows[i].key, rows[i].n);
    }
    ww_jw_close(w);
}

static void write_tensors(struct ww_jw *w, const struct ww_attack_report *report)
{
    ww_jw_key(w, "tensors");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_tensors; i++) {
        const struct ww_attack_tensor *t = &report->tensors[i];
        ww_jw_object(w);
        ww_jw_kstr(w, "name", t->name);
        ww_jw_kdouble(w, "anchor_norm", t->anchor_norm);
        ww_jw_kdouble(w, "before", t->before);
        ww_jw_kdouble(w, "after", t->after);
        if (report->scored) {
            ww_jw_kdouble(w, "to_truth", t->to_truth);
            ww_jw_kdouble(w, "task", t->task);
            ww_jw_ku64(w, "bytes", t->bytes);
            ww_jw_ku64(w, "identical_bytes", t->identical_bytes);
        }
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

enum ww_err ww_report_attack_json(const char *anchor,
                                  const struct ww_attack_report *report, char **out,
                                  struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "attack");
    ww_jw_kstr(&w, "mode", ww_attack_mode_name(report->mode));
    ww_jw_kstr(&w, "anchor", anchor);
    if (report->mode == WW_ATTACK_INVARIANT) {
        ww_jw_kdouble(&w, "weight", report->weight);
        ww_jw_kdouble(&w, "dropped", report->dropped);
    }
    if (report->has_task) {
        ww_jw_kdouble(&w, "recovered", report->recovered);
    }
    if (report->scored) {
        ww_jw_kdouble(&w, "identical_bytes", report->identical);
    }
    if (report->drift_known) {
        ww_jw_kdouble(&w, "function_drift", report->function_drift);
    }
    ww_jw_kdouble(&w, "distance_before", report->distance_before);
    ww_jw_kdouble(&w, "distance_after", report->distance_after);
    write_found(&w, &report->found);
    write_tensors(&w, report);
    if (report->root_sha256[0]) {
        ww_jw_kstr(&w, "root_sha256", report->root_sha256);
    }
    ww_jw_ku64(&w, "bytes_read", report->run.bytes_read);
    ww_jw_ku64(&w, "bytes_written", report->run.bytes_written);
    ww_jw_kdouble(&w, "seconds", report->seconds);
    return ww_object_end(&w, &buf, out, err);
}
