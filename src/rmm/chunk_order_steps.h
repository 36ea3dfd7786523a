/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of the form order that are done for many numbers at once, for one type of
 * number and one set of instructions: NUMBER, SIGN (its highest bit), NAME and TARGET are
 * the includer's. Plain loops, which compilers make vectors of. No guard: included once
 * for each. */

static inline __attribute__((always_inline)) TARGET NUMBER NAME(load)(const uint8_t *at)
{
    NUMBER bits = 0;
    memcpy(&bits, at, sizeof(bits));
    return bits;
}

/* As ww_ordered_of: all bits of a negative number change, the sign of another. */
static inline __attribute__((always_inline)) TARGET NUMBER NAME(order)(NUMBER bits)
{
    const NUMBER negative = (NUMBER)(0 - (bits >> (8 * sizeof(bits) - 1)));
    return (NUMBER)(bits ^ (NUMBER)(negative | SIGN));
}

static inline __attribute__((always_inline)) TARGET NUMBER NAME(bits)(NUMBER order)
{
    const NUMBER positive = (NUMBER)(0 - (order >> (8 * sizeof(order) - 1)));
    return (NUMBER)(order ^ (NUMBER)((NUMBER)~positive | SIGN));
}

TARGET static uint32_t NAME(largest)(struct ww_chunk_type type, const uint8_t *prediction,
                                     size_t n)
{
    NUMBER largest = 0;

    for (size_t i = 0; i < n; i++) {
        const NUMBER p = NAME(load)(prediction + i * sizeof(p));
        const NUMBER e = (NUMBER)((p >> type.exponent_shift) & type.exponent_mask);
        largest = e > largest ? e : largest;
    }
    return largest;
}

static inline __attribute__((always_inline)) TARGET uint32_t
NAME(contexts_of)(struct ww_chunk_type type, uint32_t largest, const uint8_t *prediction,
                  size_t n, uint8_t *contexts)
{
    const NUMBER most = (NUMBER)largest;
    const NUMBER last = WW_CHUNK_CONTEXTS - 1;
    NUMBER found = 0;

    for (size_t i = 0; i < n; i++) {
        const NUMBER p = NAME(load)(prediction + i * sizeof(p));
        const NUMBER e = (NUMBER)((p >> type.exponent_shift) & type.exponent_mask);
        const NUMBER below = (NUMBER)(most - e);
        found = e > found ? e : found;
        contexts[i] = (uint8_t)(below < last ? below : last);
    }
    return found;
}

/* The largest exponent of these numbers on the way: a decoder has no other need of it.
 * By a shift that is not a constant, vectors are of twice as wide numbers. */
TARGET static uint32_t NAME(contexts)(struct ww_chunk_type type, uint32_t largest,
                                      const uint8_t *prediction, size_t n,
                                      uint8_t *contexts)
{
    const struct ww_chunk_type bf16 = {2, 7, 0xff};
    const struct ww_chunk_type f16 = {2, 10, 0x1f};

    if (type.exponent_shift == bf16.exponent_shift) {
        return NAME(contexts_of)(bf16, largest, prediction, n, contexts);
    }
    if (type.exponent_shift == f16.exponent_shift) {
        return NAME(contexts_of)(f16, largest, prediction, n, contexts);
    }
    return NAME(contexts_of)(type, largest, prediction, n, contexts);
}

TARGET static void NAME(fold)(const uint8_t *bytes, const uint8_t *prediction, size_t n,
                              uint32_t *folded)
{
    for (size_t i = 0; i < n; i++) {
        const NUMBER b = NAME(order)(NAME(load)(bytes + i * sizeof(b)));
        const NUMBER p = NAME(order)(NAME(load)(prediction + i * sizeof(p)));
        const NUMBER d = (NUMBER)(b - p);
        const NUMBER negative = (NUMBER)(0 - (d >> (8 * sizeof(d) - 1)));
        folded[i] = (NUMBER)((NUMBER)(d << 1) ^ negative);
    }
}

TARGET static void NAME(unfold)(const uint32_t *folded, const uint8_t *prediction,
                                size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        const NUMBER f = (NUMBER)folded[i];
        const NUMBER p = NAME(order)(NAME(load)(prediction + i * sizeof(p)));
        const NUMBER d = (NUMBER)((f >> 1) ^ (NUMBER)(0 - (f & 1)));
        const NUMBER bits = NAME(bits)((NUMBER)(p + d));
        memcpy(out + i * sizeof(bits), &bits, sizeof(bits));
    }
}

static const struct steps NAME(steps) = {NAME(largest), NAME(contexts), NAME(fold),
                                         NAME(unfold)};
