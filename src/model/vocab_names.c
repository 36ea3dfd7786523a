/* SPDX-License-Identifier: Apache-2.0 */
#include "model/vocab_names.h"

#include <string.h>

#include "util/fail.h"
#include "util/str.h"

/* Ends of names, the likeliest first. */
static const char *const embeddings[] = {
    "embed_tokens.weight",    "wte.weight",
    "word_embeddings.weight", "embed_in.weight",
    "tok_embeddings.weight",  "shared.weight",
    "tokens_embed.weight",    "backbone.embeddings.weight",
    "transformer.w.weight"};

/* Whole names of modules, but for what wraps an lm_head. */
static const char *const heads[] = {"lm_head",
                                    "embed_out",
                                    "output_projection",
                                    "proj_out",
                                    "decoder",
                                    "lm_head.decoder",
                                    "cls.predictions.decoder",
                                    "predictions.decoder",
                                    "vocab_projector",
                                    "generator_lm_head"};

/* Ends of names of what else has a row for each token. */
static const char *const others[] = {
    "embed_out.weight",         "output_layer.weight",    "output_projection.weight",
    "lm_head.weight",           "lm_head.bias",           "lm_head.decoder.weight",
    "lm_head.decoder.bias",     "predictions.bias",       "predictions.decoder.weight",
    "predictions.decoder.bias", "vocab_projector.weight", "vocab_projector.bias"};

/* The place of a name's end in a list, n where it has none of them. */
static size_t place_in(const char *const *ends, size_t n, const char *name)
{
    size_t i = 0;

    while (i < n && !ww_str_ends(name, ends[i])) {
        i++;
    }
    return i;
}

bool ww_is_embedding(const char *name)
{
    return place_in(embeddings, WW_LEN(embeddings), name) < WW_LEN(embeddings);
}

uint32_t ww_find_embedding(const struct ww_model *model,
                           bool (*usable)(const struct ww_tensor *tensor))
{
    size_t least = WW_LEN(embeddings);
    uint32_t found = WW_NONE;

    for (uint32_t t = 0; t < model->n_tensors; t++) {
        const struct ww_tensor *tensor = &model->tensors[t];
        const size_t place = place_in(embeddings, least, tensor->name);
        if (place < least && (!usable || usable(tensor))) {
            least = place;
            found = t;
        }
    }
    return found;
}

bool ww_is_head(const char *name)
{
    static const char weight[] = ".weight";
    const size_t len =
        strlen(name) - (ww_str_ends(name, weight) ? sizeof(weight) - 1 : 0);

    for (size_t i = 0; i < WW_LEN(heads); i++) {
        if (strlen(heads[i]) == len && memcmp(heads[i], name, len) == 0) {
            return true;
        }
    }
    return ww_str_ends(name, ".lm_head") || ww_str_ends(name, ".lm_head.weight");
}

bool ww_is_token_table(const char *name)
{
    return ww_is_embedding(name) || ww_str_ends(name, "embed_tokens_per_layer.weight");
}

bool ww_is_over_vocab(const char *name)
{
    return ww_is_token_table(name) ||
           place_in(others, WW_LEN(others), name) < WW_LEN(others);
}
