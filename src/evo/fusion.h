/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Fusion recipes: which models are pooled, by which rule with which numbers, and what
 * that was measured to give. Where members can only be asked, the recipe is the merge: it
 * is signed, and serving it begins with the signature. docs/formats/fusion-recipe.md.
 *
 * There is one spelling: a document is read, written again and compared, so nothing that
 * is not understood can stand in it.
 */
#ifndef WW_EVO_FUSION_H
#define WW_EVO_FUSION_H

#include "evo/confirm.h"
#include "evo/members.h"
#include "sign/envelope.h"

#define WW_FUSION_TYPE "weightward.fusion/1"

struct ww_fusion_member {
    const char *name;    /* unique */
    const char *url;     /* of its server */
    const char *dialect; /* as probed, never "auto" */
    const char *model;   /* as the server calls it */
    const char *end;     /* text of the end token; "" */
    uint8_t canary[32];  /* of its answer to a fixed question */
    bool has_permit;
    uint8_t permit[32]; /* SHA-256 of the owner's signed permit */
    uint8_t owner[32];  /* hint of the key that signed it */
    double *adapters;   /* [n_adapters] scales of the server's; NULL */
    uint32_t n_adapters;
};

/** What a rule reached on the held-out items; where there were none, on the fitted ones
 *  and without intervals. */
struct ww_fusion_score {
    enum ww_rule_id rule;
    struct ww_score score;
    double gain; /* bits per token, over the best single member */
    struct ww_interval interval;
};

struct ww_fusion {
    struct ww_rule rule;
    enum ww_evo_level level;
    bool per_byte;       /* options: their log-probabilities divided by their lengths */
    uint32_t top;        /* tokens of a list */
    uint32_t vocabulary; /* tokens in all, as the rule was fitted with */
    uint32_t k;
    struct ww_fusion_member *member; /* [k] */

    uint8_t tasks[32]; /* SHA-256 of the file that was fitted to */
    uint64_t fitted;   /* items */
    uint8_t held_out[32];
    uint64_t confirmed; /* items; 0: nothing was held out */
    uint32_t n_scores;
    struct ww_fusion_score scores[WW_RULE_COUNT];

    uint64_t calls; /* that the answers take, whoever made them and in how many runs */
    uint8_t cache_root[32];
    uint64_t seed;
    const char *tool;
    struct ww_json *text; /* what the strings lie in; NULL: the caller's */
    double *scales;       /* [n_scales] what the adapters lie in; NULL: the caller's */
    size_t n_scales;
};

/** "tokens", "options", "bytes". */
const char *ww_fusion_level_name(enum ww_evo_level level);

enum ww_err ww_fusion_write(const struct ww_fusion *fusion, struct ww_buf *out,
                            struct ww_error *err) WW_MUST_USE;
/** WW_E_MALFORMED, WW_E_JSON; WW_E_VERSION for another type. text may go afterwards. */
enum ww_err ww_fusion_read(const uint8_t *text, size_t len, struct ww_fusion *out,
                           struct ww_error *err) WW_MUST_USE;
void ww_fusion_release(struct ww_fusion *fusion);

/** The bytes of a recipe's file, with one signature; key NULL: the bare document, which
 *  nobody serves. */
enum ww_err ww_fusion_text(const struct ww_fusion *fusion, struct ww_signkey *key,
                           struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
/** A new file of these bytes, alone. */
enum ww_err ww_fusion_save(const struct ww_fusion *fusion, struct ww_signkey *key,
                           const char *path, struct ww_error *err) WW_MUST_USE;

/* A recipe to be written, and the files that it was fitted and confirmed with. */
struct ww_fusion_paths {
    const char *recipe;
    const char *tasks;
    const char *held_out; /* where items were held out */
};
/** A signed recipe as a new file, with its provenance beside it, which is there first: a
 *  recipe that is there is whole. Where it cannot be written its provenance goes, but for
 *  a folder that was there before. */
enum ww_err ww_fusion_publish(const struct ww_fusion *fusion,
                              const struct ww_fusion_paths *paths, struct ww_signkey *key,
                              struct ww_error *err) WW_MUST_USE;

/** WW_E_NOT_SIGNED for a bare document, WW_E_UNTRUSTED for another signer,
 *  WW_E_SIGNATURE for altered bytes. */
enum ww_err ww_fusion_open(const char *path, const struct ww_pubkey *key,
                           struct ww_fusion *out, struct ww_error *err) WW_MUST_USE;

#endif
