/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From numbers to a recipe. Numbers are the shortest that read back to the same double,
 * with a point before an exponent, since YAML 1.1 takes 1e-05 for text.
 */
#include <math.h>
#include <string.h>

#include "evo/search_space.h"
#include "json/json.h"
#include "la/fixmath.h"
#include "util/fail.h"
#include "util/str.h"

static const struct ww_space_variable *variable_of(const struct ww_space *space,
                                                   uint32_t number)
{
    uint32_t i = 0;
    while (number >= space->variable[i].first + space->variable[i].values) {
        i++;
    }
    return &space->variable[i];
}

static double to_step(const struct ww_space_variable *v, double x)
{
    return (v->is_log ? ww_fix_log(x) : x) / v->step;
}

static double from_step(const struct ww_space_variable *v, double u)
{
    double x = v->is_log ? ww_fix_exp(u * v->step) : u * v->step;
    return x < v->low ? v->low : x > v->high ? v->high : x;
}

void ww_space_to_steps(const struct ww_space *space, const double *x, double *u)
{
    for (uint32_t i = 0; i < space->d; i++) {
        u[i] = to_step(variable_of(space, i), x[i]);
    }
}

void ww_space_from_steps(const struct ww_space *space, const double *u, double *x)
{
    for (uint32_t i = 0; i < space->d; i++) {
        x[i] = from_step(variable_of(space, i), u[i]);
    }
}

double ww_space_penalty(const struct ww_space *space, const double *x)
{
    double sum = 0;
    for (uint32_t i = 0; i < space->d; i++) {
        sum += fabs(x[i]);
    }
    return space->l1 * sum / space->d;
}

void ww_space_start(const struct ww_space *space, double *x)
{
    for (uint32_t i = 0; i < space->d; i++) {
        x[i] = variable_of(space, i)->start;
    }
}

void ww_space_box(const struct ww_space *space, double *low, double *high)
{
    for (uint32_t i = 0; i < space->d; i++) {
        low[i] = to_step(variable_of(space, i), variable_of(space, i)->low);
        high[i] = to_step(variable_of(space, i), variable_of(space, i)->high);
    }
}

static enum ww_err put_number(double x, struct ww_buf *out, struct ww_error *err)
{
    struct ww_buf text;
    struct ww_jw w;
    ww_buf_init(&text, 64);
    ww_jw_init(&w, &text, 0);
    ww_jw_double(&w, x);
    enum ww_err rc = ww_jw_end(&w, err);
    if (!rc) {
        const char *s = ww_buf_cstr(&text);
        const char *e = strchr(s, 'e');
        bool bare = e && !strchr(s, '.');
        rc = ww_buf_add(out, s, bare ? (size_t)(e - s) : strlen(s), err);
        if (!rc && bare) {
            rc = ww_buf_addf(out, err, ".0%s", e);
        }
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err put_variable(const struct ww_space_variable *v, const double *x,
                                struct ww_buf *out, struct ww_error *err)
{
    if (v->values == 1) {
        return put_number(x[v->first], out, err);
    }
    enum ww_err rc = ww_buf_add_str(out, "[", err);
    for (uint32_t i = 0; !rc && i < v->values; i++) {
        rc = i > 0 ? ww_buf_add_str(out, ", ", err) : WW_OK;
        if (!rc) {
            rc = put_number(x[v->first + i], out, err);
        }
    }
    return rc ? rc : ww_buf_add_str(out, "]", err);
}

static const struct ww_space_variable *named(const struct ww_space *space,
                                             const char *name, size_t len)
{
    for (uint32_t i = 0; i < space->n_variables; i++) {
        const char *known = space->variable[i].name;
        if (strlen(known) == len && memcmp(known, name, len) == 0) {
            return &space->variable[i];
        }
    }
    return NULL;
}

enum ww_err ww_space_render(const struct ww_space *space, const double *x,
                            struct ww_buf *out, struct ww_error *err)
{
    const char *at = space->recipe;
    enum ww_err rc = WW_OK;
    ww_buf_clear(out);
    for (const char *mark = strstr(at, "${"); !rc && mark; mark = strstr(at, "${")) {
        const char *end = strchr(mark, '}');
        const struct ww_space_variable *v =
            end ? named(space, mark + 2, (size_t)(end - mark - 2)) : NULL;
        if (!v) {
            return WW_FAIL(err, WW_E_RECIPE,
                           "the recipe has '%.40s', which is no variable of the space",
                           mark);
        }
        rc = ww_buf_add(out, at, (size_t)(mark - at), err);
        if (!rc) {
            rc = put_variable(v, x, out, err);
        }
        at = end + 1;
    }
    return rc ? rc : ww_buf_add_str(out, at, err);
}
