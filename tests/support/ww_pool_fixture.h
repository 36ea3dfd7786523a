/* SPDX-License-Identifier: Apache-2.0 */
/* Made-up pools: what members say is the truth, seen more or less well, and noise. */
#ifndef WW_POOL_FIXTURE_H
#define WW_POOL_FIXTURE_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "evo/loglinear.h"
#include "ww_random.h"

#define FX_POOL_TOKENS 64

static inline double fx_pool_normal(uint64_t *seed)
{
    double u = (double)((fx_random(seed) >> 11) + 1) * 0x1p-53;
    double v = (double)((fx_random(seed) >> 11) + 1) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(2 * acos(-1) * v);
}

/* logits to logarithms of probabilities */
static inline void fx_pool_normalise(double *z)
{
    double top = z[0];
    double sum = 0;
    for (int v = 0; v < FX_POOL_TOKENS; v++) {
        top = z[v] > top ? z[v] : top;
    }
    for (int v = 0; v < FX_POOL_TOKENS; v++) {
        sum += exp(z[v] - top);
    }
    for (int v = 0; v < FX_POOL_TOKENS; v++) {
        z[v] -= top + log(sum);
    }
}

static inline uint32_t fx_pool_draw(const double *logp, uint64_t *seed)
{
    double u = (double)(fx_random(seed) >> 11) * 0x1p-53;
    uint32_t v = 0;
    while (v + 1 < FX_POOL_TOKENS && (u -= exp(logp[v])) > 0) {
        v++;
    }
    return v;
}

/* n positions of k members; member i sees the truth with a skill between 0 and 1, the
 * first `useful` ones well and the others hardly. false: out of memory. */
static inline bool fx_pool_make(struct ww_pool_union *out, size_t n, uint32_t k,
                                uint32_t useful, uint64_t seed)
{
    static const double loud = 2.0;
    double *logp = calloc((size_t)k * FX_POOL_TOKENS, sizeof(*logp));
    struct ww_pool_list *lists = calloc(k, sizeof(*lists));
    uint32_t token[FX_POOL_TOKENS];
    bool good = logp && lists;
    for (uint32_t v = 0; v < FX_POOL_TOKENS; v++) {
        token[v] = v;
    }
    for (size_t t = 0; good && t < n; t++) {
        double truth[FX_POOL_TOKENS];
        double z[FX_POOL_TOKENS];
        for (int v = 0; v < FX_POOL_TOKENS; v++) {
            truth[v] = z[v] = loud * fx_pool_normal(&seed);
        }
        fx_pool_normalise(z);
        uint32_t gold = fx_pool_draw(z, &seed);
        for (uint32_t i = 0; i < k; i++) {
            double skill = i < useful ? 0.3 + 0.5 * (i + 1) / useful : 0.05;
            double *l = logp + (size_t)i * FX_POOL_TOKENS;
            for (int v = 0; v < FX_POOL_TOKENS; v++) {
                l[v] = skill * truth[v] + (1 - skill) * loud * fx_pool_normal(&seed);
            }
            fx_pool_normalise(l);
            lists[i] = (struct ww_pool_list){token, l, FX_POOL_TOKENS};
        }
        const struct ww_pool_choice choice = {.lists = lists, .gold = gold};
        good = ww_pool_union_make(&choice, k, FX_POOL_TOKENS, &out[t], NULL) == WW_OK;
    }
    free(logp);
    free(lists);
    return good;
}

static inline double fx_pool_bits(const struct ww_pool_union *u, size_t n,
                                  const double *w)
{
    return ww_pool_loglinear_loss(u, n, w, NULL, NULL) / log(2);
}

#endif
