/* SPDX-License-Identifier: Apache-2.0 */
/** A folder for what a run needs on its way, which the next run may remove. */
#ifndef WW_UTIL_WORK_FOLDER_H
#define WW_UTIL_WORK_FOLDER_H

#include <stdbool.h>
#include <sys/types.h>

#include "weightward/error.h"

/** Make it, with a mark in it that tells it from a folder of somebody else's. replace:
 * one with that mark, which a killed run left, goes first, and so does an empty one.
 *  WW_E_EXISTS for any other. */
enum ww_err ww_work_folder_make(const char *path, mode_t mode, bool replace,
                                struct ww_error *err) WW_MUST_USE;

#endif
