/* SPDX-License-Identifier: Apache-2.0 */
/** Names of modules that a library has in memory, as its files have them. */
#ifndef WW_MODEL_ADAPTER_NAMES_H
#define WW_MODEL_ADAPTER_NAMES_H

#include <stdbool.h>

#include "weightward/error.h"

/** The name that files of this model type have for a module's tensor; *out is NULL where
 *  none is known to differ, else the caller's. model_type may be NULL. */
enum ww_err ww_adapter_stored_name(const char *model_type, const char *name, char **out,
                                   struct ww_error *err) WW_MUST_USE;

/** Has a tensor of such files another name as a module's, as far as is known? */
bool ww_adapter_is_renamed(const char *model_type, const char *name);

#endif
