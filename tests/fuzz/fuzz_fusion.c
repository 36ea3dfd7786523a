/* SPDX-License-Identifier: Apache-2.0 */
/* Fusion recipes: what is read is written as it was. */
#include "fuzz.h"

#include <string.h>

#include "evo/fusion.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_fusion fusion;
    struct ww_buf text;
    if (ww_fusion_read(data, size, &fusion, &err)) {
        FUZZ_CHECK(strlen(err.text) > 0);
        return 0;
    }
    ww_buf_init(&text, WW_ENVELOPE_MAX_PAYLOAD);
    FUZZ_CHECK(fusion.k > 0 && fusion.rule.member < fusion.k);
    FUZZ_CHECK(ww_fusion_write(&fusion, &text, &err) == WW_OK);
    FUZZ_CHECK(text.len == size && memcmp(text.data, data, size) == 0);
    ww_buf_release(&text);
    ww_fusion_release(&fusion);
    return 0;
}
