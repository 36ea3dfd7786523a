/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/family.h"

#include <inttypes.h>
#include <string.h>

#include "lineage/strangers.h"
#include "lineage/grid.h"
#include "model/config.h"
#include "model/decoded.h"
#include "model/packed.h"
#include "util/alloc.h"
#include "util/fail.h"

#define NOTHING 1e-3 /* of the base: less than this says nothing of a model */

static uint32_t layer_of(const char *name)
{
    struct ww_depth_name split;

    return ww_depth_split(name, &split) ? split.layer : WW_NONE;
}

/* Rows of a table of words may be more in one model than in the other; all else is of one
 * shape. *rows becomes the number that both have. */
static bool fits(const struct ww_tensor *a, const struct ww_tensor *b, uint64_t *rows)
{
    const bool table = a->rank == 2 && layer_of(a->name) == WW_NONE;
    const unsigned first = table ? 1 : 0;

    if (a->rank != b->rank || memcmp(a->shape + first, b->shape + first,
                                     (a->rank - first) * sizeof(*a->shape)) != 0) {
        return false;
    }
    if (table && b->shape[0] < *rows) {
        *rows = b->shape[0];
    }
    return true;
}

/* *lacking: index of the model that lacks the tensor, or n_models. */
static enum ww_err find_all(const struct ww_family *f, uint32_t t, uint32_t *index,
                            uint64_t *n_elements, unsigned *lacking, struct ww_error *err)
{
    const struct ww_tensor *tensor = &f->models[WW_FAMILY_SUSPECT]->tensors[t];
    uint64_t rows = tensor->rank == 2 ? tensor->shape[0] : 0;

    index[WW_FAMILY_SUSPECT] = t;
    for (*lacking = 1; *lacking < f->n_models; ++*lacking) {
        const struct ww_model *model = f->models[*lacking];
        uint32_t *at = &index[*lacking];
        enum ww_err rc =
            ww_depths_index(&f->disguise.depths, model, tensor->name, at, err);
        if (rc) {
            return rc;
        }
        if (*at == WW_NONE || !ww_dtype_is_plain_float(model->tensors[*at].dtype) ||
            !fits(tensor, &model->tensors[*at], &rows)) {
            return WW_OK;
        }
    }
    *n_elements = tensor->rank == 2 ? rows * tensor->shape[1] : tensor->n_elements;
    return WW_OK;
}

/* Takes the text over. */
static enum ww_err add_warning(struct ww_family *f, char *text, struct ww_error *err)
{
    const enum ww_err rc = text ? ww_strlist_add(&f->warnings, text, err)
                                : WW_FAIL_MEMORY(err, "a comparison of models");

    ww_free(text);
    return rc;
}

static enum ww_err warn_skipped(struct ww_family *f, uint32_t n, const char *name,
                                unsigned model, struct ww_error *err)
{
    char *text = NULL;

    if (n == 0) {
        return WW_OK;
    }
    text = ww_asprintf("%" PRIu32 " tensor%s of the suspect %s not compared: '%s' is "
                       "missing in '%s', or of another shape or no float",
                       n, n == 1 ? "" : "s", n == 1 ? "is" : "are", name,
                       f->models[model]->path);
    return add_warning(f, text, err);
}

/* What a suspect lacks says nothing of its shares, and must not be taken for agreement.
 */
static enum ww_err warn_lacking(struct ww_family *f, struct ww_error *err)
{
    const struct ww_model *base = f->models[WW_FAMILY_BASE];
    const struct ww_model *suspect = f->models[WW_FAMILY_SUSPECT];
    const char *first = NULL;
    uint32_t n = 0;
    char *text = NULL;

    for (uint32_t t = 0; t < base->n_tensors; t++) {
        if (ww_model_find(suspect, base->tensors[t].name) == WW_NONE) {
            first = first ? first : base->tensors[t].name;
            n++;
        }
    }
    if (n == 0 || f->disguise.read || f->disguise.depths.n) {
        return WW_OK;
    }
    text = n == 1
               ? ww_asprintf("the suspect lacks tensor '%s' of the base: nothing is said "
                             "of it",
                             first)
               : ww_asprintf("the suspect lacks %" PRIu32
                             " tensors of the base, '%s' first: nothing is said of them",
                             n, first);
    return add_warning(f, text, err);
}

/* An answer from a corner of the model is told as one; a vector or two, as those whose
 * names happen to be the base's, are none. */
static enum ww_err warn_little(struct ww_family *f, struct ww_error *err)
{
    const struct ww_model *base = f->models[WW_FAMILY_BASE];
    const double least = 0.5;
    double all = 0;
    double compared = 0;
    char *text = NULL;

    for (uint32_t t = 0; t < base->n_tensors; t++) {
        all += (double)base->tensors[t].n_elements;
    }
    for (uint32_t t = 0; t < f->n_tensors; t++) {
        compared += (double)f->tensors[t].n_elements;
    }
    if (f->n_dense > 0 || compared >= least * all) {
        return WW_OK;
    }
    if (compared < NOTHING * all) {
        return WW_FAIL(
            err, WW_E_UNRELATED,
            "'%s' has %.3f %% of the weights of '%s' under their names; others "
            "are not known, nor other architectures",
            f->models[WW_FAMILY_SUSPECT]->path, 100 * compared / all, base->path);
    }
    text =
        ww_asprintf("weights that are compared are %.1f %% of the base's: shares are of "
                    "these alone",
                    100 * compared / all);
    return add_warning(f, text, err);
}

/* Of suspect and base. What was decoded is no longer on the grid it was rounded to, and a
 * base's values say nothing of how a suspect that is not on its grid was rounded. */
static enum ww_err find_grid(const struct ww_family *f, struct ww_family_tensor *t,
                             struct ww_error *err)
{
    static const enum ww_dtype coarse[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32};
    enum ww_dtype grid[] = {
        f->models[WW_FAMILY_SUSPECT]->tensors[t->index[WW_FAMILY_SUSPECT]].dtype,
        f->models[WW_FAMILY_BASE]->tensors[t->index[WW_FAMILY_BASE]].dtype};
    enum ww_err rc = WW_OK;

    if (!f->disguise.read) {
        rc = ww_grid_of(f->models[WW_FAMILY_SUSPECT], t->index[WW_FAMILY_SUSPECT],
                        &grid[WW_FAMILY_SUSPECT], err);
    }
    t->grid = WW_DTYPE_F64;
    for (size_t i = WW_LEN(coarse); i > 0; i--) {
        if (grid[0] == coarse[i - 1] || grid[1] == coarse[i - 1]) {
            t->grid = coarse[i - 1];
        }
    }
    return rc;
}

static enum ww_err align(struct ww_family *f, struct ww_error *err)
{
    const struct ww_model *suspect = f->models[WW_FAMILY_SUSPECT];
    const char *skipped = NULL;
    unsigned lacking = 0;
    uint32_t n_skipped = 0;
    uint32_t n_cut = 0;
    enum ww_err rc = WW_OK;

    f->tensors = ww_calloc(suspect->n_tensors, sizeof(*f->tensors));
    f->indices = ww_calloc((size_t)suspect->n_tensors * f->n_models, sizeof(*f->indices));
    if (!f->tensors || !f->indices) {
        return WW_FAIL_MEMORY(err, "a comparison of models");
    }
    for (uint32_t t = 0; t < suspect->n_tensors && !rc; t++) {
        const struct ww_tensor *tensor = &suspect->tensors[t];
        uint32_t *index = f->indices + (size_t)f->n_tensors * f->n_models;
        uint64_t n = 0;
        unsigned m = WW_FAMILY_SUSPECT;
        if (f->disguise.dense && f->disguise.dense(f->disguise.payload, t)) {
            f->n_dense++;
            continue;
        }
        if (ww_dtype_is_plain_float(tensor->dtype)) {
            rc = find_all(f, t, index, &n, &m, err);
        }
        if (m < f->n_models) {
            f->n_unseen +=
                m == WW_FAMILY_BASE && index[m] != WW_NONE && tensor->rank >= 2;
            skipped = skipped ? skipped : tensor->name;
            lacking = n_skipped++ ? lacking : m;
            continue;
        }
        n_cut += n < tensor->n_elements;
        f->tensors[f->n_tensors++] = (struct ww_family_tensor){
            tensor->name, n, layer_of(tensor->name), index, tensor->dtype};
        rc = find_grid(f, &f->tensors[f->n_tensors - 1], err);
    }
    if (!rc && f->n_tensors == 0) {
        return WW_FAIL(err, WW_E_UNRELATED,
                       "'%s' shares no tensor of one name and shape with '%s': models of "
                       "another architecture or width are not compared",
                       suspect->path, f->models[lacking ? lacking : 1]->path);
    }
    if (!rc) {
        rc = warn_skipped(f, n_skipped, skipped, lacking, err);
    }
    if (!rc) {
        rc = warn_lacking(f, err);
    }
    if (!rc && n_cut > 0) {
        rc = ww_strlist_add(&f->warnings,
                            "the suspect has more words than other models: only the rows "
                            "that all have are compared",
                            err);
    }
    return rc;
}

/* Models that are not read as their files are. */
struct odd_models {
    unsigned n_decoded;
    unsigned n_left; /* with a config of a quantised model that they no longer are */
    const char *left;
};

/* What was released in eight bits is what its fine-tunes and merges were made of. */
static enum ww_err open_parent(const char *path, struct ww_model **out,
                               struct odd_models *odd, struct ww_error *err)
{
    uint32_t n = 0;
    enum ww_err rc = ww_text_ok((const uint8_t *)path, strlen(path))
                         ? ww_model_open(path, out, err)
                         : WW_FAIL(err, WW_E_USAGE,
                                   "the path '%s' is not UTF-8 or holds control "
                                   "characters, and no recipe can name it; rename the "
                                   "folder or make a link to it",
                                   path);

    rc = rc ? rc : ww_model_decode(*out, &n, err);
    rc = rc ? rc : ww_model_floats(*out, path, err);
    if (rc) {
        return rc;
    }
    odd->n_decoded += n > 0;
    if (n == 0 && (*out)->config && (*out)->config->quant_method) {
        odd->left = odd->n_left++ ? odd->left : path;
    }
    if ((*out)->config) {
        (*out)->config->quant_method = NULL; /* of the weights as they are read */
    }
    return WW_OK;
}

static enum ww_err warn_odd(struct ww_family *f, const struct odd_models *odd,
                            struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (odd->n_decoded > 0) {
        rc = add_warning(f,
                         ww_asprintf("%u of the models beside the suspect are quantised: "
                                     "their weights are read decoded, with their scales",
                                     odd->n_decoded),
                         err);
    }
    if (!rc && odd->n_left > 0) {
        rc = add_warning(f,
                         ww_asprintf("config.json of '%s'%s says that it is quantised, "
                                     "but its weights are floats: they are taken as they "
                                     "are",
                                     odd->left, odd->n_left > 1 ? " and others" : ""),
                         err);
    }
    return rc;
}

enum ww_err ww_family_open(const char *const *paths, unsigned n,
                           const struct ww_run_options *run, struct ww_family *out,
                           struct ww_error *err)
{
    struct odd_models odd = {0};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    out->models = ww_calloc(n, sizeof(*out->models));
    if (!out->models) {
        return WW_FAIL_MEMORY(err, "a comparison of models");
    }
    out->n_models = n;
    for (unsigned m = WW_FAMILY_BASE; m < n && !rc; m++) {
        rc = open_parent(paths[m], &out->models[m], &odd, err);
        out->base_decoded |= m == WW_FAMILY_BASE && odd.n_decoded > 0;
    }
    rc = rc ? rc : warn_odd(out, &odd, err);
    if (!rc) {
        rc = ww_disguise_open(paths[WW_FAMILY_SUSPECT], out->models[WW_FAMILY_BASE], run,
                              &out->disguise, &out->warnings, err);
        out->models[WW_FAMILY_SUSPECT] = out->disguise.model;
    }
    if (!rc) {
        rc = ww_disguise_rotated(out->models, n, run, &out->disguise, err);
        out->models[WW_FAMILY_SUSPECT] = out->disguise.model;
    }
    if (!rc) {
        rc = ww_disguise_scaled(out->models, n, &out->disguise, err);
        out->models[WW_FAMILY_SUSPECT] = out->disguise.model;
    }
    rc =
        rc ? rc : ww_disguise_loud(out->models[WW_FAMILY_BASE], run, &out->disguise, err);
    rc = rc ? rc : align(out, err);
    rc = rc ? rc : ww_family_leave_strangers(out, run, err);
    return rc ? rc : warn_little(out, err);
}

enum ww_err ww_family_unchanged(const struct ww_family *family, struct ww_error *err)
{
    enum ww_err rc = ww_disguise_unchanged(&family->disguise, err);

    for (unsigned m = WW_FAMILY_BASE; m < family->n_models && !rc; m++) {
        rc = ww_model_unchanged(family->models[m], err);
    }
    return rc;
}

void ww_family_release(struct ww_family *family)
{
    /* The disguise may borrow from the base. */
    ww_disguise_release(&family->disguise);
    for (unsigned m = WW_FAMILY_BASE; family->models && m < family->n_models; m++) {
        ww_model_close(family->models[m]);
    }
    ww_free(family->models);
    ww_free(family->tensors);
    ww_free(family->indices);
    ww_strlist_release(&family->warnings);
    memset(family, 0, sizeof(*family));
}
