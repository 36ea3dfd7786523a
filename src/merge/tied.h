/* SPDX-License-Identifier: Apache-2.0 */
/* Heads that have no tensor of their own, since the token embedding is the head too. */
#ifndef WW_MERGE_TIED_H
#define WW_MERGE_TIED_H

#include "weightward/model.h"

/** The token embedding of a model that has no other head: tie_word_embeddings says so and
 *  there is no lm_head, or config.json is silent, its class is a language model's and no
 *  head is stored by any name. WW_NONE: it has a head of its own, or none, as classifiers
 *  have whose settings are those of a language model. */
uint32_t ww_tied_embedding(const struct ww_model *model);

/** Is it one that several modules read, as of T5 and BART, whose copies are not stored?
 */
bool ww_is_shared_embedding(const struct ww_model *model, const char *name);

/** Is the tied head a module by the usual name, lm_head, and reads nobody else the
 *  embedding? So it is in most decoders, not in encoders and pairs of stacks. */
bool ww_tied_head_is_plain(const struct ww_model *model);

#endif
