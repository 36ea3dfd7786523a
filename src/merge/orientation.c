/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/orientation.h"

#include <string.h>

#include "model/config.h"
#include "util/fail.h"
#include "util/str.h"

static const char *const families[] = {"gpt2", "openai-gpt", "imagegpt"};

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
