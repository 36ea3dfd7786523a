/* SPDX-License-Identifier: Apache-2.0 */
/* One more signature in an envelope; those that are there stay. */
#include <string.h>

#include "crypto/signkey.h"
#include "sign/envelope.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SIG_MAX_BYTES 4096

enum ww_err ww_envelope_sign(struct ww_envelope *envelope, struct ww_signkey *key,
                             struct ww_error *err)
{
    struct ww_envelope_signature *grown = NULL;
    struct ww_envelope_signature added = {0};
    struct ww_pubkey *public_key = NULL;
    struct ww_buf bytes;
    enum ww_err rc = WW_OK;

    ww_buf_init(&bytes, WW_ENVELOPE_MAX_BYTES);
    ww_buf_init(&added.sig, SIG_MAX_BYTES);
    if (envelope->n_signatures >= WW_ENVELOPE_MAX_SIGNATURES) {
        rc = WW_FAIL(err, WW_E_LIMIT, "an envelope holds at most %d signatures",
                     WW_ENVELOPE_MAX_SIGNATURES);
        goto out;
    }
    rc = ww_signkey_public(key, &public_key, err);
    if (rc) {
        goto out;
    }
    rc = ww_pubkey_hint(public_key, added.keyid, err);
    if (rc) {
        goto out;
    }
    for (size_t i = 0; i < envelope->n_signatures; i++) {
        if (strcmp(envelope->signatures[i].keyid, added.keyid) == 0) {
            rc = WW_FAIL(err, WW_E_EXISTS, "key %s has signed this already", added.keyid);
            goto out;
        }
    }
    rc = ww_envelope_signed_bytes(envelope, &bytes, err);
    if (rc) {
        goto out;
    }
    rc = ww_signkey_sign(key, bytes.data, bytes.len, &added.sig, err);
    if (rc) {
        goto out;
    }
    grown = ww_realloc_array(envelope->signatures, envelope->n_signatures + 1,
                             sizeof(*grown));
    if (!grown) {
        rc = WW_FAIL_MEMORY(err, "a signature");
        goto out;
    }
    envelope->signatures = grown;
    grown[envelope->n_signatures++] = added;
    added.sig = (struct ww_buf){0};
out:
    ww_buf_release(&added.sig);
    ww_buf_release(&bytes);
    ww_pubkey_free(public_key);
    return rc;
}
