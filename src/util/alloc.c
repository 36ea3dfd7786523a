/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heap behind one door: products are checked here once, and the torture tests can
 * make any single allocation fail. Size 0 is rounded up to one byte, because whether
 * malloc(0) gives NULL differs between C libraries and NULL means failure here.
 */
#include "util/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "util/fault.h"
#include "weightward/error.h"

#define LARGE_PAGE ((size_t)2 << 20)

void *ww_calloc(size_t n, size_t size)
{
    size_t total = 0;
    if (__builtin_mul_overflow(n, size, &total) || ww_fault_hit(WW_FAULT_ALLOC)) {
        return NULL;
    }
    return calloc(total ? total : 1, 1);
}

void *ww_realloc_array(void *p, size_t n, size_t size)
{
    size_t total = 0;
    if (__builtin_mul_overflow(n, size, &total) || ww_fault_hit(WW_FAULT_ALLOC)) {
        return NULL;
    }
    return realloc(p, total ? total : 1);
}

void *ww_alloc_aligned(size_t align, size_t n)
{
    void *p = NULL;
    if (ww_fault_hit(WW_FAULT_ALLOC)) {
        return NULL;
    }
    if (align < sizeof(void *)) {
        align = sizeof(void *);
    }
    return posix_memalign(&p, align, n ? n : 1) == 0 ? p : NULL;
}

void *ww_alloc_pages(size_t n)
{
    void *p = ww_alloc_aligned(LARGE_PAGE, n);

    if (p) {
        madvise(p, n, MADV_HUGEPAGE); /* a wish: failure does no harm */
    }
    return p;
}

char *ww_strdup(const char *s)
{
    return ww_strndup(s, strlen(s));
}

char *ww_strndup(const char *s, size_t len)
{
    size_t n = strnlen(s, len);
    char *copy = ww_calloc(n + 1, 1);
    if (copy) {
        memcpy(copy, s, n);
    }
    return copy;
}

char *ww_asprintf(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) {
        return NULL;
    }
    char *s = ww_calloc((size_t)n + 1, 1);
    if (s) {
        va_start(args, fmt);
        vsnprintf(s, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    return s;
}

void ww_free(void *p)
{
    free(p);
}

void ww_string_free(char *s)
{
    ww_free(s);
}
