/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Tensors over the vocabulary by their names, for what works on models that no descriptor
 * covers too. A family that calls them otherwise is added here alone.
 */
#ifndef WW_MODEL_VOCAB_NAMES_H
#define WW_MODEL_VOCAB_NAMES_H

#include "weightward/model.h"

/** Is it a token embedding, [vocabulary, width]? */
bool ww_is_embedding(const char *name);
/** Is it a table whose rows are looked up by tokens: an embedding, or what layers get of
 *  each token beside it? */
bool ww_is_token_table(const char *name);
/** The token embedding of a model, the likeliest by name of those that are usable (NULL:
 *  all are), the first of these; WW_NONE. */
uint32_t ww_find_embedding(const struct ww_model *model,
                           bool (*usable)(const struct ww_tensor *tensor));

/** Is it the weight of a head over the vocabulary, or the module that has it? */
bool ww_is_head(const char *name);

/** Has it a row for each token: embeddings, heads, biases of heads? */
bool ww_is_over_vocab(const char *name);

#endif
