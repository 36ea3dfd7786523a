/* SPDX-License-Identifier: Apache-2.0 */
/* A descriptor from a user's folder: parsed whole or refused with a text. */
#include "fuzz.h"

#include <string.h>

#include "arch/descriptor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_descriptor *d = NULL;
    enum ww_err rc = ww_descriptor_parse(data, size, "fuzz", &d, &err);
    FUZZ_CHECK((d != NULL) == (rc == WW_OK));
    FUZZ_CHECK((strlen(err.text) > 0) == (rc != WW_OK));
    if (d) {
        FUZZ_CHECK(d->n_stacks > 0 && d->id[0] != '\0');
        for (uint32_t i = 0; i < d->model.n; i++) {
            FUZZ_CHECK(d->model.items[i].n_axes <= WW_MAX_RANK);
        }
    }
    ww_descriptor_free(d);
    return 0;
}
