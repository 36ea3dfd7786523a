/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker thread owns. */
#ifndef WW_STREAM_WORKER_H
#define WW_STREAM_WORKER_H

#include <stdint.h>

#include "crypto/hash.h"
#include "weightward/error.h"

struct ww_worker {
    const uint8_t **pointers;   /* WW_TILE_POINTERS rows of a tile */
    uint8_t *scratch;           /* a tile that cannot be made in place */
    uint64_t scratch_bytes;
    struct ww_sha256 *sha;
};

enum ww_err ww_worker_init(struct ww_worker *w, struct ww_error *err) WW_MUST_USE;
void ww_worker_release(struct ww_worker *w);

#endif
