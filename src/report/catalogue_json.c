/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of an index and a search. */
#include "report/object.h"
#include "weightward/report.h"

enum ww_err ww_report_index_json(const char *catalogue,
                                 const struct ww_index_report *report, char **out,
                                 struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "lineage");
    ww_jw_kstr(&w, "word", "index");
    ww_jw_kstr(&w, "catalogue", catalogue);
    ww_jw_key(&w, "models");
    ww_jw_array(&w);
    for (size_t i = 0; i < report->n_entries; i++) {
        ww_jw_object(&w);
        ww_jw_kstr(&w, "name", report->entries[i].name);
        ww_jw_kbool(&w, "added", report->entries[i].added);
        ww_jw_kstr(&w, "known_as", report->entries[i].known_as);
        ww_jw_kstr(&w, "note", report->entries[i].note);
        ww_jw_close(&w);
    }
    ww_jw_close(&w);
    ww_jw_ku64(&w, "models_in_catalogue", report->n_models);
    ww_jw_ku64(&w, "bytes_read", report->run.bytes_read);
    ww_jw_kdouble(&w, "seconds", report->run.seconds);
    return ww_object_end(&w, &buf, out, err);
}

static void write_match(struct ww_jw *w, const struct ww_find_match *m)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", m->name);
    ww_jw_kstr(w, "kind", m->kind);
    ww_jw_kmaybe(w, "share", m->share >= 0, m->share);
    ww_jw_kinterval(w, "interval", m->low >= 0, m->low, m->high);
    ww_jw_kbool(w, "confirmed", m->confirmed);
    ww_jw_kdouble(w, "cosine", m->cosine);
    ww_jw_kstr(w, "evidence", m->evidence);
    ww_jw_close(w);
}

static void write_layers(struct ww_jw *w, const struct ww_find_report *report)
{
    ww_jw_key(w, "layers");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_layers; i++) {
        const struct ww_find_layer *l = &report->layers[i];
        ww_jw_object(w);
        ww_jw_ku64(w, "layer", l->layer);
        ww_jw_kstr(w, "name", l->name);
        ww_jw_ku64(w, "of_layer", l->of);
        ww_jw_ku64(w, "tensors_equal", l->tensors);
        ww_jw_ku64(w, "tensors", l->tensors_all);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_rows(struct ww_jw *w, const struct ww_find_report *report)
{
    ww_jw_key(w, "rows");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_row_parts; i++) {
        const struct ww_find_rows *r = &report->row_parts[i];
        ww_jw_object(w);
        ww_jw_kstr(w, "tensor", r->tensor);
        ww_jw_kstr(w, "name", r->name);
        ww_jw_kstr(w, "of_tensor", r->of);
        ww_jw_ku64(w, "rows_equal", r->shared);
        ww_jw_ku64(w, "rows", r->rows);
        ww_jw_ku64(w, "rows_of_tensor", r->rows_of);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

enum ww_err ww_report_find_json(const struct ww_find_report *report, char **out,
                                struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "lineage");
    ww_jw_kstr(&w, "word", "find");
    ww_jw_kstr(&w, "root", report->root);
    ww_jw_kstr(&w, "root_evidence", report->root_evidence);
    ww_jw_kstr(&w, "disguise", report->disguise);
    ww_jw_kdouble(&w, "root_anchors", report->root_anchors);
    ww_jw_key(&w, "matches");
    ww_jw_array(&w);
    for (size_t i = 0; i < report->n_matches; i++) {
        write_match(&w, &report->matches[i]);
    }
    ww_jw_close(&w);
    write_layers(&w, report);
    write_rows(&w, report);
    ww_jw_ku64(&w, "tensors", report->tensors);
    ww_jw_ku64(&w, "tensors_frozen", report->frozen);
    ww_jw_ku64(&w, "rows_changed", report->rows);
    ww_jw_ku64(&w, "rows_shared", report->rows_shared);
    ww_jw_ku64(&w, "models", report->n_models);
    ww_jw_ku64(&w, "family", report->n_family);
    ww_jw_kdouble(&w, "threshold", report->threshold);
    ww_jw_kmaybe(&w, "unexplained", report->unexplained >= 0, report->unexplained);
    ww_jw_kbool(&w, "unexplained_by_files", report->by_files);
    ww_jw_kbool(&w, "incomplete", report->incomplete);
    ww_jw_kbool(&w, "fine_sketches", report->refined);
    ww_jw_kstr(&w, "status", "exploratory");
    ww_jw_ku64(&w, "bytes_read", report->run.bytes_read);
    ww_jw_kdouble(&w, "search_seconds", report->search_seconds);
    ww_jw_kdouble(&w, "seconds", report->run.seconds);
    ww_object_strings(&w, "warnings", report->warnings, report->n_warnings);
    return ww_object_end(&w, &buf, out, err);
}
