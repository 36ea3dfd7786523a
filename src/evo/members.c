/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pool files. What could send a key to the wrong place is refused here: an address with a
 * user or a query, unknown members (a misspelled 'ca_file' would be none), names that
 * differ only by case. Whether the address is encrypted is the HTTP client's question.
 */
#include "evo/members.h"

#include <string.h>
#include <strings.h>

#include "crypto/hash.h"
#include "evo/dialect.h"
#include "evo/pool.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "yaml/yaml.h"

#define MAX_PRICE 1e6

/* A member that is text; NULL stays where it is absent. */
static enum ww_err read_text(const struct ww_ynode *map, const char *key, bool needed,
                             const char **out, struct ww_error *err)
{
    const struct ww_ynode *node = ww_yget(map, key);
    if (!node && !needed) {
        return WW_OK;
    }
    if (!ww_ystr(node, out) || !**out ||
        !ww_text_ok((const uint8_t *)*out, strlen(*out))) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "line %zu: '%s' of a member is missing or no text",
                       ww_yline(node ? node : map), key);
    }
    return WW_OK;
}

static enum ww_err read_price(const struct ww_ynode *map, const char *key, double *out,
                              struct ww_error *err)
{
    const struct ww_ynode *node = ww_yget(map, key);
    if (node && (!ww_ynumber(node, out) || !(*out >= 0) || *out > MAX_PRICE)) {
        return WW_FAIL(err, WW_E_MALFORMED, "line %zu: '%s' must be a number from 0",
                       ww_yline(node), key);
    }
    return WW_OK;
}

static enum ww_err read_flag(const struct ww_ynode *map, const char *key, bool *out,
                             struct ww_error *err)
{
    const struct ww_ynode *node = ww_yget(map, key);
    if (node && !ww_ybool(node, out)) {
        return WW_FAIL(err, WW_E_MALFORMED, "line %zu: '%s' must be true or false",
                       ww_yline(node), key);
    }
    return WW_OK;
}

static enum ww_err read_adapters(const struct ww_ynode *map, struct ww_member *m,
                                 struct ww_error *err)
{
    const struct ww_ynode *list = ww_yget(map, "adapters");
    const size_t n = list && ww_ytype(list) == WW_Y_LIST ? ww_ysize(list) : 0;
    if (!list) {
        return WW_OK;
    }
    if (n == 0 || n > WW_MEMBER_MOST_ADAPTERS) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "line %zu: 'adapters' must be a list of 1 to %d scales",
                       ww_yline(list), WW_MEMBER_MOST_ADAPTERS);
    }
    m->adapters = ww_calloc(n, sizeof(*m->adapters));
    if (!m->adapters) {
        return WW_FAIL_MEMORY(err, "scales");
    }
    for (const struct ww_ynode *s = ww_yfirst(list); s; s = ww_ynext(s)) {
        double *to = &m->adapters[m->n_adapters++];
        if (!ww_ynumber(s, to) || !(*to >= -WW_MEMBER_MOST_SCALE) ||
            !(*to <= WW_MEMBER_MOST_SCALE)) {
            return WW_FAIL(err, WW_E_MALFORMED,
                           "line %zu: a scale of 'adapters' must be a number from -%g to "
                           "%g",
                           ww_yline(s), WW_MEMBER_MOST_SCALE, WW_MEMBER_MOST_SCALE);
        }
    }
    return WW_OK;
}

static enum ww_err read_member(const struct ww_ynode *map, struct ww_member *m,
                               struct ww_error *err)
{
    static const char *const allowed[] = {
        "name",  "url", "dialect",     "model",      "key_file",     "ca_file",  "permit",
        "owner", "end", "allow_plain", "price_call", "price_ktoken", "adapters", "exact"};
    const struct {
        const char *key;
        const char **to;
        bool needed;
    } texts[] = {
        {"name", &m->name, true},          {"url", &m->url, true},
        {"model", &m->model, true},        {"dialect", &m->dialect, false},
        {"key_file", &m->key_file, false}, {"ca_file", &m->ca_file, false},
        {"permit", &m->permit, false},     {"owner", &m->owner, false},
        {"end", &m->end, false},
    };
    enum ww_err rc =
        ww_yonly(map, allowed, WW_LEN(allowed), WW_E_MALFORMED, "a member", err);
    m->dialect = "auto";
    m->end = "";
    for (size_t i = 0; i < WW_LEN(texts) && !rc; i++) {
        rc = read_text(map, texts[i].key, texts[i].needed, texts[i].to, err);
    }
    rc = rc ? rc : read_price(map, "price_call", &m->price_call, err);
    rc = rc ? rc : read_price(map, "price_ktoken", &m->price_ktoken, err);
    rc = rc ? rc : read_flag(map, "allow_plain", &m->allow_plain, err);
    rc = rc ? rc : read_flag(map, "exact", &m->exact, err);
    rc = rc ? rc : read_adapters(map, m, err);
    if (!rc && m->key_file) {
        rc = ww_member_key_new(m->key_file, &m->key, err);
    }
    if (rc) {
        return rc;
    }
    if (strpbrk(m->url, "@?#")) {
        return WW_FAIL(
            err, WW_E_MALFORMED,
            "line %zu: the url of '%s' has a user, a query or a fragment; keys "
            "come from 'key_file'",
            ww_yline(map), m->name);
    }
    if (strcmp(m->dialect, "auto") != 0 && !ww_dialect_named(m->dialect)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "line %zu: dialect '%.40s' of '%s' is not known; known are auto%s",
                       ww_yline(map), m->dialect, m->name, ww_dialect_names());
    }
    return WW_OK;
}

static enum ww_err read_all(const struct ww_ynode *root, struct ww_members *out,
                            struct ww_error *err)
{
    static const char *const allowed[] = {"members",
                                          "chat"}; /* chat: of whoever serves the pool */
    const struct ww_ynode *list = ww_yget(root, "members");
    enum ww_err rc =
        ww_yonly(root, allowed, WW_LEN(allowed), WW_E_MALFORMED, "a pool", err);
    if (rc) {
        return rc;
    }
    const size_t n = list ? ww_ysize(list) : 0;
    if (!list || ww_ytype(list) != WW_Y_LIST || n == 0 || n > WW_POOL_MAX_MEMBERS) {
        return WW_FAIL(err, WW_E_MALFORMED, "'members' must be a list of 1 to %d members",
                       WW_POOL_MAX_MEMBERS);
    }
    out->member = ww_calloc(n, sizeof(*out->member));
    if (!out->member) {
        return WW_FAIL_MEMORY(err, "members");
    }
    for (const struct ww_ynode *m = ww_yfirst(list); m && !rc; m = ww_ynext(m)) {
        struct ww_member *member = &out->member[out->k];
        rc = read_member(m, member, err);
        for (uint32_t i = 0; i < out->k && !rc; i++) {
            if (strcasecmp(out->member[i].name, member->name) == 0) {
                rc = WW_FAIL(err, WW_E_MALFORMED, "two members are named '%s'",
                             member->name);
            }
        }
        out->k++;
    }
    return rc;
}

enum ww_err ww_members_parse(const uint8_t *text, size_t len, const char *name,
                             struct ww_members *out, struct ww_error *err)
{
    memset(out, 0, sizeof(*out));
    enum ww_err rc =
        ww_yaml_parse(text, len, name, &ww_yaml_limits_recipe, &out->text, err);
    if (!rc && ww_yaml_count(out->text) != 1) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "expected one document, found %zu",
                     ww_yaml_count(out->text));
    }
    if (!rc) {
        rc = read_all(ww_yaml_root(out->text, 0), out, err);
    }
    if (rc) {
        ww_members_release(out);
        return rc;
    }
    ww_sha256_of(text, len, out->digest);
    return WW_OK;
}

enum ww_err ww_members_read(const char *path, struct ww_members *out,
                            struct ww_error *err)
{
    struct ww_buf text;
    memset(out, 0, sizeof(*out));
    ww_buf_init(&text, ww_yaml_limits_recipe.max_bytes);
    enum ww_err rc = ww_file_read(path, &text, err);
    if (!rc) {
        rc = ww_members_parse(text.data, text.len, path, out, err);
        if (rc) {
            ww_error_context(err, "pool '%s'", path);
        }
    }
    ww_buf_release(&text);
    return rc;
}

void ww_members_release(struct ww_members *members)
{
    for (uint32_t i = 0; members->member && i < members->k; i++) {
        ww_free(members->member[i].adapters);
        ww_member_key_free(members->member[i].key);
    }
    ww_free(members->member);
    ww_yaml_free(members->text);
    memset(members, 0, sizeof(*members));
}
