/* SPDX-License-Identifier: Apache-2.0 */
/* Guarded memory for secrets: guard pages, no access while idle, wiped on free. */
#ifndef WW_CRYPTO_SECRET_H
#define WW_CRYPTO_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"
#include "weightward/key.h" /* struct ww_secret is public but opaque */

enum ww_err ww_secret_new(size_t len, struct ww_secret **out,
                          struct ww_error *err) WW_MUST_USE;
size_t ww_secret_len(const struct ww_secret *secret);
/** Make readable/writable until ww_secret_close; nests. */
uint8_t *ww_secret_open(struct ww_secret *secret);
void ww_secret_close(struct ww_secret *secret);
/** Constant time; false also when the lengths differ. */
bool ww_secret_equal(struct ww_secret *a, struct ww_secret *b);
/** Constant time. */
bool ww_bytes_equal(const void *a, const void *b, size_t len);
void ww_wipe(void *p, size_t len);
void ww_random(void *out, size_t len);

#endif
