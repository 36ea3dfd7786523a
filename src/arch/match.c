/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to rows. Every row is expanded into the names that it stands for and looked up;
 * what is left over afterwards must be on the ignore list. So a tensor can neither be
 * forgotten nor serve twice, and the cost is one lookup per expected name.
 */
#include "arch/builder.h"

#include <string.h>

#include "arch/facts.h"
#include "arch/roles.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MAX_NAME_BYTES 1100

/* One name of a row: template without '|', placeholders replaced. */
struct name {
    char text[MAX_NAME_BYTES];
    size_t len;
};

static void add(struct name *n, const char *s, size_t len)
{
    if (n->len + len < sizeof(n->text)) {
        memcpy(n->text + n->len, s, len);
        n->len += len;
    } else {
        n->len = sizeof(n->text) - 1; /* longer than any stored name: never found */
    }
    n->text[n->len] = '\0';
}

static void add_number(struct name *n, uint64_t v)
{
    char digits[24];
    size_t i = sizeof(digits);

    do {
        digits[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    add(n, digits + i, sizeof(digits) - i);
}

static void expand(const struct ww_builder *b, const char *layer, const char *from,
                   const char *end, uint64_t number, struct name *out)
{
    out->len = 0;
    if (*from == '/') {
        from++;
    } else if (*layer == '/') {
        add(out, layer + 1, strlen(layer + 1));
    } else {
        add(out, b->scope.prefix, strlen(b->scope.prefix));
        add(out, layer, strlen(layer));
    }
    while (from < end) {
        if (end - from >= 3 && from[0] == '{' && from[2] == '}') {
            add_number(out, from[1] == 'l' ? b->scope.layer : number);
            from += 3;
        } else {
            add(out, from, 1);
            from++;
        }
    }
}

static enum ww_err tally_find(struct ww_builder *b, const struct ww_row *row,
                              struct ww_tally **out, struct ww_error *err)
{
    char kind[64];
    enum ww_err rc = ww_fact_text(&b->scope, "kind", kind, sizeof(kind), err);

    for (uint32_t i = 0; i < b->n_tallies && rc == WW_OK; i++) {
        if (b->tallies[i].row == row && strcmp(b->tallies[i].kind, kind) == 0) {
            *out = &b->tallies[i];
            return WW_OK;
        }
    }
    rc = rc ? rc
            : ww_builder_grow((void **)&b->tallies, &b->n_tallies, &b->cap_tallies,
                              sizeof(*b->tallies), err);
    if (rc == WW_OK) {
        *out = &b->tallies[b->n_tallies - 1];
        (*out)->row = row;
        rc = ww_builder_name(b, &(*out)->kind, err, "%s", kind);
    }
    return rc;
}

/* Count an optional row; one that only some layers have is an error. */
static enum ww_err tally(struct ww_builder *b, const struct ww_row *row, uint32_t found,
                         const char *name, struct ww_error *err)
{
    struct ww_tally *t = NULL;
    enum ww_err rc = tally_find(b, row, &t, err);

    if (rc) {
        return rc;
    }
    *(found ? &t->present : &t->absent) += 1;
    const char **first = found ? &t->present_name : &t->absent_name;
    if (!*first) {
        rc = ww_builder_name(b, first, err, "%s", name);
    }
    if (rc == WW_OK && t->present && t->absent) {
        rc =
            WW_FAIL(err, WW_E_TENSOR,
                    "tensor '%s' is stored but '%s' is not: all layers of a kind must be "
                    "alike; is a shard missing?",
                    t->present_name, t->absent_name);
    }
    return rc;
}

static enum ww_err bind_one(struct ww_builder *b, const struct ww_row *row,
                            struct ww_place *place, uint32_t tensor, struct ww_error *err)
{
    struct ww_binding *bind = &b->layout->bindings[tensor];
    enum ww_err rc = WW_OK;

    if (b->bound[tensor]) {
        return WW_FAIL(err, WW_E_DESCRIPTOR,
                       "tensor '%s' matches two rows of descriptor '%s': '%s' and '%s'",
                       b->model->tensors[tensor].name, b->desc->id, bind->role,
                       row->role);
    }
    b->bound[tensor] = true;
    bind->block = place->block;
    rc = ww_builder_name(b, &bind->role, err, "%s", row->role);
    rc = rc ? rc : ww_bind_axes(b, place, row, tensor, err);
    if (rc == WW_OK) {
        ww_role_assign(b, place, row->role, tensor);
    }
    return rc;
}

/* The space whose elements the number in a name counts, and how many there are. */
struct numbered {
    bool is;
    enum ww_space_kind kind;
};

static struct numbered numbered_by(const struct ww_row *row)
{
    struct numbered n = {false, WW_SPACE_EXPERT};

    if (strstr(row->name, "{e}")) {
        n.is = true;
    } else if (strstr(row->name, "{h}")) {
        n.is = true;
        n.kind = strstr(row->role, ".k") ? WW_SPACE_KV_HEAD : WW_SPACE_QUERY_HEAD;
    }
    return n;
}

static enum ww_err set_name_space(struct ww_builder *b, const struct ww_place *place,
                                  const struct numbered *by, uint64_t number,
                                  uint32_t family, uint32_t tensor, struct ww_error *err)
{
    struct ww_binding *bind = &b->layout->bindings[tensor];
    uint32_t space = WW_NONE;
    enum ww_err rc = WW_OK;

    if (by->is) {
        rc = ww_space_get(b, place, by->kind, &space, err);
        bind = &b->layout->bindings[tensor];
        bind->name_space = space;
        bind->name_index = number;
        bind->name_family = family;
    }
    return rc;
}

/* Is the name one beside a stack's layers, as "decoder.embed_tokens.weight" is, of which
 * the model has nothing? */
static bool in_missing_part(const struct ww_builder *b, const char *name)
{
    const size_t n = strcspn(name, ".") + 1;
    bool beside = false;

    for (uint32_t s = 0; s < b->desc->n_stacks && !beside; s++) {
        const char *layer = b->desc->stacks[s].layer;
        struct name full;
        expand(b, "", layer, layer + strlen(layer), 0, &full);
        beside = strncmp(full.text, name, n) == 0;
    }
    for (uint32_t i = 0; i < b->model->n_tensors && beside; i++) {
        beside = strncmp(b->model->tensors[i].name, name, n) != 0;
    }
    return beside;
}

static bool any_in_missing_part(const struct ww_builder *b, const struct ww_row *row,
                                const char *layer, uint64_t number)
{
    const char *from = row->name;
    struct name name;

    for (;;) {
        const char *end = from + strcspn(from, "|");
        expand(b, layer, from, end, number, &name);
        if (in_missing_part(b, name.text)) {
            return true;
        }
        if (*end == '\0') {
            return false;
        }
        from = end + 1;
    }
}

/* All alternatives of one row with one number. */
static enum ww_err match_number(struct ww_builder *b, const struct ww_row *row,
                                struct ww_place *place, const char *layer,
                                const struct numbered *by, uint64_t number,
                                struct ww_error *err)
{
    struct name name;
    const char *from = row->name;
    uint32_t found = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t alternative = 0; rc == WW_OK; alternative++) {
        const char *end = from + strcspn(from, "|");
        expand(b, layer, from, end, number, &name);
        uint32_t tensor = ww_model_find(b->model, name.text);
        if (tensor != WW_NONE) {
            found++;
            rc = bind_one(b, row, place, tensor, err);
            rc = rc ? rc
                    : set_name_space(b, place, by, number, b->n_families + alternative,
                                     tensor, err);
        }
        if (*end == '\0') {
            break;
        }
        from = end + 1;
    }
    if (rc == WW_OK && row->optional) {
        rc = tally(b, row, found, name.text, err);
    } else if (rc == WW_OK && found == 0) {
        b->part_missing = any_in_missing_part(b, row, layer, number);
        rc = WW_FAIL(err, WW_E_TENSOR,
                     "tensor '%s' is missing (%s, descriptor '%s'); is a shard missing?",
                     name.text, row->role, b->desc->id);
    }
    return rc;
}

static uint32_t alternatives(const char *name)
{
    uint32_t n = 1;

    for (; *name; name++) {
        n += *name == '|';
    }
    return n;
}

/* True when an optional row has no stored name here: nothing must be built for it. */
static bool nothing_stored(const struct ww_builder *b, const struct ww_row *row,
                           const char *layer)
{
    struct name name;
    const char *from = row->name;

    while (true) {
        const char *end = from + strcspn(from, "|");
        expand(b, layer, from, end, 0, &name);
        if (ww_model_find(b->model, name.text) != WW_NONE) {
            return false;
        }
        if (*end == '\0') {
            return true;
        }
        from = end + 1;
    }
}

static enum ww_err match_row(struct ww_builder *b, const struct ww_row *row,
                             uint32_t stack, uint32_t block, const char *layer,
                             struct ww_error *err)
{
    struct ww_place place = {stack, block, WW_NONE, WW_NONE, WW_NONE};
    struct numbered by = numbered_by(row);
    uint64_t count = 1;
    enum ww_err rc = WW_OK;

    if (row->optional && nothing_stored(b, row, layer)) {
        struct name name;
        expand(b, layer, row->name, row->name + strcspn(row->name, "|"), 0, &name);
        return tally(b, row, 0, name.text, err);
    }
    for (uint64_t i = 0; i < count && rc == WW_OK; i++) {
        uint32_t expert = by.is && by.kind == WW_SPACE_EXPERT ? (uint32_t)i : WW_NONE;
        rc = ww_build_place(b, row->role, expert, &place, err);
        if (rc == WW_OK && by.is && i == 0) {
            if ((by.kind == WW_SPACE_EXPERT ? place.moe : place.attention) == WW_NONE) {
                return WW_FAIL(err, WW_E_DESCRIPTOR, "row '%s': role '%s' counts nothing",
                               row->name, row->role);
            }
            count = ww_space_size(b, &place, by.kind);
        }
        rc = rc ? rc : match_number(b, row, &place, layer, &by, i, err);
    }
    b->n_families += alternatives(row->name);
    return rc;
}

enum ww_err ww_match_rows(struct ww_builder *b, const struct ww_rows *rows,
                          uint32_t stack, uint32_t block, const char *layer,
                          struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < rows->n && rc == WW_OK; i++) {
        const struct ww_row *row = &rows->items[i];
        bool applies = true;
        for (unsigned w = 0; w < row->n_when && applies && rc == WW_OK; w++) {
            struct ww_value value = {0};
            rc = ww_expr_eval(row->when[w], &b->scope, &value, err);
            applies = ww_value_true(&value);
        }
        if (rc == WW_OK && applies) {
            rc = match_row(b, row, stack, block, layer, err);
        }
    }
    return rc;
}

static bool on_list(const struct ww_jnode *list, const char *name)
{
    const char *glob = NULL;

    for (const struct ww_jnode *n = ww_jfirst(list); n; n = ww_jnext(n)) {
        if (ww_jstr(n, &glob) && ww_str_glob(glob, name)) {
            return true;
        }
    }
    return false;
}

enum ww_err ww_match_rest(struct ww_builder *b, struct ww_error *err)
{
    for (uint32_t i = 0; i < b->model->n_tensors; i++) {
        struct ww_binding *bind = &b->layout->bindings[i];
        const char *name = b->model->tensors[i].name;
        if (b->bound[i]) {
            continue;
        }
        if (!on_list(b->desc->ignore, name)) {
            return WW_FAIL(
                err, WW_E_TENSOR,
                "tensor '%s' is unknown to descriptor '%s' (prefix '%s'): remove "
                "it, or describe it in a descriptor of your own",
                name, b->desc->id, b->scope.prefix);
        }
        bind->role = "ignore";
        bind->ignored = true;
    }
    return WW_OK;
}
