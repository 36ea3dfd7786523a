/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of the spaces that belong to an attention; part of the gauge. */
#ifndef WW_LOCK_GAUGE_ATTENTION_H
#define WW_LOCK_GAUGE_ATTENTION_H

#include "lock/gauge.h"

/** space.owner is the attention. */
enum ww_err ww_gauge_attention(const struct ww_gauge *gauge, const struct ww_space *space,
                               struct ww_element *out, struct ww_error *err) WW_MUST_USE;

#endif
