/* SPDX-License-Identifier: Apache-2.0 */
/* Which files of a folder are the weights, and which are the weights once more. */
#ifndef WW_MODEL_WEIGHTS_H
#define WW_MODEL_WEIGHTS_H

#include "model/findings.h"
#include "model/folder.h"
#include "model/index.h"

struct ww_weights {
    struct ww_strlist files; /* sorted */
    const char *index_name;  /* borrowed from the folder; NULL without an index */
    struct ww_index index;
};

/**
 * In this order: the files of the index; model.safetensors; all of
 * model-0000i-of-0000N.safetensors; the only .safetensors file at the top. Otherwise an
 * error that says what was found instead.
 */
enum ww_err ww_weights_choose(int dirfd, const struct ww_folder *folder,
                              struct ww_weights *out, struct ww_findings *findings,
                              struct ww_error *err) WW_MUST_USE;
/** That file and no other. WW_E_NOTFOUND. */
enum ww_err ww_weights_take(const struct ww_folder *folder, const char *name,
                            struct ww_weights *out, struct ww_error *err) WW_MUST_USE;
void ww_weights_release(struct ww_weights *weights);

/** Why a folder without weights has none: WW_E_ADAPTER, WW_E_PICKLE, WW_E_GGUF, ... */
enum ww_err ww_weights_missing(const struct ww_folder *folder,
                               struct ww_error *err) WW_MUST_USE;

/** True for the file of a PEFT or MLX adapter, by its name. */
bool ww_copies_is_adapter(const struct ww_entry *entry);

/** Findings for every file beside the weights that is, or may be, a copy of them. */
enum ww_err ww_copies_find(const struct ww_folder *folder, const struct ww_model *model,
                           const struct ww_names *by_name, struct ww_findings *findings,
                           struct ww_error *err) WW_MUST_USE;

#endif
