/* SPDX-License-Identifier: Apache-2.0 */
/** How messages become a prompt: "chat" of a pool file, one template for all members. */
#ifndef WW_SERVE_TEMPLATE_H
#define WW_SERVE_TEMPLATE_H

#include "evo/members.h"
#include "serve/question.h"

/** Texts stay those of members. WW_E_MALFORMED; nothing is given when there is no
 *  "chat". */
enum ww_err ww_chat_template_read(const struct ww_members *members,
                                  struct ww_chat_template *out,
                                  struct ww_error *err) WW_MUST_USE;

#endif
