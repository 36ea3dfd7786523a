/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a dtype name as it stands in a header; the table itself is in model.h. */
#ifndef WW_MODEL_DTYPE_H
#define WW_MODEL_DTYPE_H

#include "weightward/model.h"

/** False when the text is no dtype that this version knows. */
bool ww_dtype_parse(const char *text, size_t len, enum ww_dtype *out);

#endif
