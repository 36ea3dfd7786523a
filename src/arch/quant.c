/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quantised checkpoints, by the companions of a weight: the key in config.json may be
 * missing. Their blocks and scales tie rows and columns together, so a move would need a
 * codec per scheme; the original checkpoint can be used instead.
 */
#include "arch/builder.h"

#include <string.h>

#include "model/config.h"
#include "util/fail.h"

static const struct {
    const char *suffix;
    const char *scheme;
} companions[] = {
    {".qweight", "GPTQ or AWQ"},
    {".qzeros", "GPTQ or AWQ"},
    {".g_idx", "GPTQ"},
    {".SCB", "bitsandbytes int8"},
    {".weight_format", "bitsandbytes int8"},
    {".weight.absmax", "bitsandbytes 4-bit"},
    {".weight.quant_map", "bitsandbytes 4-bit"},
    {".weight.nested_absmax", "bitsandbytes 4-bit"},
    {".weight_scale", "FP8 or compressed-tensors"},
    {".weight_scale_inv", "FP8 blocks"},
    {".weight_packed", "compressed-tensors"},
    {".weight_zero_point", "compressed-tensors"},
    {".input_scale", "FP8"},
    {"_blocks", "MXFP4"},
    {".k_scale", "a calibrated 8-bit KV cache"},
    {".v_scale", "a calibrated 8-bit KV cache"},
    {".codebooks", "AQLM"},
    {".weight.quant_state", "bitsandbytes 4-bit"},
};

enum ww_err ww_refuse_quantised(const struct ww_model *model, struct ww_error *err)
{
    const char *method = model->config ? model->config->quant_method : NULL;

    for (uint32_t i = 0; i < model->n_tensors; i++) {
        const char *name = model->tensors[i].name;
        for (size_t c = 0; c < WW_LEN(companions); c++) {
            const char *suffix = companions[c].suffix;
            if (ww_str_ends(name, suffix)) {
                return WW_FAIL(
                    err, WW_E_QUANTISED,
                    "'%.*s' is stored as %s; lock the original 16-bit checkpoint, "
                    "then quantise it",
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
