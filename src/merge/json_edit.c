/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over text that is known to be JSON: strings are skipped, brackets counted. The
 * strict scan runs first, so no case of malformed text is left to handle here.
 */
#include "merge/json_edit.h"

#include <string.h>

#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

struct walk {
    const uint8_t *text;
    size_t len;
    size_t at;
    size_t copied; /* text before it is in out */
    struct ww_json_edits *edits;
    struct ww_buf *out;
};

struct span {
    size_t from;
    size_t to;
};

static void skip_space(struct walk *w)
{
    while (w->at < w->len && strchr(" \t\r\n", w->text[w->at])) {
        w->at++;
    }
}

static void skip_string(struct walk *w)
{
    for (w->at++; w->at < w->len && w->text[w->at] != '"'; w->at++) {
        w->at += w->text[w->at] == '\\';
    }
    w->at++;
}

/* A value of any kind; at stands on its first byte. */
static struct span skip_value(struct walk *w)
{
    struct span s = {w->at, w->at};
    unsigned depth = 0;

    do {
        const uint8_t c = w->text[w->at];
        if (c == '"') {
            skip_string(w);
        } else if (c == '{' || c == '[') {
            depth++;
            w->at++;
        } else if (c == '}' || c == ']') {
            depth--;
            w->at++;
        } else if (depth > 0) {
            w->at++;
        } else {
            while (w->at < w->len && !strchr(",}] \t\r\n", w->text[w->at])) {
                w->at++;
            }
        }
    } while (depth > 0 && w->at < w->len);
    s.to = w->at;
    return s;
}

static bool is_key(const struct walk *w, struct span key, const char *name)
{
    const size_t len = strlen(name);
    return key.to - key.from == len + 2 && memcmp(w->text + key.from + 1, name, len) == 0;
}

static enum ww_err copy_to(struct walk *w, size_t end, struct ww_error *err)
{
    enum ww_err rc = ww_buf_add(w->out, w->text + w->copied, end - w->copied, err);
    w->copied = end;
    return rc;
}

/* The items of an array that stands at value; false when there are not n of them. */
static bool find_items(const struct walk *w, struct span value, struct span *items,
                       uint64_t n)
{
    struct walk in = {.text = w->text, .len = w->len, .at = value.from + 1};
    uint64_t k = 0;

    if (w->text[value.from] != '[') {
        return false;
    }
    for (skip_space(&in); in.at < value.to && in.text[in.at] != ']'; skip_space(&in)) {
        const struct span item = skip_value(&in);
        if (k < n) {
            items[k] = item;
        }
        k++;
        skip_space(&in);
        in.at += in.text[in.at] == ',';
    }
    return k == n;
}

static enum ww_err write_items(struct walk *w, struct span value, struct ww_error *err)
{
    const struct ww_json_edits *e = w->edits;
    struct span items[WW_MOST_LAYERS];
    enum ww_err rc = WW_OK;

    if (e->old_layers == 0 || e->old_layers > WW_MOST_LAYERS ||
        !find_items(w, value, items, e->old_layers)) {
        return WW_OK;
    }
    rc = copy_to(w, value.from, err);
    for (uint64_t i = 0; i < e->new_layers && !rc; i++) {
        const struct span *item = &items[ww_min_u64(e->layer_from[i], e->old_layers - 1)];
        rc = ww_buf_add_str(w->out, i ? ", " : "[", err);
        if (!rc) {
            rc = ww_buf_add(w->out, w->text + item->from, item->to - item->from, err);
        }
    }
    w->copied = value.to;
    return rc ? rc : ww_buf_add_str(w->out, "]", err);
}

/* The numbers in an array that stands at value. */
static void find_numbers(const struct walk *w, struct span value,
                         bool listed[WW_MOST_LAYERS])
{
    struct walk in = {.text = w->text, .len = w->len, .at = value.from + 1};
    uint64_t number = 0;

    for (skip_space(&in); in.at < value.to && in.text[in.at] != ']'; skip_space(&in)) {
        const struct span item = skip_value(&in);
        if (ww_parse_u64((const char *)w->text + item.from, item.to - item.from,
                         &number) &&
            number < WW_MOST_LAYERS) {
            listed[number] = true;
        }
        skip_space(&in);
        in.at += in.text[in.at] == ',';
    }
}

static enum ww_err write_numbers(struct walk *w, struct span value, struct ww_error *err)
{
    const struct ww_json_edits *e = w->edits;
    bool listed[WW_MOST_LAYERS] = {false};
    const char *between = "[";
    enum ww_err rc = WW_OK;

    if (e->old_layers == 0 || w->text[value.from] != '[') {
        return WW_OK;
    }
    find_numbers(w, value, listed);
    rc = copy_to(w, value.from, err);
    for (uint64_t i = 0; i < e->new_layers && !rc; i++) {
        const uint64_t from = ww_min_u64(e->layer_from[i], e->old_layers - 1);
        if (from < WW_MOST_LAYERS && listed[from]) {
            rc = ww_buf_addf(w->out, err, "%s%llu", between, (unsigned long long)i);
            between = ", ";
        }
    }
    w->copied = value.to;
    return rc ? rc : ww_buf_add_str(w->out, *between == '[' ? "[]" : "]", err);
}

static enum ww_err edit_member(struct walk *w, struct span key, struct span value,
                               struct ww_error *err)
{
    for (size_t i = 0; i < w->edits->n; i++) {
        struct ww_json_edit *e = &w->edits->items[i];
        enum ww_err rc = WW_OK;
        if (!is_key(w, key, e->key)) {
            continue;
        }
        if (e->list) {
            return e->list == WW_LIST_BY_LAYER ? write_items(w, value, err)
                                               : write_numbers(w, value, err);
        }
        if (!e->value) {
            return WW_OK;
        }
        e->done = true;
        rc = copy_to(w, value.from, err);
        w->copied = value.to;
        return rc ? rc : ww_buf_add_str(w->out, e->value, err);
    }
    return WW_OK;
}

/* Members that are not there go behind the last. */
static enum ww_err insert_rest(struct walk *w, bool empty, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < w->edits->n && !rc; i++) {
        struct ww_json_edit *e = &w->edits->items[i];
        if (!e->insert || e->done) {
            continue;
        }
        e->done = true;
        rc = ww_buf_addf(w->out, err, "%s\n  \"%s\": %s", empty ? "" : ",", e->key,
                         e->value);
        empty = false;
    }
    return rc;
}

/* at stands on '{' of the root or of the section in it. */
static enum ww_err edit_object(struct walk *w, bool is_root, struct ww_error *err)
{
    size_t last = w->at + 1;
    bool empty = true;
    enum ww_err rc = WW_OK;

    w->at++;
    for (skip_space(w); !rc && w->text[w->at] != '}'; skip_space(w)) {
        const struct span key = skip_value(w);
        struct span value;
        skip_space(w);
        w->at++; /* ':' */
        skip_space(w);
        if (is_root && w->edits->section && is_key(w, key, w->edits->section) &&
            w->text[w->at] == '{') {
            rc = edit_object(w, false, err);
        } else {
            value = skip_value(w);
            rc = edit_member(w, key, value, err);
        }
        last = w->at;
        empty = false;
        skip_space(w);
        w->at += w->text[w->at] == ',';
    }
    if (!rc && is_root) {
        rc = copy_to(w, last, err);
        rc = rc ? rc : insert_rest(w, empty, err);
    }
    w->at++;
    return rc;
}

enum ww_err ww_json_edit(const uint8_t *text, size_t len, struct ww_json_edits *edits,
                         struct ww_buf *out, struct ww_error *err)
{
    struct walk w = {.text = text, .len = len, .edits = edits, .out = out};
    enum ww_err rc = ww_json_check(text, len, &ww_json_limits_config, err);

    if (rc) {
        return rc;
    }
    skip_space(&w);
    if (text[w.at] != '{') {
        return WW_FAIL(err, WW_E_CONFIG, "a JSON object is expected");
    }
    rc = edit_object(&w, true, err);
    return rc ? rc : copy_to(&w, len, err);
}
