/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What moves, in words: from the same facts that the draws go by, so that what a person
 * reads before a lock is what the lock then does.
 */
#include <string.h>

#include "lock/dense_gauge.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/fail.h"
#include "util/str.h"
#include "weightward/lock.h"

/* What an attention, MLP or mixture contributes; order is the order of the words. */
struct words {
    bool residual, kv_groups, query_heads, qk_perm, qk_turns, qk_signs, vo_perm, neurons,
        neuron_signs, experts, scales, qk_dense, qk_phases, vo_dense;
};

/* A layout, and what its attentions mix (NULL: level exact). */
struct teller {
    const struct ww_layout *layout;
    bool scale;
    struct ww_dense_moves *dense;
};

static void attention_words(const struct ww_attention *att, bool scale, struct words *w)
{
    struct ww_qk_moves moves;

    ww_qk_moves_of(att, &moves);
    w->kv_groups |= att->heads_move && att->n_kv_heads > 1;
    w->query_heads |= att->heads_move && att->n_heads > att->n_kv_heads;
    w->qk_turns |= moves.turns || (att->qk_class == WW_QK_MLA && att->rope.dims > 0);
    w->qk_perm |= moves.perm || att->qk_class == WW_QK_MLA;
    w->qk_signs |= moves.head_sign;
    w->vo_perm |= att->vo_class != WW_VO_NONE;
    w->scales |= scale && (moves.scale || ww_vo_scales(att));
}

static void mlp_words(const struct ww_mlp *mlp, bool scale, struct words *w)
{
    w->neurons = true;
    w->neuron_signs |= mlp->sign_moves;
    w->scales |= scale && mlp->scale_moves;
}

static void dense_words(const struct ww_dense_moves *dense, struct words *w)
{
    w->qk_dense |= dense->qk;
    w->qk_phases |= dense->phases;
    w->vo_dense |= dense->vo;
}

static void block_words(const struct teller *teller, const struct ww_block *block,
                        struct words *w)
{
    const struct ww_layout *layout = teller->layout;
    const bool scale = teller->scale;
    const uint32_t attentions[] = {block->self, block->cross};

    memset(w, 0, sizeof(*w));
    const struct ww_residual *stream = ww_layout_stream(layout, block->stack);
    w->residual = stream->space != WW_NONE && stream->group != WW_RESIDUAL_FIXED;
    for (size_t i = 0; i < WW_LEN(attentions); i++) {
        if (attentions[i] != WW_NONE) {
            attention_words(&layout->attentions[attentions[i]], scale, w);
            if (teller->dense) {
                dense_words(&teller->dense[attentions[i]], w);
            }
        }
    }
    if (block->mlp != WW_NONE) {
        mlp_words(&layout->mlps[block->mlp], scale, w);
    }
    if (block->moe != WW_NONE) {
        w->experts = layout->moes[block->moe].experts_move;
        mlp_words(&layout->mlps[layout->moes[block->moe].first_mlp], scale, w);
    }
}

static enum ww_err add_words(const struct words *w, struct ww_strlist *list,
                             struct ww_error *err)
{
    const struct {
        bool is_set;
        const char *word;
    } rows[] = {
        {w->residual, "residual"},
        {w->kv_groups, "kv-groups"},
        {w->query_heads, "query-heads"},
        {w->qk_perm, "qk-signed-permutation"},
        {w->qk_turns, "qk-quarter-turns"},
        {w->qk_signs, "qk-signs"},
        {w->vo_perm, "vo-signed-permutation"},
        {w->neurons, "neurons"},
        {w->neuron_signs, "neuron-signs"},
        {w->experts, "experts"},
        {w->scales, "scales"},
        {w->qk_dense, "qk-dense"},
        {w->qk_phases, "qk-phases"},
        {w->vo_dense, "vo-dense"},
    };
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(rows) && !rc; i++) {
        if (rows[i].is_set) {
            rc = ww_strlist_add(list, rows[i].word, err);
        }
    }
    return rc;
}

static enum ww_err add_reason(struct ww_buf *text, const char *what, const char *reason,
                              struct ww_error *err)
{
    return ww_buf_addf(text, err, "%s%s stay: %s", text->len ? "; " : "", what,
                       reason ? reason : "not known");
}

static enum ww_err attention_reasons(const struct ww_attention *att, struct ww_buf *text,
                                     struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!att->heads_move) {
        rc = add_reason(text, "heads", att->heads_reason, err);
    }
    if (!rc && att->qk_class == WW_QK_NONE) {
        rc = add_reason(text, "queries and keys", att->qk_reason, err);
    }
    if (!rc && att->vo_class == WW_VO_NONE) {
        rc = add_reason(text, "values", att->vo_reason, err);
    }
    return rc;
}

/* Why a dense lock does no more than an exact one in a part of the block. */
static enum ww_err dense_reasons(const struct teller *teller,
                                 const struct ww_block *block, struct ww_buf *text,
                                 struct ww_error *err)
{
    const struct ww_attention *att = NULL;
    const struct ww_dense_moves *dense = NULL;
    enum ww_err rc = WW_OK;

    if (!teller->dense || block->self == WW_NONE) {
        return WW_OK;
    }
    att = &teller->layout->attentions[block->self];
    dense = &teller->dense[block->self];
    if (!dense->qk && !dense->phases) {
        rc = ww_buf_addf(text, err, "%squeries and keys are not mixed: %s",
                         text->len ? "; " : "", att->qk_reason ? att->qk_reason : "-");
    }
    if (!rc && !dense->vo) {
        rc = ww_buf_addf(text, err, "%svalues are not mixed: %s", text->len ? "; " : "",
                         att->vo_reason ? att->vo_reason : "-");
    }
    return rc;
}

/* Why something that moves elsewhere stays here; NULL when nothing does. */
static enum ww_err make_reason(const struct teller *teller, const struct ww_block *block,
                               const struct words *w, char **out, struct ww_error *err)
{
    const struct ww_layout *layout = teller->layout;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, 4096);
    if (!w->residual) {
        const char *reason = ww_layout_stream(layout, block->stack)->reason;
        rc = ww_buf_addf(&text, err, "residual stays: %s", reason ? reason : "not known");
    }
    if (!rc && block->self == WW_NONE && block->uncovered) {
        rc = add_reason(&text, "the parts of the mixer", block->uncovered, err);
    }
    if (!rc && block->self != WW_NONE) {
        rc = attention_reasons(&layout->attentions[block->self], &text, err);
    }
    if (!rc && block->moe != WW_NONE && !w->experts) {
        rc = add_reason(&text, "experts", "their order is fixed", err);
    }
    if (!rc) {
        rc = dense_reasons(teller, block, &text, err);
    }
    if (!rc && text.len) {
        *out = (char *)ww_buf_take(&text, NULL);
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err fill_block(const struct teller *teller, const struct ww_block *block,
                              struct ww_block_moves *out, struct ww_error *err)
{
    struct ww_strlist list = {0};
    struct words words;
    enum ww_err rc = WW_OK;

    block_words(teller, block, &words);
    out->name = ww_strdup(block->name);
    if (!out->name) {
        return WW_FAIL_MEMORY(err, "a list of moves");
    }
    rc = add_words(&words, &list, err);
    out->moved = list.items;
    out->n_moved = list.n;
    if (!rc) {
        rc = make_reason(teller, block, &words, &out->reason, err);
    }
    return rc;
}

static enum ww_err list_moves(const struct teller *teller, struct ww_block_moves **blocks,
                              size_t *n_blocks, struct ww_error *err)
{
    const struct ww_layout *layout = teller->layout;
    struct ww_block_moves *all = ww_calloc(layout->n_blocks, sizeof(*all));
    enum ww_err rc = WW_OK;

    *blocks = NULL;
    *n_blocks = 0;
    if (!all) {
        return WW_FAIL_MEMORY(err, "a list of moves");
    }
    for (uint32_t b = 0; b < layout->n_blocks && !rc; b++) {
        rc = fill_block(teller, &layout->blocks[b], &all[b], err);
    }
    if (rc) {
        ww_block_moves_free(all, layout->n_blocks);
        return rc;
    }
    *blocks = all;
    *n_blocks = layout->n_blocks;
    return WW_OK;
}

enum ww_err ww_lock_moves(const struct ww_layout *layout, bool scale,
                          struct ww_block_moves **blocks, size_t *n_blocks,
                          struct ww_error *err)
{
    const struct teller teller = {layout, scale, NULL};

    return list_moves(&teller, blocks, n_blocks, err);
}

enum ww_err ww_dense_block_moves(const struct ww_layout *layout, bool scale,
                                 struct ww_block_moves **blocks, size_t *n_blocks,
                                 struct ww_error *err)
{
    struct teller teller = {layout, scale, NULL};
    enum ww_err rc = ww_dense_moves(layout, &teller.dense, err);

    if (!rc) {
        rc = list_moves(&teller, blocks, n_blocks, err);
    }
    ww_free(teller.dense);
    return rc;
}

void ww_block_moves_free(struct ww_block_moves *blocks, size_t n_blocks)
{
    for (size_t b = 0; blocks && b < n_blocks; b++) {
        struct ww_strlist moved = {blocks[b].moved, blocks[b].n_moved, blocks[b].n_moved};
        ww_strlist_release(&moved);
        ww_free(blocks[b].name);
        ww_free(blocks[b].reason);
    }
    ww_free(blocks);
}

void ww_lock_report_release(struct ww_lock_report *report)
{
    struct ww_strlist warnings = {report->warnings, report->n_warnings,
                                  report->n_warnings};

    ww_strlist_release(&warnings);
    ww_block_moves_free(report->blocks, report->n_blocks);
    memset(report, 0, sizeof(*report));
}
