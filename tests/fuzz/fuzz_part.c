/* SPDX-License-Identifier: Apache-2.0 */
/* part.json: what is accepted has a number within its count, and comes back the same from
 * the writer. */
#include "fuzz.h"

#include <string.h>

#include "merge/parts.h"
#include "util/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_part_record a;
    struct ww_part_record b;
    struct ww_error err = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    if (size > 1u << 16) {
        return 0;
    }
    rc = ww_part_record_read(data, size, &a, &err);
    FUZZ_CHECK((strlen(err.text) > 0) == (rc != WW_OK));
    if (rc) {
        return 0;
    }
    FUZZ_CHECK(a.part >= 1 && a.part <= a.of && a.of <= WW_MAX_PARTS);
    FUZZ_CHECK(ww_part_record_write(&a, &text, &err) == WW_OK);
    FUZZ_CHECK(ww_part_record_read(text.data, text.len, &b, &err) == WW_OK);
    FUZZ_CHECK(a.part == b.part && a.of == b.of && a.n_bytes == b.n_bytes);
    FUZZ_CHECK(memcmp(a.plan_sha256, b.plan_sha256, WW_SHA256_BYTES) == 0);
    FUZZ_CHECK(memcmp(a.sha256, b.sha256, WW_SHA256_BYTES) == 0);
    FUZZ_CHECK(a.n_inputs == b.n_inputs);
    for (uint32_t i = 0; i < a.n_inputs; i++) {
        FUZZ_CHECK(a.inputs[i] == b.inputs[i]);
        FUZZ_CHECK(memcmp(a.input_sha256[i], b.input_sha256[i], WW_SHA256_BYTES) == 0);
    }
    ww_part_record_release(&a);
    ww_part_record_release(&b);
    ww_buf_release(&text);
    return 0;
}
