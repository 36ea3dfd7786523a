/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/sketch.h"

#include <math.h>
#include <string.h>

#include "util/alloc.h"
#include "util/buf.h"

#define MAX_TEXT ((size_t)1 << 20)

bool ww_sketch_can_name(const char *path)
{
    for (const char *c = path; *c; c++) {
        if (*c == '+' || *c == '@' || (unsigned char)*c < ' ') {
            return false;
        }
    }
    return true;
}

static enum ww_err add_path(struct ww_buf *b, const char *path)
{
    enum ww_err rc = ww_buf_add_str(b, "\"", NULL);

    for (const char *c = path; *c && !rc; c++) {
        rc = *c == '"' || *c == '\\' ? ww_buf_add_str(b, "\\", NULL) : WW_OK;
        rc = rc ? rc : ww_buf_add(b, c, 1, NULL);
    }
    return rc ? rc : ww_buf_add_str(b, "\"\n", NULL);
}

static enum ww_err add_source(struct ww_buf *b, const struct ww_sketch *s, size_t i)
{
    enum ww_err rc = ww_buf_add_str(b, "  - model: ", NULL);

    rc = rc ? rc : add_path(b, s->models[i]);
    if (!rc && (s->weighted || s->dense)) {
        rc = ww_buf_add_str(b, "    parameters:\n", NULL);
    }
    if (!rc && s->weighted) {
        rc = ww_buf_addf(b, NULL, "      weight: %.10g\n", s->weights[i]);
    }
    if (!rc && s->dense) {
        rc = ww_buf_addf(b, NULL, "      density: %.10g\n", s->density);
    }
    return rc;
}

static const char *dtype_name(enum ww_dtype dtype)
{
    return dtype == WW_DTYPE_BF16  ? "bfloat16"
           : dtype == WW_DTYPE_F16 ? "float16"
                                   : "float32";
}

char *ww_sketch_text(const struct ww_sketch *s)
{
    struct ww_buf b;
    char *text = NULL;
    enum ww_err rc = WW_OK;

    ww_buf_init(&b, MAX_TEXT);
    rc = ww_buf_addf(&b, NULL, "merge_method: %s\n", s->method);
    if (!rc && s->base) {
        rc = ww_buf_add_str(&b, "base_model: ", NULL);
        rc = rc ? rc : add_path(&b, s->base);
    }
    rc = rc ? rc : ww_buf_add_str(&b, "models:\n", NULL);
    for (size_t i = 0; i < s->n && !rc; i++) {
        rc = add_source(&b, s, i);
    }
    if (!rc && (s->key || s->plain)) {
        rc = ww_buf_add_str(&b, "parameters:\n", NULL);
    }
    if (!rc && s->key) {
        rc = ww_buf_addf(&b, NULL, "  %s: %.10g\n", s->key, s->value);
    }
    if (!rc && s->plain) {
        rc = ww_buf_add_str(&b, "  normalize: false\n", NULL);
    }
    if (!rc) {
        rc = ww_buf_addf(&b, NULL, "dtype: float32\nout_dtype: %s\n",
                         dtype_name(s->dtype));
    }
    text = rc ? NULL : ww_strdup(ww_buf_cstr(&b));
    ww_buf_release(&b);
    return text;
}

double ww_sketch_shortest(double value, double reach)
{
    for (double places = 10; places <= 10000; places *= 10) {
        const double near = round(value * places) / places;
        if (fabs(near - value) <= reach) {
            return near;
        }
    }
    return value;
}
