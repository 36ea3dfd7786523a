/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of a replay and of a plan. */
#include "report/lineage_sentences.h"
#include "weightward/report.h"

static void write_controls(struct ww_jw *w, const struct ww_replay_report *report)
{
    ww_jw_key(w, "match_controls");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_controls; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "source", report->controls[i].source);
        ww_jw_kstr(w, "control", report->controls[i].control);
        ww_jw_kdouble(w, "match", report->controls[i].match);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_kinds(struct ww_jw *w, const struct ww_replay_report *report)
{
    ww_jw_key(w, "arithmetics");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_kinds; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", report->kinds[i].name);
        ww_jw_kdouble(w, "match", report->kinds[i].match);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

void ww_object_replay(struct ww_jw *w, const struct ww_replay_report *report)
{
    ww_jw_kbool(w, "supports", report->supports);
    ww_jw_kstr(w, "method", report->method);
    ww_jw_kstr(w, "arithmetic", report->arithmetic);
    ww_jw_kdouble(w, "match", report->match);
    ww_jw_kinterval(w, "interval", true, report->low, report->high);
    ww_jw_kdouble(w, "ceiling", report->ceiling);
    write_controls(w, report);
    write_kinds(w, report);
    ww_object_recipe(w, report->recipe, report->nearest);
    ww_jw_kbool(w, "inferred", report->inferred);
    ww_jw_ku64(w, "tensors", report->tensors);
    ww_jw_ku64(w, "tensors_fit", report->tensors_fit);
    ww_jw_ku64(w, "moved", report->moved);
    ww_jw_ku64(w, "undecided", report->undecided);
    if (report->drawn) {
        ww_jw_kstr(w, "apart", report->apart);
    }
    ww_jw_kstr(w, "status", report->confirmatory ? "confirmatory" : "exploratory");
    ww_jw_ku64(w, "bytes_read", report->run.bytes_read);
    ww_jw_kdouble(w, "seconds", report->run.seconds);
    ww_object_strings(w, "warnings", report->warnings, report->n_warnings);
}

enum ww_err ww_report_replay_json(const struct ww_replay_report *report, char **out,
                                  struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "lineage");
    ww_jw_kstr(&w, "word", "replay");
    ww_object_replay(&w, report);
    return ww_object_end(&w, &buf, out, err);
}

static void write_paths(struct ww_jw *w, const char *key, const char *const *paths,
                        size_t n)
{
    ww_jw_key(w, key);
    ww_jw_array(w);
    for (size_t i = 0; i < n; i++) {
        ww_jw_str(w, paths[i]);
    }
    ww_jw_close(w);
}

enum ww_err ww_report_plan_json(const char *path,
                                const struct ww_decompose_options *options, char **out,
                                struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "lineage");
    ww_jw_kstr(&w, "word", "plan");
    ww_jw_kstr(&w, "plan", path);
    ww_jw_kstr(&w, "base", options->base);
    write_paths(&w, "candidates", options->candidates, options->n_candidates);
    write_paths(&w, "controls", options->controls, options->n_controls);
    ww_jw_ku64(&w, "seed", options->seed);
    return ww_object_end(&w, &buf, out, err);
}
