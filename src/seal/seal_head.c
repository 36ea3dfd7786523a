/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head says all that positions and sizes follow from, so that a reader knows the
 * length of the file before it has opened anything, and a cut one is refused at once.
 * Nothing here is authenticated yet; that is the head tag's part.
 */
#include "seal/seal_head.h"

#include <string.h>

#include "crypto/aead.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define AT_VERSION 16
#define AT_CIPHER 20
#define AT_CHUNK 24
#define AT_NAME_LEN 28
#define AT_PLAIN 32
#define AT_CLEAR 40
#define AT_ID 48
#define MAGIC_BYTES 16
#define MAX_PLAIN ((uint64_t)1 << 60)

_Static_assert(AT_ID + WW_SEAL_ID_BYTES == WW_SEAL_FIXED_BYTES, "fields fill it");

uint64_t ww_seal_clear_offset(const struct ww_seal_head *head)
{
    return WW_SEAL_FIXED_BYTES + strlen(head->name);
}

uint64_t ww_seal_head_bytes(const struct ww_seal_head *head)
{
    return ww_round_up(ww_seal_clear_offset(head) + head->clear_bytes, 8);
}

size_t ww_seal_head_padding(const struct ww_seal_head *head)
{
    return (size_t)(ww_seal_head_bytes(head) - ww_seal_clear_offset(head) -
                    head->clear_bytes);
}

uint64_t ww_seal_chunks_offset(const struct ww_seal_head *head)
{
    return ww_seal_head_bytes(head) + WW_SEAL_HEAD_TAG_BYTES;
}

uint64_t ww_seal_n_chunks(const struct ww_seal_head *head)
{
    return ww_div_up(head->plain_bytes - head->clear_bytes, head->chunk_bytes);
}

uint64_t ww_seal_last_bytes(const struct ww_seal_head *head)
{
    const uint64_t data = head->plain_bytes - head->clear_bytes;
    return data ? (data - 1) % head->chunk_bytes + 1 : 0;
}

uint64_t ww_seal_file_bytes(const struct ww_seal_head *head)
{
    return ww_seal_chunks_offset(head) + (head->plain_bytes - head->clear_bytes) +
           ww_seal_n_chunks(head) * WW_AEAD_TAG_BYTES;
}

enum ww_err ww_seal_head_begin(const struct ww_seal_head *head, struct ww_buf *out,
                               struct ww_error *err)
{
    const size_t name_len = strlen(head->name);
    uint8_t fixed[WW_SEAL_FIXED_BYTES];
    enum ww_err rc = WW_OK;

    memcpy(fixed, WW_SEAL_MAGIC, MAGIC_BYTES);
    ww_put_u32le(fixed + AT_VERSION, WW_SEAL_VERSION);
    ww_put_u32le(fixed + AT_CIPHER, head->cipher);
    ww_put_u32le(fixed + AT_CHUNK, head->chunk_bytes);
    ww_put_u32le(fixed + AT_NAME_LEN, (uint32_t)name_len);
    ww_put_u64le(fixed + AT_PLAIN, head->plain_bytes);
    ww_put_u64le(fixed + AT_CLEAR, head->clear_bytes);
    memcpy(fixed + AT_ID, head->seal_id, WW_SEAL_ID_BYTES);
    rc = ww_buf_add(out, fixed, sizeof(fixed), err);
    if (!rc) {
        rc = ww_buf_add(out, head->name, name_len, err);
    }
    return rc;
}

static enum ww_err parse_fixed(const uint8_t *bytes, struct ww_seal_head *head,
                               uint32_t *name_len, struct ww_error *err)
{
    const uint32_t version = ww_get_u32le(bytes + AT_VERSION);
    const uint32_t chunk = ww_get_u32le(bytes + AT_CHUNK);

    if (memcmp(bytes, WW_SEAL_MAGIC, MAGIC_BYTES) != 0) {
        return WW_FAIL(err, WW_E_SEALED,
                       "not a sealed file: it does not begin as one does; is it the open "
                       "file of this name?");
    }
    if (version != WW_SEAL_VERSION) {
        return WW_FAIL(err, WW_E_VERSION, "sealed file has version %u, known is %d",
                       version, WW_SEAL_VERSION);
    }
    head->cipher = ww_get_u32le(bytes + AT_CIPHER);
    head->chunk_bytes = chunk;
    head->plain_bytes = ww_get_u64le(bytes + AT_PLAIN);
    head->clear_bytes = ww_get_u64le(bytes + AT_CLEAR);
    memcpy(head->seal_id, bytes + AT_ID, WW_SEAL_ID_BYTES);
    *name_len = ww_get_u32le(bytes + AT_NAME_LEN);
    if (!ww_aead_name(head->cipher)) {
        return WW_FAIL(err, WW_E_SEALED, "sealed file names the unknown cipher 0x%08x",
                       head->cipher);
    }
    if (chunk < WW_SEAL_MIN_CHUNK || chunk > WW_SEAL_MAX_CHUNK || (chunk & (chunk - 1))) {
        return WW_FAIL(err, WW_E_SEALED,
                       "sealed file has chunks of %u bytes, expected a power of two from "
                       "%d to %u",
                       chunk, WW_SEAL_MIN_CHUNK, WW_SEAL_MAX_CHUNK);
    }
    if (*name_len < 1 || *name_len > WW_SEAL_MAX_NAME) {
        return WW_FAIL(err, WW_E_SEALED, "sealed file has a name of %u bytes, at most %d",
                       *name_len, WW_SEAL_MAX_NAME);
    }
    if (head->plain_bytes > MAX_PLAIN || head->clear_bytes > head->plain_bytes ||
        head->clear_bytes > WW_SEAL_MAX_CLEAR) {
        return WW_FAIL(err, WW_E_SEALED, "sealed file states impossible sizes");
    }
    return WW_OK;
}

static enum ww_err parse_rest(const uint8_t *bytes, uint32_t name_len,
                              struct ww_seal_head *head, struct ww_error *err)
{
    const uint64_t end = WW_SEAL_FIXED_BYTES + name_len + head->clear_bytes;

    memcpy(head->name, bytes + WW_SEAL_FIXED_BYTES, name_len);
    head->name[name_len] = '\0';
    if (strlen(head->name) != name_len || !ww_path_is_relative(head->name)) {
        return WW_FAIL(err, WW_E_SEALED,
                       "sealed file names a file that is no clean path");
    }
    for (uint64_t i = end; i < ww_round_up(end, 8); i++) {
        if (bytes[i] != 0) {
            return WW_FAIL(err, WW_E_SEALED, "sealed file has padding that is not zero");
        }
    }
    return WW_OK;
}

enum ww_err ww_seal_head_parse(const uint8_t *bytes, uint64_t len, uint64_t file_bytes,
                               struct ww_seal_head *out, uint64_t *need,
                               struct ww_error *err)
{
    struct ww_seal_head head = {0};
    uint32_t name_len = 0;
    enum ww_err rc = WW_OK;

    *need = WW_SEAL_FIXED_BYTES;
    if (file_bytes < WW_SEAL_FIXED_BYTES) {
        return WW_FAIL(err, WW_E_SEALED, "sealed file ends after %llu bytes",
                       (unsigned long long)file_bytes);
    }
    if (len < *need) {
        return WW_OK;
    }
    rc = parse_fixed(bytes, &head, &name_len, err);
    if (rc) {
        return rc;
    }
    *need = ww_round_up(WW_SEAL_FIXED_BYTES + name_len + head.clear_bytes, 8) +
            WW_SEAL_HEAD_TAG_BYTES;
    const uint64_t full = *need + (head.plain_bytes - head.clear_bytes) +
                          ww_seal_n_chunks(&head) * WW_AEAD_TAG_BYTES;
    if (full != file_bytes) {
        return WW_FAIL(err, WW_E_SEALED,
                       "sealed file has %llu bytes, expected %llu: it "
                       "was cut or something was added",
                       (unsigned long long)file_bytes, (unsigned long long)full);
    }
    if (len < *need) {
        return WW_OK;
    }
    rc = parse_rest(bytes, name_len, &head, err);
    if (!rc) {
        *out = head;
    }
    return rc;
}
