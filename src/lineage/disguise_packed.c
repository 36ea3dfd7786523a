/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed weights are not decoded: layouts are many, and the methods behind some of them
 * move weights apart from rounding (rows are scaled by their inputs, what rounding left
 * is spread over the columns that follow). Left alone they would be skipped as no floats,
 * and an answer from norms and embeddings would look like one from the model.
 */
#include <string.h>
#include <strings.h>

#include "lineage/disguise.h"
#include "model/config.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static const struct {
    const char *part; /* of a name */
    bool ends;        /* with it; else it is anywhere */
    bool bytes;       /* of U8 alone */
    const char *what;
    /* Somebody's own model may give its floats such a name: then these are packed only
     * with integers under this name beside them, "" never. NULL: whatever they are. */
    const char *beside;
} packed[] = {
    {".qweight", true, false, "GPTQ, AWQ or the like", NULL},
    {".weight_packed", true, false, "compressed-tensors", NULL},
    {".q_weight", true, false, "EXL2", ""},
    {".trellis", true, false, "EXL3", ""},
    {".W_q", true, false, "HQQ or SINQ", ""},
    {".codebooks", true, false, "AQLM", ".codes"},
    {".centroids.weight", true, false, "VPTQ", ".indices"},
    {".Qidxs", true, false, "QuIP#", ""},
    {".weight._data", false, false, "quanto", NULL},
    {"weight_qdata", true, false, "torchao", NULL},
    {".weight_scales", true, false, "EETQ", ".weight"},
    {".dense_weights", true, false, "SpQR", ""},
    {".quant_state.bitsandbytes__", false, false, "bitsandbytes", NULL},
    {".weight.absmax", true, false, "bitsandbytes", NULL},
    {"_blocks", true, true, "MXFP4", NULL},
    {".weight", true, true, "four-bit bytes", NULL},
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

/* Of a tensor with the name of packed[i]. */
static enum ww_err is_packed(const struct ww_model *model, const struct ww_tensor *t,
                             size_t i, bool *is, struct ww_error *err)
{
    const char *beside = packed[i].beside;
    char *name = NULL;
    uint32_t at = WW_NONE;

    *is = packed[i].bytes ? t->dtype == WW_DTYPE_U8 && t->rank >= 2
                          : !beside || is_integer(t);
    if (*is || !beside || !beside[0]) {
        return WW_OK;
    }
    name = ww_asprintf("%.*s%s", (int)(strlen(t->name) - strlen(packed[i].part)), t->name,
                       beside);
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
    for (size_t i = 0; i < WW_LEN(packed) && !*what && !rc; i++) {
        bool is = packed[i].ends ? ww_str_ends(t->name, packed[i].part)
                                 : strstr(t->name, packed[i].part) != NULL;
        if (is) {
            rc = is_packed(model, t, i, &is, err);
            *what = !rc && is ? packed[i].what : NULL;
        }
    }
    return rc;
}

enum ww_err ww_disguise_unpacked(const struct ww_model *model, struct ww_error *err)
{
    const char *method = model->config ? model->config->quant_method : NULL;

    for (uint32_t t = 0; t < model->n_tensors; t++) {
        const char *what = NULL;
        enum ww_err rc = find_kind(model, &model->tensors[t], &what, err);
        if (rc) {
            return rc;
        }
        if (!what && is_undecoded(method) && is_integer_matrix(&model->tensors[t])) {
            what = "integers";
        }
        if (what) {
            return WW_FAIL(err, WW_E_QUANTISED,
                           "'%s' holds packed weights ('%.160s': %s%s%.40s), which are "
                           "not decoded; save its weights as floats with the program "
                           "that packed them",
                           model->path, model->tensors[t].name, what,
                           method ? ", by config " : "", method ? method : "");
        }
    }
    return WW_OK;
}
