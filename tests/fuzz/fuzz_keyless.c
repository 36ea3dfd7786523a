/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte says what the rest is: 'r' a trusted root, 'e' a log entry as it stands
 * in a bundle, 't' a signed timestamp, 'c' a certificate in DER. What is accepted must be
 * in order, and none of it can be vouched for by a key that nobody has.
 */
#include "fuzz.h"

#include <string.h>

#include "crypto/keyless.h"
#include "crypto/tstamp.h"
#include "sign/tlog.h"
#include "sign/trusted_root.h"

static void read_root(const uint8_t *text, size_t len)
{
    struct ww_error err = {0};
    struct ww_trusted_root *root = NULL;
    enum ww_err rc = ww_trusted_root_parse(text, len, &root, &err);
    FUZZ_CHECK((rc == WW_OK) == (root != NULL));
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    for (size_t i = 0; root && i < root->n_tlogs; i++) {
        FUZZ_CHECK(root->tlogs[i].key != NULL);
    }
    for (size_t i = 0; root && i < root->n_issuers; i++) {
        FUZZ_CHECK(ww_certs_count(root->issuers[i].certs) > 0);
    }
    ww_trusted_root_free(root);
}

static void read_entry(const uint8_t *text, size_t len)
{
    struct ww_error err = {0};
    struct ww_json *json = NULL;
    struct ww_tlog_entry entry;
    struct ww_buf other = {(uint8_t *)(uintptr_t) "x", 1, 1, 1};
    const struct ww_tlog_subject subject = {&other, &other, &other};
    int64_t at = 0;

    if (ww_json_parse(text, len, &ww_json_limits_small, &json, &err) != WW_OK) {
        return;
    }
    if (ww_tlog_parse(ww_json_root(json), &entry, &err) == WW_OK) {
        FUZZ_CHECK(entry.n_hashes <= WW_TLOG_MAX_HASHES && entry.body.len > 0);
        FUZZ_CHECK(ww_tlog_bind(&entry, &subject, &err) != WW_OK);
        struct ww_error second = {0};
        struct ww_log log = {.end = INT64_MAX};
        /* a key is asked for only once the proof holds and the note names the log */
        memcpy(log.id, entry.log_id, sizeof(log.id));
        log.id[0] ^= 1;
        FUZZ_CHECK(ww_tlog_check(&entry, &log, 1, 0, &at, &second) != WW_OK && at == 0);
    }
    ww_tlog_release(&entry);
    ww_json_free(json);
}

static void read_certificate(const uint8_t *der, size_t len, bool is_stamp)
{
    struct ww_error err = {0};
    struct ww_certs *certs = NULL;
    struct ww_keyless_holder holder;
    struct ww_pubkey *key = NULL;
    int64_t at = 0;

    FUZZ_CHECK(ww_certs_new(&certs, &err) == WW_OK);
    if (is_stamp) {
        FUZZ_CHECK(ww_tstamp_check(der, len, "x", 1, certs, &at, &err) != WW_OK);
    } else if (ww_certs_add_der(certs, der, len, &err) == WW_OK) {
        if (ww_keyless_read(certs, &holder, &err) == WW_OK) {
            FUZZ_CHECK(holder.identity[0] && holder.provider[0]);
        }
        struct ww_error second = {0};
        FUZZ_CHECK(ww_keyless_check(certs, certs, 1760062340, NULL, 0, &key, &second) !=
                   WW_OK);
        FUZZ_CHECK(!key);
    }
    ww_certs_free(certs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    switch (data[0]) {
    case 'r':
        read_root(data + 1, size - 1);
        break;
    case 'e':
        read_entry(data + 1, size - 1);
        break;
    case 't':
        read_certificate(data + 1, size - 1, true);
        break;
    default:
        read_certificate(data + 1, size - 1, false);
        break;
    }
    return 0;
}
