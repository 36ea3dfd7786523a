/* SPDX-License-Identifier: Apache-2.0 */
/** A small folder that is there whole or not at all. */
#ifndef WW_UTIL_NEW_FOLDER_H
#define WW_UTIL_NEW_FOLDER_H

#include "weightward/error.h"

/** Puts into the folder what belongs there, each file on the disk. */
typedef enum ww_err (*ww_fill_fn)(void *payload, const char *folder,
                                  struct ww_error *err);

/** Make PATH.partial (0755), fill it and give it its name; it is removed after a failure.
 *  WW_E_EXISTS for a path that is there, and for a PATH.partial that a killed run left.
 */
enum ww_err ww_new_folder(const char *path, ww_fill_fn fill, void *payload,
                          struct ww_error *err) WW_MUST_USE;

#endif
