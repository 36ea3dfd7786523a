/* SPDX-License-Identifier: Apache-2.0 */
/* What was found out about a server, as a cache gives it back; written again it reads the
 * same. */
#include "fuzz.h"

#include "evo/probe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_member_facts facts;
    struct ww_member_facts again;
    struct ww_buf text;
    const enum ww_err rc = ww_member_facts_read(data, size, &facts, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (!rc) {
        ww_buf_init(&text, (size_t)16 << 20);
        FUZZ_CHECK(ww_member_facts_write(&facts, &text, &err) == WW_OK);
        FUZZ_CHECK(ww_member_facts_read(text.data, text.len, &again, &err) == WW_OK);
        FUZZ_CHECK(again.dialect == facts.dialect && again.top == facts.top);
        FUZZ_CHECK(again.canary.n == facts.canary.n);
        ww_member_facts_release(&again);
        ww_buf_release(&text);
    }
    ww_member_facts_release(&facts);
    return 0;
}
