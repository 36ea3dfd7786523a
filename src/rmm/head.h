/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Head of a package, 128 bytes, numbers little-endian:
 *
 *   1 magic "weightward-pack\n"  16 bytes
 *   2 version                    u32, 3, or 2 as written before
 *   3 flags                      u32, 0
 *   4 manifest offset            u64, a multiple of 16, of 4096 in version 2
 *   5 manifest length            u64
 *   6 bundle length              u64
 *   7 keys length                u64
 *   8 SHA-256 of the manifest
 *   9 SHA-256 of bundle and keys
 *  10 check                      first 8 bytes of the SHA-256 of fields 1 to 9
 */
#ifndef WW_RMM_HEAD_H
#define WW_RMM_HEAD_H

#include "crypto/hash.h"

#define WW_PACK_MAGIC "weightward-pack\n"
#define WW_PACK_VERSION 3
#define WW_PACK_VERSION_2                                                                \
    2 /* no text is coded by what came before, none of the manifest */
#define WW_PACK_HEAD_BYTES 128
#define WW_PACK_MOST_ALIGN 4096u
#define WW_PACK_MAX_MANIFEST ((uint64_t)64 << 20)
#define WW_PACK_MAX_BUNDLE ((uint64_t)1 << 20)
#define WW_PACK_MAX_KEYS ((uint64_t)64 << 20)

struct ww_pack_head {
    uint32_t version;
    uint64_t manifest_offset;
    uint64_t manifest_bytes;
    uint64_t bundle_bytes;
    uint64_t keys_bytes;
    uint8_t manifest_sha256[WW_SHA256_BYTES];
    uint8_t tail_sha256[WW_SHA256_BYTES];
};

/** Sections and manifest begin at multiples of this, */
uint64_t ww_pack_align(uint32_t version);
/** and the first of them here, as does the manifest of a folder. */
uint64_t ww_pack_first(uint32_t version);
/** The version of a head that is not parsed yet. */
uint32_t ww_pack_head_version(const uint8_t bytes[WW_PACK_HEAD_BYTES]);
/** Where the manifest begins, of a head that is not parsed yet: what sections take before
 *  it. */
uint64_t ww_pack_head_sections(const uint8_t bytes[WW_PACK_HEAD_BYTES]);
void ww_pack_head_write(const struct ww_pack_head *head, uint8_t out[WW_PACK_HEAD_BYTES]);
/** name goes into error texts. WW_E_MALFORMED, also when the parts do not fill a file of
 *  file_bytes exactly; WW_E_VERSION. */
enum ww_err ww_pack_head_parse(const uint8_t *bytes, size_t len, uint64_t file_bytes,
                               const char *name, struct ww_pack_head *out,
                               struct ww_error *err) WW_MUST_USE;

#endif
