/* SPDX-License-Identifier: Apache-2.0 */
/* Answers as JSON lines: what is taken is a matrix of finite numbers over ascending
 * tokens. */
#include "fuzz.h"

#include <math.h>
#include <string.h>

#include "lineage/logits_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_said a;
    uint64_t number = 0;
    enum ww_err rc = WW_OK;

    ww_said_begin(&a, 8, 3);
    while (size > 0 && !rc) {
        const uint8_t *end = memchr(data, '\n', size);
        const size_t len = end ? (size_t)(end - data) : size;
        rc = ww_said_line(&a, data, len, ++number, &err);
        data += len + (end ? 1 : 0);
        size -= len + (end ? 1 : 0);
    }
    rc = rc ? rc : ww_said_end(&a, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    for (size_t i = 0; !rc && i < a.n_ids; i++) {
        FUZZ_CHECK(i == 0 || a.ids[i] > a.ids[i - 1]);
    }
    for (size_t i = 0; !rc && i < a.n * a.n_ids; i++) {
        FUZZ_CHECK(fabs(a.values[i]) <= WW_SAID_RANGE);
    }
    ww_said_release(&a);
    return 0;
}
