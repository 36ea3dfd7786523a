/* SPDX-License-Identifier: Apache-2.0 */
/* An account of what was spent. What begins with '+' gets the check over its bytes, so
 * that numbers are reached; what is accepted is written as it was. */
#include "fuzz.h"

#include <math.h>
#include <string.h>

#include "crypto/hash.h"
#include "evo/account.h"

#define BODY 48

static void read_one(const uint8_t *bytes, size_t len)
{
    struct ww_error err = {0};
    struct ww_spent spent;
    uint8_t again[WW_SPENT_BYTES];
    const enum ww_err rc = ww_spent_read(bytes, len, "spent", &spent, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (rc == WW_OK && len > 0) {
        FUZZ_CHECK(isfinite(spent.cost) && isfinite(spent.seconds));
        ww_spent_write(&spent, again);
        FUZZ_CHECK(len == sizeof(again) && memcmp(again, bytes, len) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[WW_SPENT_BYTES];
    uint8_t digest[WW_SHA256_BYTES];

    if (size == 1 + BODY && data[0] == '+') {
        ww_sha256_of(data + 1, BODY, digest);
        memcpy(bytes, data + 1, BODY);
        memcpy(bytes + BODY, digest, sizeof(bytes) - BODY);
        read_one(bytes, sizeof(bytes));
    } else {
        read_one(data, size);
    }
    return 0;
}
