/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of a sealed file, one by one and as a kernel of the executor. */
#ifndef WW_SEAL_CHUNK_H
#define WW_SEAL_CHUNK_H

#include "crypto/secret.h"
#include "seal/seal_head.h"
#include "stream/stream.h"

/** Open a chunk of n plaintext bytes; in holds n + 16. WW_E_SEALED names the chunk. */
enum ww_err ww_seal_chunk_open(const struct ww_seal_head *head, const uint8_t *key,
                               uint64_t index, const uint8_t *in, size_t n, uint8_t *out,
                               struct ww_error *err) WW_MUST_USE;

/** Parameters of the kernels: rows are the chunks from `first` on. */
struct ww_seal_piece {
    const struct ww_seal_head *head;
    struct ww_secret *key;
    uint64_t first;
};
extern const struct ww_kernel ww_seal_kernel;
extern const struct ww_kernel ww_unseal_kernel;

#endif
