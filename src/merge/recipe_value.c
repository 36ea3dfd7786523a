/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of parameters, as mergekit 0.1.5 resolves them: a gradient of m values at t
 * lies at s = t (m - 1), between its neighbours by the fraction of s; booleans take the
 * value at the whole part of s. Of a list with filters the first that is part of the
 * tensor's name counts, no filter or "*" fits all, and when none fits the next scope is
 * asked.
 */
#include "merge/recipe_value.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/fail.h"

static bool is_gradient(const struct ww_ynode *node)
{
    return ww_ytype(node) == WW_Y_LIST && ww_ytype(ww_yfirst(node)) != WW_Y_MAP;
}

static enum ww_err wrong(const struct ww_ynode *node, const struct ww_method_param *param,
                         const char *want, struct ww_error *err)
{
    const char *text = "";
    (void)ww_ytext(node, &text);
    return WW_FAIL(err, WW_E_RECIPE, "line %zu: %s is %s%s%s%s, %s is expected",
                   ww_yline(node), param->name, text[0] ? "'" : "",
                   text[0] ? text : ww_ytype_name(node), text[0] ? "'" : "", "", want);
}

/* Also as text: mergekit reads "false" in quotes as the word without them. */
static bool read_truth(const struct ww_ynode *node, bool *out)
{
    const char *text = NULL;

    if (ww_ystr(node, &text)) {
        *out = strcasecmp(text, "true") == 0;
        return *out || strcasecmp(text, "false") == 0;
    }
    return ww_ybool(node, out);
}

static enum ww_err read_scalar(const struct ww_ynode *node,
                               const struct ww_method_param *param, double *out,
                               struct ww_error *err)
{
    bool truth = false;
    double v = 0;

    if (param->kind == WW_PARAM_BOOL) {
        if (read_truth(node, &truth)) {
            *out = truth;
            return WW_OK;
        }
        if (!ww_ynumber(node, &v) || (v != 0 && v != 1)) {
            return wrong(node, param, "true or false", err);
        }
        *out = v;
        return WW_OK;
    }
    if (!ww_ynumber(node, &v)) {
        return wrong(node, param, "a number", err);
    }
    if (param->kind == WW_PARAM_INT && v != trunc(v)) {
        return wrong(node, param, "a whole number", err);
    }
    if (!(v >= param->min && v <= param->max)) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: %s is %.17g, outside %g to %g",
                       ww_yline(node), param->name, v, param->min, param->max);
    }
    *out = v;
    return WW_OK;
}

static enum ww_err check_setting(const struct ww_ynode *node,
                                 const struct ww_method_param *param, bool inner,
                                 struct ww_error *err);

static enum ww_err check_condition(const struct ww_ynode *node,
                                   const struct ww_method_param *param,
                                   struct ww_error *err)
{
    static const char *const keys[] = {"value", "filter"};
    const struct ww_ynode *filter = ww_yget(node, "filter");
    const char *text = NULL;
    enum ww_err rc =
        ww_yonly(node, keys, WW_LEN(keys), WW_E_RECIPE, "a value with a filter", err);

    if (!rc && !ww_yget(node, "value")) {
        rc = WW_FAIL(err, WW_E_RECIPE, "line %zu: %s has a filter and no value",
                     ww_yline(node), param->name);
    }
    if (!rc && filter && !ww_ytext(filter, &text)) {
        rc = WW_FAIL(err, WW_E_RECIPE, "line %zu: a filter is part of a tensor's name",
                     ww_yline(filter));
    }
    return rc ? rc : check_setting(ww_yget(node, "value"), param, true, err);
}

/* inner: under a filter, where no further filter is allowed. */
static enum ww_err check_setting(const struct ww_ynode *node,
                                 const struct ww_method_param *param, bool inner,
                                 struct ww_error *err)
{
    const bool gradient = is_gradient(node);
    double v = 0;
    enum ww_err rc = WW_OK;

    if (ww_ytype(node) == WW_Y_MAP && !inner) {
        return check_condition(node, param, err);
    }
    if (ww_ytype(node) != WW_Y_LIST) {
        return read_scalar(node, param, &v, err);
    }
    if (ww_ysize(node) == 0) {
        return wrong(node, param, "at least one value", err);
    }
    for (const struct ww_ynode *n = ww_yfirst(node); n && !rc; n = ww_ynext(n)) {
        if (gradient || inner) {
            rc = read_scalar(n, param, &v, err);
        } else if (ww_ytype(n) == WW_Y_MAP) {
            rc = check_condition(n, param, err);
        } else {
            rc =
                wrong(n, param, "a value with a filter, like the first of the list", err);
        }
    }
    return rc;
}

static enum ww_err unknown_parameter(struct ww_recipe *recipe,
                                     const struct ww_ynode *setting, const char *where,
                                     struct ww_error *err)
{
    const struct ww_method *method = recipe->method;
    const char *names[WW_METHOD_MAX_PARAMS] = {NULL};
    const char *nearest = NULL;
    char text[300];
    bool passed = false;
    enum ww_err rc = WW_OK;

    if (ww_method_any_param(ww_ykey(setting))) {
        snprintf(text, sizeof(text), "line %zu: method '%s' takes no '%s'; it is ignored",
                 ww_yline(setting), method->name, ww_ykey(setting));
        return ww_strlist_has(&recipe->warnings, text)
                   ? WW_OK
                   : ww_strlist_add(&recipe->warnings, text, err);
    }
    rc = ww_recipe_misplaced(recipe, setting, &passed, err);
    if (rc || passed) {
        return rc;
    }
    for (size_t i = 0; i < method->n_params; i++) {
        names[i] = method->params[i].name;
    }
    nearest = ww_str_nearest(ww_ykey(setting), names, method->n_params);
    return WW_FAIL(err, WW_E_RECIPE,
                   "line %zu: the parameters of %s have an unknown key '%s'%s%s%s",
                   ww_yline(setting), where, ww_ykey(setting), nearest ? "; is '" : "",
                   nearest ? nearest : "", nearest ? "' meant?" : "");
}

enum ww_err ww_recipe_check_parameters(struct ww_recipe *recipe,
                                       const struct ww_ynode *parameters,
                                       const char *where, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!parameters) {
        return WW_OK;
    }
    if (ww_ytype(parameters) != WW_Y_MAP) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: the parameters of %s are %s, a map is expected",
                       ww_yline(parameters), where, ww_ytype_name(parameters));
    }
    for (const struct ww_ynode *p = ww_yfirst(parameters); p && !rc; p = ww_ynext(p)) {
        const uint32_t i = ww_method_param(recipe->method, ww_ykey(p));
        if (i == WW_NONE) {
            rc = unknown_parameter(recipe, p, where, err);
        } else if (ww_ytype(p) != WW_Y_NULL) {
            rc = check_setting(p, &recipe->method->params[i], false, err);
        }
    }
    return rc;
}

static size_t longest(const struct ww_ynode *setting)
{
    size_t most = 0;

    if (is_gradient(setting)) {
        return ww_ysize(setting);
    }
    if (ww_ytype(setting) == WW_Y_MAP) {
        return longest(ww_yget(setting, "value"));
    }
    if (ww_ytype(setting) == WW_Y_LIST) {
        for (const struct ww_ynode *n = ww_yfirst(setting); n; n = ww_ynext(n)) {
            const size_t len = longest(n);
            most = len > most ? len : most;
        }
    }
    return most;
}

size_t ww_recipe_longest_gradient(const struct ww_ynode *parameters, const char **name)
{
    size_t most = 0;

    for (const struct ww_ynode *p = ww_yfirst(parameters); p; p = ww_ynext(p)) {
        const size_t len = longest(p);
        if (len > most) {
            most = len;
            *name = ww_ykey(p);
        }
    }
    return most;
}

static enum ww_err read_gradient(const struct ww_ynode *list,
                                 const struct ww_method_param *param, double t,
                                 double *out, struct ww_error *err)
{
    const double s = t * (double)(ww_ysize(list) - 1);
    const size_t at = (size_t)s;
    const double rest = s - (double)at;
    const struct ww_ynode *here = ww_yfirst(list);
    const struct ww_ynode *next = NULL;
    double a = 0;
    double b = 0;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < at; i++) {
        here = ww_ynext(here);
    }
    next = ww_ynext(here) ? ww_ynext(here) : here;
    rc = read_scalar(here, param, &a, err);
    if (!rc) {
        rc = read_scalar(next, param, &b, err);
    }
    if (rc || param->kind == WW_PARAM_BOOL) {
        *out = a;
        return rc;
    }
    *out = (1 - rest) * a + rest * b;
    if (param->kind == WW_PARAM_INT && *out != trunc(*out)) {
        return WW_FAIL(
            err, WW_E_RECIPE,
            "line %zu: the gradient of %s gives %g for a layer, a whole number "
            "is expected",
            ww_yline(list), param->name, *out);
    }
    return WW_OK;
}

/* *found: a filter may leave a tensor without a value. */
static enum ww_err read_setting(const struct ww_ynode *node,
                                const struct ww_method_param *param,
                                const struct ww_recipe_place *at, double *out,
                                bool *found, struct ww_error *err)
{
    const struct ww_ynode *condition = node;

    if (ww_ytype(node) == WW_Y_LIST && !is_gradient(node)) {
        condition = ww_yfirst(node);
    } else if (ww_ytype(node) != WW_Y_MAP) {
        *found = true;
        return is_gradient(node) ? read_gradient(node, param, at->t, out, err)
                                 : read_scalar(node, param, out, err);
    }
    for (; condition; condition = ww_ynext(condition)) {
        const char *filter = "*";
        (void)ww_ytext(ww_yget(condition, "filter"), &filter);
        if (strcmp(filter, "*") == 0 || strstr(at->tensor, filter)) {
            return read_setting(ww_yget(condition, "value"), param, at, out, found, err);
        }
        if (condition == node) {
            break; /* a lone condition has siblings of other names */
        }
    }
    return WW_OK;
}

enum ww_err ww_recipe_value(const struct ww_method_param *param,
                            const struct ww_recipe_place *at, double *out, bool *found,
                            struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *found = false;
    for (size_t i = 0; i < at->n_scopes && !*found && !rc; i++) {
        const struct ww_ynode *node = ww_yget(at->scopes[i], param->name);
        if (node) {
            rc = read_setting(node, param, at, out, found, err);
        }
    }
    return rc;
}
