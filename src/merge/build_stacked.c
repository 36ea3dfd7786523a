/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers that stand in other places than they did. Which of them see a window or rotate
 * nothing may follow from a layer's number, and their weights would fit all the same.
 * Where the architecture is known its descriptor says what every place asks for, before
 * the merge and behind it.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "merge/build.h"
#include "model/config.h"
#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"

enum kind { WHOLE, REAL, FLAG, CHOICE };

/* What a place may ask of the attention in it. */
static const struct trait {
    const char *what;
    size_t at;
    enum kind kind;
} traits[] = {
    {"sliding window", offsetof(struct ww_attention, window), WHOLE},
    {"chunk of keys", offsetof(struct ww_attention, chunk), WHOLE},
    {"kind of rotary embedding", offsetof(struct ww_attention, rope.style), CHOICE},
    {"number of dimensions that rotate", offsetof(struct ww_attention, rope.dims), WHOLE},
    {"base of the rotary embedding", offsetof(struct ww_attention, rope.theta), REAL},
    {"class of queries and keys", offsetof(struct ww_attention, qk_class), CHOICE},
    {"factor on scores", offsetof(struct ww_attention, scale), REAL},
    {"cap on scores", offsetof(struct ww_attention, softcap), REAL},
    {"factor by position", offsetof(struct ww_attention, temper), REAL},
    {"causality", offsetof(struct ww_attention, causal), FLAG},
};

/* A layer of the output, and the one that it was. */
struct moved {
    const struct ww_layout *now;
    const struct ww_layout *was;
    uint32_t now_block;
    uint32_t was_block;
};

static double value_of(const struct ww_attention *attention, const struct trait *trait)
{
    const char *at = (const char *)attention + trait->at;

    switch (trait->kind) {
    case WHOLE:
        return (double)*(const uint64_t *)(const void *)at;
    case REAL:
        return *(const double *)(const void *)at;
    case FLAG:
        return *(const bool *)(const void *)at;
    case CHOICE:
        break;
    }
    return *(const unsigned *)(const void *)at;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* What differs, NULL: nothing does. */
static const char *differs(const struct moved *m)
{
    const struct ww_block *now = &m->now->blocks[m->now_block];
    const struct ww_block *was = &m->was->blocks[m->was_block];

    if (now->residual_multiplier != was->residual_multiplier) {
        return "factor on its branches";
    }
    if (now->numbered != was->numbered) {
        return "factor by its number";
    }
    if (now->self == WW_NONE || was->self == WW_NONE) {
        return NULL;
    }
    const struct ww_attention *a = &m->now->attentions[now->self];
    const struct ww_attention *b = &m->was->attentions[was->self];
    for (size_t i = 0; i < WW_LEN(traits); i++) {
        if (value_of(a, &traits[i]) != value_of(b, &traits[i])) {
            return traits[i].what;
        }
    }
    if ((a->element_owner == now->self) != (b->element_owner == was->self)) {
        return "owner of keys and values";
    }
    return same_text(a->rope.type, b->rope.type) ? NULL : "type of rotary embedding";
}

/* The block of the first tensor of a layer that is in one. */
static bool find_moved(const struct ww_build *build, uint32_t model, uint64_t was,
                       uint64_t now, struct moved *m)
{
    const struct ww_build_model *from = &build->models[model];
    const char *prefix = build->models[build->donor].stacks[0].prefix;
    char name[1024];

    for (uint32_t i = 0; i < from->model->n_tensors; i++) {
        const struct ww_layer_place *place = &from->places[i];
        if (place->stack != 0 || place->layer != was ||
            m->was->bindings[i].block == WW_NONE) {
            continue;
        }
        snprintf(name, sizeof(name), "%s%llu%s", prefix, (unsigned long long)now,
                 from->model->tensors[i].name + place->rest);
        const uint32_t t = ww_model_find(m->now->model, name);
        if (t != WW_NONE && m->now->bindings[t].block != WW_NONE) {
            m->now_block = m->now->bindings[t].block;
            m->was_block = m->was->bindings[i].block;
            return true;
        }
    }
    return false;
}

/* The first layer that differs, and how many do. */
struct found {
    const char *what;
    uint64_t layer;
    uint64_t was;
    uint32_t model;
    uint32_t n;
};

/* The layers that come from one model. */
static enum ww_err compare_model(const struct ww_build *build, uint32_t model,
                                 struct moved *m, struct found *found,
                                 struct ww_error *err)
{
    const struct ww_recipe_module *module = &build->recipe->modules[0];
    struct ww_layout *was = NULL;
    struct ww_error unknown = {0};
    const enum ww_err rc =
        ww_layout_resolve(build->models[model].model, NULL, &was, &unknown);
    uint64_t at = 0;

    m->was = was;
    for (uint32_t s = 0; s < module->n_slices && !rc; s++) {
        const struct ww_recipe_input *in = &module->slices[s].inputs[0];
        for (uint64_t l = in->first_layer; l < in->end_layer; l++, at++) {
            const char *what = in->model == model && find_moved(build, model, l, at, m)
                                   ? differs(m)
                                   : NULL;
            found->n += what != NULL;
            if (what && (found->n == 1 || at < found->layer)) {
                *found = (struct found){what, at, l, model, found->n};
            }
        }
    }
    ww_layout_free(was);
    return rc == WW_E_NOMEM ? ww_build_no_memory(err) : WW_OK;
}

static bool gives_layers(const struct ww_build *build, uint32_t model)
{
    const struct ww_recipe_module *module = &build->recipe->modules[0];

    for (uint32_t s = 0; s < module->n_slices; s++) {
        if (module->slices[s].inputs[0].model == model) {
            return true;
        }
    }
    return false;
}

/* Every layer beside the one that it was; the first that differs is told. */
static enum ww_err compare(struct ww_build *build, const struct ww_layout *now,
                           struct ww_error *err)
{
    struct moved m = {.now = now};
    struct found found = {0};
    enum ww_err rc = WW_OK;

    for (uint32_t model = 0; model < build->recipe->n_models && !rc; model++) {
        if (gives_layers(build, model)) {
            rc = compare_model(build, model, &m, &found, err);
        }
    }
    return rc || found.n == 0
               ? rc
               : ww_build_warn(
                     build, err,
                     "layer %llu of the output, layer %llu of '%.200s', has another %s "
                     "there: config.json tells it by a layer's number; a list by layers, "
                     "as layer_types, would move with them%s",
                     (unsigned long long)found.layer, (unsigned long long)found.was,
                     build->models[found.model].text, found.what,
                     found.n > 1 ? "; so it is with further layers" : "");
}

/* The output as far as a layout asks: names, shapes and config.json. */
static enum ww_err show(const struct ww_build *build, const struct ww_buf *config,
                        struct ww_model **out, struct ww_error *err)
{
    const struct ww_merge_plan *plan = build->plan;
    struct ww_tensor *shown = ww_calloc(plan->n_tensors + (size_t)1, sizeof(*shown));
    enum ww_err rc = shown ? WW_OK : WW_FAIL_MEMORY(err, "a merge");

    for (uint32_t i = 0; i < plan->n_tensors && !rc; i++) {
        const struct ww_merge_tensor *t = &plan->tensors[i];
        shown[i] =
            (struct ww_tensor){.name = t->name, .dtype = t->dtype, .rank = t->rank};
        shown[i].n_elements = 1;
        for (unsigned a = 0; a < t->rank; a++) {
            shown[i].shape[a] = t->shape[a];
            shown[i].n_elements *= t->shape[a];
        }
    }
    rc = rc ? rc : ww_model_shown("the output", shown, plan->n_tensors, out, err);
    rc = rc ? rc : ww_config_parse(config->data, config->len, &(*out)->config, err);
    ww_free(shown);
    return rc;
}

enum ww_err ww_build_stacked(struct ww_build *build, const struct ww_buf *config,
                             struct ww_error *err)
{
    const struct ww_model *donor = build->models[build->donor].model;
    struct ww_layout *was = NULL, *now = NULL;
    struct ww_model *shown = NULL;
    struct ww_error found = {0};
    enum ww_err rc = ww_layout_resolve(donor, NULL, &was, &found);

    ww_layout_free(was);
    if (rc) { /* what is not described cannot be asked */
        return rc == WW_E_NOMEM ? ww_build_no_memory(err) : WW_OK;
    }
    rc = show(build, config, &shown, err);
    if (rc) {
        goto out;
    }
    rc = ww_layout_resolve(shown, NULL, &now, &found);
    if (!rc) {
        rc = compare(build, now, err);
    } else if (rc == WW_E_NOMEM) {
        rc = ww_build_no_memory(err);
    } else if (build->options->allow_mixed) {
        rc = ww_build_warn(build, err, "the output with its config.json is no model: %s",
                           found.text);
    } else {
        rc =
            WW_FAIL(err, WW_E_UNSUPPORTED,
                    "layers of '%s' go by their numbers, and with these the output is no "
                    "model: %s",
                    build->models[build->donor].text, found.text);
    }
out:
    ww_layout_free(now);
    ww_model_close(shown);
    return rc;
}
