/* SPDX-License-Identifier: Apache-2.0 */
/* The builder's memory: growing arrays by index, and names kept as long as the layout. */
#include "arch/builder.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_builder_grow(void **array, uint32_t *n, uint32_t *capacity, size_t size,
                            struct ww_error *err)
{
    if (*n == *capacity) {
        uint32_t more = *capacity ? *capacity : 32;
        void *p = NULL;
        if (*capacity > UINT32_MAX / 4) {
            return WW_FAIL(err, WW_E_LIMIT, "layout has too many parts");
        }
        p = ww_realloc_array(*array, (size_t)*capacity + more, size);
        if (!p) {
            return WW_FAIL_MEMORY(err, "a layout");
        }
        *array = p;
        *capacity += more;
    }
    memset((char *)*array + (size_t)*n * size, 0, size);
    *n += 1;
    return WW_OK;
}

enum ww_err ww_builder_name(struct ww_builder *b, const char **out, struct ww_error *err,
                            const char *fmt, ...)
{
    char text[1200];
    va_list args;
    int n = 0;
    enum ww_err rc = WW_OK;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        return WW_FAIL(err, WW_E_LIMIT, "name '%.60s...' is too long", text);
    }
    rc = ww_strlist_add(&b->impl->names, text, err);
    if (rc == WW_OK) {
        *out = b->impl->names.items[b->impl->names.n - 1];
    }
    return rc;
}
