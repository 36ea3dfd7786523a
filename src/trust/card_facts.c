/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a model says about itself in files that its signature covers: the card's licence
 * and tags, and which policies it wants to be asked about.
 */
#include <string.h>

#include "evidence/front_matter.h"
#include "policy/words.h"
#include "trust/facts.h"
#include "util/alloc.h"
#include "util/fail.h"

#define TYPE "weightward.policy-reference/1"
#define MAX_TAGS 1024

/* A copy that the facts own, NULL when memory is out. */
static const char *keep(struct ww_source_facts *owner, const char *text,
                        struct ww_error *err)
{
    const struct ww_reading at = {"facts", &owner->lists, &owner->n_lists};
    char *copy = ww_strdup(text);

    return ww_read_own(&at, copy, err) == WW_OK ? copy : NULL;
}

static enum ww_err read_tags(const struct ww_ynode *list, struct ww_source_facts *owner,
                             struct ww_words *out, struct ww_error *err)
{
    const struct ww_reading at = {"facts", &owner->lists, &owner->n_lists};
    const size_t n = ww_ysize(list);
    enum ww_err rc = WW_OK;

    if (!list || ww_ytype(list) != WW_Y_LIST || n == 0 || n > MAX_TAGS) {
        return WW_OK;
    }
    out->items = ww_calloc(n, sizeof(*out->items));
    rc = ww_read_own(&at, out->items, err);
    for (const struct ww_ynode *t = rc ? NULL : ww_yfirst(list); t; t = ww_ynext(t)) {
        const char *text = NULL;
        if (!ww_ytext(t, &text)) {
            continue;
        }
        out->items[out->n] = keep(owner, text, err);
        if (!out->items[out->n]) {
            return WW_E_NOMEM;
        }
        out->n++;
    }
    return rc;
}

enum ww_err ww_card_facts_read(const uint8_t *text, size_t len,
                               struct ww_source_facts *owner, struct ww_card_facts *out,
                               struct ww_error *err)
{
    struct ww_yaml *yaml = ww_card_open(text, len);
    const char *license = yaml ? ww_card_license(yaml) : NULL;
    enum ww_err rc = WW_OK;

    *out = (struct ww_card_facts){0};
    /* A card that is no card says nothing, and what says nothing is not permitted. */
    if (!yaml) {
        return WW_OK;
    }
    if (license) {
        out->license = keep(owner, license, err);
        rc = out->license ? WW_OK : WW_E_NOMEM;
    }
    if (!rc) {
        rc = read_tags(ww_yget(ww_yaml_root(yaml, 0), "tags"), owner, &out->tags, err);
    }
    ww_yaml_free(yaml);
    return rc;
}

enum ww_err ww_facts_need(struct ww_source_facts *owner, const char *id, uint64_t version,
                          bool was_used, struct ww_error *err)
{
    struct ww_policy_need *grown =
        ww_realloc_array(owner->needs, owner->n_needs + 1, sizeof(*grown));

    if (!grown) {
        return WW_FAIL_MEMORY(err, "facts");
    }
    owner->needs = grown;
    id = keep(owner, id, err);
    if (!id) {
        return WW_E_NOMEM;
    }
    grown[owner->n_needs++] = (struct ww_policy_need){id, version, was_used};
    return WW_OK;
}

static enum ww_err read_need(const struct ww_jnode *node, struct ww_source_facts *owner,
                             struct ww_error *err)
{
    static const char *const members[] = {"id", "version"};
    const struct ww_reading at = {.what = "policy reference"};
    const char *id = NULL;
    uint64_t version = 0;
    enum ww_err rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, at.what, err);

    if (!rc) {
        rc = ww_read_name(&at, node, "id", false, &id, err);
    }
    if (!rc) {
        rc = ww_read_number(&at, node, "version", &version, err);
    }
    if (rc) {
        return rc;
    }
    return ww_facts_need(owner, id, version, false, err);
}

enum ww_err ww_reference_read(const uint8_t *text, size_t len,
                              struct ww_source_facts *owner, struct ww_error *err)
{
    static const char *const members[] = {"type", "policies"};
    const struct ww_jnode *list = NULL;
    struct ww_json *json = NULL;
    enum ww_err rc = ww_read_document(text, len, TYPE, &json, err);

    if (!rc) {
        rc = ww_jonly(ww_json_root(json), members, WW_LEN(members), WW_E_POLICY,
                      "policy reference", err);
    }
    list = rc ? NULL : ww_jget(ww_json_root(json), "policies");
    if (!rc &&
        (ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) > WW_REFERENCE_MAX_NEEDS)) {
        rc = WW_FAIL(err, WW_E_POLICY,
                     "policy reference: 'policies' must be a list of at most %d",
                     WW_REFERENCE_MAX_NEEDS);
    }
    for (const struct ww_jnode *p = ww_jfirst(list); p && !rc; p = ww_jnext(p)) {
        rc = read_need(p, owner, err);
    }
    ww_json_free(json);
    return rc;
}

enum ww_err ww_reference_write(const struct ww_policy_need *needs, size_t n,
                               struct ww_buf *out, struct ww_error *err)
{
    struct ww_jw w;

    if (n > WW_REFERENCE_MAX_NEEDS) {
        return WW_FAIL(err, WW_E_LIMIT, "%zu policies to ask for, at most %d", n,
                       WW_REFERENCE_MAX_NEEDS);
    }
    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "type", TYPE);
    ww_jw_key(&w, "policies");
    ww_jw_array(&w);
    for (size_t i = 0; i < n; i++) {
        ww_jw_object(&w);
        ww_jw_kstr(&w, "id", needs[i].id);
        ww_jw_kdecimal(&w, "version", needs[i].version);
        ww_jw_close(&w);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}
