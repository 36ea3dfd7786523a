/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled-in descriptors; the tables are made by embed.cmake. */
#ifndef WW_ARCH_CATALOGUE_H
#define WW_ARCH_CATALOGUE_H

#include <stddef.h>

struct ww_embedded {
    const char *id;
    const unsigned char *bytes;
    size_t len;
};
extern const struct ww_embedded ww_embedded[];
extern const size_t ww_n_embedded;
extern const char *const ww_embedded_ids[]; /* NULL-terminated */

#endif
