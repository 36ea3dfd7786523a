/* SPDX-License-Identifier: Apache-2.0 */
/* The one conversion of a size to the integer of BLAS and LAPACK. */
#ifndef WW_LA_LA_INT_H
#define WW_LA_LA_INT_H

#include "la/la.h"
#include "util/fail.h"

static inline int ww_la_int(size_t n)
{
    WW_INVARIANT(n <= WW_LA_MAX);
    return (int)n;
}

#endif
