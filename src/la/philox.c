/* SPDX-License-Identifier: Apache-2.0 */
#include "la/philox.h"

#include <string.h>

void ww_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0];
    uint32_t k1 = key[1];
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};

    for (int r = 0; r < WW_PHILOX_ROUNDS; r++) {
        uint64_t a = (uint64_t)WW_PHILOX_MUL_0 * c[0];
        uint64_t b = (uint64_t)WW_PHILOX_MUL_1 * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
        memcpy(c, next, sizeof(c));
        k0 += WW_PHILOX_KEY_0;
        k1 += WW_PHILOX_KEY_1;
    }
    memcpy(out, c, sizeof(c));
}

/* Word after word of lanes side by side, for the vector units there are. */
void ww_philox_run(const uint32_t key[2], uint64_t at, uint32_t source, uint32_t which,
                   uint32_t out[4 * WW_PHILOX_LANES])
{
    uint32_t c0[WW_PHILOX_LANES], c1[WW_PHILOX_LANES];
    uint32_t c2[WW_PHILOX_LANES], c3[WW_PHILOX_LANES];
    uint32_t k0 = key[0];
    uint32_t k1 = key[1];

    for (uint32_t l = 0; l < WW_PHILOX_LANES; l++) {
        c0[l] = (uint32_t)(at + l);
        c1[l] = (uint32_t)((at + l) >> 32);
        c2[l] = source;
        c3[l] = which;
    }
    for (int r = 0; r < WW_PHILOX_ROUNDS; r++) {
        for (uint32_t l = 0; l < WW_PHILOX_LANES; l++) {
            uint64_t a = (uint64_t)WW_PHILOX_MUL_0 * c0[l];
            uint64_t b = (uint64_t)WW_PHILOX_MUL_1 * c2[l];
            c0[l] = (uint32_t)(b >> 32) ^ c1[l] ^ k0;
            c1[l] = (uint32_t)b;
            c2[l] = (uint32_t)(a >> 32) ^ c3[l] ^ k1;
            c3[l] = (uint32_t)a;
        }
        k0 += WW_PHILOX_KEY_0;
        k1 += WW_PHILOX_KEY_1;
    }
    for (uint32_t l = 0; l < WW_PHILOX_LANES; l++) {
        out[4 * l] = c0[l];
        out[4 * l + 1] = c1[l];
        out[4 * l + 2] = c2[l];
        out[4 * l + 3] = c3[l];
    }
}
