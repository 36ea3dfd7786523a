/* SPDX-License-Identifier: Apache-2.0 */
/* Every token of a vocabulary that is accepted has an id below its end, and the extended
 * file is a vocabulary with one token more. */
#include "fuzz.h"

#include <string.h>

#include "merge/tokenizer.h"

static void extend(const struct ww_vocab *v)
{
    const struct ww_vocab_extra extra = {"<one more token>", NULL};
    struct ww_error err = {0};
    struct ww_vocab again;
    struct ww_buf out;
    ww_buf_init(&out, 16u << 20);
    if (ww_vocab_id(v, extra.token) == UINT64_MAX && v->end < 1u << 20) {
        FUZZ_CHECK(ww_vocab_extend(v, &extra, 1, v->end, &out, &err) == WW_OK);
        FUZZ_CHECK(ww_vocab_parse(out.data, out.len, "out", &again, &err) == WW_OK);
        FUZZ_CHECK(again.names.n == v->names.n + 1);
        FUZZ_CHECK(ww_vocab_id(&again, extra.token) == v->end);
        ww_vocab_release(&again);
    }
    ww_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_vocab v;
    enum ww_err rc = ww_vocab_parse(data, size, "input", &v, &err);
    FUZZ_CHECK((strlen(err.text) > 0) == (rc != WW_OK));
    if (rc == WW_OK) {
        for (uint32_t i = 0; i < v.names.n; i++) {
            FUZZ_CHECK(v.ids[i] < v.end);
            FUZZ_CHECK(ww_vocab_id(&v, v.names.items[i]) == v.ids[i]);
        }
        extend(&v);
    }
    ww_vocab_release(&v);
    return 0;
}
