/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Draws: the one place that turns key bytes into choices; docs/formats/lock-derivation.md
 * is its definition and may not change without a new label.
 *
 *   PRK  = HKDF-Extract(salt = SHA-256("weightward/lock/v1"), secret)
 *   info = str("weightward/lock/draw/v1") | str(kind) | str(owner) | u64le a | u64le b
 *          where str(s) is u32le length and the bytes
 *   each (kind, owner, a, b) has a keystream of its own, read in the order stated there
 */
#ifndef WW_LOCK_DRAW_H
#define WW_LOCK_DRAW_H

#include "crypto/derive.h"

/** The PRK of a lock key. WW_E_KEY when the secret is not 32 bytes long. */
enum ww_err ww_draw_root(struct ww_secret *secret, struct ww_secret **prk,
                         struct ww_error *err) WW_MUST_USE;

/** out = HKDF-Expand(PRK, str(label) | extra): keys and checks beside the draws. */
enum ww_err ww_draw_key(struct ww_secret *prk, const char *label, const void *extra,
                        size_t extra_len, uint8_t *out, size_t out_len,
                        struct ww_error *err) WW_MUST_USE;

struct ww_draw {
    struct ww_keystream *ks;
};

enum ww_err ww_draw_open(struct ww_draw *draw, struct ww_secret *prk, const char *kind,
                         const char *owner, uint64_t a, uint64_t b,
                         struct ww_error *err) WW_MUST_USE;
void ww_draw_close(struct ww_draw *draw);

/** A permutation of n. */
void ww_draw_perm(struct ww_draw *draw, uint32_t *perm, uint32_t n);
/** n values of width bits each (1 or 2), lowest bits of a keystream word first; every
 *  call begins a new word. */
void ww_draw_bits(struct ww_draw *draw, unsigned width, uint8_t *out, uint32_t n);
/** n exponents in -5 .. 5. */
void ww_draw_exponents(struct ww_draw *draw, int8_t *out, uint32_t n);

#endif
