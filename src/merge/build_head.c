/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads that are the embedding, and heads beside it.
 *
 * A model whose config.json ties the head to the embedding and whose files have a head
 * all the same: loaders use the embedding and leave the head unread, and a merge would
 * use the head. With equal bytes both mean the same; else the folder contradicts itself.
 */
#include <string.h>

#include "merge/build.h"
#include "model/config.h"
#include "model/shape.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define STEP ((uint64_t)1 << 20)

static enum ww_err read_part(const struct ww_build *build, const struct ww_build_model *m,
                             const struct ww_tensor *t, uint64_t at, uint64_t n,
                             uint8_t *to, struct ww_error *err)
{
    return ww_merge_input_read(build->plan, m->first_input + t->file, to, (size_t)n,
                               t->offset + at, err);
}

static bool same_kind(const struct ww_tensor *a, const struct ww_tensor *b)
{
    return a->dtype == b->dtype && a->n_bytes == b->n_bytes && ww_same_shape(a, b);
}

static enum ww_err compare(const struct ww_build *build, const struct ww_build_model *m,
                           const struct ww_tensor *head, bool *equal,
                           struct ww_error *err)
{
    const struct ww_tensor *embed = &m->model->tensors[m->embed];
    uint8_t *a = ww_calloc(2, STEP);
    enum ww_err rc = a ? WW_OK : ww_build_no_memory(err);

    *equal = same_kind(embed, head);
    for (uint64_t at = 0; at < head->n_bytes && *equal && !rc; at += STEP) {
        const uint64_t n = ww_min_u64(STEP, head->n_bytes - at);
        rc = read_part(build, m, embed, at, n, a, err);
        rc = rc ? rc : read_part(build, m, head, at, n, a + STEP, err);
        *equal = memcmp(a, a + STEP, (size_t)n) == 0;
    }
    ww_free(a);
    return rc;
}

enum ww_err ww_build_heads(const struct ww_build *build, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < build->recipe->n_models && !rc; i++) {
        const struct ww_build_model *m = &build->models[i];
        const uint32_t head = ww_model_find(m->model, WW_HEAD);
        bool equal = true;
        if (build->plan->locked || build->recipe->models[i].is_statistics ||
            head == WW_NONE || m->embed == WW_NONE || !m->model->config ||
            !m->model->config->tie) {
            continue;
        }
        rc = compare(build, m, &m->model->tensors[head], &equal, err);
        if (!rc && !equal) {
            rc = WW_FAIL(
                err, WW_E_TENSOR,
                "model '%s': config.json ties the head to the embedding and '" WW_HEAD
                "' is another matrix; set tie_word_embeddings to false if it is "
                "the head, remove the tensor if it is not",
                m->text);
        }
    }
    return rc;
}

static bool has_head(const struct ww_build_model *m)
{
    return ww_model_find(m->model, WW_HEAD) != WW_NONE;
}

static bool says_tied(const struct ww_build_model *m)
{
    return m->ties || (m->model->config && m->model->config->tie);
}

/* The first seat with a head that is no copy of its embedding, or NULL. */
static const struct ww_build_model *own_head(const struct ww_build *build,
                                             const struct ww_build_slot *slot)
{
    for (uint32_t i = 0; i < slot->n_seats; i++) {
        const struct ww_build_model *m = &build->models[slot->seats[i].model];
        if (has_head(m) && !says_tied(m)) {
            return m;
        }
    }
    return NULL;
}

/* The donor's config.json ties the head, and the output has one. */
static enum ww_err untie(struct ww_build *build, const char *whose, struct ww_error *err)
{
    build->unties = true;
    return ww_build_warn(build, err,
                         "'%s' ties its head to the embedding and '%s' has its own: the "
                         "output has its own, and config.json says so",
                         build->models[build->donor].text, whose);
}

/* Slices of tied models share the embedding of the first. */
static enum ww_err say_shared(struct ww_build *build, const struct ww_build_slot *slot,
                              const struct ww_build_model *lead, struct ww_error *err)
{
    const struct ww_build_model *first =
        &build->models[slot->module->slices[0].inputs[0].model];

    return first == lead
               ? WW_OK
               : ww_build_warn(build, err,
                               "the head of the output is its embedding, that of '%s'; "
                               "the head of '%s', whose layers come last, is left out",
                               first->text, lead->text);
}

enum ww_err ww_build_add_head(struct ww_build *build, struct ww_build_slot *slot,
                              const struct ww_build_model *lead, struct ww_error *err)
{
    const struct ww_build_model *donor = &build->models[build->donor];
    const struct ww_build_model *own = own_head(build, slot);
    const bool listed = has_head(lead);
    const bool lent = !listed && lead->ties && (own || !says_tied(donor));
    enum ww_err rc = WW_OK;

    if (!listed && !lent) {
        return build->sliced && lead->ties ? say_shared(build, slot, lead, err) : WW_OK;
    }
    if (says_tied(donor) && (own || build->sliced)) {
        rc = untie(build, own ? own->text : lead->text, err);
    }
    if (rc || listed) {
        return rc;
    }
    slot->name = WW_HEAD;
    slot->t = 0;
    slot->home = build->sliced ? WW_NONE : lead->model->tensors[lead->embed].file;
    return ww_build_add_named(build, slot, err);
}
