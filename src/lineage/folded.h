/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A model with the gains of its norms folded into what reads them, and all that writes
 * its residual stream divided by one number. A norm does not notice either, so whoever
 * moves factors between gains and matrices, or makes a stream longer, changes nothing of
 * what is seen here. Numbers are F32, in one file that nobody wrote.
 */
#ifndef WW_LINEAGE_FOLDED_H
#define WW_LINEAGE_FOLDED_H

#include "attack/rotation.h"
#include "model/unwritten.h"
#include "weightward/model.h"

struct ww_folded {
    struct ww_model *model; /* with a config of its own */
    bool lent;              /* the model is closed by somebody else, later */
    const struct ww_model *from;
    struct ww_rotation parts; /* of from */
    double length;            /* what writers are divided by */
    struct ww_unwritten file;
};

/** from is borrowed. *out stays NULL, and WW_OK, when no layout is known for it or it
 *  cannot be told which norm a linear reads. */
enum ww_err ww_folded_new(const struct ww_model *from, struct ww_folded **out,
                          struct ww_error *err) WW_MUST_USE;
void ww_folded_free(struct ww_folded *folded);

/** Something else that lies in the layout of from, folded alike: sizes of errors, say. It
 *  stays in its place while somebody reads it, and borrows from folded. */
struct ww_folded_beside {
    struct ww_weight_file file;
    struct ww_model from;
    struct ww_folded folded;
};
/** reader has it, in the place of from's only file, and is borrowed. */
void ww_folded_beside(const struct ww_folded *folded, const struct ww_reader *reader,
                      struct ww_folded_beside *out);

/** Squared norms of the tables of words, which no lock changes: of their first n_rows
 *  rows, 4096 of them where there are more. */
struct ww_folded_norms {
    double embeddings;
    double heads;
};
enum ww_err ww_folded_norms(const struct ww_folded *folded, uint64_t n_rows,
                            struct ww_folded_norms *out,
                            struct ww_error *err) WW_MUST_USE;

/** Of what reads through odd gains of the suspect, n of its parts' gains, and of writers
 *  of a stream of another length: is it near the anchor's, and no nearer when both are
 *  folded? Then gains were changed, and nothing was moved into matrices or out of them.
 */
enum ww_err ww_folded_apart(const struct ww_folded *suspect,
                            const struct ww_folded *anchor, const double *const *odd,
                            uint32_t n, bool *as_it_is, struct ww_error *err) WW_MUST_USE;

#endif
