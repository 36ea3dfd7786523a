/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A number is its sign and its size; a size is said bit by bit, is there one more, then
 * the two bits below the highest by probabilities and the others as they are. Contexts
 * that are sizes move the questions, so that numbers of different spreads answer the same
 * ones: what is learnt of one is known of the others.
 */
#include "rmm/chunk_adaptive.h"

#include <string.h>

#include "rmm/chunk.h"
#include "util/fail.h"

#define ENERGY_MOST 15u
/* Of a mean of 16 times the numbers before: where it begins to count as more. */
static const uint32_t levels[] = {3, 10, 24};
#define LEVELS 4u
#define TYPICAL                                                                          \
    (WW_ADAPTIVE_SIZES / 2) /* where sizes that contexts say are asked about */

_Static_assert(LEVELS *WW_CHUNK_CONTEXTS == WW_ADAPTIVE_SETS, "a set for each");

static unsigned size_of(uint32_t v)
{
    return v == 0 ? 0 : 32u - (unsigned)__builtin_clz(v);
}

void ww_adaptive_begin(struct ww_adaptive *a, unsigned mode)
{
    memset(a, 0, sizeof(*a));
    a->active = (mode & WW_ADAPTIVE_ACTIVE) != 0;
    a->scaled = (mode & WW_ADAPTIVE_SCALED) != 0;
}

/* Where the questions of a number stand: those about its size moved by so much. */
struct place {
    struct ww_adaptive_set *set;
    int moved;
};

static struct place place_of(struct ww_adaptive *a, unsigned context)
{
    unsigned level = 0;

    if (a->scaled) {
        return (struct place){&a->sets[context & 1], (int)TYPICAL - (int)(context >> 1)};
    }
    while (a->active && level < WW_LEN(levels) && a->energy >= levels[level]) {
        level++;
    }
    return (struct place){&a->sets[LEVELS * context + level], 0};
}

static unsigned at_size(const struct place *p, unsigned size)
{
    const int at = (int)size + p->moved;
    const int last = WW_ADAPTIVE_SIZES - 1;

    return (unsigned)(at < 0 ? 0 : at > last ? last : at);
}

/* Means move by a quarter, so that some numbers before count. */
static void remember(struct ww_adaptive *a, uint32_t v)
{
    a->energy = (3 * a->energy + 16 * (v < ENERGY_MOST ? v : ENERGY_MOST)) / 4;
}

static void put_below(const struct place *p, struct ww_bits_out *out, uint32_t v,
                      unsigned size)
{
    struct ww_bit *below = p->set->below[at_size(p, size)];
    unsigned left = size - 1;
    unsigned node = 0;

    for (unsigned i = 0; i < 2 && left > 0; i++) {
        const bool bit = v >> --left & 1;
        ww_bits_put(out, &below[node], bit);
        node = 1 + bit;
    }
    while (left > 0) {
        const unsigned n = left < WW_BITS_RAW ? left : WW_BITS_RAW;
        left -= n;
        ww_bits_put_raw(out, v >> left & ((1u << n) - 1), n);
    }
}

static uint32_t get_below(const struct place *p, struct ww_bits_in *in, unsigned size)
{
    struct ww_bit *below = p->set->below[at_size(p, size)];
    unsigned left = size - 1;
    unsigned node = 0;
    uint32_t v = 1;

    for (unsigned i = 0; i < 2 && left > 0; i++, left--) {
        const bool bit = ww_bits_get(in, &below[node]);
        v = v << 1 | bit;
        node = 1 + bit;
    }
    while (left > 0) {
        const unsigned n = left < WW_BITS_RAW ? left : WW_BITS_RAW;
        left -= n;
        v = v << n | ww_bits_get_raw(in, n);
    }
    return v;
}

void ww_adaptive_put(struct ww_adaptive *a, struct ww_bits_out *out,
                     const uint32_t *folded, const uint8_t *contexts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct place p = place_of(a, contexts ? contexts[i] : 0);
        const bool negative = folded[i] & 1;
        const uint32_t v = negative ? (folded[i] >> 1) + 1 : folded[i] >> 1;
        const unsigned size = size_of(v);
        for (unsigned s = 0; s <= size; s++) {
            ww_bits_put(out, &p.set->more[at_size(&p, s)], s < size);
        }
        if (v > 0) {
            ww_bits_put(out, &p.set->sign, negative);
            put_below(&p, out, v, size);
        }
        remember(a, v);
    }
}

/* A negative number of all bits is one more than half of what there are. */
static uint32_t fold(uint32_t v, bool negative, unsigned n_bits, bool *over)
{
    const uint64_t folded = negative ? 2 * (uint64_t)v - 1 : 2 * (uint64_t)v;

    *over = *over || folded >> n_bits != 0;
    return (uint32_t)folded;
}

void ww_adaptive_get(struct ww_adaptive *a, struct ww_bits_in *in,
                     const uint8_t *contexts, unsigned n_bits, uint32_t *folded, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct place p = place_of(a, contexts ? contexts[i] : 0);
        uint32_t v = 0;
        unsigned size = 0;
        while (size <= n_bits && ww_bits_get(in, &p.set->more[at_size(&p, size)])) {
            size++;
        }
        if (size > n_bits) {
            in->over = true;
            size = 0;
        }
        folded[i] = 0;
        if (size > 0) {
            const bool negative = ww_bits_get(in, &p.set->sign);
            v = get_below(&p, in, size);
            folded[i] = fold(v, negative, n_bits, &in->over);
        }
        remember(a, v);
    }
}
