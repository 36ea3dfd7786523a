/* SPDX-License-Identifier: Apache-2.0 */
/* Shamir's secret sharing over GF(2^8), for secrets of 32 bytes. */
#ifndef WW_CRYPTO_SHAMIR_H
#define WW_CRYPTO_SHAMIR_H

#include "crypto/secret.h"

#define WW_SHAMIR_BYTES 32
#define WW_SHAMIR_MAX_SHARES 255

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1; no table and no branch on data. */
uint8_t ww_gf256_mul(uint8_t a, uint8_t b);
/** The inverse; 0 for 0. */
uint8_t ww_gf256_inverse(uint8_t a);

/**
 * Shares at x = 1 .. n_shares: *shares holds n_shares times 32 bytes. coefficients: of
 * x, x^2, .. x^(threshold-1), 32 bytes each, or NULL to draw them. WW_E_USAGE unless
 * 2 <= threshold <= n_shares <= 255.
 */
enum ww_err ww_shamir_split(struct ww_secret *secret, struct ww_secret *coefficients,
                            unsigned threshold, unsigned n_shares,
                            struct ww_secret **shares, struct ww_error *err) WW_MUST_USE;

/** The polynomial through n points at zero: points[i] at xs[i]. The xs must differ and
 *  not be 0 (WW_E_SHARES). */
enum ww_err ww_shamir_combine(const uint8_t *xs, struct ww_secret *const *points,
                              size_t n, struct ww_secret **secret,
                              struct ww_error *err) WW_MUST_USE;

#endif
