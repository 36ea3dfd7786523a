/* SPDX-License-Identifier: Apache-2.0 */
/* What is said beside an extracted adapter. */
#ifndef WW_MERGE_EXTRACT_DOUBTS_H
#define WW_MERGE_EXTRACT_DOUBTS_H

#include "merge/extract_write.h"

/** One more warning: the tensor's name and a text behind it. */
enum ww_err ww_extract_note(struct ww_extract_report *report, struct ww_error *err,
                            const char *text, const char *name) WW_MUST_USE;
/** Which modules PEFT may not find, since transformers renames or stacks them as it loads
 *  the model. Each reason is said once, of the first of them. */
enum ww_err ww_extract_doubts(struct ww_extracting *x, struct ww_error *err) WW_MUST_USE;

#endif
