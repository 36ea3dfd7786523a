/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Who may ask: keys as Bearer tokens (RFC 6750), one a line in a file of the user's
 * alone. Kept as digests and compared whole and all of them, so that time tells nothing.
 */
#ifndef WW_SERVE_BEARER_H
#define WW_SERVE_BEARER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#define WW_BEARER_MIN 16
#define WW_BEARER_MAX 256
#define WW_BEARER_KEYS 1024

struct ww_bearers {
    size_t n; /* 0: everybody may */
    uint8_t (*digest)[32];
};

/** Empty lines are skipped. WW_E_KEYFILE for a text without a key or a line that is none;
 *  nothing is kept then. */
enum ww_err ww_bearers_parse(const uint8_t *text, size_t len, struct ww_bearers *out,
                             struct ww_error *err) WW_MUST_USE;
/** The same of a file; also WW_E_KEY_ACCESS. */
enum ww_err ww_bearers_read(const char *path, struct ww_bearers *out,
                            struct ww_error *err) WW_MUST_USE;
void ww_bearers_release(struct ww_bearers *bearers);

/** header: what stands behind "Authorization:"; NULL. */
bool ww_bearers_allow(const struct ww_bearers *bearers, const char *header);

#endif
