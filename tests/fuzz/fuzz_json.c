/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scan accepts, cJSON builds; and what is built, written and read again is
 * written as the same bytes.
 */
#include "fuzz.h"

#include <string.h>

#include "json/json.h"

static const struct ww_json_limits limits = {1u << 20, 32, 100000, false};

static void copy_node(struct ww_jw *w, const struct ww_jnode *node);

static void copy_children(struct ww_jw *w, const struct ww_jnode *node)
{
    for (const struct ww_jnode *c = ww_jfirst(node); c; c = ww_jnext(c)) {
        if (ww_jtype(node) == WW_J_OBJECT) {
            ww_jw_key(w, ww_jkey(c));
            FUZZ_CHECK(ww_jget(node, ww_jkey(c)) == c);
        }
        copy_node(w, c);
    }
    ww_jw_close(w);
}

static void copy_number(struct ww_jw *w, const struct ww_jnode *node)
{
    int64_t i = 0;
    double d = 0;
    FUZZ_CHECK(ww_jdouble(node, &d));
    if (ww_ji64(node, &i)) {
        FUZZ_CHECK((double)i == d);
    }
    ww_jw_double(w, d);
}

static void copy_node(struct ww_jw *w, const struct ww_jnode *node)
{
    const char *s = NULL;
    bool b = false;
    switch (ww_jtype(node)) {
    case WW_J_NULL:
        ww_jw_null(w);
        break;
    case WW_J_BOOL:
        FUZZ_CHECK(ww_jbool(node, &b));
        ww_jw_bool(w, b);
        break;
    case WW_J_NUMBER:
        copy_number(w, node);
        break;
    case WW_J_STRING:
        FUZZ_CHECK(ww_jstr(node, &s));
        ww_jw_str(w, s);
        break;
    case WW_J_ARRAY:
        ww_jw_array(w);
        copy_children(w, node);
        break;
    case WW_J_OBJECT:
        ww_jw_object(w);
        copy_children(w, node);
        break;
    }
}

static void copy_document(const struct ww_json *json, struct ww_buf *buf)
{
    struct ww_error err = {0};
    struct ww_jw w;
    ww_buf_init(buf, 16u << 20);
    ww_jw_init(&w, buf, 0);
    copy_node(&w, ww_json_root(json));
    FUZZ_CHECK(ww_jw_end(&w, &err) == WW_OK);
}

static void round_trip(const struct ww_json *json)
{
    struct ww_error err = {0};
    struct ww_json *again = NULL;
    struct ww_buf first;
    struct ww_buf second;
    copy_document(json, &first);
    if (first.len <= limits.max_bytes) {
        FUZZ_CHECK(ww_json_parse(first.data, first.len, &limits, &again, &err) == WW_OK);
        copy_document(again, &second);
        FUZZ_CHECK(first.len == second.len);
        FUZZ_CHECK(memcmp(first.data, second.data, first.len) == 0);
        ww_buf_release(&second);
        ww_json_free(again);
    }
    ww_buf_release(&first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_error parse_err = {0};
    struct ww_json *json = NULL;
    enum ww_err checked = ww_json_check(data, size, &limits, &err);
    enum ww_err parsed = ww_json_parse(data, size, &limits, &json, &parse_err);
    FUZZ_CHECK(checked == parsed);
    FUZZ_CHECK((json != NULL) == (parsed == WW_OK));
    FUZZ_CHECK((strlen(err.text) > 0) == (checked != WW_OK));
    if (json) {
        round_trip(json);
    }
    ww_json_free(json);
    return 0;
}
