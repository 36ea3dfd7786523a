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
#include "util/fail.h"
#include "util/str.h"

static const struct {
    const char *part; /* of a name */
    bool ends;        /* with it; else it is anywhere */
    bool bytes;       /* of U8 alone */
    const char *what;
} packed[] = {
    {".qweight", true, false, "GPTQ, AWQ or the like"},
    {".weight_packed", true, false, "compressed-tensors"},
    {".q_weight", true, false, "EXL2"},
    {".trellis", true, false, "EXL3"},
    {".W_q", true, false, "HQQ or SINQ"},
    {".codebooks", true, false, "AQLM"},
    {".centroids.weight", true, false, "VPTQ"},
    {".Qidxs", true, false, "QuIP#"},
    {".weight._data", false, false, "quanto"},
    {"weight_qdata", true, false, "torchao"},
    {".weight_scales", true, false, "EETQ"},
    {".dense_weights", true, false, "SpQR"},
    {".quant_state.bitsandbytes__", false, false, "bitsandbytes"},
    {".weight.absmax", true, false, "bitsandbytes"},
    {"_blocks", true, true, "MXFP4"},
    {".weight", true, true, "four-bit bytes"},
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

/* A matrix of integers is what such a method made; a config that speaks of it alone may
 * have been left behind when weights were saved as floats. */
static bool is_integer_matrix(const struct ww_tensor *t)
{
    for (size_t i = 0; i < WW_LEN(integers); i++) {
        if (t->dtype == integers[i]) {
            return t->rank >= 2;
        }
    }
    return false;
}

static const char *kind_of(const struct ww_tensor *t)
{
    for (size_t i = 0; i < WW_LEN(packed); i++) {
        const bool named = packed[i].ends ? ww_str_ends(t->name, packed[i].part)
                                          : strstr(t->name, packed[i].part) != NULL;
        if (named && (!packed[i].bytes || (t->dtype == WW_DTYPE_U8 && t->rank >= 2))) {
            return packed[i].what;
        }
    }
    return NULL;
}

enum ww_err ww_disguise_unpacked(const struct ww_model *model, struct ww_error *err)
{
    const char *method = model->config ? model->config->quant_method : NULL;

    for (uint32_t t = 0; t < model->n_tensors; t++) {
        const char *what = kind_of(&model->tensors[t]);
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
