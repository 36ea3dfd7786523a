/* SPDX-License-Identifier: Apache-2.0 */
/* Orders for qsort. */
#ifndef WW_UTIL_ORDER_H
#define WW_UTIL_ORDER_H

/** Doubles, ascending; none is NaN. */
static inline int ww_order_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

#endif
