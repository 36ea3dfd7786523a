/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The vocabulary in a model's tokenizer.json: every token with its id, and which were
 * added to it. BPE, WordPiece and WordLevel keep a map, Unigram a list; added tokens
 * stand beside either.
 */
#ifndef WW_MERGE_TOKENIZER_H
#define WW_MERGE_TOKENIZER_H

#include "json/json.h"
#include "model/names.h"
#include "util/buf.h"

struct ww_vocab {
    struct ww_buf text; /* of the file */
    struct ww_json *json;
    struct ww_names names;         /* tokens */
    uint64_t *ids;                 /* by index in names */
    const struct ww_jnode **added; /* by index in names: the entry, NULL for the others */
    size_t capacity;
    uint64_t end; /* largest id + 1 */
};

/** *found is false (and out empty) when the folder has no tokenizer.json. WW_E_MALFORMED
 *  for what is no tokenizer; what names the model. */
enum ww_err ww_vocab_read(int dirfd, const char *what, struct ww_vocab *out, bool *found,
                          struct ww_error *err) WW_MUST_USE;
/** From text in memory; takes nothing over. */
enum ww_err ww_vocab_parse(const void *text, size_t len, const char *what,
                           struct ww_vocab *out, struct ww_error *err) WW_MUST_USE;
void ww_vocab_release(struct ww_vocab *vocab);

/** The id of a token, or UINT64_MAX. */
uint64_t ww_vocab_id(const struct ww_vocab *vocab, const char *token);

/** A token that is added: its entry in another tokenizer, or NULL for a plain one. */
struct ww_vocab_extra {
    const char *token;
    const struct ww_jnode *entry;
};
/** The file's text with more added tokens, numbered from first_id. */
enum ww_err ww_vocab_extend(const struct ww_vocab *vocab,
                            const struct ww_vocab_extra *extra, size_t n,
                            uint64_t first_id, struct ww_buf *out,
                            struct ww_error *err) WW_MUST_USE;

#endif
