/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The recipe says who is asked and how; it is signed. A pool file adds what no recipe
 * holds (keys of servers, their certificates, permits, a chat template) and can change
 * nothing else.
 */
#include "serve/served.h"

#include <string.h>
#include <time.h>

#include "crypto/hash.h"
#include "crypto/verify.h"
#include "evo/probe.h"
#include "serve/template.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define CANARY_TRIES                                                                     \
    3 /* servers that batch move a log-probability over a rounding's edge */
#define TRIES 3
#define LONGEST_WAIT 2.0
#define TOTAL_MS 60000

static enum ww_err open_recipe(struct ww_served *s, struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    enum ww_err rc = ww_pubkey_load(s->options->public_key, &key, err);
    rc = rc ? rc : ww_pubkey_hint(key, s->signer, err);
    if (!rc) {
        rc = ww_fusion_open(s->options->recipe, key, &s->fusion, err);
    }
    ww_pubkey_free(key);
    return rc;
}

/* A permit that the recipe names must be there, and be that one. */
static enum ww_err check_permit(const struct ww_fusion_member *m, const char *path,
                                struct ww_error *err)
{
    uint8_t digest[32] = {0};
    struct ww_buf text;
    if (!m->has_permit) {
        return WW_OK;
    }
    if (!path) {
        return WW_FAIL(
            err, WW_E_DENIED,
            "the recipe names a permit for member '%s'; give it as 'permit' in "
            "the pool file",
            m->name);
    }
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    enum ww_err rc = ww_file_read(path, &text, err);
    if (!rc) {
        ww_sha256_of(text.data, text.len, digest);
        if (memcmp(digest, m->permit, sizeof(digest)) != 0) {
            rc = WW_FAIL(err, WW_E_DENIED,
                         "'%s' is not the permit that the recipe names for member '%s'",
                         path, m->name);
        }
    }
    ww_buf_release(&text);
    return rc;
}

/* Member i of the recipe, with what the pool file adds. */
static enum ww_err join_member(struct ww_served *s, uint32_t i, struct ww_error *err)
{
    const struct ww_fusion_member *m = &s->fusion.member[i];
    const struct ww_member *added = NULL;
    for (uint32_t p = 0; p < s->pool.k; p++) {
        if (strcmp(s->pool.member[p].name, m->name) == 0) {
            added = &s->pool.member[p];
        }
    }
    if (s->pool.k && !added) {
        return WW_FAIL(err, WW_E_NOTFOUND, "pool '%s' has no member '%s' of the recipe",
                       s->options->pool, m->name);
    }
    if (added &&
        (strcmp(added->url, m->url) != 0 || strcmp(added->model, m->model) != 0)) {
        return WW_FAIL(err, WW_E_CHANGED,
                       "member '%s' of the pool is model '%s' at '%s', the recipe signed "
                       "'%s' at '%s'",
                       m->name, added->model, added->url, m->model, m->url);
    }
    s->member[i] = (struct ww_member){
        .name = m->name,
        .url = m->url,
        .dialect = m->dialect,
        .model = m->model,
        .end = m->end,
        .key_file = added ? added->key_file : NULL,
        .key = added ? added->key : NULL,
        .ca_file = added ? added->ca_file : NULL,
        .adapters = m->adapters,
        .n_adapters = m->n_adapters,
        .permit = m->has_permit && added ? added->permit : NULL,
        .owner = m->has_permit && added ? added->owner : NULL,
        .allow_plain = added && added->allow_plain,
    };
    if (!s->end[0]) {
        s->end = m->end;
    }
    return check_permit(m, added ? added->permit : NULL, err);
}

/* Do the permits still allow what they allowed, and are they of the same owners? */
static enum ww_err check_permits(struct ww_served *s, struct ww_error *err)
{
    struct ww_permit permit[WW_POOL_MAX_MEMBERS];
    uint8_t owner[WW_SHA256_BYTES];
    enum ww_err rc = ww_permits_open(s->member, s->fusion.k, permit, &s->permits, err);
    rc = rc ? rc : ww_served_allow(s, err);
    for (uint32_t i = 0; i < s->fusion.k && !rc; i++) {
        if (permit[i].given &&
            (!ww_unhex(owner, sizeof(owner), permit[i].owner, strlen(permit[i].owner)) ||
             memcmp(owner, s->fusion.member[i].owner, sizeof(owner)) != 0)) {
            rc = WW_FAIL(err, WW_E_DENIED,
                         "the permit of member '%s' is signed by another owner than when "
                         "the recipe was",
                         s->member[i].name);
        }
    }
    return rc;
}

enum ww_err ww_served_allow(const struct ww_served *served, struct ww_error *err)
{
    return ww_permits_allow(served->permits, served->signer,
                            ww_rule_name(served->fusion.rule.id), (int64_t)time(NULL),
                            err);
}

/* Does the model behind the name say what it said when the recipe was made? */
static enum ww_err check_canary(struct ww_served *s, uint32_t i, struct ww_error *err)
{
    struct ww_endpoint *e = NULL;
    uint8_t digest[32];
    bool same = false;
    enum ww_err rc = ww_endpoint_open(&s->member[i], &s->endpoint, &e, err);
    for (int n = 0; n < CANARY_TRIES && !rc && !same; n++) {
        struct ww_member_facts facts;
        rc = ww_probe(e, &s->member[i], s->fusion.top, &facts, err);
        if (!rc) {
            ww_canary_digest(&facts, digest);
            same = memcmp(digest, s->fusion.member[i].canary, sizeof(digest)) == 0;
            ww_member_facts_release(&s->facts[i]);
            s->facts[i] = facts;
        }
    }
    ww_endpoint_free(e);
    if (!rc && !same) {
        rc =
            WW_FAIL(err, WW_E_CHANGED,
                    "another model stands behind member '%s' at '%s': its canary differs "
                    "from the recipe's; fit the pool again",
                    s->member[i].name, s->member[i].url);
    }
    return rc;
}

static enum ww_err reserve(struct ww_served *s, struct ww_error *err)
{
    s->member = ww_calloc(s->fusion.k, sizeof(*s->member));
    s->facts = ww_calloc(s->fusion.k, sizeof(*s->facts));
    s->idle = ww_calloc(s->answers, sizeof(*s->idle));
    return s->member && s->facts && s->idle ? WW_OK : WW_FAIL_MEMORY(err, "a pool");
}

/* Of a rule that takes one member's word, that member is the pool. */
static void choose_asked(struct ww_served *s)
{
    s->rule = s->fusion.rule;
    if (s->rule.id == WW_RULE_BEST_SINGLE) {
        s->first = s->rule.member;
        s->rule.member = 0;
        s->rule.k = 1;
    }
}

enum ww_err ww_served_open(const struct ww_serve_options *options, struct ww_served *out,
                           struct ww_error *err)
{
    memset(out, 0, sizeof(*out));
    out->options = options;
    out->model = options->model ? options->model : "fusion";
    out->end = "";
    out->created = (int64_t)time(NULL);
    out->answers = options->answers ? options->answers : WW_SERVE_ANSWERS;
    out->endpoint = (struct ww_endpoint_options){.tries = TRIES,
                                                 .longest_wait_s = LONGEST_WAIT,
                                                 .total_ms = TOTAL_MS,
                                                 .cancel = &out->cancel};
    (void)pthread_mutex_init(&out->lock, NULL);
    enum ww_err rc = open_recipe(out, err);
    if (rc) {
        goto out;
    }
    if (options->keys) {
        rc = ww_bearers_read(options->keys, &out->bearers, err);
    }
    if (!rc && options->pool) {
        rc = ww_members_read(options->pool, &out->pool, err);
    }
    if (!rc && options->pool) {
        rc = ww_chat_template_read(&out->pool, &out->chat, err);
    }
    if (rc) {
        goto out;
    }
    rc = reserve(out, err);
    for (uint32_t i = 0; i < out->fusion.k && !rc; i++) {
        rc = join_member(out, i, err);
    }
    rc = rc ? rc : check_permits(out, err);
    for (uint32_t i = 0; i < out->fusion.k && !rc; i++) {
        rc = check_canary(out, i, err);
    }
    choose_asked(out);
out:
    if (rc) {
        ww_served_close(out);
    }
    return rc;
}

void ww_served_close(struct ww_served *served)
{
    for (unsigned i = 0; i < served->n_idle; i++) {
        ww_panel_free(served->idle[i]);
    }
    served->n_idle = 0;
    ww_free(served->idle);
    for (uint32_t i = 0; served->facts && i < served->fusion.k; i++) {
        ww_member_facts_release(&served->facts[i]);
    }
    ww_free(served->facts);
    ww_free(served->member);
    served->idle = NULL;
    served->facts = NULL;
    served->member = NULL;
    ww_permits_free(served->permits);
    served->permits = NULL;
    ww_bearers_release(&served->bearers);
    ww_members_release(&served->pool);
    ww_fusion_release(&served->fusion);
    (void)pthread_mutex_destroy(&served->lock);
}

enum ww_err ww_served_take(struct ww_served *served, struct ww_panel **out,
                           struct ww_error *err)
{
    const struct ww_panel_options o = {
        .member = served->member + served->first,
        .facts = served->facts + served->first,
        .k = served->rule.k,
        .top = served->fusion.top,
        .endpoint = &served->endpoint,
    };
    bool make = false;
    *out = NULL;
    (void)pthread_mutex_lock(&served->lock);
    if (served->n_idle) {
        *out = served->idle[--served->n_idle];
    } else if (served->n_panels < served->answers) {
        served->n_panels++;
        make = true;
    }
    (void)pthread_mutex_unlock(&served->lock);
    const enum ww_err rc = make ? ww_panel_new(&o, out, err) : WW_OK;
    if (rc) {
        (void)pthread_mutex_lock(&served->lock);
        served->n_panels--;
        (void)pthread_mutex_unlock(&served->lock);
    }
    return rc;
}

void ww_served_give(struct ww_served *served, struct ww_panel *panel)
{
    (void)pthread_mutex_lock(&served->lock);
    served->idle[served->n_idle++] = panel;
    (void)pthread_mutex_unlock(&served->lock);
}
