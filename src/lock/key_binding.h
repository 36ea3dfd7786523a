/* SPDX-License-Identifier: Apache-2.0 */
/* Lock keys that are bound: to a model, to one lock, to one direction. */
#ifndef WW_LOCK_KEY_BINDING_H
#define WW_LOCK_KEY_BINDING_H

#include "lock/manifest.h"

/** May a key with this binding (NULL: none) lock the model? Reads the weights once when
 * it is bound to one. WW_E_KEY naming what it is bound to. */
enum ww_err ww_binding_allows_lock(const struct ww_key_binding *binding,
                                   const struct ww_model *model,
                                   const struct ww_run_options *run,
                                   struct ww_error *err) WW_MUST_USE;
/** May it be used on the lock of this manifest, to undo it or to carry an adapter over?
 */
enum ww_err ww_binding_allows_unlock(const struct ww_key_binding *binding,
                                     const struct ww_manifest *manifest,
                                     struct ww_error *err) WW_MUST_USE;

#endif
