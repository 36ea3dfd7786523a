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

/* Does a text begin with the path as add_path writes it? */
static bool begins_with_path(const char *text, const char *path)
{
    if (*text++ != '"') {
        return false;
    }
    for (const char *c = path; *c; c++) {
        if ((*c == '"' || *c == '\\') && *text++ != '\\') {
            return false;
        }
        if (*text++ != *c) {
            return false;
        }
    }
    return *text == '"';
}

bool ww_sketch_has(const char *text, const char *path)
{
    static const char model[] = "model: "; /* ends "base_model: " as well */
    const char *at = strstr(text, model);

    while (at && !begins_with_path(at + sizeof(model) - 1, path)) {
        at = strstr(at + 1, model);
    }
    return at != NULL;
}

static enum ww_err add_list(struct ww_buf *b, const struct ww_gradient_list *list)
{
    enum ww_err rc = ww_buf_add_str(b, list->n > 1 ? "[" : "", NULL);

    for (size_t i = 0; i < list->n && !rc; i++) {
        rc = ww_buf_addf(b, NULL, "%s%.10g", i ? ", " : "", list->at[i]);
    }
    return rc ? rc : ww_buf_add_str(b, list->n > 1 ? "]\n" : "\n", NULL);
}

/* A number, a list over the layers, or lists by the words in a tensor's name. */
static enum ww_err add_number(struct ww_buf *b, int indent, const char *key, double value,
                              const struct ww_gradient *over)
{
    enum ww_err rc = ww_buf_addf(b, NULL, "%*s%s:", indent, "", key);

    if (!over) {
        return rc ? rc : ww_buf_addf(b, NULL, " %.10g\n", value);
    }
    if (over->one) {
        rc = rc ? rc : ww_buf_add_str(b, " ", NULL);
        return rc ? rc : add_list(b, &over->groups[0]);
    }
    rc = rc ? rc : ww_buf_add_str(b, "\n", NULL);
    for (unsigned g = 0; g < WW_GRADIENT_GROUPS && !rc; g++) {
        const char *filter = ww_gradient_filter((enum ww_gradient_group)g);
        if (over->groups[g].n == 0) {
            continue;
        }
        if (filter) {
            rc = ww_buf_addf(b, NULL, "%*s- filter: %s\n%*svalue: ", indent + 2, "",
                             filter, indent + 4, "");
        } else {
            rc = ww_buf_addf(b, NULL, "%*s- value: ", indent + 2, "");
        }
        rc = rc ? rc : add_list(b, &over->groups[g]);
    }
    return rc;
}

/* i: of the sketch's models; n: none of them, the base, which has no numbers. */
static enum ww_err add_source(struct ww_buf *b, const struct ww_sketch *s, size_t i,
                              const struct ww_sketch_slice *slice)
{
    const int indent = slice ? 6 : 2;
    const char *path = slice && slice->model ? slice->model
                       : i < s->n            ? s->models[i]
                                             : s->base;
    const bool numbers = i < s->n && !(slice && slice->model);
    enum ww_err rc = ww_buf_addf(b, NULL, "%*s- model: ", indent, "");

    rc = rc ? rc : add_path(b, path);
    if (!rc && slice) {
        rc = ww_buf_addf(b, NULL, "%*slayer_range: [%u, %u]\n", indent + 2, "",
                         slice->first, slice->end);
    }
    if (!rc && numbers && (s->weighted || s->dense)) {
        rc = ww_buf_addf(b, NULL, "%*sparameters:\n", indent + 2, "");
    }
    if (!rc && numbers && s->weighted) {
        rc = add_number(b, indent + 4, s->weight_name ? s->weight_name : "weight",
                        s->weights[i], s->weights_over ? &s->weights_over[i] : NULL);
    }
    if (!rc && numbers && s->dense) {
        rc = add_number(b, indent + 4, "density",
                        s->densities_differ ? s->densities[i] : s->density, NULL);
    }
    if (!rc && numbers && s->extra) {
        rc = add_number(b, indent + 4, s->extra, s->extra_value, NULL);
    }
    return rc;
}

/* Slices have no base but one that they list. */
static bool lists_base(const struct ww_sketch *s)
{
    bool listed = !s->base;

    for (size_t i = 0; i < s->n && !listed; i++) {
        listed = strcmp(s->models[i], s->base) == 0;
    }
    return !listed;
}

static enum ww_err add_slices(struct ww_buf *b, const struct ww_sketch *s)
{
    enum ww_err rc = ww_buf_add_str(b, "slices:\n", NULL);

    for (size_t k = 0; k < s->n_slices && !rc; k++) {
        const struct ww_sketch_slice *slice = &s->slices[k];
        rc = ww_buf_add_str(b, "  - sources:\n", NULL);
        if (!rc && slice->model) {
            rc = add_source(b, s, 0, slice);
            continue;
        }
        for (size_t i = 0; i < s->n + lists_base(s) && !rc; i++) {
            rc = add_source(b, s, i, slice);
        }
    }
    return rc;
}

static enum ww_err add_models(struct ww_buf *b, const struct ww_sketch *s)
{
    enum ww_err rc = ww_buf_add_str(b, "models:\n", NULL);

    for (size_t i = 0; i < s->n && !rc; i++) {
        rc = add_source(b, s, i, NULL);
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
    if (!rc) {
        rc = s->slices ? add_slices(&b, s) : add_models(&b, s);
    }
    if (!rc && (s->key || s->plain || s->divided)) {
        rc = ww_buf_add_str(&b, "parameters:\n", NULL);
    }
    if (!rc && s->key) {
        rc = add_number(&b, 2, s->key, s->value, s->value_over);
    }
    if (!rc && (s->plain || s->divided)) {
        rc = ww_buf_addf(&b, NULL, "  normalize: %s\n", s->plain ? "false" : "true");
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
