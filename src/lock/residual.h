/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a dense lock rounds away, per tensor: the difference between each original number
 * and what undoing the lock predicts for it, counted in steps of the stored type (ordered
 * integers, so that neighbours differ by one), entropy-coded. Layout:
 * docs/formats/residual.md.
 *
 * A line is what is coded in one piece: a unit of the dense map that undoes the lock. Any
 * line can be read without the others, by any thread.
 */
#ifndef WW_LOCK_RESIDUAL_H
#define WW_LOCK_RESIDUAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "weightward/model.h"

/** Largest section of a tensor. */
#define WW_RESIDUAL_MAX ((size_t)1 << 32)

struct ww_residual_shape {
    enum ww_dtype dtype;
    uint64_t n_lines;
    uint64_t line; /* numbers in one */
};

struct ww_residual_writer;
/** Memory: the tensor's bytes and half as much again for 16-bit types. */
enum ww_err ww_residual_writer_new(const struct ww_residual_shape *shape,
                                   struct ww_residual_writer **out,
                                   struct ww_error *err) WW_MUST_USE;
void ww_residual_writer_free(struct ww_residual_writer *writer);
/** Note a line: predicted and original numbers, levels as ww_dense_apply gives them. For
 *  different lines from many threads at once; false when the line is none. */
void ww_residual_note(struct ww_residual_writer *writer, uint64_t line,
                      const uint8_t *predicted, const uint8_t *original,
                      const int16_t *levels);
/** Code all lines. */
enum ww_err ww_residual_finish(struct ww_residual_writer *writer, struct ww_buf *out,
                               struct ww_error *err) WW_MUST_USE;

struct ww_residual_reader;
/** bytes are taken over (ww_free) on success. WW_E_SEALED when they are no section of
 * that shape. */
enum ww_err ww_residual_reader_new(const struct ww_residual_shape *shape, uint8_t *bytes,
                                   size_t len, struct ww_residual_reader **out,
                                   struct ww_error *err) WW_MUST_USE;
void ww_residual_reader_free(struct ww_residual_reader *reader);
/** Turn the predicted numbers of a line into the original ones. Any number of threads.
 * False when the line was written for other numbers (numbers then hold anything). */
bool ww_residual_restore(const struct ww_residual_reader *reader, uint64_t line,
                         uint8_t *numbers, const int16_t *levels) WW_MUST_USE;

#endif
