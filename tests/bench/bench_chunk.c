/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coding and decoding of chunks alone: no files, no digests. Weights of standard
 * deviation 0.02 in BF16 and a change of a stated one, and 15 % of them moved; CPU time
 * of the best of several rounds. Ideal: the entropy of the differences by the same
 * contexts, each difference a symbol of its own, tables free.
 *
 *   bench_chunk [ROUNDS]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/ordered.h"
#include "rmm/chunk.h"
#include "util/fail.h"
#include "ww_random.h"

#define N (WW_CHUNK_BYTES / 2)

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put(float x, uint8_t *at)
{
    ww_chunk_own_number(ww_chunk_type_of(WW_DTYPE_BF16), 1, x, at);
}

static float get(const uint8_t *at)
{
    const uint32_t wide = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 24;
    float x = 0;

    memcpy(&x, &wide, sizeof(x));
    return x;
}

/* delta 0: 15 % of the weights moved by about 0.6 %. */
static void make(double delta, uint8_t *base, uint8_t *bytes)
{
    uint64_t seed = 1;

    for (size_t i = 0; i < N; i++) {
        put(0.02F * (float)fx_normal(&seed), base + 2 * i);
        const float w = get(base + 2 * i);
        const float moved = delta > 0 ? w + (float)delta * (float)fx_normal(&seed)
                                      : w * (1 + 0.006F * (float)fx_normal(&seed));
        put(delta > 0 || fx_random(&seed) % 100 < 15 ? moved : w, bytes + 2 * i);
    }
}

static double ideal(const uint8_t *base, const uint8_t *bytes)
{
    static uint32_t counts[WW_CHUNK_CONTEXTS][65536];
    uint32_t largest = 0;
    double bits = 0;

    memset(counts, 0, sizeof(counts));
    for (size_t i = 0; i < N; i++) {
        const uint32_t e = (uint32_t)ww_ordered_load(base + 2 * i, 2) >> 7 & 255;
        largest = e > largest ? e : largest;
    }
    for (size_t i = 0; i < N; i++) {
        const uint64_t p = ww_ordered_load(base + 2 * i, 2);
        const uint32_t below = largest - ((uint32_t)p >> 7 & 255);
        const uint64_t u = ww_ordered_fold(
            ww_ordered_of(ww_ordered_load(bytes + 2 * i, 2), 2), ww_ordered_of(p, 2), 2);
        counts[below < 15 ? below : 15][u]++;
    }
    for (size_t c = 0; c < WW_CHUNK_CONTEXTS; c++) {
        double total = 0;
        for (size_t u = 0; u < 65536; u++) {
            total += counts[c][u];
        }
        for (size_t u = 0; u < 65536; u++) {
            bits += counts[c][u] ? counts[c][u] * log2(total / counts[c][u]) : 0;
        }
    }
    return bits;
}

static int run(struct ww_chunk_room *room, double delta, unsigned rounds)
{
    static uint8_t base[WW_CHUNK_BYTES], bytes[WW_CHUNK_BYTES], back[WW_CHUNK_BYTES];
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_BF16);
    const struct ww_chunk_plain plain = {type, bytes, base, sizeof(bytes)};
    double code = 1e9;
    double decode = 1e9;
    struct ww_error err = {0};
    struct ww_buf coded;
    bool good = true;

    ww_buf_init(&coded, WW_CHUNK_MAX_CODED);
    make(delta, base, bytes);
    for (unsigned r = 0; r < rounds && good; r++) {
        const double start = now();
        ww_buf_clear(&coded);
        good = !ww_chunk_encode(room, &plain, &coded, &err);
        const double middle = now();
        good = good && ww_chunk_decode(room, type, coded.data, coded.len, base, back,
                                       sizeof(back));
        const double end = now();
        code = middle - start < code ? middle - start : code;
        decode = end - middle < decode ? end - middle : decode;
    }
    good = good && memcmp(back, bytes, sizeof(back)) == 0;
    printf("%-8g form %u, %6.3f %% of the bytes, ideal %6.3f %%; code %5.0f MB/s, decode "
           "%5.0f MB/s\n",
           delta, coded.data[0], 100 * (double)coded.len / sizeof(bytes),
           100 * ideal(base, bytes) / 8 / sizeof(bytes), sizeof(bytes) / code / 1e6,
           sizeof(bytes) / decode / 1e6);
    ww_buf_release(&coded);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const double deltas[] = {1e-5, 1e-4, 5e-4, 2e-3, 0};
    const unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20;
    struct ww_chunk_room *room = NULL;
    struct ww_error err = {0};
    int rc = ww_chunk_room_new(&room, &err) ? 1 : 0;

    for (size_t i = 0; i < WW_LEN(deltas) && rc == 0; i++) {
        rc = run(room, deltas[i], rounds);
    }
    ww_chunk_room_free(room);
    return rc;
}
