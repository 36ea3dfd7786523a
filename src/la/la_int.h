/* SPDX-License-Identifier: Apache-2.0 */
/* The one conversion of a size to the integer of BLAS and LAPACK, and their set-up. */
#ifndef WW_LA_LA_INT_H
#define WW_LA_LA_INT_H

#include "la/la.h"
#include "util/fail.h"

/** Every call into BLAS or LAPACK comes after this. WW_E_UNSUPPORTED when they are
 * absent.
 */
enum ww_err ww_la_ready(struct ww_error *err) WW_MUST_USE;

static inline int ww_la_int(size_t n)
{
    WW_INVARIANT(n <= WW_LA_MAX);
    return (int)n;
}

#endif
