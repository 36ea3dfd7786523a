/* SPDX-License-Identifier: Apache-2.0 */
/* Name to index: a hash table that borrows its names. All-zero is an empty table. */
#ifndef WW_MODEL_NAMES_H
#define WW_MODEL_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_name_slot {
    const char *name;       /* NULL: free */
    uint32_t hash;
    uint32_t index;
};

struct ww_names {
    struct ww_name_slot *slots;
    size_t n_slots;         /* a power of two, or 0 */
    size_t n;
    uint64_t key[2];
};

/** Make room for expected names at once; more may be added later. */
enum ww_err ww_names_init(struct ww_names *names, size_t expected, struct ww_error *err)
    WW_MUST_USE;
void ww_names_release(struct ww_names *names);

/** Add a name (it must outlive the table). When it is there already nothing changes and
 *  *existing is its index, else WW_NONE. */
enum ww_err ww_names_add(struct ww_names *names, const char *name, uint32_t index,
                         uint32_t *existing, struct ww_error *err) WW_MUST_USE;

/** The index of a name, or WW_NONE. */
uint32_t ww_names_find(const struct ww_names *names, const char *name);

#endif
