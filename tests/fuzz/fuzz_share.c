/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of keys: as they are, and with the inner record's check sum made right. */
#include "fuzz.h"

#include <string.h>

#include "crypto/share.h"

static void try_share(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_share share;
    uint8_t head[WW_SHARE_HEAD_BYTES];
    enum ww_err rc = ww_share_parse(data, size, &share, &err);
    FUZZ_CHECK(rc == WW_OK || rc == WW_E_SHARES || rc == WW_E_VERSION);
    if (rc) {
        FUZZ_CHECK(strlen(err.text) > 0);
        return;
    }
    FUZZ_CHECK(share.index >= 1 && share.index <= share.n_shares);
    FUZZ_CHECK(share.threshold >= 2 && share.threshold <= share.n_shares);
    FUZZ_CHECK(share.signature + share.signature_bytes == data + size);
    FUZZ_CHECK(share.record.kind == WW_RECORD_SHARE);
    ww_share_head(&share, head);
    FUZZ_CHECK(memcmp(head, data, sizeof(head)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t len = 0;
    try_share(data, size);
    if (size < WW_SHARE_HEAD_BYTES + 8) {
        return 0;
    }
    memcpy(&len, data + WW_SHARE_HEAD_BYTES, 4);
    if (len < 100 || len > size - WW_SHARE_HEAD_BYTES - 4) {
        return 0;
    }
    /* The id too, since it is a hash of the head. */
    uint8_t *fixed = malloc(size);
    FUZZ_CHECK(fixed);
    memcpy(fixed, data, size);
    uint8_t *record = fixed + WW_SHARE_HEAD_BYTES + 4;
    ww_share_record_id(fixed, record + 34);
    ww_record_checksum(record, len - WW_RECORD_CHECK_BYTES,
                       record + len - WW_RECORD_CHECK_BYTES);
    try_share(fixed, size);
    free(fixed);
    return 0;
}
