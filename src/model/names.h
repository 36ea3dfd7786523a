/* SPDX-License-Identifier: Apache-2.0 */
/* Name to index: a hash table that borrows its names. All-zero is an empty table. */
#ifndef WW_MODEL_NAMES_H
#define WW_MODEL_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_name_slot {
    uint32_t hash;
    uint32_t place; /* index + 1; 0 is free */
};

struct ww_names {
    const char **items; /* by index */
    uint32_t n;
    struct ww_name_slot *slots;
    size_t n_slots; /* a power of two, or 0; half of them stay free */
    uint64_t key[2];
};

void ww_names_release(struct ww_names *names);

/** Add a name (it must outlive the table) under the next free index. When it is there
 *  already nothing changes and *existing is its index, else WW_NONE. */
enum ww_err ww_names_add(struct ww_names *names, const char *name, uint32_t *existing,
                         struct ww_error *err) WW_MUST_USE;

/** An empty table, and the names of n records at once: each record is stride bytes and
 *  begins with its `const char *name`. *twice is the first record whose name was there
 *  before it (the table then holds only what came earlier), or WW_NONE. */
enum ww_err ww_names_build(struct ww_names *names, const void *records, size_t stride,
                           size_t n, uint32_t *twice, struct ww_error *err) WW_MUST_USE;

/** The index of a name, or WW_NONE. */
uint32_t ww_names_find(const struct ww_names *names, const char *name);

#endif
