/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Head of a sealed file, numbers little-endian:
 *
 *   1 magic "weightward-seal\n"    16 bytes
 *   2 version                      u32, 1
 *   3 cipher                       u32, "gcm1" or "cha1"
 *   4 chunk                        u32, bytes of plaintext in a chunk: a power of two,
 *                                  64 bytes to 4 MiB
 *   5 length of the name           u32, 1 to 1024
 *   6 size of the plain file       u64
 *   7 length of the clear part     u64: a safetensors header with its length, or 0
 *   8 seal id                      16 bytes, the same in all files of a folder
 *   9 name                         path of the plain file, relative
 *  10 clear part                   the first bytes of the plain file, verbatim
 *  11 padding                      zeros up to a multiple of 8
 *  12 head tag                     32 bytes
 *  13 chunks                       each: ciphertext, tag 16
 *
 * The key of the chunks and the head tag are derived from the content key and the SHA-256
 * of fields 1 to 11: a changed head is another key.
 */
#ifndef WW_SEAL_HEAD_H
#define WW_SEAL_HEAD_H

#include "crypto/hash.h"
#include "util/buf.h"

#define WW_SEAL_MAGIC "weightward-seal\n"
#define WW_SEAL_VERSION 1
#define WW_SEAL_ID_BYTES 16
#define WW_SEAL_FIXED_BYTES 64
#define WW_SEAL_HEAD_TAG_BYTES 32
#define WW_SEAL_CHUNK_BYTES ((uint32_t)1 << 20)
#define WW_SEAL_MIN_CHUNK 64
#define WW_SEAL_MAX_CHUNK ((uint32_t)4 << 20)
#define WW_SEAL_MAX_NAME 1024
#define WW_SEAL_MAX_CLEAR (100000000 + 8) /* the longest safetensors header */
#define WW_SEAL_SUFFIX ".sealed"

struct ww_seal_head {
    uint32_t cipher;
    uint32_t chunk_bytes;
    uint64_t plain_bytes;
    uint64_t clear_bytes;
    uint8_t seal_id[WW_SEAL_ID_BYTES];
    char name[WW_SEAL_MAX_NAME + 1];
};

/** Fields 1 to 9. */
enum ww_err ww_seal_head_begin(const struct ww_seal_head *head, struct ww_buf *out,
                               struct ww_error *err) WW_MUST_USE;
/** Zeros of field 11. */
size_t ww_seal_head_padding(const struct ww_seal_head *head);
/** Length of fields 1 to 11, 1 to 9. */
uint64_t ww_seal_head_bytes(const struct ww_seal_head *head);
uint64_t ww_seal_clear_offset(const struct ww_seal_head *head);
/** Where the chunks begin. */
uint64_t ww_seal_chunks_offset(const struct ww_seal_head *head);
uint64_t ww_seal_n_chunks(const struct ww_seal_head *head);
/** Plaintext bytes of the last chunk; 0 when there is none. */
uint64_t ww_seal_last_bytes(const struct ww_seal_head *head);
/** Length of the whole sealed file. */
uint64_t ww_seal_file_bytes(const struct ww_seal_head *head);

/**
 * Parse the first len bytes of a sealed file of file_bytes. *need is how many bytes of it
 * the head takes; when that is more than len, call again with as many (out is not set
 * then). WW_E_SEALED for anything malformed and for a file that is too short or too long,
 * WW_E_VERSION for a newer version.
 */
enum ww_err ww_seal_head_parse(const uint8_t *bytes, uint64_t len, uint64_t file_bytes,
                               struct ww_seal_head *out, uint64_t *need,
                               struct ww_error *err) WW_MUST_USE;

#endif
