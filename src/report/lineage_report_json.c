/* SPDX-License-Identifier: Apache-2.0 */
/* A lineage report for programs: the sentences of the page, and every number behind them.
 */
#include "report/lineage_sentences.h"
#include "util/utc.h"
#include "weightward/report.h"

static void write_time(struct ww_jw *w, const char *key, int64_t at)
{
    char text[WW_UTC_BYTES];

    ww_utc_text(at, text);
    ww_jw_kstr(w, key, at ? text : NULL);
}

static void write_known(struct ww_jw *w, const char *key, const char *value)
{
    ww_jw_kstr(w, key, value[0] ? value : NULL);
}

static void write_models(struct ww_jw *w, const struct ww_lineage_report *report)
{
    ww_jw_key(w, "models");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_models; i++) {
        const struct ww_commitment *c = &report->models[i];
        ww_jw_object(w);
        ww_jw_kstr(w, "role", c->role);
        ww_jw_kstr(w, "name", c->name);
        write_known(w, "sha256_tree", c->sha256_tree);
        ww_jw_kbool(w, "signed", c->is_signed);
        ww_jw_kbool(w, "holds", c->holds);
        write_known(w, "signer", c->signer);
        write_known(w, "signature_sha256", c->signature_sha256);
        write_time(w, "witnessed", c->at_unix);
        ww_jw_kstr(w, "why", c->why);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_findings(struct ww_jw *w, const struct ww_sentences *findings)
{
    ww_jw_key(w, "findings");
    ww_jw_array(w);
    for (size_t i = 0; i < findings->n; i++) {
        const struct ww_sentence *f = &findings->items[i];
        ww_jw_object(w);
        ww_jw_kstr(w, "about", f->about);
        ww_jw_kstr(w, "scale", ww_sentence_word(f->scale));
        ww_jw_kstr(w, "claim", f->claim);
        ww_jw_kstr(w, "basis", f->basis);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_each(struct ww_jw *w, const struct ww_decompose_report *d)
{
    ww_jw_key(w, "per_tensor");
    ww_jw_array(w);
    for (size_t i = 0; i < d->n_each; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", d->each[i].name);
        ww_jw_ku64(w, "elements", d->each[i].elements);
        ww_jw_kdouble(w, "unexplained", d->each[i].unexplained);
        ww_jw_kdouble(w, "replay", d->each[i].replay);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_controls(struct ww_jw *w, const struct ww_decompose_report *d)
{
    ww_jw_key(w, "statistics");
    ww_jw_array(w);
    for (size_t i = 0; i < d->n_sources; i++) {
        const struct ww_lineage_source *s = &d->sources[i];
        if (!s->reached) {
            continue;
        }
        ww_jw_object(w);
        ww_jw_kstr(w, "name", s->name);
        ww_jw_kdouble(w, "statistic", s->statistic);
        ww_jw_key(w, "controls");
        ww_jw_array(w);
        for (size_t c = 0; c < d->n_controls; c++) {
            ww_jw_double(w, s->reached[c]);
        }
        ww_jw_close(w);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_commands(struct ww_jw *w, const struct ww_lineage_report *report)
{
    ww_jw_key(w, "commands");
    ww_jw_array(w);
    ww_jw_str(w, report->command);
    if (report->replay_command) {
        ww_jw_str(w, report->replay_command);
    }
    ww_jw_close(w);
}

static void write_numbers(struct ww_jw *w, const struct ww_lineage_report *report)
{
    ww_jw_key(w, "decompose");
    ww_jw_object(w);
    ww_object_decompose(w, &report->decompose);
    ww_jw_close(w);
    write_each(w, &report->decompose);
    write_controls(w, &report->decompose);
    if (report->has_replay) {
        ww_jw_key(w, "replay");
        ww_jw_object(w);
        ww_object_replay(w, &report->replay);
        ww_jw_close(w);
    }
}

static void write_limits(struct ww_jw *w)
{
    ww_jw_key(w, "limits");
    ww_jw_array(w);
    for (size_t i = 0; ww_lineage_limit(i); i++) {
        ww_jw_str(w, ww_lineage_limit(i));
    }
    ww_jw_close(w);
}

enum ww_err ww_report_lineage_json(const struct ww_lineage_report *report, char **out,
                                   struct ww_error *err)
{
    struct ww_sentences findings = {0};
    struct ww_buf buf;
    struct ww_jw w;
    enum ww_err rc = ww_sentences_make(report, &findings, err);

    *out = NULL;
    if (!rc) {
        ww_object_begin(&w, &buf, "lineage");
        ww_jw_kstr(&w, "word", "report");
        ww_jw_kstr(&w, "status",
                   report->decompose.confirmatory ? "confirmatory" : "exploratory");
        write_known(&w, "plan_sha256", report->plan_sha256);
        write_time(&w, "made", report->made_unix);
        ww_jw_kstr(&w, "version", ww_version());
        ww_jw_ku64(&w, "seed", report->seed);
        write_findings(&w, &findings);
        write_models(&w, report);
        write_numbers(&w, report);
        write_limits(&w);
        write_commands(&w, report);
        rc = ww_object_end(&w, &buf, out, err);
    }
    ww_sentences_release(&findings);
    return rc;
}
