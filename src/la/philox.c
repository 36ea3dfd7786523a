/* SPDX-License-Identifier: Apache-2.0 */
#include "la/philox.h"

#include <string.h>

#define ROUNDS 10

void ww_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0];
    uint32_t k1 = key[1];
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};

    for (int r = 0; r < ROUNDS; r++) {
        uint64_t a = (uint64_t)0xD2511F53U * c[0];
        uint64_t b = (uint64_t)0xCD9E8D57U * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
        memcpy(c, next, sizeof(c));
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    memcpy(out, c, sizeof(c));
}
