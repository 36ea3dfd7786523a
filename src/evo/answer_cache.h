/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Answers that were paid for, on disk: one file, records added at its end, never changed.
 * An answer counts as kept when fsync returned. Each record has a checksum of its own, so
 * a flipped bit costs that record, and a torn end is cut off when the file is opened for
 * writing. The layout is in docs/formats/answer-cache.md.
 */
#ifndef WW_EVO_ANSWER_CACHE_H
#define WW_EVO_ANSWER_CACHE_H

#include <stdbool.h>

#include "util/buf.h"

#define WW_CACHE_KEY_BYTES 32

struct ww_answer_cache;

/** Open DIR's cache; write: make it when it is not there, and keep other writers out
 *  (WW_E_EXISTS). WW_E_KEY_ACCESS when others may read it, WW_E_VERSION, WW_E_MALFORMED
 *  for a file that is none. */
enum ww_err ww_answer_cache_open(const char *dir, bool write,
                                 struct ww_answer_cache **out,
                                 struct ww_error *err) WW_MUST_USE;
void ww_answer_cache_close(struct ww_answer_cache *cache);

/** Records, and stretches that could not be read. */
size_t ww_answer_cache_count(const struct ww_answer_cache *cache);
size_t ww_answer_cache_damaged(const struct ww_answer_cache *cache);

/** Bytes of a record to *value (set up by this call); *found. Any thread. */
enum ww_err ww_answer_cache_get(struct ww_answer_cache *cache,
                                const uint8_t key[WW_CACHE_KEY_BYTES], bool *found,
                                struct ww_buf *value, struct ww_error *err) WW_MUST_USE;

/** Add a record and return when it is on the disk; one fsync serves all threads that
 *  wait. A key that is there stays. */
enum ww_err ww_answer_cache_put(struct ww_answer_cache *cache,
                                const uint8_t key[WW_CACHE_KEY_BYTES],
                                const uint8_t *bytes, size_t len,
                                struct ww_error *err) WW_MUST_USE;

/** Root of the hash tree over these records, which must all be there; the order of keys
 *  does not matter, nor does a key given twice. Empty: all zero. */
enum ww_err ww_answer_cache_root(struct ww_answer_cache *cache,
                                 uint8_t (*keys)[WW_CACHE_KEY_BYTES], size_t n,
                                 uint8_t out[32], struct ww_error *err) WW_MUST_USE;

#endif
