/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree is cJSON's; a node of ours is a node of cJSON's under another name, so that no
 * other module sees that library. Text reaches cJSON only after the strict scan, and with
 * the thread in the C locale, because cJSON reads numbers with strtod.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "json/json.h"
#include "json/json_lex.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

struct ww_json {
    cJSON *root;
};

static const cJSON *as_cjson(const struct ww_jnode *node)
{
    return (const cJSON *)(const void *)node;
}

static const struct ww_jnode *as_node(const cJSON *item)
{
    return (const struct ww_jnode *)(const void *)item;
}

static enum ww_err build_tree(const uint8_t *text, size_t len, cJSON **root,
                              struct ww_error *err)
{
    struct ww_c_locale l;
    if (!ww_c_locale_enter(&l)) {
        return WW_FAIL_MEMORY(err, "a JSON document");
    }
    errno = 0;
    *root = cJSON_ParseWithLengthOpts((const char *)text, len, NULL, 0);
    int e = errno;
    ww_c_locale_leave(&l);
    if (*root) {
        return WW_OK;
    }
    if (e == ENOMEM) {
        return WW_FAIL_MEMORY(err, "a JSON document");
    }
    return WW_FAIL(err, WW_E_INTERNAL, "JSON text passed the scan but not cJSON");
}

/* The checked text with null for each word of Python's, which cJSON does not know. */
static enum ww_err without_words(const uint8_t *text, size_t len, struct ww_buf *out,
                                 struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    bool unused = false;
    size_t copied = 0;

    for (size_t at = 0; at < len && !rc;) {
        const size_t word = ww_json_lex_no_number(text, len, at);
        if (text[at] == '"') {
            (void)ww_json_lex_string(text, len, &at, &unused);
        } else if (word) {
            rc = ww_buf_add(out, text + copied, at - copied, err);
            rc = rc ? rc : ww_buf_add_str(out, "null", err);
            at += word;
            copied = at;
        } else {
            at++;
        }
    }
    return rc ? rc : ww_buf_add(out, text + copied, len - copied, err);
}

enum ww_err ww_json_parse(const uint8_t *text, size_t len,
                          const struct ww_json_limits *limits, struct ww_json **out,
                          struct ww_error *err)
{
    *out = NULL;
    enum ww_err rc = ww_json_check(text, len, limits, err);
    if (rc) {
        return rc;
    }
    struct ww_json *json = ww_calloc(1, sizeof(*json));
    if (!json) {
        return WW_FAIL_MEMORY(err, "a JSON document");
    }
    if (limits->python) {
        struct ww_buf plain;
        ww_buf_init(&plain, 2 * len + 1); /* NaN is shorter than null */
        rc = without_words(text, len, &plain, err);
        rc = rc ? rc : build_tree(plain.data, plain.len, &json->root, err);
        ww_buf_release(&plain);
    } else {
        rc = build_tree(text, len, &json->root, err);
    }
    if (rc) {
        ww_free(json);
        return rc;
    }
    *out = json;
    return WW_OK;
}

void ww_json_free(struct ww_json *json)
{
    if (json) {
        cJSON_Delete(json->root);
        ww_free(json);
    }
}

const struct ww_jnode *ww_json_root(const struct ww_json *json)
{
    return json ? as_node(json->root) : NULL;
}

enum ww_jtype ww_jtype(const struct ww_jnode *node)
{
    const cJSON *item = as_cjson(node);
    if (cJSON_IsBool(item)) {
        return WW_J_BOOL;
    }
    if (cJSON_IsNumber(item)) {
        return WW_J_NUMBER;
    }
    if (cJSON_IsString(item)) {
        return WW_J_STRING;
    }
    if (cJSON_IsArray(item)) {
        return WW_J_ARRAY;
    }
    return cJSON_IsObject(item) ? WW_J_OBJECT : WW_J_NULL;
}

const struct ww_jnode *ww_jget(const struct ww_jnode *node, const char *key)
{
    if (!cJSON_IsObject(as_cjson(node))) {
        return NULL;
    }
    return as_node(cJSON_GetObjectItemCaseSensitive(as_cjson(node), key));
}

const struct ww_jnode *ww_jfirst(const struct ww_jnode *node)
{
    return node ? as_node(as_cjson(node)->child) : NULL;
}

const struct ww_jnode *ww_jnext(const struct ww_jnode *node)
{
    return node ? as_node(as_cjson(node)->next) : NULL;
}

const char *ww_jkey(const struct ww_jnode *node)
{
    return node ? as_cjson(node)->string : NULL;
}

size_t ww_jsize(const struct ww_jnode *node)
{
    size_t n = 0;
    for (node = ww_jfirst(node); node; node = ww_jnext(node)) {
        n++;
    }
    return n;
}

const struct ww_jnode *ww_jat(const struct ww_jnode *node, size_t index)
{
    node = ww_jfirst(node);
    while (node && index > 0) {
        node = ww_jnext(node);
        index--;
    }
    return node;
}

bool ww_jstr(const struct ww_jnode *node, const char **out)
{
    if (!cJSON_IsString(as_cjson(node))) {
        return false;
    }
    *out = as_cjson(node)->valuestring;
    return true;
}

bool ww_jhex(const struct ww_jnode *node, uint8_t *out, size_t len)
{
    const char *hex = NULL;

    return ww_jstr(node, &hex) && ww_unhex(out, len, hex, strlen(hex));
}

bool ww_jbool(const struct ww_jnode *node, bool *out)
{
    if (!cJSON_IsBool(as_cjson(node))) {
        return false;
    }
    *out = cJSON_IsTrue(as_cjson(node)) != 0;
    return true;
}

bool ww_jdouble(const struct ww_jnode *node, double *out)
{
    if (!cJSON_IsNumber(as_cjson(node))) {
        return false;
    }
    *out = as_cjson(node)->valuedouble;
    return true;
}

/* A double holds every integer of the accepted range exactly. */
bool ww_ji64(const struct ww_jnode *node, int64_t *out)
{
    double v = 0;
    if (!ww_jdouble(node, &v) || !(fabs(v) <= (double)WW_JSON_MAX_INT) || v != trunc(v)) {
        return false;
    }
    *out = (int64_t)v;
    return true;
}

bool ww_ju64(const struct ww_jnode *node, uint64_t *out)
{
    int64_t v = 0;
    if (!ww_ji64(node, &v) || v < 0) {
        return false;
    }
    *out = (uint64_t)v;
    return true;
}

static bool is_allowed(const char *key, const char *const *allowed, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(key, allowed[i]) == 0) {
            return true;
        }
    }
    return false;
}

enum ww_err ww_jonly(const struct ww_jnode *object, const char *const *allowed, size_t n,
                     enum ww_err code, const char *what, struct ww_error *err)
{
    if (!cJSON_IsObject(as_cjson(object))) {
        return WW_FAIL(err, code, "%s is not a JSON object", what);
    }
    for (const struct ww_jnode *m = ww_jfirst(object); m; m = ww_jnext(m)) {
        const char *key = ww_jkey(m);
        if (is_allowed(key, allowed, n)) {
            continue;
        }
        const char *nearest = ww_str_nearest(key, allowed, n);
        if (nearest) {
            return WW_FAIL(err, code, "%s has an unknown member '%s'; is '%s' meant?",
                           what, key, nearest);
        }
        return WW_FAIL(err, code, "%s has an unknown member '%s'", what, key);
    }
    return WW_OK;
}
