/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of probing and collecting. */

#include "report/object.h"
#include "util/alloc.h"
#include "weightward/report.h"

static void write_members(struct ww_jw *w, const struct ww_evo_member *members, size_t n,
                          bool probed)
{
    ww_jw_key(w, "members");
    ww_jw_array(w);
    for (size_t i = 0; i < n; i++) {
        const struct ww_evo_member *m = &members[i];
        ww_jw_object(w);
        ww_jw_kstr(w, "name", m->name);
        ww_jw_kstr(w, "dialect", m->dialect);
        ww_jw_kbool(w, "scores_prompts", m->scores_prompts);
        ww_jw_ku64(w, "top", m->top);
        ww_jw_kbool(w, "bytes", m->bytes);
        if (probed) {
            ww_jw_kbool(w, "deterministic", m->deterministic);
            ww_jw_kbool(w, "continues", m->continues);
            ww_jw_kbool(w, "forces", m->forces);
            ww_jw_ku64(w, "adapters", m->adapters);
            ww_jw_ku64(w, "vocabulary", m->vocabulary);
            ww_jw_kstr(w, "identity", m->identity);
            ww_jw_kstr(w, "failure", m->failure);
        }
        ww_jw_kstr(w, "canary", m->canary[0] ? m->canary : NULL);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

enum ww_err ww_report_collect_json(const struct ww_collect_report *report, char **out,
                                   struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "evo");
    ww_jw_kstr(&w, "word", "collect");
    ww_jw_kbool(&w, "complete", report->complete);
    ww_jw_kstr(&w, "stopped", report->stopped[0] ? report->stopped : NULL);
    ww_jw_ku64(&w, "items", report->items);
    ww_jw_ku64(&w, "items_complete", report->items_complete);
    ww_jw_ku64(&w, "answers", report->answers);
    ww_jw_ku64(&w, "calls", report->calls);
    ww_jw_ku64(&w, "calls_avoided", report->calls_avoided);
    ww_jw_ku64(&w, "tokens", report->tokens);
    ww_jw_kdouble(&w, "cost", report->cost);
    ww_jw_kdouble(&w, "seconds", report->seconds);
    ww_jw_ku64(&w, "damaged", report->damaged);
    ww_jw_kstr(&w, "root", report->root[0] ? report->root : NULL);
    write_members(&w, report->members, report->n_members, false);
    return ww_object_end(&w, &buf, out, err);
}

enum ww_err ww_evo_probe_save(const struct ww_probe_report *report, const char *path,
                              struct ww_error *err)
{
    char *json = NULL;
    enum ww_err rc = ww_report_probe_json(report, &json, err);
    rc = rc ? rc : ww_report_save(path, json, err);
    ww_free(json);
    return rc;
}

enum ww_err ww_report_probe_json(const struct ww_probe_report *report, char **out,
                                 struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "evo");
    ww_jw_kstr(&w, "word", "probe");
    write_members(&w, report->members, report->n_members, true);
    ww_jw_key(&w, "one_tokenizer");
    if (report->compared) {
        ww_jw_bool(&w, report->one_tokenizer);
    } else {
        ww_jw_null(&w);
    }
    ww_jw_kstr(&w, "differs", report->differs[0] ? report->differs : NULL);
    ww_jw_ku64(&w, "calls", report->calls);
    return ww_object_end(&w, &buf, out, err);
}
