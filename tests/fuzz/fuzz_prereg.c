/* SPDX-License-Identifier: Apache-2.0 */
/* What a signed plan holds: two digits, of candidates and of controls, then the payload.
 * What is accepted names every model of the run by its digest. */
#include "fuzz.h"

#include <string.h>

#include "lineage/prereg.h"

static void check_model(const struct ww_jnode *model)
{
    const char *name = NULL;
    uint8_t root[WW_SHA256_BYTES];

    FUZZ_CHECK(ww_jstr(ww_jget(model, "name"), &name));
    FUZZ_CHECK(ww_jhex(ww_jget(model, "sha256_tree"), root, sizeof(root)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_json *json = NULL;
    const struct ww_jnode *plan = NULL;
    if (size < 2) {
        return 0;
    }
    const struct ww_prereg_run run = {.n_candidates = data[0] & 7,
                                      .n_controls = data[1] & 7};
    const enum ww_err rc =
        ww_prereg_read("plan", data + 2, size - 2, &run, &json, &plan, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (!rc) {
        check_model(ww_jget(plan, "base"));
        for (size_t i = 0; i < run.n_candidates; i++) {
            check_model(ww_jat(ww_jget(plan, "candidates"), i));
        }
        for (size_t i = 0; i < run.n_controls; i++) {
            check_model(ww_jat(ww_jget(plan, "controls"), i));
        }
    }
    ww_json_free(json);
    return 0;
}
