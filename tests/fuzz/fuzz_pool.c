/* SPDX-License-Identifier: Apache-2.0 */
/* A pool file gives members that can be asked, or none. */
#include "fuzz.h"

#include <string.h>

#include "evo/dialect.h"
#include "evo/members.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_members members;
    struct ww_error err = {0};

    if (ww_members_parse(data, size, "pool", &members, &err)) {
        FUZZ_CHECK(err.text[0] && !members.k);
        return 0;
    }
    FUZZ_CHECK(members.k >= 1 && members.k <= 64);
    for (uint32_t k = 0; k < members.k; k++) {
        const struct ww_member *m = &members.member[k];
        FUZZ_CHECK(m->name[0] && m->url[0] && m->model[0] && !strchr(m->url, '@'));
        FUZZ_CHECK(!strcmp(m->dialect, "auto") || ww_dialect_named(m->dialect));
        FUZZ_CHECK(m->price_call >= 0 && m->price_ktoken >= 0);
        FUZZ_CHECK(m->n_adapters <= WW_MEMBER_MOST_ADAPTERS);
        for (uint32_t i = 0; i < m->n_adapters; i++) {
            FUZZ_CHECK(m->adapters[i] >= -WW_MEMBER_MOST_SCALE &&
                       m->adapters[i] <= WW_MEMBER_MOST_SCALE);
        }
    }
    ww_members_release(&members);
    return 0;
}
