/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Reading all models of a family side by side, tile by tile. A tensor is one thread's,
 * its tiles come in order; what is kept per tensor is the same for any number of threads.
 */
#ifndef WW_LINEAGE_SWEEP_H
#define WW_LINEAGE_SWEEP_H

#include "lineage/family.h"
#include "lineage/moments.h"

/** The tile's columns hold n elements of each model, in double: suspect, base, sources.
 */
typedef enum ww_err (*ww_tile_fn)(void *payload, uint32_t tensor,
                                  struct ww_moments_tile *tile, size_t n,
                                  struct ww_error *err);

/** A tensor is through: what was kept for its tiles alone can go. */
typedef void (*ww_tensor_fn)(void *payload, uint32_t tensor);

struct ww_sweep_ask {
    const char *phase;
    ww_tensor_fn through; /* NULL: nobody asks; not called of tensors that failed */
    const bool *use;      /* which tensors are read; NULL: all */
    const bool *sources;  /* which sources ([n_models - 2]), NULL: all; the columns of
                             others hold nothing */
    const bool *decides;  /* of sums: which sources ([n_models - 2]) decide which elements
                             are used; NULL: all */
    bool cells;           /* where the suspect's values were before they were rounded, if
                             its disguise can tell */
    bool in_part;         /* of large tensors one piece in WW_SWEEP_PART */
    bool stored;          /* where all is BF16: as it is stored, not in columns */
};
#define WW_SWEEP_PART 4
#define WW_SWEEP_LARGE ((uint64_t)1 << 20) /* elements */

enum ww_err ww_sweep(const struct ww_family *family, const struct ww_sweep_ask *ask,
                     const struct ww_run_options *run, ww_tile_fn visit, void *payload,
                     uint64_t *bytes_read, struct ww_error *err) WW_MUST_USE;

#endif
