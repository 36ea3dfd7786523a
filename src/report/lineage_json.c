/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of a decomposition. */
#include "report/lineage_sentences.h"
#include "weightward/report.h"

static void write_source(struct ww_jw *w, const struct ww_lineage_source *s)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", s->name);
    ww_jw_kdouble(w, "share", s->share);
    ww_jw_kinterval(w, "interval", true, s->low, s->high);
    if (s->heads_high > 0) {
        ww_jw_kdouble(w, "heads_share", s->heads);
        ww_jw_kinterval(w, "heads_interval", true, s->heads_low, s->heads_high);
    }
    ww_jw_kmaybe(w, "p_value", s->p_value >= 0, s->p_value);
    ww_jw_kbool(w, "included", s->included);
    ww_jw_kdouble(w, "recipe", s->recipe);
    ww_jw_kdouble(w, "standard_error", s->error);
    ww_jw_kdouble(w, "n_eff", s->n_eff);
    if (s->kept >= 0) {
        ww_jw_kdouble(w, "kept", s->kept);
    }
    ww_jw_kstr(w, "note", s->note);
    ww_jw_close(w);
}

static void write_layers(struct ww_jw *w, const struct ww_decompose_report *report)
{
    ww_jw_key(w, "per_layer");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_layers; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", report->layers[i].name);
        ww_jw_ku64(w, "elements", report->layers[i].elements);
        ww_jw_key(w, "shares");
        ww_jw_array(w);
        for (size_t k = 0; k < report->n_sources; k++) {
            ww_jw_double(w, report->layers[i].shares[k]);
        }
        ww_jw_close(w);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_classes(struct ww_jw *w, const struct ww_decompose_report *report)
{
    ww_jw_key(w, "per_class");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_classes; i++) {
        const struct ww_lineage_class *c = &report->classes[i];
        ww_jw_object(w);
        ww_jw_key(w, "layer");
        if (c->layer == UINT32_MAX) {
            ww_jw_null(w);
        } else {
            ww_jw_u64(w, c->layer);
        }
        ww_jw_kstr(w, "class", c->name);
        ww_jw_ku64(w, "elements", c->elements);
        ww_jw_key(w, "shares");
        ww_jw_array(w);
        for (size_t k = 0; c->shares && k < report->n_sources; k++) {
            ww_jw_double(w, c->shares[k]);
        }
        ww_jw_close(w);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

/* Of layers that lie elsewhere or belong to several models. */
static void write_places(struct ww_jw *w, const struct ww_decompose_report *report)
{
    ww_jw_key(w, "places");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_places; i++) {
        const struct ww_lineage_place *p = &report->places[i];
        ww_jw_object(w);
        ww_jw_ku64(w, "layer", i);
        ww_jw_key(w, "of_layer");
        if (p->of_layer == UINT32_MAX) {
            ww_jw_null(w);
        } else {
            ww_jw_u64(w, p->of_layer);
        }
        ww_jw_kstr(w, "model", p->model);
        if (p->cosine >= 0) {
            ww_jw_kdouble(w, "cosine", p->cosine);
        }
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_ranks(struct ww_jw *w, const struct ww_decompose_report *report)
{
    ww_jw_key(w, "ranks");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_ranks; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", report->ranks[i].name);
        ww_jw_ku64(w, "rank", report->ranks[i].rank);
        ww_jw_ku64(w, "most", report->ranks[i].most);
        ww_jw_kdouble(w, "part", report->ranks[i].part);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_root(struct ww_jw *w, const struct ww_lineage_root *root)
{
    ww_jw_key(w, "root");
    ww_jw_object(w);
    ww_jw_ku64(w, "layers", root->layers);
    ww_jw_ku64(w, "rows", root->rows);
    ww_jw_ku64(w, "fixed_points", root->fixed_points);
    ww_jw_kdouble(w, "log10_p", root->log10_p);
    ww_jw_close(w);
}

static void write_method(struct ww_jw *w, const struct ww_decompose_report *report)
{
    ww_jw_key(w, "method");
    ww_jw_object(w);
    ww_jw_kstr(w, "best", report->method);
    ww_jw_key(w, "not_excluded");
    ww_jw_array(w);
    for (const char *const *p = report->not_excluded; *p; p++) {
        ww_jw_str(w, *p);
    }
    ww_jw_close(w);
    ww_jw_kdouble(w, "match", report->method_match);
    ww_jw_kbool(w, "gradient", report->gradient);
    ww_object_recipe(w, report->recipe, report->nearest);
    if (report->parts >= 0) {
        ww_jw_kdouble(w, "parts", report->parts);
    }
    if (report->has_keep_rates) {
        ww_jw_key(w, "keep_rates");
        ww_jw_array(w);
        for (size_t i = 0; i < sizeof report->keep_rates / sizeof(double); i++) {
            ww_jw_double(w, report->keep_rates[i]);
        }
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

void ww_object_decompose(struct ww_jw *w, const struct ww_decompose_report *report)
{
    ww_jw_key(w, "sources");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_sources; i++) {
        write_source(w, &report->sources[i]);
    }
    ww_jw_close(w);
    if (report->disguise) {
        ww_jw_kstr(w, "disguise", report->disguise);
    }
    write_method(w, report);
    ww_jw_kbool(w, "varies", report->varies);
    write_root(w, &report->root);
    ww_jw_kdouble(w, "r2", report->r2);
    ww_jw_kdouble(w, "r2_ceiling", report->r2_ceiling);
    ww_jw_kdouble(w, "unexplained", report->unexplained);
    ww_jw_kbool(w, "incomplete", report->incomplete);
    if (report->still > 0) {
        ww_jw_ku64(w, "still", report->still);
    }
    if (report->has_noise) {
        ww_jw_key(w, "noise_test");
        ww_jw_object(w);
        ww_jw_kbool(w, "noise_like", report->noise_like);
        ww_jw_kdouble(w, "score", report->score);
        ww_jw_kdouble(w, "structured", report->structured);
        ww_jw_kdouble(w, "hides", report->hides);
        ww_jw_kdouble(w, "copies", report->copies);
        ww_jw_close(w);
    }
    if (report->unseen > 0) {
        ww_jw_kdouble(w, "unseen", report->unseen);
    }
    ww_jw_kdouble(w, "replay", report->replay);
    ww_jw_kdouble(w, "kept", report->kept);
    ww_jw_kdouble(w, "noise", report->noise);
    ww_jw_kdouble(w, "pruned", report->pruned);
    ww_jw_ku64(w, "tensors", report->tensors);
    ww_jw_ku64(w, "strangers", report->strangers);
    ww_jw_ku64(w, "elements", report->elements);
    ww_jw_ku64(w, "elements_used", report->used);
    ww_jw_ku64(w, "heads", report->heads);
    write_layers(w, report);
    write_classes(w, report);
    if (report->n_places) {
        write_places(w, report);
    }
    if (report->n_ranks) {
        write_ranks(w, report);
    }
    ww_jw_kstr(w, "status", report->confirmatory ? "confirmatory" : "exploratory");
    ww_jw_ku64(w, "bytes_read", report->run.bytes_read);
    ww_jw_kdouble(w, "seconds", report->run.seconds);
    ww_object_strings(w, "warnings", report->warnings, report->n_warnings);
}

enum ww_err ww_report_decompose_json(const char *base,
                                     const struct ww_decompose_report *report, char **out,
                                     struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "lineage");
    ww_jw_kstr(&w, "word", "decompose");
    ww_jw_kstr(&w, "base", base);
    ww_object_decompose(&w, report);
    return ww_object_end(&w, &buf, out, err);
}
