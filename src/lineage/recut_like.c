/* SPDX-License-Identifier: Apache-2.0 */
/* Which tensors of a suspect stand for which of the base's, and which layers of a base
 * for those of a stack. */
#include <string.h>

#include "lineage/recut.h"
#include "model/config.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

/* Matrices that some families store one on top of another. */
static const struct fused {
    const char *whole;
    const char *parts[WW_RECUT_PARTS];
    unsigned n;
} fused[] = {
    {"qkv_proj", {"q_proj", "k_proj", "v_proj"}, 3},
    {"W_pack", {"q_proj", "k_proj", "v_proj"}, 3},
    {"gate_up_proj", {"gate_proj", "up_proj"}, 2},
};

/* A list of tensors while it is made, and the names in it that are no other model's. */
struct list {
    struct ww_recut_tensor *items;
    uint32_t n;
    uint32_t room;
    struct ww_strlist names;
};

static enum ww_err add(struct list *list, const struct ww_recut_tensor *item,
                       struct ww_error *err)
{
    if (list->n == list->room) {
        const uint32_t room = list->room ? 2 * list->room : 256;
        struct ww_recut_tensor *more =
            ww_realloc_array(list->items, room, sizeof(*list->items));
        if (!more) {
            return WW_FAIL_MEMORY(err, "a list of tensors");
        }
        list->items = more;
        list->room = room;
    }
    list->items[list->n++] = *item;
    return WW_OK;
}

static void release(struct list *list)
{
    ww_free(list->items);
    ww_strlist_release(&list->names);
}

/* The name with one of its components in the place of another; NULL: it has none such. */
static enum ww_err swap(const char *name, const char *from, const char *to, char **out,
                        struct ww_error *err)
{
    const size_t len = strlen(from);
    const char *at = strstr(name, from);

    *out = NULL;
    if (!at || at == name || at[-1] != '.' || at[len] != '.') {
        return WW_OK;
    }
    *out = ww_asprintf("%.*s%s%s", (int)(at - name), name, to, at + len);
    return *out ? WW_OK : WW_FAIL_MEMORY(err, "a name");
}

static bool same_rows(const struct ww_tensor *a, const struct ww_tensor *b)
{
    return a->rank > 0 && a->rank == b->rank &&
           memcmp(a->shape + 1, b->shape + 1, (a->rank - 1) * sizeof(*a->shape)) == 0;
}

static uint64_t rows_of(const struct ww_model *model, uint32_t t)
{
    return model->tensors[t].shape[0];
}

/* The base has a part of what the suspect has in one: rows behind those of the parts in
 * front. */
static enum ww_err cut_out(const struct ww_model *suspect, const struct ww_model *base,
                           uint32_t b, const struct fused *f, struct ww_recut_tensor *out,
                           struct ww_error *err)
{
    const char *own = base->tensors[b].name;
    uint64_t before = 0;
    uint64_t all = 0;
    unsigned k = 0;
    char *name = NULL;
    enum ww_err rc = WW_OK;

    for (; k < f->n && !name && !rc; k += name || rc ? 0 : 1) {
        rc = swap(own, f->parts[k], f->whole, &name, err);
    }
    const uint32_t whole = name ? ww_model_find(suspect, name) : WW_NONE;
    ww_free(name);
    if (rc || whole == WW_NONE ||
        !same_rows(&base->tensors[b], &suspect->tensors[whole])) {
        return rc;
    }
    for (unsigned i = 0; i < f->n && !rc; i++) {
        char *part = NULL;
        rc = swap(own, f->parts[k], f->parts[i], &part, err);
        const uint32_t at = part ? ww_model_find(base, part) : WW_NONE;
        ww_free(part);
        if (rc || at == WW_NONE || !same_rows(&base->tensors[at], &base->tensors[b])) {
            return rc;
        }
        before += i < k ? rows_of(base, at) : 0;
        all += rows_of(base, at);
    }
    if (!rc && all == rows_of(suspect, whole)) {
        out->parts[0] = (struct ww_recut_part){whole, before, rows_of(base, b)};
        out->n_parts = 1;
    }
    return rc;
}

/* The base has in one what the suspect has in parts. */
static enum ww_err join(const struct ww_model *suspect, const struct ww_model *base,
                        uint32_t b, const struct fused *f, struct ww_recut_tensor *out,
                        struct ww_error *err)
{
    struct ww_recut_tensor made = {out->name, 0, {{0, 0, 0}}};
    uint64_t all = 0;
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < f->n && !rc; i++) {
        char *part = NULL;
        rc = swap(base->tensors[b].name, f->whole, f->parts[i], &part, err);
        const uint32_t at = part ? ww_model_find(suspect, part) : WW_NONE;
        ww_free(part);
        if (rc || at == WW_NONE || !same_rows(&suspect->tensors[at], &base->tensors[b]) ||
            suspect->tensors[at].dtype !=
                suspect->tensors[made.n_parts ? made.parts[0].tensor : at].dtype) {
            return rc;
        }
        all += rows_of(suspect, at);
        made.parts[made.n_parts++] = (struct ww_recut_part){at, 0, rows_of(suspect, at)};
    }
    if (!rc && all == rows_of(base, b)) {
        *out = made;
    }
    return rc;
}

/* Of the suspect, what stands for the base's tensor b, under a name: the same, part of
 * one, or several. */
static enum ww_err find(const struct ww_model *suspect, const struct ww_model *base,
                        uint32_t b, const char *name, struct ww_recut_tensor *out,
                        struct ww_error *err)
{
    const struct ww_tensor *own = &base->tensors[b];
    const uint32_t at = ww_model_find(suspect, name);
    enum ww_err rc = WW_OK;

    *out = (struct ww_recut_tensor){.name = name};
    if (at != WW_NONE) {
        const struct ww_tensor *t = &suspect->tensors[at];
        out->parts[0] = (struct ww_recut_part){at, 0, t->rank > 0 ? t->shape[0] : 1};
        out->n_parts = 1;
        return WW_OK;
    }
    for (size_t i = 0; i < WW_LEN(fused) && out->n_parts == 0 && own->rank > 0 && !rc;
         i++) {
        rc = cut_out(suspect, base, b, &fused[i], out, err);
        rc = rc || out->n_parts ? rc : join(suspect, base, b, &fused[i], out, err);
    }
    return rc;
}

/* Words of the suspect, where its tables have another number of them than the base's. */
static uint64_t count_words(const struct ww_model *suspect, const struct ww_model *base)
{
    struct ww_depth_name split;
    uint64_t words = 0;
    bool present = false;

    if (ww_config_fact(base->config->text, WW_FACT_VOCAB, &present, &words, NULL) ||
        !present) {
        return 0;
    }
    for (uint32_t b = 0; b < base->n_tensors; b++) {
        const struct ww_tensor *t = &base->tensors[b];
        const uint32_t at = ww_model_find(suspect, t->name);
        if (t->rank == 2 && t->shape[0] == words && at != WW_NONE &&
            suspect->tensors[at].rank == 2 && !ww_depth_split(t->name, &split)) {
            return suspect->tensors[at].shape[0];
        }
    }
    return 0;
}

/* The base's layer that stands for a layer of a model with n of them. */
static enum ww_err layers_of(uint32_t n, uint32_t n_base, uint32_t **out,
                             struct ww_error *err)
{
    *out = ww_calloc(n + (size_t)1, sizeof(**out));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "a map of layers");
    }
    for (uint32_t j = 0; j < n && n_base > 0; j++) {
        (*out)[j] = j < n_base ? j : n_base - 1;
    }
    return WW_OK;
}

/* The base's tensor b under each number that its layer has in the map. */
static enum ww_err restack_one(const struct ww_model *base, uint32_t b, const char *stack,
                               const uint32_t *of, uint32_t n, struct list *list,
                               struct ww_error *err)
{
    const struct ww_tensor *t = &base->tensors[b];
    struct ww_recut_tensor item = {
        t->name, 1, {{b, 0, t->rank > 0 ? t->shape[0] : 1}, {0, 0, 0}, {0, 0, 0}}};
    struct ww_depth_name name;
    enum ww_err rc = WW_OK;

    if (!ww_depth_in_stack(t->name, stack, strlen(stack), &name)) {
        return add(list, &item, err);
    }
    for (uint32_t j = 0; j < n && !rc; j++) {
        if (of[j] != name.layer) {
            continue;
        }
        char *text = ww_asprintf("%s%u%s", stack, j, name.rest);
        rc = text ? ww_strlist_add(&list->names, text, err)
                  : WW_FAIL_MEMORY(err, "a name");
        ww_free(text);
        if (!rc) {
            item.name = list->names.items[list->names.n - 1];
            rc = add(list, &item, err);
        }
    }
    return rc;
}

enum ww_err ww_recut_stack(const struct ww_model *base, const char *stack,
                           const uint32_t *of, uint32_t n, struct ww_recut **out,
                           struct ww_error *err)
{
    uint32_t *layers = ww_calloc(n + (size_t)1, sizeof(*layers));
    struct ww_config *config = NULL;
    struct list list = {0};
    enum ww_err rc = layers ? WW_OK : WW_FAIL_MEMORY(err, "a map of layers");

    *out = NULL;
    for (uint32_t j = 0; j < n && !rc; j++) {
        layers[j] = of[j] != WW_NONE ? of[j] : j ? layers[j - 1] : 0;
    }
    for (uint32_t b = 0; b < base->n_tensors && !rc; b++) {
        rc = restack_one(base, b, stack, layers, n, &list, err);
    }
    rc = rc ? rc : ww_recut_config(base->config, layers, n, 0, &config, err);
    rc = rc ? rc : ww_recut_new(base, list.items, list.n, config, out, err);
    release(&list);
    ww_free(layers);
    return rc;
}

static enum ww_err like_stack(const struct ww_model *suspect, const struct ww_recut *like,
                              struct list *list, uint32_t *taken, struct ww_error *err)
{
    const struct ww_model *base = like->model;
    enum ww_err rc = WW_OK;

    for (uint32_t b = 0; b < base->n_tensors && !rc; b++) {
        struct ww_recut_tensor item;
        rc = find(suspect, base, b, base->tensors[b].name, &item, err);
        if (!rc && item.n_parts > 0) {
            *taken += item.n_parts > 1 ||
                      ww_model_find(suspect, base->tensors[b].name) == WW_NONE;
            rc = add(list, &item, err);
        }
    }
    return rc;
}

enum ww_err ww_recut_like(const struct ww_model *suspect, const struct ww_model *base,
                          struct ww_recut **out, uint32_t *taken, struct ww_error *err)
{
    struct ww_recut *like = NULL; /* the base with as many layers */
    struct ww_config *config = NULL;
    struct ww_depth_name name = {0};
    struct list list = {0};
    uint32_t *layers = NULL;
    uint32_t first = WW_NONE;
    uint32_t n = 0;
    char *stack = NULL;
    enum ww_err rc = ww_depth_stack(base, &first, err);

    *out = NULL;
    *taken = 0;
    if (rc || !base->config || first == WW_NONE ||
        !ww_depth_split(base->tensors[first].name, &name)) {
        return rc;
    }
    stack = ww_strndup(base->tensors[first].name, name.before);
    if (!stack) {
        return WW_FAIL_MEMORY(err, "a map of layers");
    }
    n = ww_depth_layers(suspect, stack);
    if (n > 0) {
        rc = layers_of(n, ww_depth_layers(base, stack), &layers, err);
        rc = rc ? rc : ww_recut_stack(base, stack, layers, n, &like, err);
        rc = rc ? rc : like_stack(suspect, like, &list, taken, err);
        rc = rc ? rc
                : ww_recut_config(base->config, layers, n, count_words(suspect, base),
                                  &config, err);
        rc = rc ? rc : ww_recut_new(suspect, list.items, list.n, config, out, err);
    }
    release(&list);
    ww_recut_free(like);
    ww_free(layers);
    ww_free(stack);
    return rc;
}
