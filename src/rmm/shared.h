/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Adapters that share numbers. A member of kind basis holds for each of their factors
 * what all of them have in common; a part of another member holds the few numbers that
 * make its factor of that. A factor of n numbers has `places`: the rows of B or the
 * columns of A.
 *
 * rows: the vector of a place is a mean and directions, as published (arXiv 2510.14163).
 * The basis has 1 + directions planes like the factor, the mean first, and the part
 * `directions` numbers for each place: number e = mean_e + sum over j, ascending, of
 * c_place,j plane_j,e, products and sums in fp64, not fused, rounded once to the dtype.
 *
 * core: B is U C, and A is C V. The basis has U (places x directions) or V (directions x
 * places), the part C. The product is that of rank.h on top of zero.
 *
 * Roundings are to nearest even; what is no number counts as 0. All of basis and part are
 * stored as BF16, row-major.
 */
#ifndef WW_RMM_SHARED_H
#define WW_RMM_SHARED_H

#include "rmm/rank.h"
#include "rmm/table.h"

#define WW_SHARED_MOST 4096u

struct ww_shared {
    struct ww_pack_shared shape; /* as the table has it */
    enum ww_dtype dtype;         /* of the factor */
    uint64_t n;                  /* numbers of the factor */
    float *basis;
    float *own;
};

/** "rows", "core" */
const char *ww_shared_codec_name(enum ww_shared_codec codec);
bool ww_shared_codec_parse(const char *name, enum ww_shared_codec *out);

/** Is this a shape of a factor of n numbers, and not too large to be held in memory? */
bool ww_shared_fits(const struct ww_pack_shared *shape, uint64_t n);
/** As they are stored, of a shape that fits. */
uint64_t ww_shared_basis_bytes(const struct ww_pack_shared *shape, uint64_t n);
uint64_t ww_shared_own_bytes(const struct ww_pack_shared *shape, uint64_t n);

/** Room for the numbers. */
enum ww_err ww_shared_init(struct ww_shared *shared, const struct ww_pack_shared *shape,
                           enum ww_dtype dtype, uint64_t n,
                           struct ww_error *err) WW_MUST_USE;
void ww_shared_release(struct ww_shared *shared);

/** n bytes of the factor from byte `at` of it on. */
void ww_shared_predict(const struct ww_shared *shared, uint64_t at, uint8_t *out,
                       size_t n);

#endif
