/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations edited as text: what comes out is JSON again, has the new members, and
 * the old ones as they were.
 */
#include "fuzz.h"

#include <string.h>

#include "merge/json_edit.h"
#include "util/fail.h"

#define LIMITS (&ww_json_limits_config)

static bool is_edited(const char *key)
{
    return strcmp(key, "replaced") == 0 || strcmp(key, "inserted") == 0 ||
           strcmp(key, "per_layer") == 0 || strcmp(key, "of_layers") == 0;
}

/* The same member, where both have it: of the same type, and the same text. */
static void compare(const struct ww_jnode *before, const struct ww_jnode *after)
{
    for (const struct ww_jnode *n = ww_jfirst(before); n; n = ww_jnext(n)) {
        const struct ww_jnode *other = ww_jget(after, ww_jkey(n));
        const char *a = NULL;
        const char *b = NULL;
        FUZZ_CHECK(other);
        if (!is_edited(ww_jkey(n))) {
            FUZZ_CHECK(ww_jtype(n) == ww_jtype(other));
            FUZZ_CHECK(!ww_jstr(n, &a) || (ww_jstr(other, &b) && strcmp(a, b) == 0));
        }
    }
}

static void edit(const uint8_t *data, size_t size, const struct ww_json *old)
{
    static const uint32_t layer_from[] = {1, 0, 1};
    struct ww_json_edit items[] = {
        {.key = "replaced", .value = "[1, 2]"},
        {.key = "inserted", .value = "7", .insert = true},
        {.key = "per_layer", .list = WW_LIST_BY_LAYER},
        {.key = "of_layers", .list = WW_LIST_OF_LAYERS},
    };
    struct ww_json_edits edits = {.items = items,
                                  .n = WW_LEN(items),
                                  .section = "text_config",
                                  .old_layers = 2,
                                  .layer_from = layer_from,
                                  .new_layers = WW_LEN(layer_from)};
    struct ww_error err = {0};
    struct ww_json *json = NULL;
    struct ww_buf out;
    bool flag = false;
    ww_buf_init(&out, 2 * size + 256);
    const enum ww_err rc = ww_json_edit(data, size, &edits, &out, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (rc == WW_OK) {
        FUZZ_CHECK(ww_json_parse(out.data, out.len, LIMITS, &json, &err) == WW_OK);
        FUZZ_CHECK(items[1].done && ww_jget(ww_json_root(json), "inserted"));
        FUZZ_CHECK(!ww_jbool(ww_jget(ww_json_root(json), "replaced"), &flag));
        compare(ww_json_root(old), ww_json_root(json));
        ww_json_free(json);
    }
    ww_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_json *old = NULL;

    if (ww_json_parse(data, size, LIMITS, &old, NULL) == WW_OK &&
        ww_jtype(ww_json_root(old)) == WW_J_OBJECT) {
        edit(data, size, old);
    }
    ww_json_free(old);
    return 0;
}
