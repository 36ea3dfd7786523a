/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_sketch.h"

#include <string.h>

#include "crypto/hash.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

const char *ww_canonical_name(const char *name)
{
    static const char *const wrappers[] = {"model.", "language_model.", "transformer.",
                                           "base_model."};
    bool more = true;

    while (more) {
        more = false;
        for (size_t i = 0; i < WW_LEN(wrappers); i++) {
            if (ww_str_starts(name, wrappers[i])) {
                name += strlen(wrappers[i]);
                more = true;
            }
        }
    }
    return name;
}

uint64_t ww_sketch_key(const char *canonical_name)
{
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_of(canonical_name, strlen(canonical_name), digest);
    return ww_mix64(ww_get_u64le(digest) ^ WW_SKETCH_SEED);
}

/* The sign goes into the bits: a branch on a coin would be mispredicted half the time. */
static inline void add_one(double *buckets, unsigned shift, uint32_t h, double x)
{
    uint64_t bits = 0;

    memcpy(&bits, &x, sizeof(bits));
    bits ^= (uint64_t)h << 63;
    memcpy(&x, &bits, sizeof(x));
    buckets[h >> shift] += x;
}

static inline void add_all(double *buckets, unsigned shift, uint64_t at, const double *x,
                           size_t n)
{
    size_t i = 0;

    for (; i + 3 < n; i += 4) {
        const uint64_t h = ww_mix64(at++);
        const uint64_t g = ww_mix64(at++);
        add_one(buckets, shift, (uint32_t)h, x[i]);
        add_one(buckets, shift, (uint32_t)(h >> 32), x[i + 1]);
        add_one(buckets, shift, (uint32_t)g, x[i + 2]);
        add_one(buckets, shift, (uint32_t)(g >> 32), x[i + 3]);
    }
    for (; i < n; i += 2) {
        const uint64_t h = ww_mix64(at++);
        add_one(buckets, shift, (uint32_t)h, x[i]);
        if (i + 1 < n) {
            add_one(buckets, shift, (uint32_t)(h >> 32), x[i + 1]);
        }
    }
}

void ww_sketch_add(double *buckets, size_t m, uint64_t key, uint64_t first,
                   const double *x, size_t n)
{
    WW_INVARIANT((m == WW_SKETCH_FINE || m == WW_SKETCH_COARSE) && first % 2 == 0);
    if (m == WW_SKETCH_FINE) {
        add_all(buckets, 15, key + first / 2, x, n);
    } else {
        add_all(buckets, 20, key + first / 2, x, n);
    }
}
