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
#include <stdint.h>

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

/**
 * One more line of the notes by which packagers' tools find libraries that are loaded
 * late (UAPI group's specification of ELF dlopen metadata): an array of one object of
 * JSON, under the owner "FDO". name: of a variable; what: a word for the feature; need:
 * "required", "recommended" or "suggested".
 */
#define WW_LIBRARY_NOTE(name, so, what, why, need)                                       \
    WW_LIBRARY_NOTE_OF(name,                                                             \
                       "[{\"soname\":[\"" so "\"],\"feature\":\"" what                   \
                       "\",\"description\":\"" why "\",\"priority\":\"" need "\"}]")
#define WW_LIBRARY_NOTE_OF(name, json)                                                   \
    static const struct {                                                                \
        uint32_t owner_bytes, text_bytes, type;                                          \
        char owner[4];                                                                   \
        char text[sizeof(json)];                                                         \
    } name __attribute__((used, aligned(4), section(".note.dlopen"))) = {                \
        sizeof("FDO"), sizeof(json), 0x407c0c0a, "FDO", json}

/** Load it once, from where the system keeps libraries, and find its functions. From any
 *  thread. It is never unloaded. WW_E_LIBRARY when it is absent or too old. */
enum ww_err ww_library_load(struct ww_library *lib, struct ww_error *err) WW_MUST_USE;

#endif
