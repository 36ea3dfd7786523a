/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times are UTC in one spelling and numbers are decimal text: what is signed must read
 * the same everywhere.
 */
#include "policy/words.h"

#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"
#include "util/utc.h"

#define MAX_DEPTH 8
#define MAX_WORDS 4096
#define PLACES 6

static const struct ww_json_limits limits = {WW_POLICY_MAX_BYTES, MAX_DEPTH, 262144,
                                             false};

static bool digits(const char *s, unsigned n, int64_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return false;
        }
        *out = *out * 10 + (s[i] - '0');
    }
    return true;
}

bool ww_policy_time(const char *text, int64_t *out)
{
    int64_t seconds = 0;

    if (strlen(text) != strlen("1970-01-01T00:00:00Z") || !ww_utc_parse(text, &seconds) ||
        seconds < 0) {
        return false;
    }
    *out = seconds;
    return true;
}

void ww_policy_decimal_text(int64_t millionths, char out[WW_DECIMAL_BYTES])
{
    size_t len = 0;

    snprintf(out, WW_DECIMAL_BYTES, "%lld.%06lld", (long long)(millionths / 1000000),
             (long long)(millionths % 1000000));
    for (len = strlen(out); out[len - 1] == '0'; len--) {
        out[len - 1] = '\0';
    }
    if (out[len - 1] == '.') {
        out[len - 1] = '\0';
    }
}

bool ww_policy_decimal(const char *text, int64_t *out)
{
    const char *dot = strchr(text, '.');
    const size_t whole = dot ? (size_t)(dot - text) : strlen(text);
    const size_t places = dot ? strlen(dot + 1) : 0;
    int64_t a = 0;
    int64_t b = 0;

    if (whole < 1 || whole > 6 || places > PLACES || (dot && places == 0) ||
        !digits(text, (unsigned)whole, &a) ||
        !digits(dot ? dot + 1 : "", (unsigned)places, &b)) {
        return false;
    }
    for (size_t i = places; i < PLACES; i++) {
        b *= 10;
    }
    *out = a * 1000000 + b;
    return true;
}

bool ww_revoked_parse(const char *text, enum ww_revoked_kind *out)
{
    static const char *const names[] = {
#define NAME(name, text) text,
        WW_REVOKED_LIST(NAME)
#undef NAME
    };
    for (int i = 0; i < WW_REVOKED_COUNT; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum ww_revoked_kind)i;
            return true;
        }
    }
    return false;
}

bool ww_words_have(const struct ww_words *words, const char *word)
{
    for (size_t i = 0; i < words->n; i++) {
        if (strcmp(words->items[i], word) == 0) {
            return true;
        }
    }
    return false;
}

enum ww_err ww_read_own(const struct ww_reading *at, void *memory, struct ww_error *err)
{
    void **grown =
        memory ? ww_realloc_array(*at->lists, *at->n_lists + 1, sizeof(*grown)) : NULL;

    if (!grown) {
        ww_free(memory);
        return WW_FAIL_MEMORY(err, "%s", at->what);
    }
    grown[(*at->n_lists)++] = memory;
    *at->lists = grown;
    return WW_OK;
}

static bool is_name(const char *s)
{
    return s[0] && strlen(s) <= WW_POLICY_MAX_NAME;
}

enum ww_err ww_read_name(const struct ww_reading *at, const struct ww_jnode *object,
                         const char *key, bool optional, const char **out,
                         struct ww_error *err)
{
    const struct ww_jnode *node = ww_jget(object, key);

    *out = NULL;
    if (!node && optional) {
        return WW_OK;
    }
    if (!ww_jstr(node, out) || !is_name(*out)) {
        return WW_FAIL(err, WW_E_POLICY, "%s: '%s' must be text of 1 to %d bytes",
                       at->what, key, WW_POLICY_MAX_NAME);
    }
    return WW_OK;
}

enum ww_err ww_read_number(const struct ww_reading *at, const struct ww_jnode *object,
                           const char *key, uint64_t *out, struct ww_error *err)
{
    const char *text = NULL;

    if (!ww_jstr(ww_jget(object, key), &text) || !ww_parse_u64(text, strlen(text), out)) {
        return WW_FAIL(err, WW_E_POLICY,
                       "%s: '%s' must be a number as decimal text, like \"3\"", at->what,
                       key);
    }
    return WW_OK;
}

enum ww_err ww_read_time(const struct ww_reading *at, const struct ww_jnode *object,
                         const char *key, bool optional, int64_t *out,
                         struct ww_error *err)
{
    const struct ww_jnode *node = ww_jget(object, key);
    const char *text = NULL;

    if (!node && optional) {
        return WW_OK;
    }
    if (!ww_jstr(node, &text) || !ww_policy_time(text, out)) {
        return WW_FAIL(err, WW_E_POLICY,
                       "%s: '%s' must be a time like \"2026-11-25T12:00:00Z\"", at->what,
                       key);
    }
    return WW_OK;
}

enum ww_err ww_read_words(const struct ww_reading *at, const struct ww_jnode *object,
                          const char *key, bool optional, struct ww_words *out,
                          struct ww_error *err)
{
    const struct ww_jnode *list = ww_jget(object, key);
    const size_t n = ww_jsize(list);
    enum ww_err rc = WW_OK;

    *out = (struct ww_words){0};
    if (!list && optional) {
        return WW_OK;
    }
    if (ww_jtype(list) != WW_J_ARRAY || n == 0 || n > MAX_WORDS) {
        return WW_FAIL(err, WW_E_POLICY, "%s: '%s' must be a list of 1 to %d texts",
                       at->what, key, MAX_WORDS);
    }
    out->items = ww_calloc(n, sizeof(*out->items));
    rc = ww_read_own(at, out->items, err);
    if (rc) {
        out->items = NULL;
        return rc;
    }
    for (const struct ww_jnode *item = ww_jfirst(list); item; item = ww_jnext(item)) {
        const char *text = NULL;
        if (!ww_jstr(item, &text) || !is_name(text) || ww_words_have(out, text)) {
            return WW_FAIL(err, WW_E_POLICY,
                           "%s: '%s' must hold texts of 1 to %d bytes, each once",
                           at->what, key, WW_POLICY_MAX_NAME);
        }
        out->items[out->n++] = text;
    }
    return WW_OK;
}

enum ww_err ww_read_document(const uint8_t *payload, size_t len, const char *type,
                             struct ww_json **json, struct ww_error *err)
{
    const char *text = NULL;
    enum ww_err rc = ww_json_parse(payload, len, &limits, json, err);

    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(ww_json_root(*json), "type"), &text)) {
        rc = WW_FAIL(err, WW_E_POLICY, "document without a type, expected '%s'", type);
    } else if (strcmp(text, type) != 0) {
        rc = WW_FAIL(err, WW_E_VERSION, "document of type '%.60s', expected '%s'", text,
                     type);
    }
    if (rc) {
        ww_json_free(*json);
        *json = NULL;
    }
    return rc;
}
