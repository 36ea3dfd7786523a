/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests, and tables of small members, are coded where that is shorter: they say much
 * the same about each tensor. */
#include <string.h>

#include "rmm/chunk_adaptive.h"
#include "rmm/chunk.h"
#include "rmm/table.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define CODED 0     /* the first byte; that of JSON is a brace */
#define AT_LENGTH 1 /* u32 */
#define AT_FORM 5
#define AT_MESSAGE 8

enum ww_err ww_pack_text_code(const struct ww_buf *text, struct ww_buf *out,
                              struct ww_error *err)
{
    uint8_t head[AT_FORM] = {CODED};
    struct ww_text *work = NULL;
    enum ww_err rc = WW_OK;

    if (text->len > WW_ADAPTIVE_MOST) {
        return ww_buf_add(out, text->data, text->len, err);
    }
    work = ww_calloc(1, sizeof(*work));
    if (!work) {
        return WW_FAIL_MEMORY(err, "a text");
    }
    ww_put_u32le(head + AT_LENGTH, (uint32_t)text->len);
    rc = ww_buf_add(out, head, sizeof(head), err);
    if (!rc) {
        rc = ww_chunk_text_encode(work, text->data, text->len, out, err);
    }
    ww_free(work);
    if (!rc && out->len >= text->len) {
        ww_buf_clear(out);
        rc = ww_buf_add(out, text->data, text->len, err);
    }
    return rc;
}

bool ww_pack_text_is_coded(const uint8_t *bytes, size_t len)
{
    return len > 0 && bytes[0] == CODED;
}

bool ww_pack_text_goes_back(const uint8_t *bytes, size_t len)
{
    return ww_pack_text_is_coded(bytes, len) && len > AT_FORM &&
           ww_chunk_goes_back(bytes + AT_FORM, len - AT_FORM);
}

enum ww_err ww_pack_text_open(const uint8_t *bytes, size_t len, uint8_t **text, size_t *n,
                              struct ww_error *err)
{
    const unsigned mode = len > AT_MESSAGE ? bytes[AT_FORM + 1] : 0;
    struct ww_text *work = NULL;
    bool good = false;

    *text = NULL;
    *n = len > AT_MESSAGE ? ww_get_u32le(bytes + AT_LENGTH) : 0;
    if (*n == 0 || *n > WW_ADAPTIVE_MOST || bytes[AT_FORM] != WW_CHUNK_ADAPTIVE ||
        (mode | WW_ADAPTIVE_AGAIN) != (WW_ADAPTIVE_IS | WW_ADAPTIVE_AGAIN) ||
        bytes[AT_FORM + 2] != WW_CHUNK_SPLIT) {
        return WW_OK;
    }
    work = ww_calloc(1, sizeof(*work));
    *text = ww_calloc(1, *n);
    if (!work || !*text) {
        ww_free(work);
        ww_free(*text);
        *text = NULL;
        return WW_FAIL_MEMORY(err, "a text");
    }
    good =
        ww_chunk_text_decode(work, mode, bytes + AT_MESSAGE, len - AT_MESSAGE, *text, *n);
    ww_free(work);
    if (!good) {
        ww_free(*text);
        *text = NULL;
    }
    return WW_OK;
}

enum ww_err ww_pack_table_open(const uint8_t *bytes, size_t len, uint64_t content_bytes,
                               const char *member, struct ww_pack_table *out,
                               struct ww_error *err)
{
    uint8_t *text = NULL;
    size_t n = 0;
    enum ww_err rc = WW_OK;

    if (!ww_pack_text_is_coded(bytes, len)) {
        return ww_pack_table_read(bytes, len, content_bytes, member, out, err);
    }
    memset(out, 0, sizeof(*out));
    rc = ww_pack_text_open(bytes, len, &text, &n, err);
    if (!rc && !text) {
        return WW_FAIL(err, WW_E_MALFORMED, "member '%s': its table does not decode",
                       member);
    }
    if (!rc) {
        rc = ww_pack_table_read(text, n, content_bytes, member, out, err);
    }
    ww_free(text);
    return rc;
}
