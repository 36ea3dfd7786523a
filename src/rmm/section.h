/* SPDX-License-Identifier: Apache-2.0 */
/* The section of a member: written once in order, read at any place; plain or sealed. */
#ifndef WW_RMM_SECTION_H
#define WW_RMM_SECTION_H

#include <stdbool.h>

#include "crypto/sha.h"
#include "crypto/sealed.h"
#include "util/buf.h"

#define WW_SECTION_PIECE ((size_t)256 << 10)

/** Key of a section from the member's content key. */
enum ww_err ww_section_key(struct ww_secret *content_key,
                           const uint8_t key_id[WW_RECORD_ID_BYTES],
                           struct ww_secret **out, struct ww_error *err) WW_MUST_USE;

/** Bytes of another digest, hashed side by side with what is written: two digests take
 *  little more time than one. */
struct ww_section_beside {
    struct ww_sha *sha; /* NULL: none */
    const uint8_t *bytes;
    size_t n;
};

/** Where a section goes. Set fd, name and at (of its first byte); to seal it, key and
 *  cipher; then begin. */
struct ww_section_out {
    int fd;
    const char *name;
    uint64_t at; /* in the file, of what is written next */
    struct ww_secret *key;
    uint32_t cipher;
    struct ww_sha sha; /* of what was written */
    struct ww_section_beside beside;
    struct ww_buf piece; /* of plaintext, not sealed yet */
    uint8_t *sealed;
    uint64_t index;
    uint64_t plain_bytes;
    uint64_t bytes; /* written */
};
enum ww_err ww_section_begin(struct ww_section_out *out,
                             struct ww_error *err) WW_MUST_USE;
enum ww_err ww_section_add(struct ww_section_out *out, const void *bytes, size_t n,
                           struct ww_error *err) WW_MUST_USE;
/** The same with all bytes of another digest beside it. */
enum ww_err ww_section_add_beside(struct ww_section_out *out, const void *bytes, size_t n,
                                  struct ww_section_beside beside,
                                  struct ww_error *err) WW_MUST_USE;
/** The last piece; sha256: of the whole section. */
enum ww_err ww_section_end(struct ww_section_out *out, uint8_t sha256[WW_SHA256_BYTES],
                           struct ww_error *err) WW_MUST_USE;
void ww_section_out_release(struct ww_section_out *out);

struct ww_section_in {
    int fd; /* borrowed */
    const char *name;
    uint64_t offset;
    uint64_t bytes;
    struct ww_secret *key; /* NULL: plain */
    const uint8_t *open_key;
    uint32_t cipher;
    uint64_t plain_bytes;
};
/** Set all but open_key and plain_bytes first. WW_E_MALFORMED for an impossible length.
 */
enum ww_err ww_section_open(struct ww_section_in *in, struct ww_error *err) WW_MUST_USE;
/** Exactly n bytes of content; from many threads at once. WW_E_SEALED when it was altered
 *  or the key is another one. */
enum ww_err ww_section_read(const struct ww_section_in *in, uint64_t at, void *out,
                            size_t n, struct ww_error *err) WW_MUST_USE;
void ww_section_close(struct ww_section_in *in);

#endif
