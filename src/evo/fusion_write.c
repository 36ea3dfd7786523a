/* SPDX-License-Identifier: Apache-2.0 */
/* Members of objects in one order; numbers in the shortest text that reads back. */
#include <string.h>

#include "crypto/hash.h"
#include "crypto/signkey.h"
#include "evo/fusion.h"
#include "util/fail.h"
#include "util/fs.h"

static void numbers(struct ww_jw *w, const char *key, const double *x, uint32_t n)
{
    ww_jw_key(w, key);
    ww_jw_array(w);
    for (uint32_t i = 0; i < n; i++) {
        ww_jw_double(w, x[i]);
    }
    ww_jw_close(w);
}

static void write_rule(struct ww_jw *w, const struct ww_fusion *f)
{
    const struct ww_rule *rule = &f->rule;
    ww_jw_key(w, "rule");
    ww_jw_object(w);
    ww_jw_kstr(w, "name", ww_rule_name(rule->id));
    if (rule->id == WW_RULE_BEST_SINGLE) {
        ww_jw_ku64(w, "member", rule->member);
    } else if (ww_rule_is_linear(rule->id)) {
        numbers(w, "prior", rule->linear.prior, f->k);
        numbers(w, "factors", rule->linear.a, WW_POOL_FEATURES);
    } else {
        numbers(w, "weights", rule->w, f->k);
    }
    ww_jw_close(w);
}

static void write_member(struct ww_jw *w, const struct ww_fusion_member *m)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", m->name);
    ww_jw_kstr(w, "url", m->url);
    ww_jw_kstr(w, "dialect", m->dialect);
    ww_jw_kstr(w, "model", m->model);
    ww_jw_kstr(w, "end", m->end);
    ww_jw_khex(w, "canary", m->canary, sizeof(m->canary));
    if (m->has_permit) {
        ww_jw_khex(w, "permit", m->permit, sizeof(m->permit));
        ww_jw_khex(w, "owner", m->owner, sizeof(m->owner));
    }
    if (m->n_adapters > 0) {
        numbers(w, "adapters", m->adapters, m->n_adapters);
    }
    ww_jw_close(w);
}

static void write_items(struct ww_jw *w, const char *key, const uint8_t digest[32],
                        uint64_t items)
{
    ww_jw_key(w, key);
    ww_jw_object(w);
    ww_jw_khex(w, "sha256", digest, WW_SHA256_BYTES);
    ww_jw_ku64(w, "items", items);
    ww_jw_close(w);
}

static void write_score(struct ww_jw *w, const struct ww_fusion *f,
                        const struct ww_fusion_score *s)
{
    const double interval[2] = {s->interval.low, s->interval.high};
    ww_jw_object(w);
    ww_jw_kstr(w, "rule", ww_rule_name(s->rule));
    ww_jw_kdouble(w, "bits", s->score.bits);
    ww_jw_kdouble(w, "next", s->score.next);
    ww_jw_kdouble(w, "whole", s->score.whole);
    ww_jw_kdouble(w, "gain", s->gain);
    if (f->confirmed > 0) {
        numbers(w, "interval", interval, 2);
    }
    ww_jw_close(w);
}

const char *ww_fusion_level_name(enum ww_evo_level level)
{
    static const char *const names[] = {[WW_EVO_TOKENS] = "tokens",
                                        [WW_EVO_OPTIONS] = "options",
                                        [WW_EVO_BYTES] = "bytes"};
    return names[level];
}

enum ww_err ww_fusion_write(const struct ww_fusion *f, struct ww_buf *out,
                            struct ww_error *err)
{
    struct ww_jw w;
    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "type", WW_FUSION_TYPE);
    write_rule(&w, f);
    if (f->level != WW_EVO_TOKENS) {
        ww_jw_kstr(&w, "level", ww_fusion_level_name(f->level));
    }
    if (f->per_byte) {
        ww_jw_kbool(&w, "per_byte", true);
    }
    ww_jw_ku64(&w, "top", f->top);
    ww_jw_ku64(&w, "vocabulary", f->vocabulary);
    ww_jw_key(&w, "members");
    ww_jw_array(&w);
    for (uint32_t i = 0; i < f->k; i++) {
        write_member(&w, &f->member[i]);
    }
    ww_jw_close(&w);
    write_items(&w, "fitted", f->tasks, f->fitted);
    if (f->confirmed > 0) {
        write_items(&w, "confirmed", f->held_out, f->confirmed);
    }
    ww_jw_key(&w, "scores");
    ww_jw_array(&w);
    for (uint32_t i = 0; i < f->n_scores; i++) {
        write_score(&w, f, &f->scores[i]);
    }
    ww_jw_close(&w);
    ww_jw_ku64(&w, "calls", f->calls);
    ww_jw_khex(&w, "cache_root", f->cache_root, sizeof(f->cache_root));
    ww_jw_ku64(&w, "seed", f->seed);
    ww_jw_kstr(&w, "tool", f->tool);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

enum ww_err ww_fusion_text(const struct ww_fusion *fusion, struct ww_signkey *key,
                           struct ww_buf *out, struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    struct ww_buf payload;
    if (!key) {
        return ww_fusion_write(fusion, out, err);
    }
    ww_buf_init(&payload, WW_ENVELOPE_MAX_PAYLOAD);
    enum ww_err rc = ww_fusion_write(fusion, &payload, err);
    if (!rc) {
        rc =
            ww_envelope_make(WW_SIGNED_FUSION, payload.data, payload.len, &envelope, err);
    }
    if (!rc) {
        rc = ww_envelope_sign(&envelope, key, err);
    }
    if (!rc) {
        rc = ww_envelope_write(&envelope, out, err);
    }
    ww_envelope_release(&envelope);
    ww_buf_release(&payload);
    return rc;
}

enum ww_err ww_fusion_save(const struct ww_fusion *fusion, struct ww_signkey *key,
                           const char *path, struct ww_error *err)
{
    struct ww_buf text;
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    enum ww_err rc = ww_fusion_text(fusion, key, &text, err);
    if (!rc) {
        rc = ww_file_write(path, text.data, text.len, 0644, false, err);
    }
    ww_buf_release(&text);
    return rc;
}
