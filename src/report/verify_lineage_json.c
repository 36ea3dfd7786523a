/* SPDX-License-Identifier: Apache-2.0 */
/* Declared lineage against the weights. */
#include "report/object.h"
#include "weightward/report.h"

static void write_declared(struct ww_jw *w, const struct ww_verify_lineage_report *report)
{
    ww_jw_key(w, "declared");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_declared; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", report->declared[i].name);
        ww_jw_kbool(w, "found", report->declared[i].found);
        ww_jw_key(w, "observed");
        if (report->declared[i].compared) {
            ww_jw_bool(w, report->declared[i].observed);
        } else {
            ww_jw_null(w);
        }
        if (report->has_decompose) {
            ww_jw_kdouble(w, "share", report->declared[i].share);
        }
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

enum ww_err ww_report_verify_lineage_json(const struct ww_verify_lineage_report *report,
                                          char **out, struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "lineage");
    ww_jw_kstr(&w, "word", "verify");
    ww_jw_key(&w, "agrees");
    if (report->agreement == WW_LINEAGE_UNTOLD) {
        ww_jw_null(&w);
    } else {
        ww_jw_bool(&w, report->agreement == WW_LINEAGE_AGREES);
    }
    ww_jw_kstr(&w, "why", report->why);
    ww_jw_kstr(&w, "declared_by", report->declared_by);
    write_declared(&w, report);
    ww_object_strings(&w, "undeclared", report->undeclared, report->n_undeclared);
    ww_jw_kbool(&w, "drawn", report->has_replay && report->replay.drawn);
    if (report->has_replay) {
        ww_jw_kdouble(&w, "match", report->replay.match);
    }
    if (report->has_decompose) {
        ww_jw_kdouble(&w, "unexplained", report->decompose.unexplained);
    }
    return ww_object_end(&w, &buf, out, err);
}
