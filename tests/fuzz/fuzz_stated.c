/* SPDX-License-Identifier: Apache-2.0 */
/* A fusion recipe and what is stated of it: the recipe's length in two bytes, both texts.
 * What agrees says the same rule, and a recipe agrees with nothing that lacks one. */
#include "fuzz.h"

#include <string.h>

#include "evidence/fusion_stated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_json *recipe = NULL;
    struct ww_json *stated = NULL;
    if (size < 2) {
        return 0;
    }
    const size_t want = (size_t)data[0] | (size_t)data[1] << 8;
    const size_t n = want < size - 2 ? want : size - 2;
    if (ww_json_parse(data + 2, n, &ww_json_limits_small, &recipe, &err) == WW_OK &&
        ww_json_parse(data + 2 + n, size - 2 - n, &ww_json_limits_small, &stated, &err) ==
            WW_OK) {
        const struct ww_jnode *a = ww_json_root(recipe);
        const struct ww_jnode *b = ww_json_root(stated);
        const enum ww_err rc = ww_recipe_says(a, b, &err);
        const char *rule = NULL;
        const char *said = NULL;
        FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
        if (!rc) {
            FUZZ_CHECK(ww_jstr(ww_jget(ww_jget(a, "rule"), "name"), &rule));
            FUZZ_CHECK(ww_jstr(ww_jget(b, "rule"), &said) && strcmp(rule, said) == 0);
        }
    }
    ww_json_free(recipe);
    ww_json_free(stated);
    return 0;
}
