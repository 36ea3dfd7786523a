/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The probe of a mixed tensor, as in probe.h: one random vector through every row before
 * and after, and what must have come of it, derived from the layout a second time without
 * the kernel's maps. The whole tensor is judged at its end, since a row is made of
 * several. Rounding to the stored type is part of a dense lock, so the deviation is a
 * measurement with a limit and not zero.
 */
#ifndef WW_LOCK_DENSE_PROBE_H
#define WW_LOCK_DENSE_PROBE_H

#include "lock/cells.h"
#include "lock/gauge.h"

struct ww_dense_probe;
enum ww_err ww_dense_probe_new(const struct ww_gauge *gauge,
                               const struct ww_cell_source *source, uint32_t tensor,
                               struct ww_dense_probe **out,
                               struct ww_error *err) WW_MUST_USE;
void ww_dense_probe_free(struct ww_dense_probe *probe);

/** n rows have gone from source row `from` on to row `to` on, in bytes and out bytes; a
 *  tensor of rank 1 is one row. Any thread, each row once. */
void ww_dense_probe_note(struct ww_dense_probe *probe, uint64_t from, uint64_t to,
                         uint64_t n, const uint8_t *in, const uint8_t *out);

/** All rows are there. *error: deviation relative to what was expected, root mean square
 *  over the rows. WW_E_CHECK_FAILED when rounding does not explain it. */
enum ww_err ww_dense_probe_judge(const struct ww_dense_probe *probe, double *error,
                                 struct ww_error *err) WW_MUST_USE;

#endif
