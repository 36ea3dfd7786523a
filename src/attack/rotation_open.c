/* SPDX-License-Identifier: Apache-2.0 */
#include "attack/rotation.h"
#include "attack/search.h"
#include "util/fail.h"

enum ww_err ww_rotation_open(const struct ww_model *rotated,
                             const struct ww_model *anchor,
                             const struct ww_run_options *run, struct ww_rotation *out,
                             struct ww_error *err)
{
    struct ww_layout *layouts[2] = {NULL, NULL};
    struct ww_pair pair;
    struct ww_error why = {0};
    bool paired = false;
    enum ww_err rc = ww_layout_resolve(rotated, NULL, &layouts[0], &why);

    *out = (struct ww_rotation){0};
    if (!rc) {
        rc = ww_layout_resolve(anchor, NULL, &layouts[1], &why);
    }
    if (!rc) {
        rc = ww_pair_init(&pair, layouts[0], layouts[1], &why);
        paired = !rc;
        pair.run = run;
    }
    if (!rc) {
        rc = ww_rotation_find(&pair, out, &why);
    }
    if (paired) {
        ww_pair_release(&pair);
    }
    ww_layout_free(layouts[0]);
    ww_layout_free(layouts[1]);
    return ww_attack_is_grave(rc) ? WW_FAIL(err, rc, "%s", why.text) : WW_OK;
}
