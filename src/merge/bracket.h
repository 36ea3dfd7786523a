/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The cuts of a selection by rank in about one reading of the tensor.
 *
 * A sample says between which keys each cut lies; one pass then counts what is larger and
 * sorts what is between into bins, each of which knows whether all its keys are one.
 * Where they are, as for differences of 16-bit floats, the cut is found; else the bin is
 * the next bracket, and where the sample misled the keys beside it are. Keys are 32 bits
 * wide. The result is that of select.h: a sample costs or saves time and decides nothing.
 */
#ifndef WW_MERGE_BRACKET_H
#define WW_MERGE_BRACKET_H

#include "merge/select.h"

struct ww_bracket;

/** For cuts whose ranks are set. Asks for narrow keys, maybe of spots alone, in job. */
enum ww_err ww_bracket_new(struct ww_select *select, struct ww_merge_job *job,
                           struct ww_bracket **out, struct ww_error *err) WW_MUST_USE;
void ww_bracket_free(struct ww_bracket *bracket);

/** A pass: keys of one vector of a block, below 2^31. */
void ww_bracket_scan(const struct ww_bracket *bracket, uint32_t vector,
                     const uint32_t *keys, size_t n, void *acc);
/** The same of changes of all n_x vectors at once, as they are stored. False, and acc as
 *  it was, where some change is NaN or infinite, or this cannot be done so. */
bool ww_bracket_scan_stored(const struct ww_bracket *bracket, const uint8_t *const *x,
                            uint32_t n_x, const uint8_t *base, size_t n, void *acc);
void ww_bracket_fold(struct ww_bracket *bracket, uint64_t tile, const void *acc);
/** *again: one more pass. Else the cuts are done, and job asks for nothing special any
 *  more. */
enum ww_err ww_bracket_scanned(struct ww_bracket *bracket, struct ww_merge_job *job,
                               bool *again, struct ww_error *err) WW_MUST_USE;

#endif
