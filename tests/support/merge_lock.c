/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge_lock MODEL OUT CONDITION SEED: a lock of the kind that papers propose (arXiv
 * 2509.01548), to attack: one random matrix of the given condition for the values and one
 * for the queries and keys of every KV head, nothing else. Under rotary embedding, where
 * such a matrix would break the model, one complex number per pair. There is no key and
 * no way back but the attack.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "attack/inner.h"
#include "copy_model.h"
#include "la/la.h"
#include "lock/activation.h"
#include "lock/dense_kernel.h"
#include "util/alloc.h"

static uint64_t state;
static double condition;

static double normal(void)
{
    double sum = 0;
    for (int i = 0; i < 12; i++) {
        sum += ww_random_activation(&state);
    }
    return sum / sqrt(12);
}

/* Log-uniform between 1 and the condition. */
static double size(void)
{
    return exp(log(condition) *
               (ww_random_activation(&state) / 3.4641016151377544 + 0.5));
}

/* t = U diag(s) V and its transposed inverse U diag(1/s) V. */
static enum ww_err draw_matrix(size_t d, double *t, double *t_inv_t, struct ww_error *err)
{
    double *u = ww_calloc(2 * d, d * sizeof(double));
    double *v = u + d * d;
    for (size_t i = 0; u && i < 2 * d * d; i++) {
        u[i] = normal();
    }
    enum ww_err rc = u ? ww_la_qr(d, d, u, NULL, err) : WW_E_NOMEM;
    if (rc == WW_OK) {
        rc = ww_la_qr(d, d, v, NULL, err);
    }
    for (size_t k = 0; k < d && rc == WW_OK; k++) {
        const double s = size();
        for (size_t i = 0; i < d; i++) {
            for (size_t j = 0; j < d; j++) {
                t[i * d + j] += u[i * d + k] * s * v[k * d + j];
                t_inv_t[i * d + j] += u[i * d + k] / s * v[k * d + j];
            }
        }
    }
    ww_free(u);
    return rc;
}

static void draw_pairs(const struct ww_rope *rope, size_t d, double *t, double *t_inv_t)
{
    for (size_t i = 0; i < d; i++) {
        t[i * d + i] = t_inv_t[i * d + i] = 1;
    }
    for (size_t f = 0; f < rope->dims / 2; f++) {
        size_t i = 0;
        size_t j = 0;
        const double r = size();
        const double phi = ww_random_activation(&state);
        ww_inner_pair(rope, f, &i, &j);
        t[i * d + i] = t[j * d + j] = r * cos(phi);
        t[j * d + i] = r * sin(phi);
        t[i * d + j] = -t[j * d + i];
        t_inv_t[i * d + i] = t_inv_t[j * d + j] = cos(phi) / r;
        t_inv_t[j * d + i] = sin(phi) / r;
        t_inv_t[i * d + j] = -t_inv_t[j * d + i];
    }
}

static enum ww_err draw_side(struct ww_pair *pair, uint32_t a, bool values,
                             struct ww_error *err)
{
    const struct ww_attention *att = &pair->locked->attentions[a];
    const size_t d = (size_t)(values ? att->v_dim : att->head_dim);
    const bool pairs = !values && att->qk_class == WW_QK_ROPE;
    struct ww_fix fix = {0};
    enum ww_err rc = ww_fix_init(&fix, (size_t)att->n_kv_heads, d, err);
    for (size_t g = 0; g < fix.n && rc == WW_OK; g++) {
        double *t = fix.undo + g * d * d;
        double *t_inv_t = fix.undo_t + g * d * d;
        fix.mixed[g] = true;
        if (pairs) {
            draw_pairs(&att->rope, d, t, t_inv_t);
        } else {
            rc = draw_matrix(d, t, t_inv_t, err);
        }
    }
    for (int side = 0; side < 2 && rc == WW_OK; side++) {
        const uint32_t spaces[2] = {values ? att->value : att->query,
                                    values ? att->context : att->key};
        rc = ww_pair_mix(pair, spaces[side], &fix, err);
    }
    ww_fix_release(&fix);
    return rc;
}

static enum ww_err write_tensor(void *payload, const struct ww_model *model,
                                uint32_t tensor, FILE *out, struct ww_error *err)
{
    struct ww_pair *pair = payload;
    const struct ww_dense_job job = {.gauge = &pair->gauge, .source = &pair->source};
    const struct ww_tensor *t = &model->tensors[tensor];
    const size_t n = (size_t)t->n_bytes;
    void *in = ww_alloc_aligned(64, n + 64);
    void *made = ww_alloc_aligned(64, n + 64);
    bool clash = false;
    enum ww_err rc = in && made ? ww_model_read(model, tensor, in, err) : WW_E_NOMEM;
    const bool mixed =
        ww_dense_axis(pair->locked, &pair->source, tensor, &clash) != WW_NO_AXIS;
    if (rc == WW_OK && mixed) {
        rc = ww_dense_tensor(&job, tensor, in, made, err);
    }
    if (rc == WW_OK && fwrite(mixed ? made : in, 1, n, out) != n) {
        rc = WW_FAIL(err, WW_E_IO, "cannot write the copy");
    }
    ww_free(in);
    ww_free(made);
    return rc;
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct ww_model *model = NULL;
    struct ww_layout *layout = NULL;
    struct ww_pair pair = {0};
    if (argc != 5) {
        fprintf(stderr, "usage: merge_lock MODEL OUT CONDITION SEED\n");
        return 2;
    }
    condition = strtod(argv[3], NULL);
    state = strtoull(argv[4], NULL, 10);
    enum ww_err rc = ww_model_open(argv[1], &model, &err);
    if (rc == WW_OK) {
        rc = ww_layout_resolve(model, NULL, &layout, &err);
    }
    if (rc == WW_OK) {
        rc = ww_pair_init(&pair, layout, layout, &err);
    }
    for (uint32_t a = 0; rc == WW_OK && a < layout->n_attentions; a++) {
        const struct ww_attention *att = &layout->attentions[a];
        if (att->element_owner == a && att->vo_class == WW_VO_GL) {
            rc = draw_side(&pair, a, true, &err);
        }
        if (rc == WW_OK && att->element_owner == a &&
            (att->qk_class == WW_QK_GL || att->qk_class == WW_QK_ROPE)) {
            rc = draw_side(&pair, a, false, &err);
        }
    }
    if (rc == WW_OK) {
        rc = copy_model(model, argv[2], write_tensor, &pair, &err);
    }
    if (rc) {
        fprintf(stderr, "merge_lock: %s\n", err.text);
    }
    if (layout) {
        ww_pair_release(&pair);
    }
    ww_layout_free(layout);
    ww_model_close(model);
    return rc ? 1 : 0;
}
