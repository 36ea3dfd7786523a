/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Roles: what a tensor is for. The role decides which attention, MLP or norm a row speaks
 * of and which field of the layout the tensor fills.
 */
#ifndef WW_ARCH_ROLES_H
#define WW_ARCH_ROLES_H

#include "weightward/layout.h"

struct ww_builder;
struct ww_place;
struct ww_row;

/** WW_E_DESCRIPTOR with the nearest known role, when role is none. */
enum ww_err ww_role_check(const char *role, struct ww_error *err) WW_MUST_USE;

/** What the first word of a role speaks of. */
enum ww_role_group {
    WW_ROLE_MODEL,
    WW_ROLE_BLOCK,
    WW_ROLE_SELF,
    WW_ROLE_CROSS,
    WW_ROLE_MLP,
    WW_ROLE_EXPERT,
    WW_ROLE_SHARED,
    WW_ROLE_MOE
};
enum ww_role_group ww_role_group(const char *role);

/** Enter a bound tensor into the fields that its role and segments fill. */
void ww_role_assign(struct ww_builder *b, const struct ww_place *place, const char *role,
                    uint32_t tensor);

/** All fields of a linear map absent. */
void ww_linear_none(struct ww_linear *linear);
void ww_norm_none(struct ww_norm *norm);

#endif
