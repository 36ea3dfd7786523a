/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What models have and the output has no place for, and what is said of tensors: models
 * of two makes may differ in hundreds, which are few kinds of one name each.
 */
#include <stdio.h>
#include <string.h>

#include "merge/build.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MOST_KINDS 256

/* The name with * for every part of it that is a number. */
static char *pattern_of(const char *name)
{
    char *out = ww_strdup(name);
    size_t at = 0;

    for (const char *p = name; out && *p;) {
        const size_t len = strcspn(p, ".");
        if (len > 0 && strspn(p, "0123456789") >= len) {
            out[at++] = '*';
        } else {
            memcpy(out + at, p, len);
            at += len;
        }
        p += len;
        if (*p) {
            out[at++] = *p++;
        }
    }
    if (out) {
        out[at] = '\0';
    }
    return out;
}

static struct ww_build_note *find_note(const struct ww_build *build,
                                       enum ww_build_about about, const char *pattern,
                                       const char *model)
{
    for (uint32_t i = 0; i < build->n_notes; i++) {
        struct ww_build_note *note = &build->notes[i];
        if (note->about == about && strcmp(note->model, model) == 0 &&
            strcmp(note->pattern, pattern) == 0) {
            return note;
        }
    }
    return NULL;
}

/* Kinds of a few names are told one by one; all others of a model are one kind. */
static enum ww_err add_note(struct ww_build *build, enum ww_build_about about,
                            const char *tensor, const char *model, const char *pattern,
                            struct ww_error *err)
{
    const size_t most = MOST_KINDS + 2 * (size_t)build->recipe->n_models;
    char *first = ww_pool_keep(build->pool, ww_strdup(tensor));
    char *kept = ww_pool_keep(build->pool, ww_strdup(pattern));

    build->notes = build->notes
                       ? build->notes
                       : ww_pool_calloc(build->pool, most, sizeof(*build->notes));
    if (!first || !kept || !build->notes) {
        return ww_build_no_memory(err);
    }
    build->notes[build->n_notes++] = (struct ww_build_note){about, first, kept, model, 1};
    return WW_OK;
}

enum ww_err ww_build_note(struct ww_build *build, enum ww_build_about about,
                          const char *tensor, const char *model, struct ww_error *err)
{
    char *own = pattern_of(tensor);
    const char *pattern = own;
    struct ww_build_note *note = NULL;
    enum ww_err rc = WW_OK;

    if (!own) {
        return ww_build_no_memory(err);
    }
    note = find_note(build, about, pattern, model);
    if (!note && build->n_notes >= MOST_KINDS) {
        pattern = "*";
        note = find_note(build, about, pattern, model);
    }
    if (note) {
        note->n++;
    } else {
        rc = add_note(build, about, tensor, model, pattern, err);
    }
    ww_free(own);
    return rc;
}

enum ww_err ww_build_tell(struct ww_build *build, struct ww_error *err)
{
    static const struct {
        const char *one;
        const char *many;
    } texts[][2] = {
        [WW_NOTE_DROPPED] = {{"of", "of"},
                             {" is dropped: the output has no place for it",
                              " are dropped: the output has no place for them"}},
        [WW_NOTE_LACKING] = {{"is not in", "are not in"},
                             {": merged without it", ": merged without them"}}};
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < build->n_notes && !rc; i++) {
        const struct ww_build_note *note = &build->notes[i];
        rc = note->n == 1
                 ? ww_build_warn(build, err, "tensor '%s' %s '%s'%s", note->first,
                                 texts[note->about][0].one, note->model,
                                 texts[note->about][1].one)
                 : ww_build_warn(build, err, "%u tensors '%s' %s '%s'%s", note->n,
                                 note->pattern, texts[note->about][0].many, note->model,
                                 texts[note->about][1].many);
    }
    return rc;
}

static enum ww_err drop(struct ww_build *build, const char *name, const char *model,
                        const char *lead, struct ww_error *err)
{
    return build->options->allow_mixed
               ? ww_build_note(build, WW_NOTE_DROPPED, name, model, err)
               : WW_FAIL(err, WW_E_TENSOR,
                         "tensor '%s' is in '%s' and not in '%s'; to merge what the "
                         "models share say --allow-mixed",
                         name, model, lead);
}

/* Is the head of a model in the output, or the embedding that it is tied to? */
static bool is_kept_head(const struct ww_build *build, const struct ww_build_model *lead,
                         const char *name)
{
    return strcmp(name, WW_HEAD) == 0 && (build->unties || lead->ties);
}

enum ww_err ww_build_rest_of_models(struct ww_build *build,
                                    const struct ww_build_slot *slot,
                                    struct ww_error *err)
{
    const struct ww_build_model *donor = &build->models[build->donor];
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < slot->n_seats; i++) {
        const struct ww_build_model *m = &build->models[slot->seats[i].model];
        for (uint32_t t = 0; t < m->model->n_tensors && !rc; t++) {
            const char *name = m->model->tensors[t].name;
            const uint32_t module = ww_build_module_of(build, name);
            if ((module == WW_NONE || slot->module == &build->recipe->modules[module]) &&
                ww_model_find(donor->model, name) == WW_NONE &&
                !is_kept_head(build, donor, name)) {
                rc = drop(build, name, m->text, donor->text, err);
            }
        }
    }
    return rc;
}

/* Where a tensor of an input lies in the lead of a slice: its name there (own), NULL when
 * the slice does not take it. */
static enum ww_err name_in_lead(const struct ww_build *build,
                                const struct ww_recipe_module *module, uint32_t slice,
                                const struct ww_recipe_input *in, uint32_t t, char **out,
                                struct ww_error *err)
{
    const struct ww_recipe_input *leading = &module->slices[slice].inputs[0];
    const struct ww_build_model *m = &build->models[in->model];
    const struct ww_build_model *lead = &build->models[leading->model];
    const struct ww_layer_place *place = &m->places[t];
    const char *name = m->model->tensors[t].name;

    *out = NULL;
    if (place->stack == WW_NONE) {
        if (slice != (ww_build_is_before(name) ? 0 : module->n_slices - 1)) {
            return WW_OK;
        }
        *out = ww_strdup(name);
    } else if (place->layer >= in->first_layer && place->layer < in->end_layer) {
        *out = ww_asprintf(
            "%s%llu%s", lead->stacks[0].prefix,
            (unsigned long long)(leading->first_layer + place->layer - in->first_layer),
            name + place->rest);
    } else {
        return WW_OK;
    }
    return *out ? WW_OK : ww_build_no_memory(err);
}

enum ww_err ww_build_rest_of_slice(struct ww_build *build,
                                   const struct ww_recipe_module *module, uint32_t slice,
                                   struct ww_error *err)
{
    const struct ww_recipe_slice *s = &module->slices[slice];
    const struct ww_build_model *lead = &build->models[s->inputs[0].model];
    enum ww_err rc = WW_OK;

    for (uint32_t i = 1; i < s->n_inputs; i++) {
        const struct ww_build_model *m = &build->models[s->inputs[i].model];
        for (uint32_t t = 0; t < m->model->n_tensors && !rc; t++) {
            char *name = NULL;
            rc = name_in_lead(build, module, slice, &s->inputs[i], t, &name, err);
            if (name && ww_model_find(lead->model, name) == WW_NONE &&
                !is_kept_head(build, lead, name)) {
                rc = drop(build, m->model->tensors[t].name, m->text, lead->text, err);
            }
            ww_free(name);
        }
    }
    return rc;
}
