/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of tensors to the report of an attack. */
#ifndef WW_ATTACK_ATTACK_REPORT_H
#define WW_ATTACK_ATTACK_REPORT_H

#include "attack/attack_plan.h"

enum ww_err ww_attack_report_fill(const struct ww_attack_job *job,
                                  struct ww_attack_report *report,
                                  struct ww_error *err) WW_MUST_USE;

#endif
