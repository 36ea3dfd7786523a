/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers without a state: every word can be computed on its own, with vector
 * units or without. */
#ifndef WW_LA_PHILOX_H
#define WW_LA_PHILOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WW_PHILOX_ROUNDS 10
#define WW_PHILOX_MUL_0 0xD2511F53U
#define WW_PHILOX_MUL_1 0xCD9E8D57U
#define WW_PHILOX_KEY_0 0x9E3779B9U
#define WW_PHILOX_KEY_1 0xBB67AE85U
#define WW_PHILOX_LANES 8u

/** Philox 4x32 with ten rounds (Salmon et al., SC 2011). */
void ww_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);

/** Counters (at, source, which), at + 1 and so on, one after the other: four words each.
 */
void ww_philox_run(const uint32_t key[2], uint64_t at, uint32_t source, uint32_t which,
                   uint32_t out[4 * WW_PHILOX_LANES]);

/** philox_x86.c. Has this processor AVX2? Without it the other, n runs one after the
 * other, must not be called. */
bool ww_philox_fast(void);
void ww_philox_run_x86(const uint32_t key[2], uint64_t at, uint32_t source,
                       uint32_t which, size_t n, uint32_t *out);

/** philox_512.c. The same with AVX-512. */
bool ww_philox_wide(void);
void ww_philox_run_512(const uint32_t key[2], uint64_t at, uint32_t source,
                       uint32_t which, size_t n, uint32_t *out);
/** Bit i of bits, from the lowest of a byte: is word i of the n runs up to last? */
void ww_philox_below_512(const uint32_t key[2], uint64_t at, uint32_t source,
                         uint32_t which, size_t n, uint32_t last, uint8_t *bits);

#endif
