/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dtypes of safetensors 0.8.0, all from the one list in model.h. The reference marks
 * its list as open, so an unknown name is a case of its own for callers, not a bug here.
 */
#include "model/dtype.h"

#include <string.h>

struct dtype_row {
    const char *text;
    size_t len;
    unsigned bits;
};

static const struct dtype_row dtypes[WW_DTYPE_COUNT] = {
#define DTYPE_ROW(name, text, bits, rank)                                                \
    [WW_DTYPE_##name] = {text, sizeof(text) - 1, bits},
    WW_DTYPE_LIST(DTYPE_ROW)
#undef DTYPE_ROW
};

const char *ww_dtype_name(enum ww_dtype dtype)
{
    return (unsigned)dtype < WW_DTYPE_COUNT ? dtypes[dtype].text : "?";
}

unsigned ww_dtype_bits(enum ww_dtype dtype)
{
    return (unsigned)dtype < WW_DTYPE_COUNT ? dtypes[dtype].bits : 0;
}

bool ww_dtype_is_plain_float(enum ww_dtype dtype)
{
    return dtype == WW_DTYPE_F64 || dtype == WW_DTYPE_F32 || dtype == WW_DTYPE_F16 ||
           dtype == WW_DTYPE_BF16;
}

bool ww_dtype_parse(const char *text, size_t len, enum ww_dtype *out)
{
    for (unsigned i = 0; i < WW_DTYPE_COUNT; i++) {
        if (dtypes[i].len == len && memcmp(dtypes[i].text, text, len) == 0) {
            *out = (enum ww_dtype)i;
            return true;
        }
    }
    return false;
}
