/* SPDX-License-Identifier: Apache-2.0 */
#include "model/packed.h"

#include <string.h>
#include <strings.h>

#include "model/config.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static const struct {
    const char *part; /* of a name */
    bool ends;        /* with it; else it is anywhere */
    const char *what;
    /* Somebody's own model may give its floats such a name: then these are packed only
     * with integers under this name beside them, "" never. NULL: whatever they are. */
    const char *beside;
} layouts[] = {
    {".qweight", true, "GPTQ, AWQ or the like", NULL},
    {".weight_packed", true, "compressed-tensors", NULL},
    {".q_weight", true, "EXL2", ""},
    {".trellis", true, "EXL3", ""},
    {".W_q", true, "HQQ or SINQ", ""},
    {".codebooks", true, "AQLM", ".codes"},
    {".centroids.weight", true, "VPTQ", ".indices"},
    {".Qidxs", true, "QuIP#", ""},
    {".weight._data", false, "quanto", NULL},
    {"weight_qdata", true, "torchao", NULL},
    {".weight_scales", true, "EETQ", ".weight"},
    {".dense_weights", true, "SpQR", ""},
    {".quant_state.bitsandbytes__", false, "bitsandbytes", NULL},
    {".weight.absmax", true, "bitsandbytes", NULL},
};

/* Matrices of one dtype alone. */
static const struct {
    const char *end; /* of a name */
    enum ww_dtype dtype;
    const char *what;
} matrices[] = {
    {"_blocks", WW_DTYPE_U8, "MXFP4"},
    {".weight", WW_DTYPE_U8, "four-bit bytes"},
    {".weight", WW_DTYPE_U32, "MLX"},
};

/* By config.json, whatever the names of their tensors are; eight-bit weights of others
 * are decoded. */
static const char *const undecoded[] = {
    "aqlm",     "auto-round", "awq",   "bitnet", "eetq",   "exl2",  "exl3",
    "fp_quant", "gptq",       "higgs", "hqq",    "quanto", "quip",  "sinq",
    "spqr",     "torchao",    "vptq",  "metal",  "mxfp4",  "nvfp4", "fouroversix"};

static bool is_undecoded(const char *method)
{
    for (size_t i = 0; method && i < WW_LEN(undecoded); i++) {
        if (strcasecmp(method, undecoded[i]) == 0) {
            return true;
        }
    }
    return false;
}

static const enum ww_dtype integers[] = {WW_DTYPE_U8,  WW_DTYPE_I8,  WW_DTYPE_U16,
                                         WW_DTYPE_I16, WW_DTYPE_U32, WW_DTYPE_I32,
                                         WW_DTYPE_U64, WW_DTYPE_I64};

static bool is_integer(const struct ww_tensor *t)
{
    for (size_t i = 0; i < WW_LEN(integers); i++) {
        if (t->dtype == integers[i]) {
            return true;
        }
    }
    return false;
}

/* A matrix of integers is what such a method made; a config that speaks of it alone may
 * have been left behind when weights were saved as floats. */
static bool is_integer_matrix(const struct ww_tensor *t)
{
    return t->rank >= 2 && is_integer(t);
}

/* Of a tensor with the name of layouts[i]. */
static enum ww_err is_packed(const struct ww_model *model, const struct ww_tensor *t,
                             size_t i, bool *is, struct ww_error *err)
{
    const char *beside = layouts[i].beside;
    char *name = NULL;
    uint32_t at = WW_NONE;

    *is = !beside || is_integer(t);
    if (*is || !beside || !beside[0]) {
        return WW_OK;
    }
    name = ww_asprintf("%.*s%s", (int)(strlen(t->name) - strlen(layouts[i].part)),
                       t->name, beside);
    if (!name) {
        return WW_FAIL_MEMORY(err, "a name");
    }
    at = ww_model_find(model, name);
    *is = at != WW_NONE && is_integer(&model->tensors[at]);
    ww_free(name);
    return WW_OK;
}

static enum ww_err find_kind(const struct ww_model *model, const struct ww_tensor *t,
                             const char **what, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *what = NULL;
    for (size_t i = 0; i < WW_LEN(matrices) && t->rank >= 2 && !*what; i++) {
        if (t->dtype == matrices[i].dtype && ww_str_ends(t->name, matrices[i].end)) {
            *what = matrices[i].what;
        }
    }
    for (size_t i = 0; i < WW_LEN(layouts) && !*what && !rc; i++) {
        bool is = layouts[i].ends ? ww_str_ends(t->name, layouts[i].part)
                                  : strstr(t->name, layouts[i].part) != NULL;
        if (is) {
            rc = is_packed(model, t, i, &is, err);
            *what = !rc && is ? layouts[i].what : NULL;
        }
    }
    return rc;
}

enum ww_err ww_model_packed(const struct ww_model *model, struct ww_packed *out,
                            struct ww_error *err)
{
    const char *method = model->config ? model->config->quant_method : NULL;
    enum ww_err rc = WW_OK;

    *out = (struct ww_packed){.tensor = WW_NONE};
    for (uint32_t t = 0; t < model->n_tensors && !rc && out->tensor == WW_NONE; t++) {
        const struct ww_tensor *tensor = &model->tensors[t];
        rc = find_kind(model, tensor, &out->what, err);
        if (!rc && !out->what && is_undecoded(method) && is_integer_matrix(tensor)) {
            out->what = "integers";
        }
        out->tensor = out->what ? t : WW_NONE;
    }
    return rc;
}

/* A float of eight bits or fewer, or an integer in a weight's place. */
static bool is_scaled(const struct ww_tensor *t)
{
    if (t->dtype == WW_DTYPE_I8) {
        return t->rank >= 2 && ww_str_ends(t->name, ".weight");
    }
    return ww_dtype_bits(t->dtype) < 8 ||
           (t->dtype >= WW_DTYPE_F8_E5M2 && t->dtype <= WW_DTYPE_F8_E5M2FNUZ);
}

enum ww_err ww_model_floats(const struct ww_model *model, const char *name,
                            struct ww_error *err)
{
    struct ww_packed packed;
    enum ww_err rc = ww_model_packed(model, &packed, err);

    for (uint32_t t = 0; t < model->n_tensors && !rc && packed.tensor == WW_NONE; t++) {
        if (is_scaled(&model->tensors[t])) {
            packed = (struct ww_packed){t, ww_dtype_name(model->tensors[t].dtype)};
        }
    }
    return rc || packed.tensor == WW_NONE
               ? rc
               : WW_FAIL(err, WW_E_QUANTISED,
                         "model '%s' is quantised ('%.160s': %s); take the weights that "
                         "it was made of",
                         name, model->tensors[packed.tensor].name, packed.what);
}

enum ww_err ww_model_plain(const struct ww_model *model, const char *name,
                           struct ww_error *err)
{
    const char *method = model->config ? model->config->quant_method : NULL;

    return method ? WW_FAIL(err, WW_E_QUANTISED,
                            "model '%s' is quantised (%s); take the weights that it was "
                            "made of",
                            name, method)
                  : ww_model_floats(model, name, err);
}
