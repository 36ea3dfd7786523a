/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By names, since a merge works on models that no descriptor covers too.
 */
#include "merge/tied.h"

#include <string.h>

#include "merge/build.h"
#include "model/config.h"
#include "model/vocab_names.h"
#include "util/fail.h"
#include "util/str.h"

static const char *const language_models[] = {"*ForCausalLM", "*LMHeadModel",
                                              "*ForMaskedLM", "*ForConditionalGeneration",
                                              "*ForPreTraining"};

/* Classes that have no head over the vocabulary, whatever their settings say of ties. */
static const char *const headless[] = {"*Classification", "*ForQuestionAnswering",
                                       "*ForMultipleChoice", "*ForNextSentencePrediction",
                                       "*EncoderModel"};

/* Parts of other heads than a single matrix by the name lm_head. */
static const char *const other_heads[] = {"cls.predictions.transform.dense.weight",
                                          "lm_head.dense.weight"};
static const char *const other_types[] = {"biogpt", "modernbert-decoder",
                                          "gpt_neox_japanese"};

static bool has_class(const struct ww_model *model, const char *const *globs, size_t n)
{
    const char *name = NULL;

    for (size_t i = 0; (name = ww_config_architecture(model->config, i)) != NULL; i++) {
        for (size_t g = 0; g < n; g++) {
            if (ww_str_glob(globs[g], name)) {
                return true;
            }
        }
    }
    return false;
}

static bool stores_any(const struct ww_model *model, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ww_model_find(model, names[i]) != WW_NONE) {
            return true;
        }
    }
    return false;
}

static bool stores_head(const struct ww_model *model)
{
    for (uint32_t t = 0; t < model->n_tensors; t++) {
        const char *name = model->tensors[t].name;
        if (ww_str_ends(name, ".weight") && ww_is_head(name)) {
            return true;
        }
    }
    return false;
}

bool ww_is_shared_embedding(const struct ww_model *model, const char *name)
{
    return ww_str_ends(name, "shared.weight") &&
           ww_model_find(model, "encoder.embed_tokens.weight") == WW_NONE &&
           ww_model_find(model, "model.encoder.embed_tokens.weight") == WW_NONE;
}

static bool is_tied(const struct ww_model *model)
{
    if (!model->config) {
        return false;
    }
    if (has_class(model, headless, WW_LEN(headless))) {
        return false;
    }
    if (model->config->tie_present) {
        return model->config->tie && ww_model_find(model, WW_HEAD) == WW_NONE;
    }
    return has_class(model, language_models, WW_LEN(language_models)) &&
           !stores_head(model);
}

uint32_t ww_tied_embedding(const struct ww_model *model)
{
    return is_tied(model) ? ww_find_embedding(model, NULL) : WW_NONE;
}

bool ww_tied_head_is_plain(const struct ww_model *model)
{
    static const char *const decoders[] = {"*ForCausalLM", "*LMHeadModel"};
    static const char *const wrappers[] = {"*ForConditionalGeneration"};
    const struct ww_config *config = model->config;
    const char *type = config ? config->root_model_type : NULL;

    for (size_t i = 0; type && i < WW_LEN(other_types); i++) {
        if (strcmp(type, other_types[i]) == 0) {
            return false;
        }
    }
    return config && !stores_any(model, other_heads, WW_LEN(other_heads)) &&
           (has_class(model, decoders, WW_LEN(decoders)) ||
            (config->text != config->root &&
             has_class(model, wrappers, WW_LEN(wrappers))));
}
