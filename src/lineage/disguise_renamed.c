/* SPDX-License-Identifier: Apache-2.0 */
/* The base's tensors in another wrapper: a text model inside of one of images and text.
 */
#include <inttypes.h>
#include <string.h>

#include "lineage/catalogue_sketch.h"
#include "lineage/disguise.h"
#include "model/names.h"
#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"

/* The base's tensors without their wrappers. */
struct bare {
    const char *name; /* first, so that a name table can be built */
};

struct renaming {
    struct bare *bare;
    struct ww_names by_bare;
    const char **names; /* by tensor of the suspect; NULL: as it is */
    uint32_t n;
    uint32_t first; /* that is renamed */
    uint32_t n_same;
};

static enum ww_err list_bare(struct renaming *r, const struct ww_model *base, bool *clear,
                             struct ww_error *err)
{
    uint32_t twice = WW_NONE;
    enum ww_err rc = WW_OK;

    r->bare = ww_calloc(base->n_tensors, sizeof(*r->bare));
    if (!r->bare) {
        return WW_FAIL_MEMORY(err, "names");
    }
    for (uint32_t t = 0; t < base->n_tensors; t++) {
        r->bare[t].name = ww_canonical_name(base->tensors[t].name);
    }
    rc = ww_names_build(&r->by_bare, r->bare, sizeof(*r->bare), base->n_tensors, &twice,
                        err);
    *clear = !rc && twice == WW_NONE;
    return rc;
}

static void find_names(struct renaming *r, const struct ww_model *model,
                       const struct ww_model *base)
{
    for (uint32_t t = 0; t < model->n_tensors; t++) {
        const char *name = model->tensors[t].name;
        const uint32_t at = ww_names_find(&r->by_bare, ww_canonical_name(name));
        if (at == WW_NONE) {
            continue;
        }
        if (strcmp(name, base->tensors[at].name) == 0) {
            r->n_same++;
        } else {
            r->names[t] = base->tensors[at].name;
            r->first = r->n++ ? r->first : t;
        }
    }
}

static enum ww_err tell(const struct renaming *r, const struct ww_model *model,
                        struct ww_strlist *notes, struct ww_error *err)
{
    char *text =
        ww_asprintf("%" PRIu32 " tensors of the suspect have the base's names in "
                    "another wrapper: '%.160s' is taken for '%.160s'",
                    r->n, model->tensors[r->first].name, r->names[r->first]);
    enum ww_err rc =
        text ? ww_strlist_add(notes, text, err) : WW_FAIL_MEMORY(err, "a note");

    ww_free(text);
    return rc;
}

enum ww_err ww_disguise_renamed(struct ww_model *model, const struct ww_model *base,
                                struct ww_strlist *notes, struct ww_error *err)
{
    struct renaming r = {.names = ww_calloc(model->n_tensors, sizeof(*r.names))};
    bool clear = false;
    enum ww_err rc = r.names ? WW_OK : WW_FAIL_MEMORY(err, "names");

    if (!rc) {
        rc = list_bare(&r, base, &clear, err);
    }
    if (!rc && clear) {
        find_names(&r, model, base);
    }
    if (!rc && r.n > r.n_same) {
        rc = tell(&r, model, notes, err);
        rc = rc ? rc : ww_model_rename(model, r.names, err);
    }
    ww_names_release(&r.by_bare);
    ww_free(r.bare);
    ww_free((void *)r.names);
    return rc;
}
