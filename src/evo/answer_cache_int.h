/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of an answer cache. Internal to src/evo. */
#ifndef WW_EVO_ANSWER_CACHE_INT_H
#define WW_EVO_ANSWER_CACHE_INT_H

#include <pthread.h>

#include "evo/answer_cache.h"

#define WW_CACHE_FILE "answers.wwa"
#define WW_CACHE_VERSION 1
#define WW_CACHE_HEAD 16
#define WW_RECORD_HEAD (8 + WW_CACHE_KEY_BYTES) /* magic, length, key */
#define WW_RECORD_CHECK 16
#define WW_RECORD_MAX ((size_t)32 << 20)

/** Where a record's bytes lie; offset 0: an empty place. */
struct ww_answer_cache_slot {
    uint8_t key[WW_CACHE_KEY_BYTES];
    uint64_t offset;
    uint32_t len;
};

struct ww_answer_cache {
    int fd;
    bool write;
    char *path;
    uint64_t end; /* of the last good record */
    size_t damaged;
    struct ww_answer_cache_slot *slot; /* [room], open addressing */
    size_t room;
    size_t n;
    pthread_mutex_t mutex;
    pthread_cond_t synced_more;
    uint64_t written; /* records, counted */
    uint64_t synced;
    bool syncing;
};

struct ww_answer_cache_slot *ww_answer_cache_find(const struct ww_answer_cache *cache,
                                                  const uint8_t *key);
enum ww_err ww_answer_cache_insert(struct ww_answer_cache *cache, const uint8_t *key,
                                   uint64_t offset, uint32_t len,
                                   struct ww_error *err) WW_MUST_USE;

/** First bytes of the checksum over head and bytes. */
void ww_answer_cache_check(const uint8_t head[WW_RECORD_HEAD], const uint8_t *bytes,
                           size_t len, uint8_t out[WW_RECORD_CHECK]);

extern const uint8_t ww_answer_cache_magic[4];

/** Find every good record of the file. */
enum ww_err ww_answer_cache_scan(struct ww_answer_cache *cache, uint64_t size,
                                 struct ww_error *err) WW_MUST_USE;

#endif
