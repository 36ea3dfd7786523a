/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a carried adapter: what is accepted has all of it, in hex. */
#include "fuzz.h"

#include <string.h>

#include "model/adapter_lock.h"
#include "util/str.h"

static void check_hex(const char *text)
{
    uint8_t bytes[WW_SHA256_BYTES];

    FUZZ_CHECK(text && ww_unhex(bytes, sizeof(bytes), text, strlen(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_adapter_lock lock;
    const enum ww_err rc = ww_adapter_lock_parse(data, size, "a", &lock, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (rc) {
        FUZZ_CHECK(!lock.lock_id && !lock.base);
        return 0;
    }
    check_hex(lock.lock_id);
    check_hex(lock.base);
    ww_adapter_lock_release(&lock);
    return 0;
}
