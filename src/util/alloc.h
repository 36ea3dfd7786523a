/* SPDX-License-Identifier: Apache-2.0 */
/* The only door to the heap, so that tests can fail the n-th allocation. */
#ifndef WW_UTIL_ALLOC_H
#define WW_UTIL_ALLOC_H

#include <stddef.h>

#include "weightward/error.h"

/** n * size zeroed bytes, NULL on overflow or when memory is out. n or size 0 gives a
 *  non-NULL pointer that may be freed. */
void *ww_calloc(size_t n, size_t size) WW_MUST_USE;

/** Resize an array to n * size bytes; on failure NULL, the old block stays valid. */
void *ww_realloc_array(void *p, size_t n, size_t size) WW_MUST_USE;

/** n bytes aligned to align (a power of two), contents undefined; free with ww_free. */
void *ww_alloc_aligned(size_t align, size_t n) WW_MUST_USE;

/** n bytes for a buffer of megabytes, contents undefined, in large pages where the system
 *  has them: a small page costs a fault before its first byte. Free with ww_free. */
void *ww_alloc_pages(size_t n) WW_MUST_USE;

char *ww_strdup(const char *s) WW_MUST_USE;
char *ww_strndup(const char *s, size_t len) WW_MUST_USE;

/** printf into a fresh string; NULL when memory is out. */
char *ww_asprintf(const char *fmt, ...) WW_MUST_USE WW_PRINTF(1, 2);

void ww_free(void *p);

#endif
