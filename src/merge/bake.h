/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A base with a LoRA adapter added, read as a file that lies nowhere: one tensor for each
 * weight that the adapter changes. The other weights are the base's own. Source: LoRA
 * (arXiv 2106.09685), rank-stabilised scaling (2312.03732), DoRA (2402.09353), as PEFT
 * applies them.
 *
 *   W' = W + scaling * B A            DoRA: row i of W' times magnitude[i] / |row i of
 * W'|
 *
 * Sums over the rank in double, in order of the rank, rounded once to float32 (float64
 * where the base has it): the same bits on every machine, for any range that is asked
 * for. Memory: one factor of a few weights (both where experts share them), and a block
 * of rows for each reading thread.
 */
#ifndef WW_MERGE_BAKE_H
#define WW_MERGE_BAKE_H

#include "model/adapter.h"
#include "util/reader.h"

struct ww_bake;

/** base and adapter are borrowed; readers: NULL, or for each file of the base what reads
 * it in its place. WW_E_TENSOR, WW_E_SHAPE when it is not the adapter's base;
 * WW_E_UNSUPPORTED, WW_E_QUANTISED, WW_E_ADAPTER_FILE. */
enum ww_err ww_bake_open(const struct ww_model *base,
                         const struct ww_reader *const *readers,
                         const struct ww_adapter *adapter, struct ww_bake **out,
                         struct ww_error *err) WW_MUST_USE;
void ww_bake_close(struct ww_bake *bake);

/** The changed weights as they lie in the file: dtype and offset; name and shape are the
 *  base's. */
const struct ww_tensor *ww_bake_tensors(const struct ww_bake *bake, uint32_t *n);
/** The changed form of a tensor of the base; NULL: it is the base's own. */
const struct ww_tensor *ww_bake_find(const struct ww_bake *bake, uint32_t tensor);
uint64_t ww_bake_bytes(const struct ww_bake *bake);
/** WW_E_NONFINITE when what is read has a NaN or an infinity in it. Borrowed. */
const struct ww_reader *ww_bake_reader(const struct ww_bake *bake);
/** The embedding of a base that has no other head; WW_NONE: it has one. */
uint32_t ww_bake_tied_head(const struct ww_model *base);
/** What a person should know of it, NULL: nothing. */
const char *ww_bake_doubt(const struct ww_bake *bake);

#endif
