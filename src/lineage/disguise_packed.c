/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed weights are not decoded: layouts are many, and the methods behind some of them
 * move weights apart from rounding (rows are scaled by their inputs, what rounding left
 * is spread over the columns that follow). Left alone they would be skipped as no floats,
 * and an answer from norms and embeddings would look like one from the model.
 */
#include <string.h>

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
    {".quant_state.bitsandbytes__", false, false, "bitsandbytes"},
    {".weight.absmax", true, false, "bitsandbytes"},
    {"_blocks", true, true, "MXFP4"},
    {".weight", true, true, "four-bit bytes"},
};

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
