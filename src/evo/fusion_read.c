/* SPDX-License-Identifier: Apache-2.0 */
/* Every value within its bounds, then the same bytes when written again. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "crypto/hash.h"
#include "evo/fusion.h"
#include "evo/probe.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define MOST_TOP 1024
#define LARGEST 1e6 /* of any number that a rule has */

static enum ww_err wrong(const char *what, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_MALFORMED,
                   "'%s' of a fusion recipe is missing or out of bounds", what);
}

static bool text_of(const struct ww_jnode *object, const char *key, bool may_be_empty,
                    const char **out)
{
    return ww_jstr(ww_jget(object, key), out) && (may_be_empty || **out) &&
           ww_text_ok((const uint8_t *)*out, strlen(*out));
}

static bool digest_of(const struct ww_jnode *object, const char *key, uint8_t out[32])
{
    return ww_jhex(ww_jget(object, key), out, 32);
}

static bool count_of(const struct ww_jnode *object, const char *key, uint64_t least,
                     uint64_t most, uint64_t *out)
{
    return ww_ju64(ww_jget(object, key), out) && *out >= least && *out <= most;
}

/* Exactly n numbers from least to most. */
static bool numbers(const struct ww_jnode *array, double *out, uint32_t n, double least,
                    double most)
{
    if (ww_jtype(array) != WW_J_ARRAY || ww_jsize(array) != n) {
        return false;
    }
    const struct ww_jnode *at = ww_jfirst(array);
    for (uint32_t i = 0; i < n; i++, at = ww_jnext(at)) {
        if (!ww_jdouble(at, &out[i]) || !(out[i] >= least) || !(out[i] <= most)) {
            return false;
        }
    }
    return true;
}

static bool read_weights(const struct ww_jnode *node, struct ww_rule *rule)
{
    uint64_t member = 0;
    if (rule->id == WW_RULE_BEST_SINGLE) {
        bool good = count_of(node, "member", 0, rule->k - 1, &member);
        rule->member = (uint32_t)member;
        return good;
    }
    if (ww_rule_is_linear(rule->id)) {
        double *a = rule->linear.a;
        rule->linear.k = rule->k;
        return numbers(ww_jget(node, "prior"), rule->linear.prior, rule->k, -LARGEST,
                       LARGEST) &&
               numbers(ww_jget(node, "factors"), a, WW_POOL_FEATURES, 0, LARGEST) &&
               a[WW_POOL_PREFIX] == 0; /* servers do not tell a prompt's surprise */
    }
    return numbers(ww_jget(node, "weights"), rule->w, rule->k,
                   rule->id == WW_RULE_SIGNED ? -LARGEST : 0, LARGEST);
}

static enum ww_err read_rule(const struct ww_jnode *root, struct ww_fusion *f,
                             struct ww_error *err)
{
    const struct ww_jnode *node = ww_jget(root, "rule");
    const char *name = NULL;
    if (!text_of(node, "name", false, &name)) {
        return wrong("rule", err);
    }
    if (ww_rule_find(name, &f->rule.id, NULL) != WW_OK) {
        return WW_FAIL(err, WW_E_VERSION, "a fusion recipe has the unknown rule '%.60s'",
                       name);
    }
    f->rule.k = f->k;
    return read_weights(node, &f->rule) ? WW_OK : wrong("rule", err);
}

/* Room for all members' scales is there; f->n_scales are taken. */
static bool read_scales(const struct ww_jnode *node, struct ww_fusion *f,
                        struct ww_fusion_member *m)
{
    const struct ww_jnode *list = ww_jget(node, "adapters");
    const size_t n = ww_jtype(list) == WW_J_ARRAY ? ww_jsize(list) : 0;
    if (!list) {
        return true;
    }
    double *to = f->scales + f->n_scales;
    m->adapters = to;
    m->n_adapters = (uint32_t)n;
    f->n_scales += n;
    return n > 0 && n <= WW_MEMBER_MOST_ADAPTERS &&
           numbers(list, to, m->n_adapters, -WW_MEMBER_MOST_SCALE, WW_MEMBER_MOST_SCALE);
}

/* Of all members together, read or not. */
static size_t count_scales(const struct ww_jnode *list)
{
    size_t n = 0;
    for (const struct ww_jnode *m = ww_jfirst(list); m; m = ww_jnext(m)) {
        const struct ww_jnode *scales = ww_jget(m, "adapters");
        n += ww_jtype(scales) == WW_J_ARRAY ? ww_jsize(scales) : 0;
    }
    return n;
}

static enum ww_err read_member(const struct ww_jnode *node, struct ww_fusion *f,
                               uint32_t at, struct ww_error *err)
{
    struct ww_fusion_member *m = &f->member[at];
    m->has_permit = ww_jget(node, "permit") != NULL;
    if (!text_of(node, "name", false, &m->name) ||
        !text_of(node, "url", false, &m->url) ||
        !text_of(node, "dialect", false, &m->dialect) ||
        !text_of(node, "model", true, &m->model) ||
        !text_of(node, "end", true, &m->end) || !digest_of(node, "canary", m->canary) ||
        (m->has_permit && (!digest_of(node, "permit", m->permit) ||
                           !digest_of(node, "owner", m->owner))) ||
        !read_scales(node, f, m)) {
        return wrong("members", err);
    }
    for (uint32_t i = 0; i < at; i++) {
        if (strcasecmp(f->member[i].name, m->name) == 0) {
            return WW_FAIL(err, WW_E_MALFORMED,
                           "a fusion recipe has two members named '%s'", m->name);
        }
    }
    return WW_OK;
}

static enum ww_err read_members(const struct ww_jnode *root, struct ww_fusion *f,
                                struct ww_error *err)
{
    const struct ww_jnode *list = ww_jget(root, "members");
    const size_t n = ww_jtype(list) == WW_J_ARRAY ? ww_jsize(list) : 0;
    if (n == 0 || n > WW_POOL_MAX_MEMBERS) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "a fusion recipe has %zu members, expected 1 to %d", n,
                       WW_POOL_MAX_MEMBERS);
    }
    f->member = ww_calloc(n, sizeof(*f->member));
    f->scales = ww_calloc(count_scales(list) + 1, sizeof(*f->scales));
    if (!f->member || !f->scales) {
        return WW_FAIL_MEMORY(err, "a fusion recipe");
    }
    enum ww_err rc = WW_OK;
    f->k = (uint32_t)n;
    uint32_t at = 0;
    for (const struct ww_jnode *m = ww_jfirst(list); m && !rc; m = ww_jnext(m)) {
        rc = read_member(m, f, at++, err);
    }
    return rc;
}

static bool share_of(const struct ww_jnode *node, const char *key, double most,
                     double *out)
{
    return ww_jdouble(ww_jget(node, key), out) && *out >= 0 && *out <= most;
}

static enum ww_err read_scores(const struct ww_jnode *root, struct ww_fusion *f,
                               struct ww_error *err)
{
    const struct ww_jnode *list = ww_jget(root, "scores");
    if (ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) > WW_RULE_COUNT) {
        return wrong("scores", err);
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at)) {
        struct ww_fusion_score *s = &f->scores[f->n_scores++];
        double interval[2] = {0};
        const char *name = NULL;
        if (!text_of(at, "rule", false, &name) ||
            ww_rule_find(name, &s->rule, NULL) != WW_OK ||
            !share_of(at, "bits", LARGEST, &s->score.bits) ||
            !share_of(at, "next", 1, &s->score.next) ||
            !share_of(at, "whole", 1, &s->score.whole) ||
            !ww_jdouble(ww_jget(at, "gain"), &s->gain) ||
            (f->confirmed > 0 &&
             !numbers(ww_jget(at, "interval"), interval, 2, -LARGEST, LARGEST))) {
            return wrong("scores", err);
        }
        s->interval = (struct ww_interval){interval[0], interval[1]};
    }
    return WW_OK;
}

/* Absent: tokens. That nothing else is spelled otherwise is seen when it is written. */
static bool read_level(const struct ww_jnode *root, struct ww_fusion *f)
{
    const struct ww_jnode *level = ww_jget(root, "level");
    const char *name = NULL;
    if (level && (!ww_jstr(level, &name) ||
                  (strcmp(name, "options") != 0 && strcmp(name, "bytes") != 0))) {
        return false;
    }
    f->level = !level                         ? WW_EVO_TOKENS
               : strcmp(name, "options") == 0 ? WW_EVO_OPTIONS
                                              : WW_EVO_BYTES;
    f->per_byte = ww_jget(root, "per_byte") != NULL;
    return !f->per_byte || f->level == WW_EVO_OPTIONS;
}

static enum ww_err read_facts(const struct ww_jnode *root, struct ww_fusion *f,
                              struct ww_error *err)
{
    const struct ww_jnode *fitted = ww_jget(root, "fitted");
    const struct ww_jnode *confirmed = ww_jget(root, "confirmed");
    const uint64_t most = ((uint64_t)1 << 53) - 1;
    uint64_t top = 0, vocabulary = 0;
    if (!read_level(root, f)) {
        return wrong("level' or 'per_byte", err);
    }
    if (!count_of(root, "top", 1, MOST_TOP, &top) ||
        !count_of(root, "vocabulary", 1, WW_MOST_VOCABULARY, &vocabulary)) {
        return wrong("top' or 'vocabulary", err);
    }
    f->top = (uint32_t)top;
    f->vocabulary = (uint32_t)vocabulary;
    if (!digest_of(fitted, "sha256", f->tasks) ||
        !count_of(fitted, "items", 1, most, &f->fitted)) {
        return wrong("fitted", err);
    }
    if (confirmed && (!digest_of(confirmed, "sha256", f->held_out) ||
                      !count_of(confirmed, "items", 1, most, &f->confirmed))) {
        return wrong("confirmed", err);
    }
    if (!count_of(root, "calls", 0, most, &f->calls) ||
        !count_of(root, "seed", 0, most, &f->seed) ||
        !digest_of(root, "cache_root", f->cache_root) ||
        !text_of(root, "tool", false, &f->tool)) {
        return wrong("calls', 'cache_root', 'seed' or 'tool", err);
    }
    return WW_OK;
}

static enum ww_err one_spelling(const struct ww_fusion *f, const uint8_t *text,
                                size_t len, struct ww_error *err)
{
    struct ww_buf again;
    ww_buf_init(&again, WW_ENVELOPE_MAX_PAYLOAD);
    enum ww_err rc = ww_fusion_write(f, &again, err);
    if (!rc && (again.len != len || memcmp(again.data, text, len) != 0)) {
        size_t at = 0;
        while (at < len && at < again.len && again.data[at] == text[at]) {
            at++;
        }
        rc = WW_FAIL(err, WW_E_MALFORMED,
                     "a fusion recipe differs at byte %zu from how it is written: an "
                     "unknown member, another order or white space",
                     at);
    }
    ww_buf_release(&again);
    return rc;
}

enum ww_err ww_fusion_read(const uint8_t *text, size_t len, struct ww_fusion *out,
                           struct ww_error *err)
{
    const char *type = NULL;
    memset(out, 0, sizeof(*out));
    enum ww_err rc = ww_json_parse(text, len, &ww_json_limits_small, &out->text, err);
    if (rc) {
        return rc;
    }
    const struct ww_jnode *root = ww_json_root(out->text);
    if (!ww_jstr(ww_jget(root, "type"), &type) || strcmp(type, WW_FUSION_TYPE) != 0) {
        rc = WW_FAIL(err, WW_E_VERSION,
                     "a document of type '%.60s', expected '" WW_FUSION_TYPE "'",
                     type ? type : "");
    }
    if (!rc) {
        rc = read_members(root, out, err);
    }
    if (!rc) {
        rc = read_rule(root, out, err);
    }
    if (!rc) {
        rc = read_facts(root, out, err);
    }
    if (!rc) {
        rc = read_scores(root, out, err);
    }
    if (!rc) {
        rc = one_spelling(out, text, len, err);
    }
    if (rc) {
        ww_fusion_release(out);
    }
    return rc;
}

void ww_fusion_release(struct ww_fusion *fusion)
{
    ww_free(fusion->member);
    ww_free(fusion->scales);
    ww_json_free(fusion->text);
    memset(fusion, 0, sizeof(*fusion));
}

/* One signature of the key is enough. */
static enum ww_err check_signer(const struct ww_envelope *envelope,
                                const struct ww_pubkey *key, struct ww_error *err)
{
    enum ww_err rc = WW_E_UNTRUSTED;
    for (size_t i = 0; i < envelope->n_signatures; i++) {
        rc = ww_envelope_check(envelope, i, key, NULL);
        if (rc != WW_E_UNTRUSTED) {
            break;
        }
    }
    if (!rc) {
        return WW_OK;
    }
    return rc == WW_E_UNTRUSTED
               ? WW_FAIL(err, rc, "signed by another key than the one given")
               : WW_FAIL(err, rc, "the signature does not verify: it was altered");
}

enum ww_err ww_fusion_open(const char *path, const struct ww_pubkey *key,
                           struct ww_fusion *out, struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    struct ww_buf text;
    memset(out, 0, sizeof(*out));
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    enum ww_err rc = ww_file_read(path, &text, err);
    if (rc) {
        goto out;
    }
    if (!ww_envelope_is(text.data, text.len)) {
        rc = WW_FAIL(err, WW_E_NOT_SIGNED,
                     "no signed fusion recipe, expected what 'weightward evo fit' or "
                     "'run' writes with --sign");
        goto out;
    }
    rc = ww_envelope_parse(text.data, text.len, &envelope, err);
    if (rc) {
        goto out;
    }
    if (envelope.kind != WW_SIGNED_FUSION) {
        rc = WW_FAIL(err, WW_E_BUNDLE, "signed as a %s, expected a fusion recipe",
                     ww_signed_word(envelope.kind));
        goto out;
    }
    rc = check_signer(&envelope, key, err);
    if (rc) {
        goto out;
    }
    rc = ww_fusion_read(envelope.payload.data, envelope.payload.len, out, err);
out:
    if (rc) {
        ww_error_context(err, "'%s'", path);
    }
    ww_envelope_release(&envelope);
    ww_buf_release(&text);
    return rc;
}
