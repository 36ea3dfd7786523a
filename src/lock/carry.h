/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a lock does to the tensors of an adapter. On a weight W of the base the lock acts
 * by one map per axis, W' = P W Q, so the low-rank update moves as B' = P B and A' = A Q:
 * the rank axis stays, and B' A' = P (B A) Q exactly.
 */
#ifndef WW_LOCK_CARRY_H
#define WW_LOCK_CARRY_H

#include "lock/axis_map.h"
#include "model/adapter.h"
#include "stream/stream.h"

/** Which axes of which base tensor an adapter tensor's axes run over. */
struct ww_carry {
    const struct ww_gauge *gauge;
    const struct ww_adapter_entry *entry;
    uint32_t target; /* of the base: the locked side of the map */
    int row_axis;    /* axis of the target that axis 0 runs over, -1: none */
    int col_axis;    /* the same for the last moving axis */
    uint64_t n_rows;
    uint64_t col_extent;
    uint64_t inner;     /* columns = col_extent * inner */
    bool unsigned_only; /* a magnitude: the order moves, signs do not */
    bool inverse;
};

/** Find out how an entry moves. transposed: the base stores [in, out].
 *  WW_E_SHAPE, WW_E_UNSUPPORTED. */
enum ww_err ww_carry_init(struct ww_carry *carry, const struct ww_gauge *gauge,
                          const struct ww_adapter *adapter,
                          const struct ww_adapter_entry *entry, uint32_t target,
                          bool inverse, struct ww_error *err) WW_MUST_USE;

/** params: struct ww_carry. */
extern const struct ww_kernel ww_carry_kernel;

#endif
