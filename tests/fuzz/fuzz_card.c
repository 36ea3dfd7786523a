/* SPDX-License-Identifier: Apache-2.0 */
/* A card gives names that can be shown to people, none twice, or none at all. */
#include "fuzz.h"

#include <string.h>

#include "lineage/declared.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_declared said = {0};
    struct ww_error err = {0};

    FUZZ_CHECK(ww_declared_card(data, size, &said, &err) == WW_OK);
    for (size_t i = 0; i < said.names.n; i++) {
        const char *name = said.names.items[i];
        FUZZ_CHECK(name[0] && ww_text_ok((const uint8_t *)name, strlen(name)));
        for (size_t j = 0; j < i; j++) {
            FUZZ_CHECK(strcmp(said.names.items[j], name) != 0);
        }
    }
    ww_declared_release(&said);
    return 0;
}
