/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of a comparison with logits. */
#include "report/object.h"
#include "weightward/report.h"

static void write_head(struct ww_jw *w, const struct ww_logits_head *h, bool control)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", h->name);
    ww_jw_kbool(w, "control", control);
    ww_jw_ku64(w, "width", h->width);
    ww_jw_kmaybe(w, "residual", h->residual >= 0, h->residual);
    ww_jw_kmaybe(w, "explained", !(h->residual < 0) && h->explained >= 0, h->explained);
    ww_jw_kmaybe(w, "residual_of_unrelated", h->unrelated >= 0, h->unrelated);
    ww_jw_kmaybe(w, "p_labels", !(h->residual < 0) && h->p_labels >= 0, h->p_labels);
    ww_jw_kmaybe(w, "p_controls", h->p_controls >= 0, h->p_controls);
    ww_jw_kbool(w, "supported", h->supported);
    ww_jw_kstr(w, "note", h->note);
    ww_jw_close(w);
}

static void write_blend(struct ww_jw *w, const struct ww_logits_blend *b)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", b->name);
    ww_jw_kmaybe(w, "share", b->share >= 0, b->share);
    ww_jw_kinterval(w, "interval", b->share >= 0, b->low, b->high);
    ww_jw_kdouble(w, "residual", b->residual);
    ww_jw_kdouble(w, "residual_at_base", b->at_base);
    ww_jw_kdouble(w, "residual_at_source", b->at_source);
    ww_jw_kdouble(w, "rounding_taken_off", b->rounding);
    ww_jw_kstr(w, "note", b->note);
    ww_jw_close(w);
}

enum ww_err ww_report_logits_json(const struct ww_logits_report *report, char **out,
                                  struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "lineage");
    ww_jw_kstr(&w, "word", "logits");
    ww_jw_kstr(&w, "kind", report->logprobs ? "logprobs" : "logits");
    ww_jw_ku64(&w, "answers", report->n);
    ww_jw_ku64(&w, "vocabulary", report->vocab);
    ww_jw_ku64(&w, "tokens", report->n_tokens);
    ww_jw_key(&w, "width");
    if (report->width) {
        ww_jw_u64(&w, report->width);
    } else {
        ww_jw_null(&w);
    }
    ww_jw_ku64(&w, "width_at_least", report->at_least);
    ww_jw_kdouble(&w, "gap", report->gap);
    ww_jw_key(&w, "heads");
    ww_jw_array(&w);
    for (size_t i = 0; i < report->n_heads; i++) {
        write_head(&w, &report->heads[i], i >= report->n_candidates);
    }
    ww_jw_close(&w);
    ww_jw_key(&w, "blends");
    ww_jw_array(&w);
    for (size_t i = 0; i < report->n_blends; i++) {
        write_blend(&w, &report->blends[i]);
    }
    ww_jw_close(&w);
    ww_jw_kstr(&w, "status", "exploratory");
    ww_jw_kstr(&w, "numbers", "labels from LAPACK, not signed");
    ww_jw_ku64(&w, "bytes_read", report->run.bytes_read);
    ww_jw_kdouble(&w, "seconds", report->run.seconds);
    ww_object_strings(&w, "warnings", report->warnings, report->n_warnings);
    return ww_object_end(&w, &buf, out, err);
}
