/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan must keep to; struct ww_plan itself is in stream/stream.h. */
#ifndef WW_STREAM_PLAN_H
#define WW_STREAM_PLAN_H

#include "stream/stream.h"

/** Does the plan hold together? WW_E_USAGE, WW_E_PATH when not. */
enum ww_err ww_plan_check(const struct ww_plan *plan, struct ww_error *err) WW_MUST_USE;

#endif
