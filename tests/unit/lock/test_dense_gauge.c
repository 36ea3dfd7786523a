/* SPDX-License-Identifier: Apache-2.0 */
/* The cells of a key: legal ones leave a block's output as it was, faults do not; what is
 * forbidden is not mixed. */
#include "lock_fixture.h"

#include "lock/check_core.h"
#include "lock/check_layout.h"
#include "lock/dense_gauge.h"
#include "lock/dense_kernel.h"
#include "lock/dense_probe.h"
#include "util/alloc.h"
#include "util/fail.h"

struct outcome {
    double error;      /* of the block's output */
    double core_error; /* of the cores */
    enum ww_err core_rc;
    struct ww_dense_moves moves;
    bool applies;
};

static struct outcome run(struct lk_options o, double condition,
                          enum ww_dense_wrong wrong)
{
    struct ww_error err = {0};
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_dense_gauge *dense = NULL;
    struct ww_dense_moves *moves = NULL;
    struct outcome out = {0};
    double adds = 0;
    struct ww_secret *secret = lk_secret(11);
    lk_init(&lk, o);
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    OK(ww_dense_gauge_new(&gauge, condition, wrong, &dense, &err));
    OK(ww_dense_moves(&lk.layout, &moves, &err));
    out.moves = moves[0];
    out.applies = ww_dense_wrong_applies(&lk.att, &moves[0], wrong);
    gauge.cells = ww_dense_gauge_source(dense);
    OK(ww_check_block(&gauge, &lk.weights, 0, &out.error, &adds, &err));
    out.core_rc = ww_check_cores(&gauge, &lk.weights, &out.core_error, &err);
    ww_free(moves);
    ww_dense_gauge_free(dense);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
    return out;
}

static const struct {
    const char *name;
    enum ww_qk_class qk;
    enum ww_vo_class vo;
    enum ww_rope_style rope;
    uint64_t rope_dims;
    bool fused, conv1d;
    bool mixes_qk, turns, mixes_vo;
} classes[] = {
    {"rope half", WW_QK_ROPE, WW_VO_GL, WW_ROPE_HALF, 8, false, false, false, true, true},
    {"rope adjacent", WW_QK_ROPE, WW_VO_GL, WW_ROPE_ADJACENT, 8, true, true, false, true,
     true},
    {"rope partial", WW_QK_ROPE, WW_VO_GL, WW_ROPE_HALF, 4, false, true, true, true,
     true},
    {"no rope", WW_QK_GL, WW_VO_GL, WW_ROPE_NONE, 0, true, false, true, false, true},
    {"qk norm", WW_QK_RMS_HEAD, WW_VO_GL, WW_ROPE_HALF, 8, false, false, false, false,
     true},
    {"full norm", WW_QK_RMS_FULL, WW_VO_GL, WW_ROPE_HALF, 8, false, false, false, false,
     true},
    {"head layer norm", WW_QK_LN_HEAD, WW_VO_GL, WW_ROPE_HALF, 8, false, false, false,
     false, true},
    {"clamp", WW_QK_CLAMP, WW_VO_CLAMP, WW_ROPE_HALF, 8, false, false, false, false,
     false},
};

static struct lk_options options_of(size_t i)
{
    struct lk_options o = lk_llama();
    o.qk_class = classes[i].qk;
    o.vo_class = classes[i].vo;
    o.rope = classes[i].rope;
    o.rope_dims = classes[i].rope_dims;
    o.fused = classes[i].fused;
    o.conv1d = classes[i].conv1d;
    o.clip = classes[i].qk == WW_QK_CLAMP ? 0.5 : 0;
    return o;
}

static void legal_matrices_leave_the_output(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(classes); i++) {
        for (int c = 0; c < 2; c++) {
            const struct outcome out = run(options_of(i), c ? 4 : 0, WW_DENSE_WRONG_NONE);
            if (!(out.error < 1e-11 && out.core_error < 1e-11 && out.core_rc == WW_OK)) {
                fail_msg("%s: block %g, cores %g", classes[i].name, out.error,
                         out.core_error);
            }
            assert_int_equal(out.moves.qk, classes[i].mixes_qk);
            assert_int_equal(out.moves.phases, classes[i].turns);
            assert_int_equal(out.moves.vo, classes[i].mixes_vo);
        }
    }
}

static void faults_change_the_output(void **state)
{
    (void)state;
    unsigned n = 0;
    for (size_t i = 0; i < WW_LEN(classes); i++) {
        for (unsigned w = 1; w < WW_DENSE_WRONG_COUNT; w++) {
            const struct outcome out = run(options_of(i), 0, (enum ww_dense_wrong)w);
            if (!out.applies) {
                continue;
            }
            /* The output projection is no part of a core: its probe sees the fault. */
            const enum ww_err want =
                w == WW_DENSE_WRONG_OUTPUT ? WW_OK : WW_E_CHECK_FAILED;
            if (!(out.error > 1e-2) || out.core_rc != want) {
                fail_msg("%s, %s: block %g, cores %s", classes[i].name,
                         ww_dense_wrong_name((enum ww_dense_wrong)w), out.error,
                         ww_err_name(out.core_rc));
            }
            n++;
        }
    }
    assert_int_equal(n, 7 + 3 + 7); /* output, pairing, group */
}

/* Lock a tensor in memory and probe it; swap: two of its rows trade places. */
static enum ww_err probe(enum ww_dtype dtype, enum ww_dense_wrong wrong, bool output,
                         bool swap, double *error, struct ww_error *err)
{
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_dense_gauge *dense = NULL;
    struct ww_dense_probe *p = NULL;
    struct ww_secret *secret = lk_secret(11);
    struct lk_options o = lk_llama();
    o.dtype = dtype;
    o.width = 64;
    lk_init(&lk, o);
    assert_int_equal(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, err),
                     WW_OK);
    assert_int_equal(ww_dense_gauge_new(&gauge, 0, wrong, &dense, err), WW_OK);
    const struct ww_cell_source *source = ww_dense_gauge_source(dense);
    const struct ww_dense_job job = {.gauge = &gauge, .source = source};
    const uint32_t t = output ? lk.att.o.weight : lk.att.v.weight;
    const struct ww_tensor *tensor = &lk.tensors[t];
    const size_t row = (size_t)(tensor->n_bytes / tensor->shape[0]);
    uint8_t *out = malloc((size_t)tensor->n_bytes);
    uint8_t spare[512];
    assert_int_equal(ww_dense_tensor(&job, t, lk.data[t], out, err), WW_OK);
    if (swap) {
        memcpy(spare, out, row);
        memcpy(out, out + row, row);
        memcpy(out + row, spare, row);
    }
    assert_int_equal(ww_dense_probe_new(&gauge, source, t, &p, err), WW_OK);
    ww_dense_probe_note(p, 0, 0, tensor->shape[0], lk.data[t], out);
    enum ww_err rc = ww_dense_probe_judge(p, error, err);
    ww_dense_probe_free(p);
    free(out);
    ww_dense_gauge_free(dense);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
    return rc;
}

static void probes_measure_rounding_and_see_faults(void **state)
{
    (void)state;
    static const struct {
        enum ww_dtype dtype;
        double least, most;
    } rows[] = {{WW_DTYPE_BF16, 5e-4, 4e-3},
                {WW_DTYPE_F16, 5e-5, 5e-4},
                {WW_DTYPE_F32, 1e-9, 2e-6},
                {WW_DTYPE_F64, 0, 2e-6}};
    struct ww_error err = {0};
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        for (int output = 0; output < 2; output++) {
            double error = -1;
            OK(probe(rows[i].dtype, WW_DENSE_WRONG_NONE, output, false, &error, &err));
            assert_true(error >= rows[i].least && error <= rows[i].most);
            FAILS(probe(rows[i].dtype, WW_DENSE_WRONG_NONE, output, true, &error, &err),
                  WW_E_CHECK_FAILED);
            assert_true(error > 0.02); /* two of 64 rows */
        }
        double error = -1;
        FAILS(probe(rows[i].dtype, WW_DENSE_WRONG_OUTPUT, true, false, &error, &err),
              WW_E_CHECK_FAILED);
        assert_true(error > 0.1);
    }
}

/* Stored in 16 bits the output changes, by about one rounding. */
static void rounding_is_all_that_changes(void **state)
{
    (void)state;
    struct lk_options o = lk_llama();
    o.dtype = WW_DTYPE_BF16;
    o.width = o.n_neurons = 64;
    const struct outcome out = run(o, 0, WW_DENSE_WRONG_NONE);
    assert_true(out.error > 1e-4 && out.error < 2e-2);
    assert_true(out.core_error < 1e-11);
}

/* Query heads of a group share what their key undoes; groups differ. */
static void groups_have_matrices_of_their_own(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_dense_gauge *dense = NULL;
    struct ww_cells values = {0}, context = {0}, query = {0};
    struct ww_secret *secret = lk_secret(11);
    lk_init(&lk, lk_llama());
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    OK(ww_dense_gauge_new(&gauge, 0, WW_DENSE_WRONG_NONE, &dense, &err));
    const struct ww_cell_source *source = ww_dense_gauge_source(dense);
    OK(source->get(source->payload, lk.att.value, false, &values, &err));
    OK(source->get(source->payload, lk.att.context, false, &context, &err));
    OK(source->get(source->payload, lk.att.query, false, &query, &err));
    assert_int_equal(values.n_cells, 2);
    assert_int_equal(context.n_cells, 4);
    assert_int_equal(query.n_cells, 4 * 4);
    for (uint32_t h = 0; h < 4; h++) {
        assert_memory_equal(context.direct + context.cells[h].matrix,
                            values.direct + values.cells[h / 2].matrix,
                            64 * sizeof(double));
    }
    assert_memory_not_equal(values.direct, values.direct + 64, 64 * sizeof(double));
    assert_false(source->has(source->payload, lk.mlps[0].neuron));
    assert_false(source->has(source->payload, lk.att.kv_head));
    assert_false(source->has(source->payload, 0));
    ww_cells_release(&values);
    ww_cells_release(&context);
    ww_cells_release(&query);
    ww_dense_gauge_free(dense);
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

static void bad_conditions_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lk lk;
    struct ww_gauge gauge;
    struct ww_dense_gauge *dense = NULL;
    struct ww_secret *secret = lk_secret(11);
    static const double bad[] = {-1, 0.5, 1, 4.0001, HUGE_VAL, (double)NAN};
    lk_init(&lk, lk_llama());
    OK(ww_gauge_init(&gauge, &lk.layout, secret, false, WW_WRONG_NONE, &err));
    for (size_t i = 0; i < WW_LEN(bad); i++) {
        FAILS(ww_dense_gauge_new(&gauge, bad[i], WW_DENSE_WRONG_NONE, &dense, &err),
              WW_E_USAGE);
        assert_null(dense);
    }
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    lk_free(&lk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(legal_matrices_leave_the_output),
        cmocka_unit_test(faults_change_the_output),
        cmocka_unit_test(probes_measure_rounding_and_see_faults),
        cmocka_unit_test(rounding_is_all_that_changes),
        cmocka_unit_test(groups_have_matrices_of_their_own),
        cmocka_unit_test(bad_conditions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
