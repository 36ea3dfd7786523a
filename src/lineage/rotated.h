/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A suspect whose residual stream was rotated, beside the models that it may come from.
 *
 * The rotation that the base alone gives takes up a part of what sources moved: that part
 * of a task vector which a small rotation of the base would make too. So rotation and
 * shares are solved in turns, the one for what the other says: R is the polar factor of
 * sum x' t^T over the rows x' of all matrices on the stream, with t the same rows of
 * base + sum s_i (source_i - base) and its gains, and s are least squares of the rows
 * turned back by R.
 */
#ifndef WW_LINEAGE_ROTATED_H
#define WW_LINEAGE_ROTATED_H

#include "attack/rotation.h"
#include "lineage/depths.h"
#include "weightward/model.h"

/** Vectors of a tensor on the stream, n of width each: those of a writer lie across. */
struct ww_rotated_rows {
    uint64_t outer; /* n = outer * inner */
    uint64_t inner;
    size_t width;
};
struct ww_rotated_rows ww_rotated_rows(const struct ww_rotation *rotation,
                                       const struct ww_model *model, uint32_t tensor);

/** Rows that are read at once, and those from first on that lie in one piece: elements
 *  from at on where rows lie one after another, else n of each column, columns inner
 *  elements apart. */
#define WW_ROTATED_ROWS 256
struct ww_rotated_piece {
    uint64_t first;
    uint64_t at; /* the first row's first element */
    size_t n;
};
struct ww_rotated_piece ww_rotated_piece(const struct ww_rotated_rows *rows,
                                         uint64_t first);

/** Rows of a piece one after another in out. bytes is room for as many doubles.
 *  WW_E_NONFINITE. */
enum ww_err ww_rotated_read(const struct ww_model *model, uint32_t tensor,
                            const struct ww_rotated_rows *rows,
                            const struct ww_rotated_piece *piece, uint8_t *bytes,
                            double *out, struct ww_error *err) WW_MUST_USE;

/** depths: where the suspect's layers lie in the others. Solve: rotation is the one that
 * the base gives, and becomes the one that all models give, with the gains of their sum.
 * models: suspect, base, sources. *related is false, and rotation of no use, where most
 * matrices do not lie along the base's when turned back. Results depend on the machine in
 * their last bits. */
enum ww_err ww_rotated_fit(struct ww_model *const *models, unsigned n_models,
                           const struct ww_depths *depths,
                           const struct ww_run_options *run, struct ww_rotation *rotation,
                           bool *related, struct ww_error *err) WW_MUST_USE;

/** Of a suspect whose gains are folded in: was its stream not turned at all? It was not
 * where rotation has no r but gains_alone. *still then,
 * rotation is the identity, and its gains are those of the sum, brought nearer to what
 * each column of what reads a norm is to base + sum s_i (source_i - base), by least
 * squares in turns with the shares s, as far as columns tell (empirical Bayes). A column
 * is then the suspect's but for a factor, and so are steps and cells of its rounding.
 * Else rotation is left as it was. */
enum ww_err ww_rotated_still(struct ww_model *const *models, unsigned n_models,
                             const struct ww_run_options *run,
                             struct ww_rotation *rotation, bool *still,
                             struct ww_error *err) WW_MUST_USE;

#endif
