/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a tree: members, items, typed values, and keys that nobody knows. */
#include <string.h>

#include "util/fail.h"
#include "util/str.h"
#include "yaml/yaml_node.h"

enum ww_ytype ww_ytype(const struct ww_ynode *node)
{
    return node ? node->type : WW_Y_NULL;
}

const char *ww_ytype_name(const struct ww_ynode *node)
{
    static const char *const names[] = {
        [WW_Y_NULL] = "nothing",   [WW_Y_BOOL] = "a boolean", [WW_Y_INT] = "an integer",
        [WW_Y_FLOAT] = "a number", [WW_Y_STRING] = "text",    [WW_Y_LIST] = "a list",
        [WW_Y_MAP] = "a map"};
    return names[ww_ytype(node)];
}

size_t ww_yline(const struct ww_ynode *node)
{
    return node ? node->line : 0;
}

const struct ww_ynode *ww_yget(const struct ww_ynode *node, const char *key)
{
    if (ww_ytype(node) != WW_Y_MAP) {
        return NULL;
    }
    for (const struct ww_ynode *m = node->child; m; m = m->next) {
        if (strcmp(m->key, key) == 0) {
            return m->type == WW_Y_NULL ? NULL : m;
        }
    }
    return NULL;
}

const struct ww_ynode *ww_yfirst(const struct ww_ynode *node)
{
    return node ? node->child : NULL;
}

const struct ww_ynode *ww_ynext(const struct ww_ynode *node)
{
    return node ? node->next : NULL;
}

const char *ww_ykey(const struct ww_ynode *node)
{
    return node ? node->key : NULL;
}

size_t ww_ysize(const struct ww_ynode *node)
{
    return node ? node->size : 0;
}

bool ww_ystr(const struct ww_ynode *node, const char **out)
{
    if (ww_ytype(node) != WW_Y_STRING) {
        return false;
    }
    *out = node->text;
    return true;
}

bool ww_ytext(const struct ww_ynode *node, const char **out)
{
    if (!node || !node->text || node->type == WW_Y_NULL) {
        return false;
    }
    *out = node->text;
    return true;
}

bool ww_ybool(const struct ww_ynode *node, bool *out)
{
    if (ww_ytype(node) != WW_Y_BOOL) {
        return false;
    }
    *out = node->truth;
    return true;
}

bool ww_yi64(const struct ww_ynode *node, int64_t *out)
{
    if (ww_ytype(node) != WW_Y_INT) {
        return false;
    }
    *out = node->integer;
    return true;
}

bool ww_ynumber(const struct ww_ynode *node, double *out)
{
    const enum ww_ytype type = ww_ytype(node);
    if (type == WW_Y_INT || type == WW_Y_FLOAT) {
        *out = node->number;
        return true;
    }
    return type == WW_Y_STRING && ww_yaml_decimal(node->text, out);
}

enum ww_err ww_yonly(const struct ww_ynode *map, const char *const *allowed, size_t n,
                     enum ww_err code, const char *what, struct ww_error *err)
{
    if (ww_ytype(map) != WW_Y_MAP) {
        return WW_FAIL(err, code, "line %zu: %s is %s, a map is expected", ww_yline(map),
                       what, ww_ytype_name(map));
    }
    for (const struct ww_ynode *m = map->child; m; m = m->next) {
        const char *nearest = NULL;
        bool known = false;
        for (size_t i = 0; i < n && !known; i++) {
            known = strcmp(m->key, allowed[i]) == 0;
        }
        if (known) {
            continue;
        }
        nearest = ww_str_nearest(m->key, allowed, n);
        return WW_FAIL(err, code, "line %zu: %s has an unknown key '%s'%s%s%s", m->line,
                       what, m->key, nearest ? "; is '" : "", nearest ? nearest : "",
                       nearest ? "' meant?" : "");
    }
    return WW_OK;
}
