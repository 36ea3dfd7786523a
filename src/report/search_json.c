/* SPDX-License-Identifier: Apache-2.0 */
#include "report/object.h"
#include "weightward/report.h"

static void write_gain(struct ww_jw *w, const struct ww_search_report *report)
{
    ww_jw_kbool(w, "gain_over_start", report->has_gain);
    ww_jw_kdouble(w, "gain", report->gain);
    ww_jw_kinterval(w, "interval", report->has_interval, report->interval[0],
                    report->interval[1]);
    ww_jw_kdouble(w, "score", report->score);
    ww_jw_kdouble(w, "start_score", report->start_score);
    ww_jw_kstr(w, "recipe", report->recipe);
}

enum ww_err ww_report_search_json(const char *output,
                                  const struct ww_search_report *report, char **out,
                                  struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "evo");
    ww_jw_kstr(&w, "command", "search");
    ww_jw_kstr(&w, "output", output);
    ww_jw_kstr(&w, "chosen", report->chosen);
    ww_jw_ku64(&w, "trials", report->trials);
    ww_jw_ku64(&w, "made", report->made);
    ww_jw_ku64(&w, "failed", report->failed);
    ww_jw_ku64(&w, "generations", report->generations);
    if (report->recipe) {
        write_gain(&w, report);
    } else {
        ww_jw_ku64(&w, "front", report->front);
        ww_jw_kdouble(&w, "hypervolume", report->hypervolume);
    }
    return ww_object_end(&w, &buf, out, err);
}
