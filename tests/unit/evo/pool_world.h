/* SPDX-License-Identifier: Apache-2.0 */
/* Answers whose best pool is known: every item is one member's, who knows it; the others
 * guess. */
#ifndef POOL_WORLD_H
#define POOL_WORLD_H

#include "ww_test.h"

#include "evo/features.h"
#include "ww_random.h"

#define K 3
#define V 12
#define LONG 4  /* tokens of an answer */
#define MOST 90 /* items */

struct pool_world {
    uint32_t token[MOST][LONG][K][V];
    double logprob[MOST][LONG][K][V];
    uint32_t gold[MOST][LONG];
    struct ww_answer_at at[MOST][LONG * K];
    double surprise[MOST][K];
    struct ww_answer_item item[MOST];
    struct ww_answers answers;
};

static inline double world_uniform(uint64_t *seed)
{
    return (double)((fx_random(seed) >> 11) + 1) * 0x1p-53;
}

static inline int world_larger(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return x[1] < y[1] ? 1 : x[1] > y[1] ? -1 : 0;
}

static inline void world_say(struct pool_world *w, size_t i, uint32_t p, uint32_t m,
                             double knows, uint32_t top, uint64_t *seed)
{
    double pairs[V][2], sum = 0;
    for (uint32_t v = 0; v < V; v++) {
        pairs[v][0] = v;
        pairs[v][1] = world_uniform(seed) + (v == w->gold[i][p] ? knows : 0);
        sum += pairs[v][1];
    }
    struct ww_answer_at *at = &w->at[i][p * K + m];
    at->gold = log(pairs[w->gold[i][p]][1] / sum);
    qsort(pairs, V, sizeof(pairs[0]), world_larger);
    for (uint32_t v = 0; v < V; v++) {
        w->token[i][p][m][v] = (uint32_t)pairs[v][0];
        w->logprob[i][p][m][v] = log(pairs[v][1] / sum);
    }
    at->top = (struct ww_pool_list){w->token[i][p][m], w->logprob[i][p][m], top};
}

/* Member m knows item i by as much as knows; 0: nobody knows anything. */
static inline void world_make(struct pool_world *w, size_t n, double knows, uint32_t top,
                              uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        for (uint32_t p = 0; p < LONG; p++) {
            w->gold[i][p] = (uint32_t)(fx_random(&seed) % V);
            for (uint32_t m = 0; m < K; m++) {
                world_say(w, i, p, m, i % K == m ? knows : 0, top, &seed);
            }
        }
        for (uint32_t m = 0; m < K; m++) {
            w->surprise[i][m] = 1;
        }
        w->item[i] = (struct ww_answer_item){.task = (uint32_t)i,
                                             .n = LONG,
                                             .gold = w->gold[i],
                                             .weight = 1,
                                             .at = w->at[i],
                                             .prompt_surprise = w->surprise[i]};
    }
    w->answers =
        (struct ww_answers){.k = K, .top = top, .vocabulary = V, .n = n, .item = w->item};
}

#endif
