/* SPDX-License-Identifier: Apache-2.0 */
/** Models by their names on the hub, in a cache as huggingface_hub keeps it. */
#ifndef WW_MERGE_HUB_CACHE_H
#define WW_MERGE_HUB_CACHE_H

#include <stdbool.h>

#include "weightward/error.h"

/**
 * The folder of a model: CACHE/models--ORG--NAME/snapshots/COMMIT, where the commit is
 * the revision, or what refs/REVISION says; a NULL revision is main. *out (own) stays
 * NULL when it is not there, or the name is none of the hub.
 */
enum ww_err ww_hub_folder(const char *cache, const char *name, const char *revision,
                          char **out, struct ww_error *err) WW_MUST_USE;
/** Does the path lie in the cache? A NULL cache has nothing. */
bool ww_hub_has(const char *cache, const char *path);

#endif
