/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The cells that a lock key means on a layout, on top of its exact element (gauge.h).
 *
 * Per KV group, shared by its query heads: a matrix B on values and context where no
 * norm, gate or clamp stands between them, a matrix A on the dimensions of queries and
 * keys that do not rotate where no norm stands between, and a unit complex phase on each
 * rotary pair there. Latent attention: A on the part without rotary embedding and B per
 * head, phases shared by the heads of a layer.
 */
#ifndef WW_LOCK_DENSE_GAUGE_H
#define WW_LOCK_DENSE_GAUGE_H

#include "lock/cells.h"
#include "lock/gauge.h"

/* X(name, text): structural faults, for tests. */
#define WW_DENSE_WRONG_LIST(X)                                                           \
    X(NONE, "none")                                                                      \
    X(OUTPUT, "dense-output")   /* the output projection is not inverted */              \
    X(PAIRING, "dense-pairing") /* phases on the other rotary pairing */                 \
    X(GROUP, "dense-group")     /* keys and context take another group's matrix */

enum ww_dense_wrong {
#define WW_DENSE_WRONG_ENUM(name, text) WW_DENSE_WRONG_##name,
    WW_DENSE_WRONG_LIST(WW_DENSE_WRONG_ENUM)
#undef WW_DENSE_WRONG_ENUM
        WW_DENSE_WRONG_COUNT
};
const char *ww_dense_wrong_name(enum ww_dense_wrong wrong);

/** What an attention may mix. */
struct ww_dense_moves {
    bool qk;     /* matrices on queries and keys (their part that does not rotate) */
    bool phases; /* of rotary pairs */
    bool vo;
};

struct ww_dense_gauge;

/** condition 0: Haar; else U diag(s) V of at most that condition, up to 4. Borrows the
 *  gauge. */
enum ww_err ww_dense_gauge_new(const struct ww_gauge *gauge, double condition,
                               enum ww_dense_wrong wrong, struct ww_dense_gauge **out,
                               struct ww_error *err) WW_MUST_USE;
void ww_dense_gauge_free(struct ww_dense_gauge *dense);

/** Cells by space; valid as long as the dense gauge. */
const struct ww_cell_source *ww_dense_gauge_source(const struct ww_dense_gauge *dense);

/** What of an attention is mixed. A layout alone says it: no key is needed. */
enum ww_err ww_dense_moves(const struct ww_layout *layout, struct ww_dense_moves **out,
                           struct ww_error *err) WW_MUST_USE; /* n_attentions; ww_free */
/** As ww_lock_moves, with the words of a dense lock and why parts are not mixed. */
struct ww_block_moves;
enum ww_err ww_dense_block_moves(const struct ww_layout *layout, bool scale,
                                 struct ww_block_moves **blocks, size_t *n_blocks,
                                 struct ww_error *err) WW_MUST_USE;
static inline bool ww_dense_any(const struct ww_dense_moves *moves)
{
    return moves->qk || moves->phases || moves->vo;
}

/** Does the fault break something in this attention? */
bool ww_dense_wrong_applies(const struct ww_attention *att,
                            const struct ww_dense_moves *moves,
                            enum ww_dense_wrong wrong);

#endif
