/* SPDX-License-Identifier: Apache-2.0 */
/* Prints of models whose files are not what their weights are: quantised ones. */
#ifndef WW_LINEAGE_CATALOGUE_STORED_H
#define WW_LINEAGE_CATALOGUE_STORED_H

#include "lineage/catalogue_print.h"

/** The print that a catalogue keeps. Eight-bit weights and MXFP4 are taken for the floats
 *  that they stand for, as decompose takes its models; the digest stays that of the
 * files, and the tensors as they are stored stand behind those decoded. *note: how it was
 * read where weights are no floats, the caller's to free; NULL: they are. The model is as
 *  ww_model_decode leaves it. WW_E_NONFINITE, WW_E_QUANTISED. */
enum ww_err ww_print_stored(struct ww_model *model,
                            const struct ww_print_options *options, struct ww_print *out,
                            char **note, struct ww_error *err) WW_MUST_USE;

/** Digest and hashes of a model's bytes into a print without tensors. Their names are the
 *  model's. */
enum ww_err ww_print_add_bytes(const struct ww_model *model,
                               const struct ww_print_options *options,
                               struct ww_print *out, struct ww_error *err) WW_MUST_USE;

#endif
