/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of every JSON answer, and the answer that says what went wrong. */
#include "report/object.h"

#include <stdio.h>
#include <string.h>

#include "util/fail.h"
#include "weightward/report.h"

#define ANSWER_MAX_BYTES (64U << 20)
#define ANSWER_INDENT 2

void ww_object_begin(struct ww_jw *w, struct ww_buf *buf, const char *verb)
{
    ww_buf_init(buf, ANSWER_MAX_BYTES);
    ww_jw_init(w, buf, ANSWER_INDENT);
    ww_jw_object(w);
    char schema[64];
    snprintf(schema, sizeof schema, "weightward.%s/1", verb);
    ww_jw_kstr(w, "schema", schema);
}

enum ww_err ww_object_end(struct ww_jw *w, struct ww_buf *buf, char **out,
                          struct ww_error *err)
{
    *out = NULL;
    ww_jw_close(w);
    enum ww_err rc = ww_jw_end(w, err);
    if (rc) {
        goto out;
    }
    rc = ww_buf_add_str(buf, "\n", err);
    if (rc) {
        goto out;
    }
    *out = (char *)ww_buf_take(buf, NULL);
out:
    ww_buf_release(buf);
    return rc;
}

void ww_object_strings(struct ww_jw *w, const char *key, char *const *items, size_t n)
{
    ww_jw_key(w, key);
    ww_jw_array(w);
    for (size_t i = 0; i < n; i++) {
        ww_jw_str(w, items[i]);
    }
    ww_jw_close(w);
}

void ww_object_recipe(struct ww_jw *w, const char *recipe, bool nearest)
{
    ww_jw_kstr(w, "recipe", nearest ? NULL : recipe);
    if (nearest) {
        ww_jw_kstr(w, "nearest", recipe);
    }
}

/* "error": {code, class, text} */
static void write_error(struct ww_jw *w, const struct ww_error *failure)
{
    char text[WW_ERROR_TEXT_BYTES * 6 + 1]; /* a byte may become "\uNNNN" */
    size_t taken = 0;
    const size_t len =
        ww_text_shown(failure->text, strlen(failure->text), text, sizeof(text), &taken);

    ww_jw_key(w, "error");
    ww_jw_object(w);
    ww_jw_kstr(w, "code", ww_err_name(failure->code));
    ww_jw_kstr(w, "class", ww_err_class_name(ww_err_class_of(failure->code)));
    ww_jw_key(w, "text");
    ww_jw_strn(w, text, len); /* what was typed may be no UTF-8, or be cut within it */
    ww_jw_close(w);
}

enum ww_err ww_report_error_json(const char *verb, const struct ww_error *failure,
                                 char **out, struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, verb);
    write_error(&w, failure);
    return ww_object_end(&w, &buf, out, err);
}
