/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of a lock: gather one row, flip signs, shift exponents. Bits only. */
#ifndef WW_LOCK_ROW_GATHER_H
#define WW_LOCK_ROW_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lock/element.h"

/** The columns of a map in the form that the loops read. */
struct ww_row_gather {
    enum ww_dtype dtype; /* a plain float */
    size_t n;
    uint16_t *narrow; /* source columns; NULL with wide NULL: the identity */
    uint32_t *wide;
    void *mask;  /* per column the sign bit or 0, in the dtype's width; NULL:
                    no signs */
    int8_t *exp; /* NULL: no factors */
};

enum ww_err ww_row_gather_init(struct ww_row_gather *gather, enum ww_dtype dtype,
                               const struct ww_element *cols,
                               struct ww_error *err) WW_MUST_USE;
void ww_row_gather_release(struct ww_row_gather *gather);

/** out = the row of in; out is aligned to the element, in need not be. neg flips all
 *  signs. False when an element is NaN or infinite (out is complete all the same). */
bool ww_row_gather(const struct ww_row_gather *gather, bool neg, const void *in,
                   void *out);

/** Multiply out by 2^(exp of the column + exp). False when a value that is not zero is or
 *  becomes anything but a normal number; *at is its column. */
bool ww_row_scale(const struct ww_row_gather *gather, int exp, void *out, size_t *at);

/** First column of a row that is NaN or infinite; n when there is none. */
size_t ww_row_first_nonfinite(enum ww_dtype dtype, const void *row, size_t n);

#endif
