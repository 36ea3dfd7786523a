/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a descriptor. Everything is checked here once, every expression and axis
 * included, so that the resolver meets only well-formed ones and a typo in a user's file
 * is reported by name before any weight is looked at.
 */
#include "arch/descriptor.h"

#include <string.h>

#include "arch/expr.h"
#include "arch/facts.h"
#include "arch/roles.h"
#include "crypto/hash.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static const char schema[] = "weightward.descriptor/1";

static const char *const group_words[] = {"fixed", "perm", "perm_sign", "signed"};

static enum ww_err wrong(const char *what, const char *expected, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_DESCRIPTOR, "'%s' must be %s", what, expected);
}

static enum ww_err check_expr(const char *expr, struct ww_error *err)
{
    struct ww_value value = {0};

    return ww_expr_eval(expr, NULL, &value, err);
}

static enum ww_err check_facts(const struct ww_jnode *facts, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (facts && ww_jtype(facts) != WW_J_OBJECT) {
        return wrong("facts", "an object", err);
    }
    for (const struct ww_jnode *n = ww_jfirst(facts); n && !rc; n = ww_jnext(n)) {
        struct ww_value value = {0};
        if (!ww_fact_known(ww_jkey(n))) {
            const char *near = ww_fact_nearest(ww_jkey(n));
            return WW_FAIL(err, WW_E_DESCRIPTOR, "fact '%s' is unknown%s%s", ww_jkey(n),
                           near ? "; nearest is " : "", near ? near : "");
        }
        rc = ww_expr_node(n, NULL, &value, err);
        if (rc) {
            ww_error_context(err, "fact '%s'", ww_jkey(n));
        }
    }
    return rc;
}

/* An array or object whose members are all strings. */
static enum ww_err check_strings(const struct ww_jnode *node, enum ww_jtype type,
                                 const char *what, struct ww_error *err)
{
    const char *s = NULL;

    if (!node) {
        return WW_OK;
    }
    if (ww_jtype(node) != type) {
        return wrong(what, type == WW_J_ARRAY ? "an array" : "an object", err);
    }
    for (const struct ww_jnode *n = ww_jfirst(node); n; n = ww_jnext(n)) {
        if (!ww_jstr(n, &s)) {
            return wrong(what, "made of strings", err);
        }
    }
    return WW_OK;
}

static enum ww_err row_grow(struct ww_rows *rows, struct ww_row **out,
                            struct ww_error *err)
{
    if (rows->n == rows->capacity) {
        uint32_t capacity = rows->capacity ? 2 * rows->capacity : 16;
        struct ww_row *items = ww_realloc_array(rows->items, capacity, sizeof(*items));
        if (!items) {
            return WW_FAIL_MEMORY(err, "a descriptor");
        }
        rows->items = items;
        rows->capacity = capacity;
    }
    *out = &rows->items[rows->n++];
    memset(*out, 0, sizeof(**out));
    return WW_OK;
}

static enum ww_err read_role(const char *role, struct ww_row *row, struct ww_error *err)
{
    size_t len = strlen(role);

    row->optional = len > 0 && role[len - 1] == '?';
    len -= row->optional;
    if (len == 0 || len >= sizeof(row->role)) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "role '%s' is empty or too long", role);
    }
    memcpy(row->role, role, len);
    row->role[len] = '\0';
    return ww_role_check(row->role, err);
}

static enum ww_err read_row(const struct ww_jnode *node, const char *const *when,
                            unsigned n_when, struct ww_rows *rows, struct ww_error *err)
{
    struct ww_row *row = NULL;
    const char *role = NULL, *axis = NULL;
    size_t n = ww_jsize(node);
    enum ww_err rc = row_grow(rows, &row, err);

    if (rc) {
        return rc;
    }
    if (n < 2 || n > 2 + WW_MAX_RANK || !ww_jstr(ww_jat(node, 0), &row->name) ||
        !ww_jstr(ww_jat(node, 1), &role)) {
        return wrong("row", "[name, role, axis...]", err);
    }
    row->n_when = n_when;
    for (unsigned i = 0; i < n_when; i++) {
        row->when[i] = when[i];
    }
    rc = read_role(role, row, err);
    for (size_t i = 2; i < n && rc == WW_OK; i++) {
        rc = ww_jstr(ww_jat(node, i), &axis)
                 ? ww_axis_parse(axis, &row->axes[row->n_axes++], err)
                 : wrong("axis", "a string", err);
    }
    if (rc) {
        ww_error_context(err, "row '%s'", row->name);
    }
    return rc;
}

static enum ww_err read_rows(const struct ww_jnode *list, const char *const *when,
                             unsigned n_when, struct ww_rows *rows, struct ww_error *err);

static enum ww_err read_group(const struct ww_jnode *node, const char *const *when,
                              unsigned n_when, struct ww_rows *rows, struct ww_error *err)
{
    static const char *const allowed[] = {"when", "rows"};
    const char *all[WW_MAX_CONDITIONS];
    enum ww_err rc =
        ww_jonly(node, allowed, WW_LEN(allowed), WW_E_DESCRIPTOR, "a group", err);

    if (rc) {
        return rc;
    }
    if (n_when == WW_MAX_CONDITIONS) {
        return wrong("when", "nested three deep at most", err);
    }
    for (unsigned i = 0; i < n_when; i++) {
        all[i] = when[i];
    }
    if (!ww_jstr(ww_jget(node, "when"), &all[n_when])) {
        return wrong("when", "an expression", err);
    }
    rc = check_expr(all[n_when], err);
    return rc ? rc : read_rows(ww_jget(node, "rows"), all, n_when + 1, rows, err);
}

static enum ww_err read_rows(const struct ww_jnode *list, const char *const *when,
                             unsigned n_when, struct ww_rows *rows, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!list || ww_jtype(list) != WW_J_ARRAY) {
        return wrong("rows", "an array", err);
    }
    for (const struct ww_jnode *n = ww_jfirst(list); n && !rc; n = ww_jnext(n)) {
        rc = ww_jtype(n) == WW_J_OBJECT ? read_group(n, when, n_when, rows, err)
                                        : read_row(n, when, n_when, rows, err);
    }
    return rc;
}

static enum ww_err read_count(const struct ww_jnode *node, const char *what,
                              struct ww_error *err)
{
    struct ww_value value = {0};
    enum ww_err rc = WW_OK;

    if (node) {
        rc = ww_expr_node(node, NULL, &value, err);
    }
    if (rc) {
        ww_error_context(err, "'%s'", what);
    }
    return rc;
}

static enum ww_err read_residual_group(const struct ww_jnode *node,
                                       enum ww_residual_group *group, const char **reason,
                                       struct ww_error *err)
{
    const char *word = NULL;
    size_t i = 0;

    if (!ww_jstr(ww_jget(node, "group"), &word)) {
        return wrong("residual.group", "one of fixed, perm, perm_sign, signed", err);
    }
    while (i < WW_LEN(group_words) && strcmp(group_words[i], word) != 0) {
        i++;
    }
    if (i == WW_LEN(group_words)) {
        return wrong("residual.group", "one of fixed, perm, perm_sign, signed", err);
    }
    *group = (enum ww_residual_group)i;
    if (!ww_jstr(ww_jget(node, "reason"), reason) && *group == WW_RESIDUAL_FIXED) {
        return wrong("residual.reason", "given for a fixed stream", err);
    }
    return WW_OK;
}

/* What makes a stack a tower: a stream, a section and defaults of its own. */
static enum ww_err read_stream(const struct ww_jnode *node, struct ww_stack_desc *stack,
                               struct ww_error *err)
{
    static const char *const allowed[] = {"group", "reason", "when"};
    const struct ww_jnode *stream = ww_jget(node, "residual");
    enum ww_err rc = WW_OK;

    (void)ww_jstr(ww_jget(node, "section"), &stack->section);
    stack->defaults = ww_jget(node, "defaults");
    if (!stream) {
        return WW_OK;
    }
    stack->own_stream = true;
    if (ww_jstr(ww_jget(stream, "of"), &stack->stream_of)) {
        return ww_jsize(stream) == 1 ? WW_OK
                                     : wrong("residual", "'of' alone, or a group", err);
    }
    rc = ww_jonly(stream, allowed, WW_LEN(allowed), WW_E_DESCRIPTOR, "residual", err);
    rc = rc ? rc : read_residual_group(stream, &stack->group, &stack->reason, err);
    if (rc == WW_OK && ww_jstr(ww_jget(stream, "when"), &stack->moves)) {
        rc = check_expr(stack->moves, err);
    }
    return rc;
}

static enum ww_err read_stack(const struct ww_jnode *node, struct ww_stack_desc *stack,
                              struct ww_error *err)
{
    static const char *const allowed[] = {"name",     "layers",  "first",   "layer",
                                          "when",     "facts",   "rows",    "outer",
                                          "residual", "section", "defaults"};
    enum ww_err rc =
        ww_jonly(node, allowed, WW_LEN(allowed), WW_E_DESCRIPTOR, "a stack", err);

    if (rc) {
        return rc;
    }
    stack->layers = ww_jget(node, "layers");
    stack->first = ww_jget(node, "first");
    stack->facts = ww_jget(node, "facts");
    if (!stack->layers || !ww_jstr(ww_jget(node, "name"), &stack->name) ||
        !ww_jstr(ww_jget(node, "layer"), &stack->layer)) {
        return wrong("stacks", "objects with name, layers and layer", err);
    }
    rc = read_count(stack->layers, "layers", err);
    rc = rc ? rc : read_count(stack->first, "first", err);
    if (rc == WW_OK && ww_jstr(ww_jget(node, "when"), &stack->when)) {
        rc = check_expr(stack->when, err);
    }
    rc = rc ? rc : check_facts(stack->facts, err);
    rc = rc ? rc : read_stream(node, stack, err);
    rc = rc ? rc : read_rows(ww_jget(node, "rows"), NULL, 0, &stack->rows, err);
    if (rc == WW_OK && ww_jget(node, "outer")) {
        rc = read_rows(ww_jget(node, "outer"), NULL, 0, &stack->outer, err);
    }
    return rc;
}

static enum ww_err read_stacks(const struct ww_jnode *list, struct ww_descriptor *d,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!list || ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) == 0) {
        return wrong("stacks", "a non-empty array", err);
    }
    d->stacks = ww_calloc(ww_jsize(list), sizeof(*d->stacks));
    if (!d->stacks) {
        return WW_FAIL_MEMORY(err, "a descriptor");
    }
    for (const struct ww_jnode *n = ww_jfirst(list); n && !rc; n = ww_jnext(n)) {
        rc = read_stack(n, &d->stacks[d->n_stacks++], err);
    }
    return rc;
}

static enum ww_err read_residual(const struct ww_jnode *node, struct ww_descriptor *d,
                                 struct ww_error *err)
{
    static const char *const allowed[] = {"group", "reason", "heads", "head_classes"};
    enum ww_err rc = WW_OK;

    if (!node) {
        return wrong("residual", "an object", err);
    }
    rc = ww_jonly(node, allowed, WW_LEN(allowed), WW_E_DESCRIPTOR, "residual", err);
    rc = rc ? rc : read_residual_group(node, &d->group, &d->reason, err);
    if (rc) {
        return rc;
    }
    d->heads = ww_jget(node, "heads");
    d->head_classes = ww_jget(node, "head_classes");
    rc = check_strings(d->heads, WW_J_OBJECT, "residual.heads", err);
    return rc ? rc
              : check_strings(d->head_classes, WW_J_OBJECT, "residual.head_classes", err);
}

static enum ww_err read_checks(const struct ww_jnode *list, struct ww_error *err)
{
    const char *expr = NULL, *text = NULL;
    enum ww_err rc = WW_OK;

    if (list && ww_jtype(list) != WW_J_ARRAY) {
        return wrong("checks", "an array", err);
    }
    for (const struct ww_jnode *n = ww_jfirst(list); n && !rc; n = ww_jnext(n)) {
        if (ww_jsize(n) != 2 || !ww_jstr(ww_jat(n, 0), &expr) ||
            !ww_jstr(ww_jat(n, 1), &text)) {
            return wrong("checks", "pairs of expression and text", err);
        }
        rc = check_expr(expr, err);
    }
    return rc;
}

static enum ww_err read_head(const struct ww_jnode *root, struct ww_descriptor *d,
                             struct ww_error *err)
{
    const char *text = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(root, "schema"), &text) || strcmp(text, schema) != 0) {
        return WW_FAIL(err, WW_E_DESCRIPTOR, "schema is '%s', expected '%s'",
                       text ? text : "", schema);
    }
    if (!ww_jstr(ww_jget(root, "id"), &d->id) || d->id[0] == '\0') {
        return wrong("id", "a name", err);
    }
    d->model_types = ww_jget(root, "model_types");
    d->prefixes = ww_jget(root, "prefixes");
    if (ww_jsize(d->model_types) == 0 || ww_jsize(d->prefixes) == 0) {
        return wrong("model_types and prefixes", "non-empty arrays", err);
    }
    d->section = "text";
    (void)ww_jstr(ww_jget(root, "section"), &d->section);
    d->defaults = ww_jget(root, "defaults");
    d->facts = ww_jget(root, "facts");
    d->ignore = ww_jget(root, "ignore");
    d->checks = ww_jget(root, "checks");
    rc = check_strings(d->model_types, WW_J_ARRAY, "model_types", err);
    rc = rc ? rc : check_strings(d->prefixes, WW_J_ARRAY, "prefixes", err);
    rc = rc ? rc : check_strings(d->ignore, WW_J_ARRAY, "ignore", err);
    rc = rc ? rc : check_facts(d->facts, err);
    return rc ? rc : read_checks(d->checks, err);
}

static enum ww_err read_descriptor(struct ww_descriptor *d, struct ww_error *err)
{
    static const char *const allowed[] = {
        "schema", "about",  "id",     "model_types", "prefixes", "section", "defaults",
        "facts",  "ignore", "checks", "residual",    "stacks",   "model"};
    const struct ww_jnode *root = ww_json_root(d->json);
    enum ww_err rc =
        ww_jonly(root, allowed, WW_LEN(allowed), WW_E_DESCRIPTOR, "a descriptor", err);

    rc = rc ? rc : read_head(root, d, err);
    rc = rc ? rc : read_residual(ww_jget(root, "residual"), d, err);
    rc = rc ? rc : read_stacks(ww_jget(root, "stacks"), d, err);
    return rc ? rc : read_rows(ww_jget(root, "model"), NULL, 0, &d->model, err);
}

enum ww_err ww_descriptor_parse(const uint8_t *text, size_t len, const char *source,
                                struct ww_descriptor **out, struct ww_error *err)
{
    struct ww_descriptor *d = ww_calloc(1, sizeof(*d));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!d) {
        rc = WW_FAIL_MEMORY(err, "a descriptor");
        goto out;
    }
    ww_sha256_of(text, len, d->sha256);
    rc = ww_json_parse(text, len, &ww_json_limits_small, &d->json, err);
    if (rc) {
        goto out;
    }
    rc = read_descriptor(d, err);
    if (rc) {
        goto out;
    }
    *out = d;
    d = NULL;
out:
    if (rc) {
        ww_error_context(err, "descriptor '%s'", source);
    }
    ww_descriptor_free(d);
    return rc;
}

void ww_descriptor_free(struct ww_descriptor *descriptor)
{
    if (!descriptor) {
        return;
    }
    for (uint32_t i = 0; i < descriptor->n_stacks; i++) {
        ww_free(descriptor->stacks[i].rows.items);
        ww_free(descriptor->stacks[i].outer.items);
    }
    ww_free(descriptor->stacks);
    ww_free(descriptor->model.items);
    ww_json_free(descriptor->json);
    ww_free(descriptor);
}

bool ww_descriptor_serves(const struct ww_descriptor *descriptor, const char *model_type)
{
    const char *type = NULL;

    for (const struct ww_jnode *n = ww_jfirst(descriptor->model_types); n;
         n = ww_jnext(n)) {
        if (ww_jstr(n, &type) && strcmp(type, model_type) == 0) {
            return true;
        }
    }
    return false;
}
