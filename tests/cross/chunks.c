/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks of every form, decoded on whatever machine this is compiled for.
 *
 *   chunks make FILE     code the cases below
 *   chunks decode FILE   all decoded bytes to stdout; fails when a chunk does not decode,
 *                        or when coding them again gives other bytes
 *
 * It needs the codecs and nothing else, so that it can be built for another architecture
 * without its libraries: see run.sh. A case of FILE is five u32 (form wanted, dtype,
 * lengths of prediction, chunk and decoded bytes), then prediction and chunk. Predictions
 * of some cases are made of a base and a product of low rank (rmm/rank.h), of a basis
 * (rmm/shared.h), or of a base of another dtype (model/recode.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/convert.h"
#include "model/recode.h"
#include "rmm/rank.h"
#include "rmm/shared.h"
#include "util/fail.h"
#include "util/num.h"
#include "ww_random.h"

#define MOST ((size_t)1 << 16)
#define HEAD 20

enum content {
    TUNED,
    SPREAD,
    MASK,
    TEXT,
    WEIGHTS,
    EQUAL,
    NOISE,
    FACTORS,
    SUM,
    PRODUCT,
    CHANGE,
    ROWS, /* of a basis, as CORE */
    CORE,
    NEAR, /* factors on top of others */
    BASE  /* of BF16, and what is tuned as BF16 or F16 */
};

static const struct one {
    enum ww_chunk_form form;
    enum ww_dtype dtype;
    enum content content;
    uint32_t n; /* numbers */
} cases[] = {
    {WW_CHUNK_ORDER, WW_DTYPE_BF16, TUNED, 9001},
    {WW_CHUNK_ORDER, WW_DTYPE_BF16, SPREAD, 5000},
    {WW_CHUNK_ORDER, WW_DTYPE_BF16, TUNED, 333},
    {WW_CHUNK_ORDER, WW_DTYPE_F16, TUNED, 4500},
    {WW_CHUNK_ORDER, WW_DTYPE_F32, TUNED, 4500},
    {WW_CHUNK_SPLIT, WW_DTYPE_BF16, WEIGHTS, 6000},
    {WW_CHUNK_SPLIT, WW_DTYPE_F32, WEIGHTS, 5000},
    {WW_CHUNK_SPLIT, WW_DTYPE_F64, WEIGHTS, 1000},
    {WW_CHUNK_SPLIT, WW_DTYPE_U8, TEXT, 6000},
    {WW_CHUNK_FEW, WW_DTYPE_F32, MASK, 5000},
    {WW_CHUNK_SAME, WW_DTYPE_BF16, EQUAL, 2000},
    {WW_CHUNK_STORED, WW_DTYPE_U8, NOISE, 2000},
    {WW_CHUNK_OWN, WW_DTYPE_BF16, FACTORS, 6000},
    {WW_CHUNK_OWN, WW_DTYPE_F16, FACTORS, 6000},
    {WW_CHUNK_OWN, WW_DTYPE_F32, FACTORS, 6000},
    {WW_CHUNK_ORDER, WW_DTYPE_BF16, SUM, 9000},
    {WW_CHUNK_ORDER, WW_DTYPE_BF16, PRODUCT, 9000},
    {WW_CHUNK_ORDER, WW_DTYPE_F16, SUM, 9000},
    {WW_CHUNK_DENSE, WW_DTYPE_BF16, CHANGE, 9000},
    {WW_CHUNK_DENSE, WW_DTYPE_F16, CHANGE, 333},
    {WW_CHUNK_DENSE, WW_DTYPE_F32, CHANGE, 9000},
    {WW_CHUNK_KLT, WW_DTYPE_BF16, FACTORS, 6000},
    {WW_CHUNK_KLT, WW_DTYPE_F16, FACTORS, 333},
    {WW_CHUNK_KLT, WW_DTYPE_F32, FACTORS, 6000},
    {WW_CHUNK_ORDER, WW_DTYPE_F32, SUM, 9000},
    {WW_CHUNK_ORDER, WW_DTYPE_BF16, ROWS, 9000},
    {WW_CHUNK_ORDER, WW_DTYPE_F32, ROWS, 9000},
    {WW_CHUNK_ORDER, WW_DTYPE_F16, ROWS, 9000},
    {WW_CHUNK_ORDER, WW_DTYPE_BF16, CORE, 9000},
    {WW_CHUNK_ORDER, WW_DTYPE_F32, CORE, 9000},
    {WW_CHUNK_ADAPTIVE, WW_DTYPE_BF16, TUNED, 5000},
    {WW_CHUNK_ADAPTIVE, WW_DTYPE_F32, TUNED, 333},
    {WW_CHUNK_ADAPTIVE, WW_DTYPE_U8, TEXT, 3000},
    {WW_CHUNK_ADAPTIVE, WW_DTYPE_F32, FACTORS, 2000},
    {WW_CHUNK_ADAPTIVE, WW_DTYPE_BF16, NEAR, 2000},
    {WW_CHUNK_ADAPTIVE, WW_DTYPE_BF16, CHANGE, 3000},
    {WW_CHUNK_ADAPTIVE, WW_DTYPE_BF16, SUM, 3000},
    {WW_CHUNK_ADAPTIVE, WW_DTYPE_BF16, PRODUCT, 3000},
    {WW_CHUNK_ADAPTIVE, WW_DTYPE_F16, SUM, 3000},
    {WW_CHUNK_NARROW, WW_DTYPE_F32, BASE, 9000},
    {WW_CHUNK_NARROW, WW_DTYPE_F32, BASE, 333},
    {WW_CHUNK_ADAPTIVE, WW_DTYPE_F16, BASE, 9000},
};

#define RANK 6
#define COLUMNS 300

/* Sums of halves and quarters: the same numbers everywhere. */
static float bell(uint64_t *seed)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < 8; i++) {
        sum += (int64_t)(fx_random(seed) >> 40);
    }
    return (float)(sum - ((int64_t)8 << 23)) / 16777216.0F;
}

static void put(enum ww_dtype dtype, float x, uint8_t *at)
{
    const struct ww_chunk_type type = ww_chunk_type_of(dtype);
    const double wide = (double)x;

    if (type.exponent_mask) {
        ww_chunk_own_number(type, 1, x, at);
    } else {
        memcpy(at, &wide, type.width);
    }
}

static float get(enum ww_dtype dtype, const uint8_t *at)
{
    float x = 0;

    ww_to_float(dtype, at, &x, 1);
    return x;
}

/* What the base and a product say, in place, and hints about it. off: of the product, so
 * much longer. */
static void with_rank(struct ww_chunk_room *room, const struct one *c,
                      uint8_t *prediction, size_t n, float off)
{
    const struct ww_pack_rank shape = {
        .rank = RANK, .rows = c->n / COLUMNS, .product = c->content == PRODUCT};
    struct ww_rank rank;
    uint64_t seed = 77;

    if (ww_rank_init(&rank, &shape, COLUMNS, c->dtype, NULL)) {
        abort();
    }
    for (size_t i = 0; i < shape.rows * RANK; i++) {
        rank.b[i] = (0.05F + 0.05F * off) * bell(&seed);
    }
    for (size_t i = 0; i < (size_t)RANK * COLUMNS; i++) {
        rank.a[i] = 0.05F * bell(&seed);
    }
    ww_chunk_room_hints(room, &rank, 0, prediction, n);
    ww_rank_predict(&rank, 0, prediction, prediction, n);
    ww_rank_release(&rank);
}

static bool of_basis(const struct one *c)
{
    return c->content == ROWS || c->content == CORE;
}

/* What a basis and numbers of BF16 make of a factor of 30 rows; B for rows in fp16. */
static void with_basis(const struct one *c, uint8_t *prediction, size_t n)
{
    const struct ww_pack_shared shape = {.codec = c->content == ROWS ? WW_SHARED_ROWS
                                                                     : WW_SHARED_CORE,
                                         .is_b = c->dtype == WW_DTYPE_F16,
                                         .places = COLUMNS,
                                         .directions = RANK};
    struct ww_shared shared;
    uint8_t bits[2];
    uint64_t seed = 78;

    if (ww_shared_init(&shared, &shape, c->dtype, c->n, NULL)) {
        abort();
    }
    for (size_t i = 0; i < ww_shared_basis_bytes(&shape, c->n) / 2; i++) {
        put(WW_DTYPE_BF16, 0.05F * bell(&seed), bits);
        shared.basis[i] = get(WW_DTYPE_BF16, bits);
    }
    for (size_t i = 0; i < ww_shared_own_bytes(&shape, c->n) / 2; i++) {
        put(WW_DTYPE_BF16, bell(&seed), bits);
        shared.own[i] = get(WW_DTYPE_BF16, bits);
    }
    ww_shared_predict(&shared, 0, prediction, n);
    ww_shared_release(&shared);
}

static bool of_rank(const struct one *c)
{
    return c->content == SUM || c->content == PRODUCT;
}

static bool predicted(const struct one *c)
{
    return c->form == WW_CHUNK_ADAPTIVE
               ? c->content != TEXT && c->content != FACTORS
               : c->form == WW_CHUNK_ORDER || c->form == WW_CHUNK_SAME ||
                     c->form == WW_CHUNK_DENSE || c->form == WW_CHUNK_KLT ||
                     c->form == WW_CHUNK_NARROW;
}

/* The prediction of a base whose dtype is BF16, in place: as odd as its bits may be. */
static void with_base(const struct one *c, uint8_t *prediction)
{
    static uint8_t stored[MOST];

    ww_recode(c->dtype, WW_DTYPE_BF16, prediction, stored, c->n);
    for (size_t i = 0; i < c->n && i < 256; i++) { /* exponents of all sizes, NaN */
        stored[2 * i + 1] = (uint8_t)i;
    }
    ww_recode(WW_DTYPE_BF16, c->dtype, stored, prediction, c->n);
}

/* What is tuned of it: of F32 the numbers are those of a dtype of 16 bits. */
static void tune_narrow(const struct one *c, uint8_t *at, uint32_t step)
{
    const enum ww_dtype kind = c->n > 1000 ? WW_DTYPE_BF16 : WW_DTYPE_F16;
    uint8_t half[2];

    if (c->dtype == WW_DTYPE_F32) {
        ww_recode(c->dtype, kind, at, half, 1);
        half[0] = (uint8_t)(half[0] + (step < 40 ? 0 : step - 48));
        ww_recode(kind, c->dtype, half, at, 1);
        ww_recode(c->dtype, kind, at, half, 1); /* what is NaN now, without a payload */
        ww_recode(kind, c->dtype, half, at, 1);
    } else {
        at[0] = (uint8_t)(at[0] + (step < 40 ? 0 : step - 48));
    }
}

/* The bytes of a case, given its prediction. */
static void fill(const struct one *c, const uint8_t *prediction, uint8_t *out)
{
    static const char letters[] = "the quick brown fox jumps over the lazy dog, ";
    const unsigned width = ww_chunk_type_of(c->dtype).width;
    uint64_t seed = 5 + (uint64_t)c->form + 16 * (uint64_t)c->content;

    memcpy(out, prediction, (size_t)c->n * width);
    for (size_t i = 0; i < c->n; i++) {
        uint8_t *at = out + i * width;
        const float x = bell(&seed);
        const uint32_t step = (uint32_t)(fx_random(&seed) >> 58);
        if (c->content == TUNED || of_rank(c) || of_basis(c)) {
            at[0] = (uint8_t)(at[0] + (step < 40 ? 0 : step - 48));
        } else if (c->content == BASE) {
            tune_narrow(c, at, step);
        } else if (c->content == SPREAD) {
            at[1] ^= (uint8_t)(step == 0 ? 0x81 : step & 1);
            at[0] = (uint8_t)(at[0] + step * step);
        } else if (c->content == MASK) {
            put(c->dtype, step & 1 ? 1.0F : 0.0F, at);
        } else if (c->content == TEXT) {
            at[0] = (uint8_t)letters[(i + step % 3) % (sizeof(letters) - 1)];
        } else if (c->content == NOISE) {
            at[0] = (uint8_t)fx_random(&seed);
        } else if (c->content == WEIGHTS) {
            put(c->dtype, x, at);
        } else if (c->content == CHANGE) {
            put(c->dtype, get(c->dtype, at) + 0.002F * x, at);
        }
    }
}

static enum ww_err code(struct ww_chunk_room *room, const struct one *c,
                        const uint8_t *bytes, const uint8_t *prediction,
                        struct ww_buf *out, struct ww_error *err)
{
    static const float scales[4] = {0.01F, 0.3F, 7e-6F, 1.5F};
    static const uint8_t classes[4] = {0, 3, 3, 9};
    static const struct ww_chunk_levels levels = {3, 0.0007F, {0.0008F, 0.0014F, 0.002F}};
    static int16_t integers[MOST];
    const bool near = c->form == WW_CHUNK_KLT || c->content == NEAR;
    const struct ww_chunk_scales own = {
        1, 4, 1, c->form == WW_CHUNK_ADAPTIVE ? 0 : 2, scales, classes, near};
    const struct ww_chunk_type type = ww_chunk_type_of(c->dtype);
    const struct ww_chunk_plain plain = {type, bytes, predicted(c) ? prediction : NULL,
                                         (size_t)c->n * type.width};
    uint64_t seed = 9;

    if (c->content == CHANGE) {
        return ww_chunk_dense_encode(room, &plain, &levels, out, err);
    }
    if (c->content != FACTORS && c->content != NEAR) {
        return ww_chunk_encode(room, &plain, out, err);
    }
    for (size_t i = 0; i < c->n; i++) {
        integers[i] = (int16_t)(bell(&seed) * 300.0F);
    }
    return ww_chunk_own_encode(room, integers, c->n, &own, out, err);
}

static void make_base(const struct one *c, uint8_t *base)
{
    const unsigned width = ww_chunk_type_of(c->dtype).width;
    uint64_t seed = 1;

    for (size_t i = 0; i < c->n; i++) {
        put(c->dtype, 0.05F * bell(&seed), base + i * width);
    }
}

static bool make_case(struct ww_chunk_room *room, const struct one *c, FILE *to)
{
    static uint8_t base[MOST], prediction[MOST], bytes[MOST], head[HEAD];
    const size_t n = (size_t)c->n * ww_chunk_type_of(c->dtype).width;
    const size_t n_base = predicted(c) ? n : 0;
    struct ww_error err = {0};
    struct ww_buf coded;
    bool good = false;

    ww_buf_init(&coded, WW_CHUNK_MAX_CODED);
    make_base(c, base);
    memcpy(prediction, base, n);
    if (of_rank(c)) {
        with_rank(room, c, prediction, n, 0);
    }
    if (of_basis(c)) {
        with_basis(c, prediction, n);
    }
    if (c->content == BASE) {
        with_base(c, prediction);
    }
    fill(c, prediction, bytes);
    if (of_rank(c) && c->form == WW_CHUNK_ADAPTIVE) { /* what hints are about */
        memcpy(bytes, base, n);
        with_rank(room, c, bytes, n, c->dtype == WW_DTYPE_F16 ? 0.0005F : 0.004F);
        memcpy(prediction, base, n);
        with_rank(room, c, prediction, n, 0);
    }
    if (!code(room, c, bytes, prediction, &coded, &err) && coded.data[0] == c->form &&
        (!of_rank(c) || c->form != WW_CHUNK_ADAPTIVE || coded.data[1] == (1 | 8))) {
        const uint32_t fields[] = {(uint32_t)c->form, (uint32_t)c->dtype,
                                   (uint32_t)n_base, (uint32_t)coded.len, (uint32_t)n};
        for (size_t i = 0; i < WW_LEN(fields); i++) {
            ww_put_u32le(head + 4 * i, fields[i]);
        }
        good = fwrite(head, 1, HEAD, to) == HEAD &&
               fwrite(base, 1, n_base, to) == n_base &&
               fwrite(coded.data, 1, coded.len, to) == coded.len;
    }
    ww_buf_release(&coded);
    return good;
}

static bool decode_case(struct ww_chunk_room *room, const struct one *c, FILE *from)
{
    static uint8_t prediction[MOST], coded[2 * MOST], bytes[MOST], head[HEAD];
    const struct ww_chunk_type type = ww_chunk_type_of(c->dtype);
    struct ww_error err = {0};
    struct ww_buf again;
    bool good = fread(head, 1, HEAD, from) == HEAD;
    const size_t n_base = ww_get_u32le(head + 8);
    const size_t len = ww_get_u32le(head + 12);
    const size_t n = ww_get_u32le(head + 16);

    good = good && ww_get_u32le(head) == c->form && ww_get_u32le(head + 4) == c->dtype &&
           n == (size_t)c->n * type.width && n_base <= n && len <= sizeof(coded) &&
           fread(prediction, 1, n_base, from) == n_base &&
           fread(coded, 1, len, from) == len;
    if (good && of_rank(c)) {
        with_rank(room, c, prediction, n, 0);
    }
    if (good && of_basis(c)) {
        with_basis(c, prediction, n);
    }
    if (good && c->content == BASE) {
        with_base(c, prediction);
    }
    good = good &&
           ww_chunk_decode(room, type, coded, len, n_base ? prediction : NULL, bytes, n);
    ww_buf_init(&again, WW_CHUNK_MAX_CODED);
    good = good && !code(room, c, bytes, prediction, &again, &err) && again.len == len &&
           memcmp(again.data, coded, len) == 0;
    ww_buf_release(&again);
    return good && fwrite(bytes, 1, n, stdout) == n;
}

int main(int argc, char **argv)
{
    const bool make = argc == 3 && strcmp(argv[1], "make") == 0;
    struct ww_chunk_room *room = NULL;
    struct ww_error err = {0};
    FILE *file = argc == 3 ? fopen(argv[2], make ? "wb" : "rb") : NULL;
    bool good = file && !ww_chunk_room_new(&room, &err);

    for (size_t i = 0; i < WW_LEN(cases) && good; i++) {
        if (cases[i].form == WW_CHUNK_ADAPTIVE) { /* they are the last */
            ww_chunk_room_adapt(room);
        }
        ww_chunk_room_hints(room, NULL, 0, NULL, 0);
        good =
            make ? make_case(room, &cases[i], file) : decode_case(room, &cases[i], file);
        if (!good) {
            fprintf(stderr, "chunks: case %zu fails\n", i);
        }
    }
    ww_chunk_room_free(room);
    return file && fclose(file) == 0 && good ? 0 : 1;
}
