/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coded chunks of a package. The first byte chooses the type of the numbers, whether
 * there is a prediction, and whether there are 32 times as many numbers as the second one
 * says: enough for the lanes that vector instructions decode. What decodes must be what
 * its own coding decodes to.
 */
#include "fuzz.h"

#include <string.h>

#include "crypto/sha_blocks.h"
#include "crypto/sha.h"
#include "rmm/chunk.h"
#include "rmm/rank.h"
#include "util/alloc.h"

#define MOST 8192
#define MANY 32u
#define MESSAGE 4096 /* ends before many numbers do */

static void check_back(struct ww_chunk_room *room, const struct ww_chunk_plain *plain)
{
    static uint8_t back[MOST * 8];
    struct ww_error err = {0};
    struct ww_buf coded;
    ww_buf_init(&coded, WW_CHUNK_MAX_CODED);
    FUZZ_CHECK(ww_chunk_encode(room, plain, &coded, &err) == WW_OK);
    FUZZ_CHECK(ww_chunk_decode(room, plain->type, coded.data, coded.len,
                               plain->prediction, back, plain->n));
    FUZZ_CHECK(memcmp(back, plain->bytes, plain->n) == 0);
    ww_buf_release(&coded);
}

/* The same with a message to hash on the way: the same answer, the same numbers, and the
 * message's digest. */
static void check_beside(struct ww_chunk_room *room, struct ww_chunk_type type,
                         const uint8_t *coded, size_t len, const uint8_t *base,
                         const uint8_t *plain, size_t n, bool good)
{
    static const uint8_t message[MESSAGE];
    static uint8_t out[MOST * 8];
    const size_t begun = len % 64;
    uint8_t got[WW_SHA256_BYTES];
    uint8_t want[WW_SHA256_BYTES];
    struct ww_error err = {0};
    struct ww_sha sha;
    struct ww_sha_rest rest = {&sha, message + begun, sizeof(message) - begun};

    FUZZ_CHECK(ww_sha_init(&sha, ww_sha_fast(), &err) == WW_OK);
    ww_sha_update(&sha, message, begun);
    ww_chunk_room_beside(room, &rest);
    FUZZ_CHECK(ww_chunk_decode(room, type, coded, len, base, out, n) == good);
    ww_chunk_room_beside(room, NULL);
    FUZZ_CHECK(!good || memcmp(out, plain, n) == 0);
    FUZZ_CHECK(rest.p + rest.n == message + sizeof(message));
    ww_sha_update(&sha, rest.p, rest.n);
    ww_sha_final(&sha, got);
    ww_sha256_of(message, sizeof(message), want);
    FUZZ_CHECK(memcmp(got, want, sizeof(got)) == 0);
    ww_sha_release(&sha);
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

/* Made once, as by those who decode: a new one for each input takes longer than the
 * inputs. */
static struct ww_chunk_room *make_room(uint8_t *base, size_t n)
{
    static struct ww_chunk_room *room;
    struct ww_error err = {0};

    if (!room) {
        FUZZ_CHECK(ww_chunk_room_new(&room, &err) == WW_OK);
        ww_chunk_room_adapt(room);
        for (size_t i = 0; i < n; i++) {
            base[i] = (uint8_t)(i % 3 ? 0x3c : i * 5);
        }
    }
    ww_chunk_room_hints(room, NULL, 0, NULL, 0);
    return room;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32,
                                           WW_DTYPE_F64,  WW_DTYPE_U8,  WW_DTYPE_I16};
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
    struct ww_chunk_room *room = make_room(base, sizeof(base));
    if (prediction) {
        set_hints(room, dtype, base, n);
    }
    copy = ww_calloc(1, len - 2);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, bytes + 2, len - 2);
    const bool good = ww_chunk_decode(room, type, copy, len - 2, prediction, out, n);
    if (n / type.width >= 4096) { /* fewer are decoded by plain C alone */
        check_beside(room, type, copy, len - 2, prediction, out, n, good);
    }
    if (good) {
        check_back(room, &(struct ww_chunk_plain){type, out, prediction, n});
    }
    ww_free(copy);
    return 0;
}
