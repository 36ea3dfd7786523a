/* SPDX-License-Identifier: Apache-2.0 */
/* Members that ask for policies, and what is made of them. */
#ifndef WW_RMM_ASKING_H
#define WW_RMM_ASKING_H

#include "rmm/member.h"

/** Is a file of this name a member's request for policies, its own or an ancestor's? */
bool ww_path_asks(const char *path);

/** A basis tells of all n members, so it asks for all policies that one of them asks for:
 * it gets such a request as a file beside its numbers, and none where nobody asks. path:
 * the package, for a nameless file beside it. WW_E_POLICY for a request that is none. */
enum ww_err ww_basis_inherit(const struct ww_member *members, size_t n, const char *path,
                             struct ww_member *basis, struct ww_error *err) WW_MUST_USE;

#endif
