/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of fitting a pool. */
#include "report/object.h"
#include "weightward/report.h"

static void write_rule(struct ww_jw *w, const struct ww_fusion_rule *r, bool confirmed)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "rule", r->name);
    ww_jw_kdouble(w, "bits", r->bits);
    ww_jw_kdouble(w, "accuracy", r->next);
    ww_jw_kdouble(w, "answers", r->whole);
    ww_jw_kdouble(w, "gain", r->gain);
    if (confirmed) {
        ww_jw_kinterval(w, "interval", true, r->low, r->high);
    }
    ww_jw_close(w);
}

enum ww_err ww_report_fusion_json(const struct ww_fusion_report *report, const char *word,
                                  const char *recipe, char **out, struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "evo");
    ww_jw_kstr(&w, "word", word);
    ww_jw_kbool(&w, "complete", report->complete);
    ww_jw_kstr(&w, "stopped", report->stopped[0] ? report->stopped : NULL);
    ww_jw_key(&w, "rules");
    ww_jw_array(&w);
    for (size_t i = 0; i < report->n_rules; i++) {
        write_rule(&w, &report->rules[i], report->confirmed);
    }
    ww_jw_close(&w);
    ww_jw_kstr(&w, "best_single", report->best[0] ? report->best : NULL);
    ww_jw_kstr(&w, "asked", report->asked);
    ww_jw_kstr(&w, "chosen", report->chosen);
    ww_jw_ku64(&w, "fitted", report->fitted);
    ww_jw_ku64(&w, "held_out", report->held_out);
    ww_jw_ku64(&w, "calls", report->calls);
    ww_jw_ku64(&w, "calls_avoided", report->calls_avoided);
    ww_jw_ku64(&w, "assumed", report->assumed);
    ww_jw_kdouble(&w, "cost", report->cost);
    ww_jw_kstr(&w, "recipe", report->complete ? recipe : NULL);
    return ww_object_end(&w, &buf, out, err);
}
