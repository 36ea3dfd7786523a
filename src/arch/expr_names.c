/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names inside expressions. A key is looked up in the config section by its dotted path;
 * an explicit null hides the descriptor's default, because libraries read null as "none"
 * where they read a missing key as their default (sliding_window of Mistral).
 */
#include "arch/expr_names.h"

#include <stdio.h>
#include <string.h>

#include "model/config.h"
#include "model/convert.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define MAX_PATH_BYTES 256

enum found { FOUND_NOT, FOUND_NULL, FOUND_VALUE };

static enum found to_value(const struct ww_jnode *node, struct ww_value *out)
{
    bool flag = false;

    if (!node) {
        return FOUND_NOT;
    }
    if (ww_jtype(node) == WW_J_NULL) {
        return FOUND_NULL;
    }
    if (ww_jstr(node, &out->text)) {
        out->kind = WW_V_TEXT;
        out->len = strlen(out->text);
    } else if (ww_jbool(node, &flag)) {
        out->kind = WW_V_NUMBER;
        out->number = flag;
    } else if (ww_jdouble(node, &out->number)) {
        out->kind = WW_V_NUMBER;
    } else {
        out->kind = WW_V_NODE;
    }
    return FOUND_VALUE;
}

/* The member at a dotted path; path is cut up in place. */
static const struct ww_jnode *walk(const struct ww_jnode *node, char *path)
{
    char *part = path;

    while (node && part) {
        char *dot = strchr(part, '.');
        if (dot) {
            *dot++ = '\0';
        }
        node = ww_jget(node, part);
        part = dot;
    }
    return node;
}

/* Splits "key[3]" or "key[l]" in place; false when there is no index. */
static bool cut_index(char *path, uint64_t layer, uint64_t *index)
{
    char *bracket = strchr(path, '[');

    if (!bracket) {
        return false;
    }
    *index = layer;
    if (bracket[1] != 'l') {
        (void)ww_parse_u64(bracket + 1, strcspn(bracket + 1, "]"), index);
    }
    *bracket = '\0';
    return true;
}

enum ww_err ww_expr_key(const struct ww_scope *scope, const char *path,
                        struct ww_value *out, struct ww_value *fallback,
                        struct ww_error *err)
{
    char copy[MAX_PATH_BYTES];
    uint64_t index = 0;
    const struct ww_jnode *node = NULL;
    bool indexed = false;

    if (strlen(path) >= sizeof(copy)) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "config key '%s' is too long", path);
    }
    memcpy(copy, path, strlen(path) + 1);
    indexed = cut_index(copy, scope->layer, &index);
    node = walk(scope->config, copy);
    if (indexed && node) {
        node = ww_jtype(node) == WW_J_ARRAY ? ww_jat(node, (size_t)index) : NULL;
    }
    (void)snprintf(out->origin, sizeof(out->origin), "%s", path);
    if (to_value(node, out) == FOUND_NOT) {
        (void)to_value(ww_jget(scope->defaults, path), fallback);
        (void)snprintf(fallback->origin, sizeof(fallback->origin), "default of %s", path);
    }
    return WW_OK;
}

static enum ww_err call_at(const struct ww_scope *scope, const struct ww_value args[2],
                           struct ww_value *out, struct ww_error *err)
{
    char path[MAX_PATH_BYTES];
    int n = 0;

    if (args[0].kind != WW_V_TEXT || args[1].kind != WW_V_TEXT || args[0].len == 0) {
        return WW_OK;
    }
    n = snprintf(path, sizeof(path), "%.*s.%.*s", (int)ww_min_u64(args[0].len, 128),
                 args[0].text, (int)ww_min_u64(args[1].len, 64), args[1].text);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "config path of at() is too long");
    }
    struct ww_value ignored = {0};
    return ww_expr_key(scope, path, out, &ignored, err);
}

/* Entries of the list at a path of config.json; absent when there is none. */
static enum ww_err call_count(const struct ww_scope *scope, const struct ww_value *path,
                              struct ww_value *out, struct ww_error *err)
{
    char copy[MAX_PATH_BYTES];
    const struct ww_jnode *node = NULL;

    if (path->kind != WW_V_TEXT || path->len == 0 || path->len >= sizeof(copy)) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "count() needs the path of a config key");
    }
    memcpy(copy, path->text, path->len);
    copy[path->len] = '\0';
    (void)snprintf(out->origin, sizeof(out->origin), "entries of %.50s", copy);
    node = walk(scope->config, copy);
    if (node && ww_jtype(node) == WW_J_ARRAY) {
        out->kind = WW_V_NUMBER;
        out->number = (double)ww_jsize(node);
    }
    return WW_OK;
}

/* Is one of the classes that config.json names like this? */
static enum ww_err call_class(const struct ww_scope *scope, const struct ww_value *glob,
                              struct ww_value *out, struct ww_error *err)
{
    char pattern[MAX_PATH_BYTES];
    const char *name = NULL;

    if (glob->kind != WW_V_TEXT || glob->len == 0 || glob->len >= sizeof(pattern)) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "class() needs a pattern of class names");
    }
    memcpy(pattern, glob->text, glob->len);
    pattern[glob->len] = '\0';
    (void)snprintf(out->origin, sizeof(out->origin), "architectures");
    out->kind = WW_V_NUMBER;
    out->number = 0;
    for (size_t i = 0; (name = ww_config_architecture(scope->model->config, i)); i++) {
        if (ww_str_glob(pattern, name)) {
            out->number = 1;
        }
    }
    return WW_OK;
}

/* A constant as a library keeps it: in single precision, then in that of the weights. */
static double round_to(enum ww_dtype dtype, double x)
{
    unsigned char bytes[sizeof(double)];

    if (dtype != WW_DTYPE_F64) {
        x = (double)(float)x;
    }
    if (ww_dtype_is_plain_float(dtype)) {
        ww_from_double(dtype, &x, bytes, 1);
        ww_to_double(dtype, bytes, &x, 1);
    }
    return x;
}

/* The tensor that a name in an expression means: "/x" as it is, ".x" of this layer. A
 * number takes the place of "{l}". */
static uint32_t find_tensor(const struct ww_scope *scope, const struct ww_value *named,
                            const struct ww_value *number)
{
    char name[1024];
    const char *front = scope->prefix;
    const char *tail = named->text;
    size_t len = named->len;
    int n = 0;

    if (*tail == '/' || *tail == '.') {
        front = *tail == '/' ? "" : scope->layer_prefix;
        tail++;
        len--;
    }
    size_t before = 0;
    while (before + 3 <= len && strncmp(tail + before, "{l}", 3) != 0) {
        before++;
    }
    if (number->kind == WW_V_NUMBER && before + 3 <= len) {
        n = snprintf(name, sizeof(name), "%s%.*s%.0f%.*s", front ? front : "",
                     (int)ww_min_u64(before, sizeof(name)), tail, number->number,
                     (int)ww_min_u64(len - before - 3, sizeof(name)), tail + before + 3);
    } else {
        n = snprintf(name, sizeof(name), "%s%.*s", front ? front : "",
                     (int)ww_min_u64(len, sizeof(name)), tail);
    }
    return n >= 0 && (size_t)n < sizeof(name) ? ww_model_find(scope->model, name)
                                              : WW_NONE;
}

static void set_dim(const struct ww_tensor *t, const struct ww_value *axis,
                    struct ww_value *out)
{
    if (axis->kind == WW_V_NUMBER && axis->number >= 0 && axis->number < t->rank) {
        out->kind = WW_V_NUMBER;
        out->number = (double)t->shape[(int)axis->number];
        (void)snprintf(out->origin, sizeof(out->origin), "shape of %.50s", t->name);
    }
}

static enum ww_err call_tensor(const struct ww_scope *scope, enum ww_expr_call call,
                               const struct ww_value args[2], struct ww_value *out,
                               struct ww_error *err)
{
    const struct ww_tensor *t = NULL;
    uint32_t tensor = WW_NONE;

    if (args[0].kind != WW_V_TEXT || args[0].len == 0) {
        return WW_FAIL(err, WW_E_DESCRIPTOR,
                       "stored(), dim() and rounded() need a tensor name");
    }
    tensor = find_tensor(scope, &args[0],
                         call == WW_CALL_STORED ? &args[1] : &(struct ww_value){0});
    t = tensor == WW_NONE ? NULL : &scope->model->tensors[tensor];
    if (call == WW_CALL_STORED) {
        out->kind = WW_V_NUMBER;
        out->number = t != NULL;
    } else if (call == WW_CALL_ROUNDED) {
        *out = args[1];
        if (t && args[1].kind == WW_V_NUMBER) {
            out->number = round_to(t->dtype, args[1].number);
        }
    } else if (t) {
        set_dim(t, &args[1], out);
    }
    return WW_OK;
}

enum ww_err ww_expr_call(const struct ww_scope *scope, enum ww_expr_call call,
                         const struct ww_value args[2], struct ww_value *out,
                         struct ww_error *err)
{
    if (call == WW_CALL_AT) {
        return call_at(scope, args, out, err);
    }
    if (call == WW_CALL_COUNT) {
        return call_count(scope, &args[0], out, err);
    }
    if (call == WW_CALL_CLASS) {
        return call_class(scope, &args[0], out, err);
    }
    return call_tensor(scope, call, args, out, err);
}
