/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON lines (jsonlines.org): one object a line, blank lines between are fine. Items that
 * occur twice would count twice in every score, so the file is refused and not thinned
 * out in silence. Strings of the items stay in the parsed documents.
 */
#include "evo/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "json/json.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define TASKS_MAX_BYTES ((size_t)256 << 20)
#define MAX_ITEMS 1000000
#define MAX_OPTIONS 256

static struct ww_span span_of(const char *text)
{
    return (struct ww_span){(const uint8_t *)text, strlen(text)};
}

bool ww_span_eq(struct ww_span a, struct ww_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* The lengths come first, so that no two pairs share the bytes that are hashed. */
static enum ww_err hash_item(struct ww_task_item *item, struct ww_error *err)
{
    struct ww_buf text;
    ww_buf_init(&text, TASKS_MAX_BYTES + 16);
    enum ww_err rc = ww_buf_add_u64le(&text, item->prompt.len, err);
    rc = rc ? rc : ww_buf_add(&text, item->prompt.data, item->prompt.len, err);
    rc = rc ? rc : ww_buf_add_u64le(&text, item->answer.len, err);
    rc = rc ? rc : ww_buf_add(&text, item->answer.data, item->answer.len, err);
    if (!rc) {
        ww_sha256_of(text.data, text.len, item->hash);
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err read_options(const struct ww_jnode *list, struct ww_task_item *item,
                                struct ww_error *err)
{
    const size_t n = ww_jsize(list);
    bool found = false;
    if (ww_jtype(list) != WW_J_ARRAY || n < 2 || n > MAX_OPTIONS) {
        return WW_FAIL(err, WW_E_MALFORMED, "'options' must be a list of 2 to %d texts",
                       MAX_OPTIONS);
    }
    item->options = ww_calloc(n, sizeof(*item->options));
    if (!item->options) {
        return WW_FAIL_MEMORY(err, "options");
    }
    for (const struct ww_jnode *o = ww_jfirst(list); o; o = ww_jnext(o)) {
        const char *text = NULL;
        if (!ww_jstr(o, &text) || !*text) {
            return WW_FAIL(err, WW_E_MALFORMED, "an option is no text or empty");
        }
        const struct ww_span option = span_of(text);
        for (uint32_t i = 0; i < item->n_options; i++) {
            if (ww_span_eq(item->options[i], option)) {
                return WW_FAIL(err, WW_E_MALFORMED,
                               "option '%.*s' is there twice, expected each once",
                               (int)ww_min_u64(option.len, 60),
                               (const char *)option.data);
            }
        }
        found = found || ww_span_eq(option, item->answer);
        item->options[item->n_options++] = option;
    }
    if (!found) {
        return WW_FAIL(err, WW_E_MALFORMED, "the answer is not among the options");
    }
    return WW_OK;
}

static enum ww_err read_item(const struct ww_jnode *root, struct ww_task_item *item,
                             struct ww_error *err)
{
    static const char *const allowed[] = {"prompt", "answer", "options",
                                          "weight", "id",     "task"};
    const char *prompt = NULL;
    const char *answer = NULL;
    const struct ww_jnode *task = ww_jget(root, "task");
    const struct ww_jnode *weight = ww_jget(root, "weight");
    const struct ww_jnode *options = ww_jget(root, "options");
    enum ww_err rc =
        ww_jonly(root, allowed, WW_LEN(allowed), WW_E_MALFORMED, "an item", err);
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(root, "prompt"), &prompt) || !*prompt) {
        return WW_FAIL(err, WW_E_MALFORMED, "'prompt' is missing, no text or empty");
    }
    if (!ww_jstr(ww_jget(root, "answer"), &answer) || !*answer) {
        return WW_FAIL(err, WW_E_MALFORMED, "'answer' is missing, no text or empty");
    }
    item->prompt = span_of(prompt);
    item->answer = span_of(answer);
    item->task = "";
    item->weight = 1;
    if (task && !ww_jstr(task, &item->task)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'task' is no text, expected the name of the item's task");
    }
    if (weight && (!ww_jdouble(weight, &item->weight) || !(item->weight > 0) ||
                   item->weight > 1e6)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'weight' must be a number above 0 and at most 1000000");
    }
    if (options) {
        rc = read_options(options, item, err);
        if (rc) {
            return rc;
        }
    }
    return hash_item(item, err);
}

static enum ww_err add_line(const uint8_t *line, size_t len, struct ww_tasks *out,
                            size_t *room, struct ww_error *err)
{
    if (out->n == MAX_ITEMS) {
        return WW_FAIL(err, WW_E_LIMIT, "more than %d items; split the file", MAX_ITEMS);
    }
    if (out->n == *room) {
        const size_t more = *room ? 2 * *room : 64;
        void *item = ww_realloc_array(out->item, more, sizeof(*out->item));
        if (!item) {
            return WW_FAIL_MEMORY(err, "tasks");
        }
        out->item = item;
        void *text = ww_realloc_array(out->text, more, sizeof(struct ww_json *));
        if (!text) {
            return WW_FAIL_MEMORY(err, "tasks");
        }
        out->text = text;
        *room = more;
    }
    struct ww_task_item *item = &out->item[out->n];
    memset(item, 0, sizeof(*item));
    out->text[out->n] = NULL;
    enum ww_err rc =
        ww_json_parse(line, len, &ww_json_limits_small, &out->text[out->n], err);
    if (rc) {
        return rc;
    }
    out->n++;
    return read_item(ww_json_root(out->text[out->n - 1]), item, err);
}

struct seen {
    const uint8_t *hash;
    size_t index;
};

static int by_hash(const void *a, const void *b)
{
    const struct seen *x = a;
    const struct seen *y = b;
    const int order = memcmp(x->hash, y->hash, 32);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

static enum ww_err sorted(const struct ww_tasks *tasks, struct seen **out,
                          struct ww_error *err)
{
    struct seen *s = ww_calloc(tasks->n, sizeof(*s));
    if (!s) {
        return WW_FAIL_MEMORY(err, "tasks");
    }
    for (size_t i = 0; i < tasks->n; i++) {
        s[i] = (struct seen){tasks->item[i].hash, i};
    }
    if (tasks->n) {
        qsort(s, tasks->n, sizeof(*s), by_hash);
    }
    *out = s;
    return WW_OK;
}

static enum ww_err check_unique(const struct ww_tasks *tasks, struct ww_error *err)
{
    struct seen *s = NULL;
    enum ww_err rc = sorted(tasks, &s, err);
    for (size_t i = 1; i < tasks->n && !rc; i++) {
        if (memcmp(s[i - 1].hash, s[i].hash, 32) == 0) {
            rc = WW_FAIL(err, WW_E_MALFORMED,
                         "items %zu and %zu are the same; leave one out, or give one a "
                         "weight",
                         s[i - 1].index + 1, s[i].index + 1);
        }
    }
    ww_free(s);
    return rc;
}

enum ww_err ww_tasks_parse(const uint8_t *text, size_t len, struct ww_tasks *out,
                           struct ww_error *err)
{
    size_t room = 0;
    size_t line = 0;
    enum ww_err rc = WW_OK;
    memset(out, 0, sizeof(*out));
    for (size_t at = 0; at < len && !rc;) {
        const uint8_t *newline = memchr(text + at, '\n', len - at);
        const size_t end = newline ? (size_t)(newline - text) : len;
        size_t from = at;
        line++;
        at = end + 1;
        while (from < end &&
               (text[from] == ' ' || text[from] == '\t' || text[from] == '\r')) {
            from++;
        }
        if (from < end) {
            rc = add_line(text + from, end - from, out, &room, err);
            if (rc) {
                ww_error_context(err, "line %zu", line);
            }
        }
    }
    if (!rc && out->n == 0) {
        rc = WW_FAIL(err, WW_E_MALFORMED,
                     "no item in it, expected one JSON object a line");
    }
    if (!rc) {
        rc = check_unique(out, err);
    }
    if (!rc) {
        ww_sha256_of(text, len, out->digest);
    } else {
        ww_tasks_release(out);
    }
    return rc;
}

enum ww_err ww_tasks_read(const char *path, struct ww_tasks *out, struct ww_error *err)
{
    struct ww_buf text;
    memset(out, 0, sizeof(*out));
    ww_buf_init(&text, TASKS_MAX_BYTES);
    enum ww_err rc = ww_file_read(path, &text, err);
    if (!rc) {
        rc = ww_tasks_parse(text.data, text.len, out, err);
        if (rc) {
            ww_error_context(err, "task file '%s'", path);
        }
    }
    ww_buf_release(&text);
    return rc;
}

void ww_tasks_release(struct ww_tasks *tasks)
{
    for (size_t i = 0; i < tasks->n; i++) {
        ww_free(tasks->item[i].options);
        ww_json_free(tasks->text[i]);
    }
    ww_free(tasks->item);
    ww_free(tasks->text);
    memset(tasks, 0, sizeof(*tasks));
}

enum ww_err ww_tasks_shared(const struct ww_tasks *a, const struct ww_tasks *b,
                            size_t *out, struct ww_error *err)
{
    struct seen *s = NULL;
    enum ww_err rc = sorted(b, &s, err);
    *out = a->n;
    for (size_t i = 0; i < a->n && !rc && *out == a->n; i++) {
        size_t low = 0;
        size_t high = b->n;
        while (low < high) {
            const size_t mid = low + (high - low) / 2;
            if (memcmp(s[mid].hash, a->item[i].hash, 32) < 0) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        if (low < b->n && memcmp(s[low].hash, a->item[i].hash, 32) == 0) {
            *out = i;
        }
    }
    ww_free(s);
    return rc;
}
