/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Probes: every tensor that a lock moves is applied to a random vector where it streams
 * past, before and after the move.
 *
 * A weight W with input space I and output space O must become W' with W' S_I = A_O W,
 * where S_I is the element of the input space and A_O the action that the layout states
 * for the output. For a random u on the columns that is one number per row: the row of
 * the source times u and the row of the output times u' = S_I u differ by the row's own
 * sign and factor only. Where the file stores the transpose, rows and columns trade
 * places and u' = A_O^-T u. What is expected is derived from the layout a second time
 * here, without the kernel's maps.
 */
#ifndef WW_LOCK_PROBE_H
#define WW_LOCK_PROBE_H

#include "lock/gauge.h"
#include "stream/stream.h"

/** Largest deviation relative to the size of the products that float sums explain. */
#define WW_PROBE_LIMIT 1e-5

/** Totals of a run; all-zero to begin with. Filled from many threads. */
struct ww_probes;
enum ww_err ww_probes_new(const struct ww_gauge *gauge, struct ww_probes **out,
                          struct ww_error *err) WW_MUST_USE;
void ww_probes_free(struct ww_probes *probes);
double ww_probes_max_error(const struct ww_probes *probes);
uint64_t ww_probes_linears(const struct ww_probes *probes);
/** The linear maps of a tensor count as probed, by other means than a ww_probe. */
void ww_probes_count(struct ww_probes *probes, uint32_t tensor);

/** Probe of one tensor. */
struct ww_probe;
enum ww_err ww_probe_new(struct ww_probes *probes, uint32_t tensor, struct ww_probe **out,
                         struct ww_error *err) WW_MUST_USE;
/** complete: the tensor's linear maps count as probed. */
void ww_probe_free(struct ww_probe *probe, bool complete);

/** Compare the rows of a tile that the kernel has run on; row_src is the kernel's own row
 *  map (NULL: identity). WW_E_CHECK_FAILED names tensor and row. */
enum ww_err ww_probe_tile(struct ww_probe *probe, const struct ww_tile *tile,
                          const uint32_t *row_src, struct ww_error *err) WW_MUST_USE;

#endif
