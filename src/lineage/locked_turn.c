/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/locked_turn.h"

#include <string.h>

void ww_locked_turn_release(struct ww_locked_turn *turn)
{
    ww_attack_view_free(turn->steps.view);
    ww_attack_view_free(turn->view);
    ww_disguise_leave(&turn->lock);
    ww_folded_free(turn->floats);
    memset(turn, 0, sizeof(*turn));
}

/* The lock of what is turned back, taken off what is not. */
static enum ww_err undo(struct ww_locked_turn *turn, const struct ww_model *base,
                        const struct ww_reader *back, const struct ww_run_options *run,
                        bool *took, struct ww_error *err)
{
    const struct ww_reader *const rotated[] = {&turn->floats->file.reader};
    struct ww_weight_file *file = &turn->floats->model->files[0];
    const struct ww_attack_found *found = NULL;
    enum ww_err rc = WW_OK;

    file->reader = back;
    rc =
        ww_disguise_locked(turn->floats->model, base, false, run, &turn->lock, took, err);
    file->reader = rotated[0];
    if (rc || !*took) {
        return rc;
    }
    found = ww_attack_view_found(turn->lock.payload);
    *took = found->residual_moved == 0 && found->residual_negated == 0;
    rc = *took ? ww_attack_view_beside(turn->lock.payload, rotated, &turn->view, err)
               : WW_OK;
    if (!rc && *took) {
        file->reader = ww_attack_view_reader(turn->view, 0);
    }
    return rc;
}

enum ww_err ww_locked_turn_find(const struct ww_model *suspect,
                                const struct ww_model *base, ww_unwritten_fn back,
                                void *payload, const struct ww_run_options *run,
                                struct ww_locked_turn *out, struct ww_error *err)
{
    struct ww_unwritten turned;
    bool took = false;
    enum ww_err rc = ww_folded_new(suspect, &out->floats, err);

    if (!rc && out->floats) {
        ww_unwritten_beside(out->floats->model, back, payload, &turned);
        rc = undo(out, base, &turned.reader, run, &took, err);
    }
    if (rc || !took) {
        ww_locked_turn_release(out);
    }
    return rc;
}

enum ww_err ww_locked_turn_steps(ww_unwritten_fn read, void *payload,
                                 struct ww_locked_turn *out, struct ww_error *err)
{
    struct ww_locked_steps *steps = &out->steps;
    const struct ww_reader *const rotated[] = {&steps->rotated.reader};
    enum ww_err rc = WW_OK;

    ww_unwritten_beside(out->floats->model, read, payload, &steps->rotated);
    rc = ww_attack_view_beside(out->lock.payload, rotated, &steps->view, err);
    if (!rc) {
        steps->model = *out->floats->model;
        steps->file = steps->model.files[0];
        steps->file.reader = ww_attack_view_reader(steps->view, 0);
        steps->model.files = &steps->file;
    }
    return rc;
}

enum ww_err ww_locked_turn_depths(const struct ww_model *suspect,
                                  const struct ww_model *base, ww_unwritten_fn back,
                                  void *payload, struct ww_locked_turn *scratch,
                                  struct ww_depths *out, struct ww_error *err)
{
    struct ww_unwritten turned;
    enum ww_err rc = ww_folded_new(suspect, &scratch->floats, err);

    if (!rc && scratch->floats) {
        ww_unwritten_beside(scratch->floats->model, back, payload, &turned);
        scratch->floats->model->files[0].reader = &turned.reader;
        rc = ww_depths_find(scratch->floats->model, base, out, err);
    }
    ww_locked_turn_release(scratch);
    return rc;
}
