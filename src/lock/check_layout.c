/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the layout tell the truth about a model? Every block is run as a whole on random
 * activations, before and after a random legal transform, which must agree, and after
 * transforms that break one rule each, which must not: a layout with a wrong pairing or a
 * wrong head size passes every check of shapes, and a check that never fails proves
 * nothing. Every block gets the legal test; all faults are tried on the first two blocks
 * of a stack, later blocks try one each in turn.
 */
#include "lock/check_layout.h"

#include <math.h>
#include <string.h>

#include "crypto/secret.h"
#include "lock/activation.h"
#include "lock/lens.h"
#include "util/alloc.h"
#include "util/fail.h"

#define N_TOKENS 4
#define SECRET_BYTES 32
#define ALL_FAULTS_BLOCKS 2

static bool turns(const struct ww_attention *att)
{
    struct ww_qk_moves moves;
    ww_qk_moves_of(att, &moves);
    return moves.turns || (att->qk_class == WW_QK_MLA && att->rope.style != WW_ROPE_NONE);
}

static bool heads_break(const struct ww_attention *att)
{
    const bool grouped = att->n_kv_heads > 1 && att->n_heads > att->n_kv_heads;
    return att->heads_move ? grouped : att->alibi && att->n_heads > 1;
}

static bool gate_breaks(const struct ww_mlp *mlp)
{
    return mlp->gated || (!mlp->sign_moves && mlp->act != WW_FN_TANH);
}

bool ww_wrong_applies(const struct ww_layout *layout, uint32_t index, enum ww_wrong wrong)
{
    const struct ww_block *block = &layout->blocks[index];
    const struct ww_attention *att =
        block->self == WW_NONE ? NULL : &layout->attentions[block->self];
    const struct ww_residual *stream = ww_layout_stream(layout, block->stack);
    const struct ww_moe *moe = block->moe == WW_NONE ? NULL : &layout->moes[block->moe];
    const uint32_t mlp = moe ? moe->first_mlp : block->mlp;

    switch (wrong) {
    case WW_WRONG_PAIRING:
        return att && turns(att) && att->rope.dims >= 4;
    case WW_WRONG_FLIP:
        return att && turns(att);
    case WW_WRONG_HEADS:
        return att && heads_break(att);
    case WW_WRONG_GATE:
        return mlp != WW_NONE && gate_breaks(&layout->mlps[mlp]);
    case WW_WRONG_RESIDUAL:
        return block->form != WW_BLOCK_POOL && stream->space != WW_NONE &&
               stream->group != WW_RESIDUAL_FIXED;
    case WW_WRONG_EXPERTS:
        return moe && moe->experts_move && moe->n_experts > 1;
    case WW_WRONG_NONE:
    case WW_WRONG_COUNT:
        break;
    }
    return false;
}

/* Activations of a block: input, output, transformed input and its output, encoder. */
struct acts {
    double *x, *y, *moved_x, *moved_y, *encoder, *moved_encoder;
};

static void free_acts(struct acts *a)
{
    double *const all[] = {a->x,       a->y,       a->moved_x,
                           a->moved_y, a->encoder, a->moved_encoder};
    for (size_t i = 0; i < WW_LEN(all); i++) {
        ww_free(all[i]);
    }
}

static enum ww_err new_acts(struct acts *a, size_t width, struct ww_error *err)
{
    double **const all[] = {&a->x,       &a->y,       &a->moved_x,
                            &a->moved_y, &a->encoder, &a->moved_encoder};
    for (size_t i = 0; i < WW_LEN(all); i++) {
        *all[i] = ww_calloc(N_TOKENS * width, sizeof(double));
        if (!*all[i]) {
            return WW_FAIL_MEMORY(err, "activations");
        }
    }
    return WW_OK;
}

static void move_rows(const struct ww_element *stream, const double *x, double *moved)
{
    const size_t width = stream->n;
    for (size_t t = 0; t < N_TOKENS; t++) {
        ww_element_apply(stream, WW_ACT_DIRECT, x + t * width, moved + t * width);
    }
}

static enum ww_err run_block(const struct ww_gauge *gauge,
                             const struct ww_weights *weights, uint32_t block,
                             const double *x, double *y, const double *encoder,
                             struct ww_error *err)
{
    static const uint64_t positions[N_TOKENS] = {0, 1, 5, 19};
    const bool cross = gauge->layout->blocks[block].cross != WW_NONE;
    struct ww_forward *forward = NULL;
    enum ww_err rc = ww_forward_new(gauge->layout, weights, &forward, err);

    if (!rc) {
        rc = ww_forward_block(forward, block, x, y, positions, N_TOKENS,
                              cross ? encoder : NULL, cross ? N_TOKENS : 0, err);
    }
    ww_forward_free(forward);
    return rc;
}

enum ww_err ww_check_block(const struct ww_gauge *gauge, const struct ww_weights *base,
                           uint32_t block, double *error, double *adds,
                           struct ww_error *err)
{
    const struct ww_element *stream =
        ww_gauge_stream(gauge, gauge->layout->blocks[block].stack);
    const size_t width = stream->n;
    const size_t n = N_TOKENS * width;
    struct acts a = {0};
    struct ww_lens lens;
    uint64_t seed = block;
    enum ww_err rc = new_acts(&a, width, err);

    if (rc) {
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        a.x[i] = ww_random_activation(&seed);
        a.encoder[i] = ww_random_activation(&seed);
    }
    rc = run_block(gauge, base, block, a.x, a.y, a.encoder, err);
    if (rc) {
        goto out;
    }
    *adds = ww_largest_difference(a.y, a.x, n);
    ww_lens_init(&lens, gauge, base);
    move_rows(stream, a.x, a.moved_x);
    move_rows(stream, a.encoder, a.moved_encoder);
    rc = run_block(gauge, &lens.weights, block, a.moved_x, a.moved_y, a.moved_encoder,
                   err);
    if (rc) {
        goto out;
    }
    /* What the output should have become. */
    if (gauge->layout->blocks[block].form == WW_BLOCK_POOL) {
        memcpy(a.x, a.y, n * sizeof(*a.x));
    } else {
        move_rows(stream, a.y, a.x);
    }
    *error = ww_largest_difference(a.moved_y, a.x, n);
    *error = *error > 0 ? *error / *adds : 0;
out:
    free_acts(&a);
    return rc;
}

static enum ww_err check_one(const struct ww_layout *layout, struct ww_secret *secret,
                             uint32_t block, enum ww_wrong wrong,
                             struct ww_check_report *report, struct ww_error *err)
{
    struct ww_gauge gauge = {0};
    double error = 0;
    double adds = 0;
    enum ww_err rc = ww_gauge_init(&gauge, layout, secret, false, wrong, err);

    if (rc) {
        goto out;
    }
    rc = ww_check_block(&gauge, NULL, block, &error, &adds, err);
    if (rc == WW_E_UNSUPPORTED && wrong != WW_WRONG_NONE) {
        /* A factor for which F16 has no room; what the pass does not know, the legal
         * transform before this has said. */
        ww_error_clear(err);
        rc = WW_OK;
        goto out;
    }
    if (rc) {
        goto out;
    }
    if (wrong == WW_WRONG_NONE) {
        report->max_relative_error = fmax(report->max_relative_error, error);
        if (!(error <= WW_CHECK_LEGAL_LIMIT)) {
            rc =
                WW_FAIL(err, WW_E_CHECK_FAILED,
                        "block '%s': a legal transform changes its output by %.3g (limit "
                        "%g); the layout does not describe this model",
                        layout->blocks[block].name, error, WW_CHECK_LEGAL_LIMIT);
        }
    } else if (adds > 0) {
        report->min_illegal_error = fmin(report->min_illegal_error, error);
        if (!(error >= WW_CHECK_ILLEGAL_LIMIT)) {
            rc = WW_FAIL(
                err, WW_E_CHECK_FAILED,
                "block '%s': the illegal transform '%s' changes its output by %.3g "
                "only (expected at least %g), so the check cannot tell",
                layout->blocks[block].name, ww_wrong_name(wrong), error,
                WW_CHECK_ILLEGAL_LIMIT);
        }
    }
out:
    ww_gauge_release(&gauge);
    return rc;
}

/* Is it this fault's turn in the block? */
static bool scheduled(const struct ww_layout *layout, uint32_t block, enum ww_wrong wrong)
{
    const uint32_t layer = layout->blocks[block].layer;
    unsigned n = 0;
    unsigned place = 0;

    for (unsigned w = WW_WRONG_NONE + 1; w < WW_WRONG_COUNT; w++) {
        if (ww_wrong_applies(layout, block, (enum ww_wrong)w)) {
            place = w < (unsigned)wrong ? place + 1 : place;
            n++;
        }
    }
    return ww_wrong_applies(layout, block, wrong) &&
           (layer < ALL_FAULTS_BLOCKS || layer % n == place);
}

static enum ww_err report_progress(const struct ww_run_options *run, uint64_t done,
                                   uint64_t total, struct ww_error *err)
{
    if (run && run->progress &&
        run->progress(run->progress_payload, "check", done, total)) {
        return WW_FAIL(err, WW_E_CANCELLED, "the check was interrupted");
    }
    return WW_OK;
}

enum ww_err ww_check_layout(const struct ww_layout *layout,
                            const struct ww_run_options *run,
                            struct ww_check_report *report, struct ww_error *err)
{
    struct ww_secret *secret = NULL;
    enum ww_err rc = WW_OK;

    *report = (struct ww_check_report){.min_illegal_error = HUGE_VAL};
    rc = ww_secret_new(SECRET_BYTES, &secret, err);
    if (rc) {
        goto out;
    }
    ww_random(ww_secret_open(secret), SECRET_BYTES);
    ww_secret_close(secret);
    for (uint32_t b = 0; b < layout->n_blocks && !rc; b++) {
        rc = report_progress(run, b, layout->n_blocks, err);
        if (layout->blocks[b].uncovered) {
            continue;
        }
        for (unsigned w = WW_WRONG_NONE; w < WW_WRONG_COUNT && !rc; w++) {
            if (w == WW_WRONG_NONE || scheduled(layout, b, (enum ww_wrong)w)) {
                rc = check_one(layout, secret, b, (enum ww_wrong)w, report, err);
            }
        }
        report->blocks += !rc;
    }
    if (!rc && report->blocks == 0 && layout->n_blocks > 0) {
        rc =
            WW_FAIL(err, WW_E_UNSUPPORTED,
                    "block '%s' has %s, which the reference forward pass does not cover; "
                    "nor does it cover any other block",
                    layout->blocks[0].name, layout->blocks[0].uncovered);
    }
out:
    ww_secret_free(secret);
    return rc;
}
