/* SPDX-License-Identifier: Apache-2.0 */
/* Records of merges, by which an output is computed again. */
#include "fuzz.h"

#include <string.h>

#include "merge/merge_work.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[WW_SHA256_BYTES] = {0};
    struct ww_error err = {0};
    struct ww_record_view record;
    const enum ww_err rc = ww_record_view_parse(data, size, &record, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (rc) {
        FUZZ_CHECK(!record.json);
        return 0;
    }
    FUZZ_CHECK(record.recipe && ww_jsize(record.sources) > 0);
    for (const struct ww_jnode *s = ww_jfirst(record.sources); s; s = ww_jnext(s)) {
        const char *name = NULL;
        if (ww_jstr(ww_jget(s, "name"), &name)) {
            FUZZ_CHECK(ww_record_named(record.sources, name) != NULL);
        }
        (void)ww_record_has_digest(s, nothing);
    }
    ww_record_release(&record);
    return 0;
}
