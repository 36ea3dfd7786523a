/* SPDX-License-Identifier: Apache-2.0 */
/* The frame around every JSON answer. */
#ifndef WW_REPORT_OBJECT_H
#define WW_REPORT_OBJECT_H

#include "json/json.h"
#include "weightward/sign.h"

/** Start the answer object of a verb: "{"schema": "weightward.VERB/1"". */
void ww_object_begin(struct ww_jw *w, struct ww_buf *buf, const char *verb);

/** Close it and hand the text out. buf is released in every case. */
enum ww_err ww_object_end(struct ww_jw *w, struct ww_buf *buf, char **out,
                          struct ww_error *err) WW_MUST_USE;

/** "key": ["...", ...] */
void ww_object_strings(struct ww_jw *w, const char *key, char *const *items, size_t n);
/** "recipe", null where there is none or only the nearest one, which is then "nearest".
 */
void ww_object_recipe(struct ww_jw *w, const char *recipe, bool nearest);

/** The members of a verification's answer. */
void ww_object_verify(struct ww_jw *w, const struct ww_verify_report *report);

#endif
