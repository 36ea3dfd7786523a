/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of a trace. */
#include "report/object.h"
#include "weightward/report.h"

#define NOTE                                                                             \
    "drawing new symmetries over a copy, or unlocking it, erases the trace: no match "   \
    "is no "                                                                             \
    "proof of innocence"

static void write_row(struct ww_jw *w, const struct ww_trace_row *row)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "recipient", row->recipient);
    ww_jw_kstr(w, "lock_id", row->lock_id);
    ww_jw_kstr(w, "date", row->date);
    ww_jw_ku64(w, "votes", row->votes);
    ww_jw_ku64(w, "agree", row->agree);
    ww_jw_kdouble(w, "p_value", row->p_value);
    ww_jw_kbool(w, "within_bound", row->found);
    ww_jw_close(w);
}

enum ww_err ww_report_trace_json(const struct ww_trace_report *report, char **out,
                                 struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "trace");
    ww_jw_kstr(&w, "match", report->found ? report->best[0].recipient : NULL);
    ww_jw_kdouble(&w, "p_value", report->p_value);
    ww_jw_kdouble(&w, "bound", report->bound);
    ww_jw_ku64(&w, "entries", report->entries);
    ww_jw_ku64(&w, "compared", report->compared);
    ww_jw_ku64(&w, "coordinates", report->coordinates);
    ww_jw_kbool(&w, "anchored", report->anchored);
    ww_jw_key(&w, "ranking");
    ww_jw_array(&w);
    for (size_t i = 0; i < report->n_best; i++) {
        write_row(&w, &report->best[i]);
    }
    ww_jw_close(&w);
    ww_jw_kstr(&w, "note", NOTE);
    ww_object_strings(&w, "warnings", report->warnings, report->n_warnings);
    return ww_object_end(&w, &buf, out, err);
}
