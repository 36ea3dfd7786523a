/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of a merge, shared by those who choose its tokens and who make its rows.
 */
#ifndef WW_MERGE_BUILD_VOCAB_H
#define WW_MERGE_BUILD_VOCAB_H

#include "merge/build.h"
#include "merge/tokenizer.h"

struct ww_vocab_merge {
    struct ww_vocab *vocabs;      /* by model of the recipe */
    uint32_t *of;                 /* by model: whose vocabulary it has */
    const struct ww_vocab *start; /* the output's begins with it */
    uint32_t start_model;
    struct ww_vocab_extra *extra; /* tokens behind it */
    struct ww_names extra_names;
    size_t n_extra;
    size_t capacity;
    uint64_t n_tokens;
    uint64_t n_rows;                       /* with padding */
    const char **tokens;                   /* by id, NULL for a hole */
    const struct ww_recipe_token **wishes; /* by id, NULL: nothing said */
};

/** Give an output tensor over the vocabulary its rows: maps where a model's own rows do,
 *  a table made beforehand where rows come from elsewhere. base: the model whose row is
 *  taken for a token that some lack, WW_NONE. */
enum ww_err ww_build_vocab_table(struct ww_build *build, const struct ww_vocab_merge *vm,
                                 struct ww_merge_tensor *t, uint32_t base,
                                 struct ww_error *err) WW_MUST_USE;

#endif
