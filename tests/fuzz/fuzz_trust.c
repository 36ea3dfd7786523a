/* SPDX-License-Identifier: Apache-2.0 */
/* Roots, approvals, requests and the envelopes around them. */
#include "fuzz.h"

#include <string.h>

#include "trust/root.h"
#include "util/utc.h"

static void use_envelope(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_envelope envelope;
    struct ww_envelope again;
    struct ww_buf text;
    if (ww_envelope_parse(data, size, &envelope, &err)) {
        FUZZ_CHECK(strlen(err.text) > 0);
        return;
    }
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    FUZZ_CHECK(ww_envelope_is(data, size));
    FUZZ_CHECK(ww_envelope_write(&envelope, &text, &err) == WW_OK);
    FUZZ_CHECK(ww_envelope_parse(text.data, text.len, &again, &err) == WW_OK);
    FUZZ_CHECK(again.kind == envelope.kind && again.payload.len == envelope.payload.len &&
               again.n_signatures == envelope.n_signatures);
    ww_envelope_release(&again);
    ww_envelope_release(&envelope);
    ww_buf_release(&text);
}

static void use_root(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_root root;
    if (ww_root_read(data, size, &root, &err)) {
        FUZZ_CHECK(strlen(err.text) > 0);
        return;
    }
    const struct ww_role *role = ww_root_role(&root, WW_ROOT_ROLE);
    FUZZ_CHECK(role && role->threshold > 0 && role->threshold <= role->keyids.n);
    for (size_t i = 0; i < role->keyids.n; i++) {
        FUZZ_CHECK(ww_root_key(&root, role->keyids.items[i]));
    }
    ww_root_release(&root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    uint8_t request[WW_SHA256_BYTES];
    int64_t when = 0;
    char text[WW_UTC_BYTES];
    if (ww_approval_read(data, size, request, &when, &err) == WW_OK) {
        int64_t again = 0;
        ww_utc_text(when, text);
        FUZZ_CHECK(ww_policy_time(text, &again) && again == when);
    }
    use_envelope(data, size);
    use_root(data, size);
    return 0;
}
