/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coded chunks of a package. The first byte chooses the type of the numbers, whether
 * there is a prediction, and whether there are 32 times as many numbers as the second one
 * says: enough for the lanes that vector instructions decode. What decodes must be what
 * its own coding decodes to.
 */
#include "fuzz.h"

#include <string.h>

#include "rmm/chunk.h"
#include "rmm/rank.h"
#include "util/alloc.h"

#define MOST 8192
#define MANY 32u

static void check_back(struct ww_chunk_room *room, struct ww_chunk_type type,
                       const uint8_t *bytes, const uint8_t *base, size_t n)
{
    static uint8_t back[MOST * 8];
    struct ww_error err = {0};
    struct ww_buf coded;
    ww_buf_init(&coded, WW_CHUNK_MAX_CODED);
    FUZZ_CHECK(ww_chunk_encode(room, type, bytes, base, n, &coded, &err) == WW_OK);
    FUZZ_CHECK(ww_chunk_decode(room, type, coded.data, coded.len, base, back, n));
    FUZZ_CHECK(memcmp(back, bytes, n) == 0);
    ww_buf_release(&coded);
}

/* Hints of a product of rank one, for the chunks that go by them. */
static void set_hints(struct ww_chunk_room *room, enum ww_dtype dtype,
                      const uint8_t *base, size_t n)
{
    const struct ww_pack_rank shape = {.rank = 1, .rows = 1, .product = n % 2};
    const uint64_t columns = n / 2;
    struct ww_error err = {0};
    struct ww_rank rank;

    if (columns == 0 || ww_chunk_type_of(dtype).width != 2 || dtype == WW_DTYPE_I16) {
        return;
    }
    FUZZ_CHECK(ww_rank_init(&rank, &shape, columns, dtype, &err) == WW_OK);
    rank.b[0] = 0.25F;
    for (uint64_t i = 0; i < columns; i++) {
        rank.a[i] = (float)(i % 7) * 0.001F;
    }
    ww_chunk_room_hints(room, &rank, 0, base, n);
    ww_rank_release(&rank);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32,
                                           WW_DTYPE_F64,  WW_DTYPE_U8,  WW_DTYPE_I16};
    struct ww_chunk_room *room = NULL;
    struct ww_error err = {0};
    static uint8_t base[MOST * 8];
    static uint8_t out[MOST * 8];
    uint8_t *copy = NULL;
    if (len < 2) {
        return 0;
    }
    const enum ww_dtype dtype =
        dtypes[(bytes[0] & 63) % (sizeof(dtypes) / sizeof(dtypes[0]))];
    const struct ww_chunk_type type = ww_chunk_type_of(dtype);
    const size_t n = (size_t)bytes[1] * (bytes[0] & 64 ? MANY : 1u) * type.width;
    const uint8_t *prediction = bytes[0] & 128 ? base : NULL;
    for (size_t i = 0; i < sizeof(base); i++) {
        base[i] = (uint8_t)(i % 3 ? 0x3c : i * 5);
    }
    FUZZ_CHECK(ww_chunk_room_new(&room, &err) == WW_OK);
    ww_chunk_room_adapt(room);
    if (prediction) {
        set_hints(room, dtype, base, n);
    }
    copy = ww_calloc(1, len - 2);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, bytes + 2, len - 2);
    if (ww_chunk_decode(room, type, copy, len - 2, prediction, out, n)) {
        check_back(room, type, out, prediction, n);
    }
    ww_free(copy);
    ww_chunk_room_free(room);
    return 0;
}
