/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed records: as they are, and with the check sum made right, so that the fields
 * behind it are reached. Records that would cost an Argon2 run are parsed only. The
 * recipient's key is 32 bytes of 1, as in the corpus.
 */
#include "fuzz.h"

#include <string.h>

#include "crypto/recipient.h"

static void check_view(const struct ww_record *record, const uint8_t *bytes, size_t len)
{
    FUZZ_CHECK(record->bytes == bytes);
    FUZZ_CHECK(record->n_stanzas >= 1 && record->n_stanzas <= WW_RECORD_MAX_STANZAS);
    FUZZ_CHECK(record->box > bytes && record->box < bytes + len);
    FUZZ_CHECK(record->header_bytes < len);
    FUZZ_CHECK(record->stanzas + record->n_stanzas * record->stride_bytes <= bytes + len);
}

static void open_record(const struct ww_record *record)
{
    struct ww_error err = {0};
    struct ww_record_key key = {NULL, NULL};
    struct ww_secret *out = NULL;
    FUZZ_CHECK(ww_secret_new(WW_X25519_BYTES, &key.recipient, &err) == WW_OK);
    memset(ww_secret_open(key.recipient), 1, WW_X25519_BYTES);
    ww_secret_close(key.recipient);
    enum ww_err rc = ww_record_open(record, &key, &out, NULL, &err);
    FUZZ_CHECK((rc == WW_OK) == (out != NULL));
    ww_secret_free(out);
    ww_secret_free(key.recipient);
}

static void try_record(const uint8_t *bytes, size_t len)
{
    struct ww_error err = {0};
    struct ww_record record;
    if (ww_record_parse(bytes, len, &record, &err) != WW_OK) {
        FUZZ_CHECK(err.code != WW_OK && strlen(err.text) > 0);
        return;
    }
    check_view(&record, bytes, len);
    if (record.sealing != WW_SEALED_PASSPHRASE) {
        open_record(&record);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    uint8_t public_key[WW_X25519_BYTES];
    try_record(data, size);
    (void)!ww_recipient_parse(data, size, public_key, &err);
    if (size >= WW_RECORD_CHECK_BYTES) {
        uint8_t *fixed = malloc(size);
        FUZZ_CHECK(fixed);
        memcpy(fixed, data, size);
        ww_record_checksum(fixed, size - WW_RECORD_CHECK_BYTES,
                           fixed + size - WW_RECORD_CHECK_BYTES);
        try_record(fixed, size);
        free(fixed);
    }
    return 0;
}
