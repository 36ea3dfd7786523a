/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Libraries that few commands need are loaded by those. Linking OpenBLAS, libcurl, libpq
 * and libmicrohttpd, and the thirty others that they bring with them, takes longer than
 * most commands do.
 */
#ifndef WW_UTIL_LIBRARY_H
#define WW_UTIL_LIBRARY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "weightward/error.h"

/** A library and the functions of it that are called: an object with static storage. */
struct ww_library {
    const char *soname;
    const char *purpose;      /* for error texts: "requests over HTTP" */
    const char *const *names; /* [n] */
    size_t n;
    size_t n_optional; /* of them, the last: NULL where the library has them not */
    void *functions;   /* a struct of n pointers to functions, in the order of names */
    pthread_mutex_t lock;
    atomic_bool loaded;
};

/** names: an array of these; table: a struct of pointers to them, in the same order. A
 * list as a macro that calls its argument for each name makes both. */
#define WW_LIBRARY_INIT(so, why, list, table)                                            \
    {                                                                                    \
        .soname = (so), .purpose = (why), .names = (list),                               \
        .n = sizeof(list) / sizeof((list)[0]), .functions = &(table),                    \
        .lock = PTHREAD_MUTEX_INITIALIZER,                                               \
    }

/** Load it once, from where the system keeps libraries, and find its functions. From any
 *  thread. It is never unloaded. WW_E_UNSUPPORTED when it is absent or too old. */
enum ww_err ww_library_load(struct ww_library *lib, struct ww_error *err) WW_MUST_USE;

#endif
