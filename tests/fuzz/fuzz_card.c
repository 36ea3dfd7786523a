/* SPDX-License-Identifier: Apache-2.0 */
/* A card gives names that can be shown to people, none twice, or none at all. */
#include "fuzz.h"

#include <string.h>

#include "lineage/declared.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_strlist names = {0};
    struct ww_error err = {0};

    FUZZ_CHECK(ww_declared_card(data, size, &names, &err) == WW_OK);
    for (size_t i = 0; i < names.n; i++) {
        const char *name = names.items[i];
        FUZZ_CHECK(name[0] && ww_text_ok((const uint8_t *)name, strlen(name)));
        for (size_t j = 0; j < i; j++) {
            FUZZ_CHECK(strcmp(names.items[j], name) != 0);
        }
    }
    ww_strlist_release(&names);
    return 0;
}
