/* SPDX-License-Identifier: Apache-2.0 */
/* The head says where the manifest is and nothing that the manifest does not say better:
 * it is rewritten with every version, as the last step before the file gets its name. */
#include "rmm/head.h"

#include <string.h>

#include "util/fail.h"
#include "util/num.h"

#define MAGIC_BYTES 16
#define AT_VERSION 16
#define AT_FLAGS 20
#define AT_OFFSET 24
#define AT_MANIFEST 32
#define AT_BUNDLE 40
#define AT_KEYS 48
#define AT_MANIFEST_SHA 56
#define AT_TAIL_SHA 88
#define AT_CHECK 120
#define CHECK_BYTES 8

void ww_pack_head_write(const struct ww_pack_head *head, uint8_t out[WW_PACK_HEAD_BYTES])
{
    uint8_t digest[WW_SHA256_BYTES];

    memset(out, 0, WW_PACK_HEAD_BYTES);
    memcpy(out, WW_PACK_MAGIC, MAGIC_BYTES);
    ww_put_u32le(out + AT_VERSION, head->version);
    ww_put_u64le(out + AT_OFFSET, head->manifest_offset);
    ww_put_u64le(out + AT_MANIFEST, head->manifest_bytes);
    ww_put_u64le(out + AT_BUNDLE, head->bundle_bytes);
    ww_put_u64le(out + AT_KEYS, head->keys_bytes);
    memcpy(out + AT_MANIFEST_SHA, head->manifest_sha256, WW_SHA256_BYTES);
    memcpy(out + AT_TAIL_SHA, head->tail_sha256, WW_SHA256_BYTES);
    ww_sha256_of(out, AT_CHECK, digest);
    memcpy(out + AT_CHECK, digest, CHECK_BYTES);
}

uint64_t ww_pack_align(uint32_t version)
{
    return version == WW_PACK_VERSION_2 ? WW_PACK_MOST_ALIGN : 16;
}

uint64_t ww_pack_first(uint32_t version)
{
    return ww_round_up(WW_PACK_HEAD_BYTES, ww_pack_align(version));
}

static bool fits(const struct ww_pack_head *head, uint64_t file_bytes)
{
    uint64_t end = head->manifest_offset;

    return head->manifest_offset >= ww_pack_first(head->version) &&
           head->manifest_offset % ww_pack_align(head->version) == 0 &&
           head->manifest_bytes > 0 && head->manifest_bytes <= WW_PACK_MAX_MANIFEST &&
           head->bundle_bytes <= WW_PACK_MAX_BUNDLE &&
           head->keys_bytes <= WW_PACK_MAX_KEYS &&
           ww_add_u64(end, head->manifest_bytes, &end) &&
           ww_add_u64(end, head->bundle_bytes, &end) &&
           ww_add_u64(end, head->keys_bytes, &end) && end == file_bytes;
}

uint32_t ww_pack_head_version(const uint8_t bytes[WW_PACK_HEAD_BYTES])
{
    return ww_get_u32le(bytes + AT_VERSION);
}

uint64_t ww_pack_head_sections(const uint8_t bytes[WW_PACK_HEAD_BYTES])
{
    return ww_get_u64le(bytes + AT_OFFSET);
}

enum ww_err ww_pack_head_parse(const uint8_t *bytes, size_t len, uint64_t file_bytes,
                               const char *name, struct ww_pack_head *out,
                               struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];

    memset(out, 0, sizeof(*out));
    if (len < WW_PACK_HEAD_BYTES || memcmp(bytes, WW_PACK_MAGIC, MAGIC_BYTES) != 0) {
        return WW_FAIL(
            err, WW_E_MALFORMED,
            "'%s' is no package: it does not begin as 'weightward rmm pack' writes them",
            name);
    }
    out->version = ww_pack_head_version(bytes);
    if (out->version != WW_PACK_VERSION && out->version != WW_PACK_VERSION_2) {
        return WW_FAIL(err, WW_E_VERSION,
                       "package '%s' has format version %lu, expected %d or %d; use a "
                       "newer weightward",
                       name, (unsigned long)out->version, WW_PACK_VERSION_2,
                       WW_PACK_VERSION);
    }
    ww_sha256_of(bytes, AT_CHECK, digest);
    if (memcmp(bytes + AT_CHECK, digest, CHECK_BYTES) != 0) {
        return WW_FAIL(err, WW_E_MALFORMED, "package '%s': its head is damaged", name);
    }
    if (ww_get_u32le(bytes + AT_FLAGS) != 0) {
        return WW_FAIL(err, WW_E_VERSION,
                       "package '%s' has flags that this version does not know; use a "
                       "newer weightward",
                       name);
    }
    out->manifest_offset = ww_get_u64le(bytes + AT_OFFSET);
    out->manifest_bytes = ww_get_u64le(bytes + AT_MANIFEST);
    out->bundle_bytes = ww_get_u64le(bytes + AT_BUNDLE);
    out->keys_bytes = ww_get_u64le(bytes + AT_KEYS);
    memcpy(out->manifest_sha256, bytes + AT_MANIFEST_SHA, WW_SHA256_BYTES);
    memcpy(out->tail_sha256, bytes + AT_TAIL_SHA, WW_SHA256_BYTES);
    if (!fits(out, file_bytes)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "package '%s' of %llu bytes does not end where its head says",
                       name, (unsigned long long)file_bytes);
    }
    return WW_OK;
}
