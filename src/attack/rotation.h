/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A residual stream that was rotated by a dense matrix, its norm gains folded into the
 * linears that read it (as rotation before quantisation does, arXiv 2405.16406).
 *
 * Such a suspect is rotated back into unnamed files first, with the anchor's gains taken
 * out of its readers again, and everything else looks at these files.
 */
#ifndef WW_ATTACK_ROTATION_H
#define WW_ATTACK_ROTATION_H

#include "attack/pair.h"

/** What of a tensor lies on the residual stream. */
struct ww_stream_part {
    bool on; /* an axis runs over it */
    unsigned axis;
    bool is_gain;        /* of a norm, folded */
    bool plus_one;       /* a gain that is stored as what it is above one */
    const double *gains; /* of the anchor, that a reader is divided by; NULL: none */
};

struct ww_rotation {
    size_t n;
    double *r;                    /* x' = r x, n x n; NULL: no rotation was found */
    struct ww_stream_part *parts; /* by tensor of the locked model */
    double **gains;               /* owned, by tensor: gains of the anchor */
    uint32_t n_tensors;
    bool gains_alone; /* gains may be in what reads them, but nothing can be turned: a
                         tied head, norms behind attention and feed-forward block */
};

/** Is every gain on the stream one, and do the anchor's differ? Then solve for r from the
 *  tables of both models. Layouts where it cannot be told which norm a linear reads are
 *  left alone. r stays NULL where gains_alone is all that may be undone. */
enum ww_err ww_rotation_find(const struct ww_pair *pair, struct ww_rotation *out,
                             struct ww_error *err) WW_MUST_USE;
/** Of a pair: what of the locked model lies on its stream, with the anchor's gains; r
 *  stays NULL. *fits as below. *folded: all gains on the stream are one and the anchor's
 *  differ. Release out on failure too, where neither is set. */
enum ww_err ww_rotation_read(const struct ww_pair *pair, struct ww_rotation *out,
                             bool *fits, bool *folded, struct ww_error *err) WW_MUST_USE;
/** What of a model lies on its stream, with its own gains; r stays NULL. *fits is false
 *  for layouts where it cannot be told which norm a linear reads. Of gains_alone, gains
 *  that are not folded (the last norm's, those of norms behind a branch) are off. */
enum ww_err ww_rotation_parts(const struct ww_layout *layout, struct ww_rotation *out,
                              bool *fits, struct ww_error *err) WW_MUST_USE;
/** Better, with the rows of gates: tables is sum e' e^T of the tables. */
enum ww_err ww_rotation_refine(const struct ww_pair *pair, const double *tables,
                               struct ww_rotation *rotation,
                               struct ww_error *err) WW_MUST_USE;
void ww_rotation_release(struct ww_rotation *rotation);

/** The same for two open models, which are borrowed for the call alone. out->r stays
 * NULL, and WW_OK, when no layout is known for them, they do not belong together, or
 * nothing was rotated. WW_E_NOMEM, WW_E_IO and the like. */
enum ww_err ww_rotation_open(const struct ww_model *rotated,
                             const struct ww_model *anchor,
                             const struct ww_run_options *run, struct ww_rotation *out,
                             struct ww_error *err) WW_MUST_USE;

/** A file without a name in folder, or in memory where that is NULL or has none. */
enum ww_err ww_rotation_unnamed(const char *folder, int *fd,
                                struct ww_error *err) WW_MUST_USE;

/** Files of the locked model with the rotation undone, one descriptor each, in fds; they
 * lie in folder (NULL: in memory) without a name. Made so far are closed on failure. */
enum ww_err ww_rotation_undo(const struct ww_pair *pair,
                             const struct ww_rotation *rotation, const char *folder,
                             int *fds, struct ww_error *err) WW_MUST_USE;

#endif
