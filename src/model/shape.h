/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes of tensors compared. */
#ifndef WW_MODEL_SHAPE_H
#define WW_MODEL_SHAPE_H

#include <string.h>

#include "weightward/model.h"

/** As many axes, each as long; dtypes may differ. */
static inline bool ww_same_shape(const struct ww_tensor *a, const struct ww_tensor *b)
{
    return a->rank == b->rank &&
           memcmp(a->shape, b->shape, a->rank * sizeof(a->shape[0])) == 0;
}

#endif
