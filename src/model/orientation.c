/* SPDX-License-Identifier: Apache-2.0 */
#include "model/orientation.h"

#include <string.h>

#include "model/config.h"
#include "util/fail.h"
#include "util/str.h"

static const char *const families[] = {"gpt2", "openai-gpt",   "imagegpt",
                                       "clvp", "clvp_decoder", "decision_transformer"};

/* Files of the first models of these families are of the class without a head. */
static const struct {
    const char *type;
    const char *root;
    const char *bare; /* the class whose modules have no such name */
} roots[] = {{"gpt2", "transformer.", "GPT2Model"},
             {"openai-gpt", "transformer.", "OpenAIGPTModel"},
             {"gpt_neo", "transformer.", "GPTNeoModel"},
             {"gptj", "transformer.", "GPTJModel"},
             {"gpt_bigcode", "transformer.", "GPTBigCodeModel"},
             {"codegen", "transformer.", "CodeGenModel"},
             {"falcon", "transformer.", "FalconModel"},
             {"mpt", "transformer.", "MptModel"},
             {"bloom", "transformer.", "BloomModel"},
             {"bart", "model.", "BartModel"},
             {"mbart", "model.", "MBartModel"},
             {"opt", "model.", "OPTModel"}};

bool ww_stores_inputs_first(const struct ww_model *model)
{
    const char *type = model->config ? model->config->model_type : NULL;

    for (size_t i = 0; type && i < WW_LEN(families); i++) {
        if (strcmp(type, families[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool ww_lies_across(bool inputs_first, const char *name)
{
    static const char *const layers[] = {".c_attn.weight", ".q_attn.weight",
                                         ".c_proj.weight", ".c_fc.weight"};

    for (size_t i = 0; inputs_first && i < WW_LEN(layers); i++) {
        if (ww_str_ends(name, layers[i])) {
            return true;
        }
    }
    return false;
}

bool ww_adapter_lies_across(const struct ww_adapter *adapter, const struct ww_model *base,
                            const struct ww_tensor *w)
{
    if (w->rank != 2) {
        return false;
    }
    return base->config && base->config->model_type
               ? ww_lies_across(ww_stores_inputs_first(base), w->name)
               : adapter->fan_in_fan_out;
}

static bool has_root(const struct ww_model *base, const char *root)
{
    for (uint32_t t = 0; t < base->n_tensors; t++) {
        if (strncmp(base->tensors[t].name, root, strlen(root)) == 0) {
            return true;
        }
    }
    return false;
}

const char *ww_module_root(const struct ww_model *base)
{
    const char *class = base->config ? ww_config_architecture(base->config, 0) : NULL;
    const char *type = base->config ? base->config->model_type : NULL;

    for (size_t i = 0; class && type && i < WW_LEN(roots); i++) {
        if (strcmp(roots[i].type, type) == 0) {
            return strcmp(roots[i].bare, class) == 0 || has_root(base, roots[i].root)
                       ? ""
                       : roots[i].root;
        }
    }
    return "";
}

void ww_put_across(const double *x, uint64_t first, size_t n, size_t rows, size_t cols,
                   double *matrix)
{
    for (size_t k = 0; k < n; k++) {
        matrix[ww_across(first + k, rows, cols)] = x[k];
    }
}

void ww_take_across(const double *matrix, uint64_t first, size_t n, size_t rows,
                    size_t cols, double *x)
{
    for (size_t k = 0; k < n; k++) {
        x[k] = matrix[ww_across(first + k, rows, cols)];
    }
}
