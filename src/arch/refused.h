/* SPDX-License-Identifier: Apache-2.0 */
/** Model types that are refused on purpose, with the reason. */
#ifndef WW_ARCH_REFUSED_H
#define WW_ARCH_REFUSED_H

#include <stddef.h>

struct ww_refused {
    const char *model_type;
    const char *reason; /* follows "is refused: " */
};

extern const struct ww_refused ww_refused[];
extern const size_t ww_n_refused;

/** Why a model type is refused, NULL when it is not on the list. */
const char *ww_refused_reason(const char *model_type);

#endif
