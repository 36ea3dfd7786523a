/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that lie in no file: whoever has a reader asks it instead of a descriptor. */
#ifndef WW_UTIL_READER_H
#define WW_UTIL_READER_H

#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_reader {
    /* Exactly len bytes at offset; from any thread, from many at once. */
    enum ww_err (*read)(void *payload, uint64_t offset, void *out, size_t len,
                        struct ww_error *err);
    void *payload;
};

#endif
