/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a cache from its beginning. Where a record does not check, the next good one is
 * looked for byte by byte: a damaged length must not cost what lies behind it.
 */
#include <string.h>

#include "crypto/hash.h"
#include "evo/answer_cache_int.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define WINDOW ((size_t)1 << 16)

const uint8_t ww_answer_cache_magic[4] = {'W', 'W', 'A', '1'};

void ww_answer_cache_check(const uint8_t head[WW_RECORD_HEAD], const uint8_t *bytes,
                           size_t len, uint8_t out[WW_RECORD_CHECK])
{
    uint8_t inner[2 * WW_SHA256_BYTES];
    uint8_t digest[WW_SHA256_BYTES];
    ww_sha256_of(head, WW_RECORD_HEAD, inner);
    ww_sha256_of(bytes, len, inner + WW_SHA256_BYTES);
    ww_sha256_of(inner, sizeof(inner), digest);
    memcpy(out, digest, WW_RECORD_CHECK);
}

/* A whole record at this place? *next: behind it. */
static enum ww_err read_record(struct ww_answer_cache *c, uint64_t at, uint64_t size,
                               struct ww_buf *room, bool *good, uint64_t *next,
                               struct ww_error *err)
{
    uint8_t head[WW_RECORD_HEAD];
    uint8_t check[WW_RECORD_CHECK];
    *good = false;
    if (size - at < WW_RECORD_HEAD + WW_RECORD_CHECK) {
        return WW_OK;
    }
    enum ww_err rc = ww_pread_full(c->fd, head, sizeof(head), at, c->path, err);
    const size_t len = ww_get_u32le(head + 4);
    if (rc || memcmp(head, ww_answer_cache_magic, 4) != 0 || len > WW_RECORD_MAX ||
        len > size - at - WW_RECORD_HEAD - WW_RECORD_CHECK) {
        return rc;
    }
    ww_buf_clear(room);
    rc = ww_buf_reserve(room, len + WW_RECORD_CHECK, err);
    rc = rc ? rc
            : ww_pread_full(c->fd, room->data, len + WW_RECORD_CHECK, at + WW_RECORD_HEAD,
                            c->path, err);
    if (rc) {
        return rc;
    }
    ww_answer_cache_check(head, room->data, len, check);
    *good = memcmp(check, room->data + len, WW_RECORD_CHECK) == 0;
    *next = at + WW_RECORD_HEAD + len + WW_RECORD_CHECK;
    return *good ? ww_answer_cache_insert(c, head + 8, at + WW_RECORD_HEAD, (uint32_t)len,
                                          err)
                 : WW_OK;
}

/* The next place from at where a record's first bytes stand; size: none. */
static enum ww_err find_magic(struct ww_answer_cache *c, uint64_t at, uint64_t size,
                              uint64_t *out, struct ww_error *err)
{
    uint8_t window[WINDOW];
    *out = size;
    while (size - at >= sizeof(ww_answer_cache_magic)) {
        const size_t len = (size_t)ww_min_u64(WINDOW, size - at);
        enum ww_err rc = ww_pread_full(c->fd, window, len, at, c->path, err);
        if (rc) {
            return rc;
        }
        const uint8_t *hit =
            memmem(window, len, ww_answer_cache_magic, sizeof(ww_answer_cache_magic));
        if (hit) {
            *out = at + (uint64_t)(hit - window);
            return WW_OK;
        }
        at += len - (sizeof(ww_answer_cache_magic) - 1);
    }
    return WW_OK;
}

enum ww_err ww_answer_cache_scan(struct ww_answer_cache *c, uint64_t size,
                                 struct ww_error *err)
{
    struct ww_buf room;
    uint64_t at = WW_CACHE_HEAD;
    bool lost = false;
    enum ww_err rc = WW_OK;
    ww_buf_init(&room, WW_RECORD_MAX + WW_RECORD_CHECK);
    c->end = at;
    while (at < size && !rc) {
        bool good = false;
        uint64_t next = size;
        rc = read_record(c, at, size, &room, &good, &next, err);
        if (!rc && good) {
            c->damaged += lost;
            lost = false;
            c->end = next;
        } else if (!rc) {
            lost = true;
            rc = find_magic(c, at + 1, size, &next, err);
        }
        at = next;
    }
    /* A torn end is what a killed writer leaves: nobody was told that it is kept. */
    ww_buf_release(&room);
    return rc;
}
