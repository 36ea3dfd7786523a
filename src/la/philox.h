/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers without a state: every word can be computed on its own. */
#ifndef WW_LA_PHILOX_H
#define WW_LA_PHILOX_H

#include <stdint.h>

/** Philox 4x32 with ten rounds (Salmon et al., SC 2011). */
void ww_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);

#endif
