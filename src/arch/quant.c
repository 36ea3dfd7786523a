/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantised checkpoints, by what is packed and by the companions of a weight: the key in
 * config.json may be missing. Their blocks and scales tie rows and columns together, so a
 * move would need a codec per scheme; the original checkpoint can be used instead.
 */
#include "arch/builder.h"

#include <string.h>

#include "model/config.h"
#include "model/packed.h"
#include "util/fail.h"

#define AGAIN "; lock the original 16-bit checkpoint, then quantise it"

static const struct {
    const char *suffix;
    const char *scheme;
} companions[] = {
    {".SCB", "bitsandbytes int8"},
    {".weight_format", "bitsandbytes int8"},
    {".weight_scale", "FP8 or compressed-tensors"},
    {".weight_scale_inv", "FP8 blocks"},
    {".weight_zero_point", "compressed-tensors"},
    {".input_scale", "FP8"},
    {".k_scale", "a calibrated 8-bit KV cache"},
    {".v_scale", "a calibrated 8-bit KV cache"},
};

enum ww_err ww_refuse_quantised(const struct ww_model *model, struct ww_error *err)
{
    const char *method = model->config ? model->config->quant_method : NULL;
    struct ww_packed packed;
    enum ww_err rc = WW_OK;

    rc = ww_model_packed(model, &packed, err);
    if (rc) {
        return rc;
    }
    if (packed.tensor != WW_NONE) {
        return WW_FAIL(err, WW_E_QUANTISED, "'%s' is stored as %s" AGAIN,
                       model->tensors[packed.tensor].name, method ? method : packed.what);
    }
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        const char *name = model->tensors[i].name;
        for (size_t c = 0; c < WW_LEN(companions); c++) {
            const char *suffix = companions[c].suffix;
            if (ww_str_ends(name, suffix)) {
                return WW_FAIL(err, WW_E_QUANTISED, "'%.*s' is stored as %s" AGAIN,
                               (int)(strlen(name) - strlen(suffix)), name,
                               method ? method : companions[c].scheme);
            }
        }
    }
    if (method) {
        return WW_FAIL(
            err, WW_E_QUANTISED,
            "config.json says that the weights are quantised by '%s', but no tensor "
            "is stored so; remove quantization_config if they are plain",
            method);
    }
    return WW_OK;
}
