/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer's side, and look-ups. Group commit: whoever finds no fsync under way makes
 * one for all that was written until then; the others wait for it.
 */
#include "evo/answer_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "evo/answer_cache_int.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

static const uint8_t file_head[WW_CACHE_HEAD] = {
    'W', 'W', 'A', 'N', 'S', 'W', 'E', 'R', WW_CACHE_VERSION, 0, 0, 0, 0, 0, 0, 0};

struct ww_answer_cache_slot *ww_answer_cache_find(const struct ww_answer_cache *cache,
                                                  const uint8_t *key)
{
    if (!cache->room) {
        return NULL;
    }
    size_t i = (size_t)ww_get_u64le(key) & (cache->room - 1);
    while (cache->slot[i].offset &&
           memcmp(cache->slot[i].key, key, WW_CACHE_KEY_BYTES) != 0) {
        i = (i + 1) & (cache->room - 1);
    }
    return &cache->slot[i];
}

static enum ww_err grow(struct ww_answer_cache *cache, struct ww_error *err)
{
    struct ww_answer_cache_slot *old = cache->slot;
    const size_t old_room = cache->room;
    const size_t room = old_room ? 2 * old_room : 256;
    struct ww_answer_cache_slot *slot = ww_calloc(room, sizeof(*slot));
    if (!slot) {
        return WW_FAIL_MEMORY(err, "the index of a cache");
    }
    cache->slot = slot;
    cache->room = room;
    for (size_t i = 0; i < old_room; i++) {
        if (old[i].offset) {
            *ww_answer_cache_find(cache, old[i].key) = old[i];
        }
    }
    ww_free(old);
    return WW_OK;
}

enum ww_err ww_answer_cache_insert(struct ww_answer_cache *cache, const uint8_t *key,
                                   uint64_t offset, uint32_t len, struct ww_error *err)
{
    if (cache->n * 2 >= cache->room) {
        enum ww_err rc = grow(cache, err);
        if (rc) {
            return rc;
        }
    }
    struct ww_answer_cache_slot *slot = ww_answer_cache_find(cache, key);
    if (!slot->offset) {
        memcpy(slot->key, key, WW_CACHE_KEY_BYTES);
        slot->offset = offset;
        slot->len = len;
        cache->n++;
    }
    return WW_OK;
}

static enum ww_err make_folder(const char *dir, struct ww_error *err)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        const int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot make folder '%s'", dir);
    }
    return WW_OK;
}

static enum ww_err open_file(struct ww_answer_cache *c, const char *dir, struct stat *st,
                             struct ww_error *err)
{
    const int how = c->write ? O_RDWR | O_CREAT : O_RDONLY;
    c->fd = open(c->path, how | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (c->fd < 0 || fstat(c->fd, st) != 0) {
        const int e = errno;
        return e == ENOENT ? WW_FAIL(err, WW_E_NOTFOUND,
                                     "there is no cache '%s': nothing was collected into "
                                     "it ('evo collect' or 'evo run' asks)",
                                     c->path)
                           : WW_FAIL_SYS(err, ww_err_from_errno(e), e,
                                         "cannot open cache '%s'", c->path);
    }
    if (!S_ISREG(st->st_mode)) {
        return WW_FAIL(
            err, WW_E_MALFORMED,
            "cache '%s' is no file, so no cache of answers; give a folder of its own",
            c->path);
    }
    if (st->st_mode & 077) {
        return WW_FAIL(err, WW_E_KEY_ACCESS,
                       "cache '%s' is open to others (mode %o) and holds prompts and "
                       "answers; chmod 600 it",
                       c->path, (unsigned)(st->st_mode & 0777));
    }
    if (c->write && flock(c->fd, LOCK_EX | LOCK_NB) != 0) {
        return WW_FAIL(err, WW_E_EXISTS,
                       "cache '%s' is being written by another run; wait for it", dir);
    }
    return WW_OK;
}

static enum ww_err begin_file(struct ww_answer_cache *c, struct ww_error *err)
{
    enum ww_err rc = ww_pwrite_full(c->fd, file_head, sizeof(file_head), 0, c->path, err);
    rc = rc ? rc : ww_fsync(c->fd, c->path, err);
    rc = rc ? rc : ww_fsync_folder_of(c->path, err);
    c->end = sizeof(file_head);
    return rc;
}

static enum ww_err read_file(struct ww_answer_cache *c, uint64_t size,
                             struct ww_error *err)
{
    uint8_t head[WW_CACHE_HEAD];
    enum ww_err rc = ww_pread_full(c->fd, head, sizeof(head), 0, c->path, err);
    if (rc) {
        return rc;
    }
    if (memcmp(head, file_head, 8) != 0) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'%s' is no answer cache: it does not begin as one does; give a "
                       "folder of its own",
                       c->path);
    }
    if (ww_get_u32le(head + 8) != WW_CACHE_VERSION) {
        return WW_FAIL(err, WW_E_VERSION,
                       "cache '%s' has version %u, this program reads version %d",
                       c->path, ww_get_u32le(head + 8), WW_CACHE_VERSION);
    }
    rc = ww_answer_cache_scan(c, size, err);
    if (!rc && c->write && c->end < size && ftruncate(c->fd, (off_t)c->end) != 0) {
        const int e = errno;
        rc = WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot cut cache '%s'", c->path);
    }
    return rc;
}

enum ww_err ww_answer_cache_open(const char *dir, bool write,
                                 struct ww_answer_cache **out, struct ww_error *err)
{
    struct stat st;
    enum ww_err rc = WW_OK;
    *out = NULL;
    struct ww_answer_cache *c = ww_calloc(1, sizeof(*c));
    if (!c) {
        return WW_FAIL_MEMORY(err, "a cache");
    }
    c->fd = -1;
    c->write = write;
    c->path = ww_path_join(dir, WW_CACHE_FILE);
    (void)pthread_mutex_init(&c->mutex, NULL);
    (void)pthread_cond_init(&c->synced_more, NULL);
    if (!c->path) {
        rc = WW_FAIL_MEMORY(err, "a path");
    }
    if (!rc && write) {
        rc = make_folder(dir, err);
    }
    rc = rc ? rc : open_file(c, dir, &st, err);
    if (!rc && write && st.st_size < WW_CACHE_HEAD) {
        rc = begin_file(c, err); /* new, or killed while it was */
    } else if (!rc) {
        rc = read_file(c, (uint64_t)st.st_size, err);
    }
    if (rc) {
        ww_answer_cache_close(c);
        return rc;
    }
    *out = c;
    return WW_OK;
}

void ww_answer_cache_close(struct ww_answer_cache *cache)
{
    if (!cache) {
        return;
    }
    if (cache->fd >= 0) {
        (void)close(cache->fd);
    }
    (void)pthread_mutex_destroy(&cache->mutex);
    (void)pthread_cond_destroy(&cache->synced_more);
    ww_free(cache->slot);
    ww_free(cache->path);
    ww_free(cache);
}

size_t ww_answer_cache_count(const struct ww_answer_cache *cache)
{
    return cache->n;
}

size_t ww_answer_cache_damaged(const struct ww_answer_cache *cache)
{
    return cache->damaged;
}

enum ww_err ww_answer_cache_get(struct ww_answer_cache *cache,
                                const uint8_t key[WW_CACHE_KEY_BYTES], bool *found,
                                struct ww_buf *value, struct ww_error *err)
{
    struct ww_answer_cache_slot at = {.offset = 0};
    ww_buf_init(value, WW_RECORD_MAX);
    (void)pthread_mutex_lock(&cache->mutex);
    const struct ww_answer_cache_slot *slot = ww_answer_cache_find(cache, key);
    if (slot) {
        at = *slot;
    }
    (void)pthread_mutex_unlock(&cache->mutex);
    *found = at.offset != 0;
    if (!*found) {
        return WW_OK;
    }
    enum ww_err rc = ww_buf_reserve(value, at.len, err);
    rc = rc ? rc
            : ww_pread_full(cache->fd, value->data, at.len, at.offset, cache->path, err);
    if (!rc) {
        value->len = at.len;
        value->data[value->len] = 0;
    }
    return rc;
}

/* The mutex is held, here and when it returns. */
static enum ww_err wait_synced(struct ww_answer_cache *c, uint64_t mine,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    while (c->synced < mine && !rc) {
        if (c->syncing) {
            (void)pthread_cond_wait(&c->synced_more, &c->mutex);
            continue;
        }
        const uint64_t target = c->written;
        c->syncing = true;
        (void)pthread_mutex_unlock(&c->mutex);
        rc = ww_fsync(c->fd, c->path, err);
        (void)pthread_mutex_lock(&c->mutex);
        c->syncing = false;
        if (!rc) {
            c->synced = target;
        }
        (void)pthread_cond_broadcast(&c->synced_more);
    }
    return rc;
}

enum ww_err ww_answer_cache_put(struct ww_answer_cache *cache,
                                const uint8_t key[WW_CACHE_KEY_BYTES],
                                const uint8_t *bytes, size_t len, struct ww_error *err)
{
    struct ww_buf record;
    uint8_t check[WW_RECORD_CHECK];
    WW_INVARIANT(cache->write);
    ww_buf_init(&record, WW_RECORD_MAX + WW_RECORD_HEAD + WW_RECORD_CHECK);
    enum ww_err rc =
        len > WW_RECORD_MAX
            ? WW_FAIL(err, WW_E_LIMIT, "an answer has %zu bytes, at most %zu are kept",
                      len, WW_RECORD_MAX)
            : ww_buf_add(&record, ww_answer_cache_magic, sizeof(ww_answer_cache_magic),
                         err);
    rc = rc ? rc : ww_buf_add_u32le(&record, (uint32_t)len, err);
    rc = rc ? rc : ww_buf_add(&record, key, WW_CACHE_KEY_BYTES, err);
    rc = rc ? rc : ww_buf_add(&record, bytes, len, err);
    if (!rc) {
        ww_answer_cache_check(record.data, bytes, len, check);
        rc = ww_buf_add(&record, check, sizeof(check), err);
    }
    (void)pthread_mutex_lock(&cache->mutex);
    const struct ww_answer_cache_slot *slot = ww_answer_cache_find(cache, key);
    const bool there = slot && slot->offset;
    if (!rc && !there) {
        rc = ww_pwrite_full(cache->fd, record.data, record.len, cache->end, cache->path,
                            err);
        rc = rc ? rc
                : ww_answer_cache_insert(cache, key, cache->end + WW_RECORD_HEAD,
                                         (uint32_t)len, err);
        if (!rc) {
            cache->end += record.len;
            cache->written++;
            rc = wait_synced(cache, cache->written, err);
        }
    }
    (void)pthread_mutex_unlock(&cache->mutex);
    ww_buf_release(&record);
    return rc;
}

static int by_key(const void *a, const void *b)
{
    return memcmp(a, b, WW_CACHE_KEY_BYTES);
}

/* RFC 6962's marks: 0 before a leaf, 1 before a node. */
static void node_of(const uint8_t left[32], const uint8_t right[32], uint8_t out[32])
{
    uint8_t text[65] = {1};
    memcpy(text + 1, left, 32);
    memcpy(text + 33, right, 32);
    ww_sha256_of(text, sizeof(text), out);
}

static enum ww_err leaf_of(struct ww_answer_cache *cache, const uint8_t *key,
                           uint8_t out[32], struct ww_error *err)
{
    struct ww_buf value;
    bool found = false;
    uint8_t text[65] = {0};
    enum ww_err rc = ww_answer_cache_get(cache, key, &found, &value, err);
    if (!rc && !found) {
        rc = WW_FAIL(err, WW_E_NOTFOUND, "an answer is not in cache '%s'", cache->path);
    }
    memcpy(text + 1, key, 32);
    ww_sha256_of(value.data, value.len, text + 33);
    ww_sha256_of(text, sizeof(text), out);
    ww_buf_release(&value);
    return rc;
}

enum ww_err ww_answer_cache_root(struct ww_answer_cache *cache,
                                 uint8_t (*keys)[WW_CACHE_KEY_BYTES], size_t n,
                                 uint8_t out[32], struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    size_t kept = 0;
    memset(out, 0, 32);
    if (n == 0) {
        return WW_OK;
    }
    qsort(keys, n, sizeof(*keys), by_key);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || memcmp(keys[i], keys[i - 1], sizeof(*keys)) != 0) {
            memmove(keys[kept++], keys[i], sizeof(*keys));
        }
    }
    for (size_t i = 0; i < kept && !rc; i++) {
        uint8_t leaf[32];
        rc = leaf_of(cache, keys[i], leaf, err);
        memcpy(keys[i], leaf, sizeof(leaf));
    }
    for (; kept > 1 && !rc; kept = (kept + 1) / 2) {
        for (size_t i = 0; i + 1 < kept; i += 2) {
            node_of(keys[i], keys[i + 1], keys[i / 2]);
        }
        if (kept % 2) {
            memmove(keys[kept / 2], keys[kept - 1], sizeof(*keys));
        }
    }
    memcpy(out, keys[0], 32);
    return rc;
}
