/* SPDX-License-Identifier: Apache-2.0 */
/* Roots of an input's tensors are right whatever order and share of it the pieces take,
 * and cost no reading beside that for the digest. */
#include "stream_fixture.h"

#define MIB ((uint64_t)1 << 20)
#define N_TENSORS 7

struct wanted {
    struct ww_tensor tensors[N_TENSORS];
    uint32_t ranks[N_TENSORS];
    uint8_t roots[N_TENSORS][WW_SHA256_BYTES];
    struct ww_input_tree tree;
    const struct ww_input_tree *trees[FX_INPUTS];
};

/* Empty ones at the beginning, in between and at the end; holes; ends on and off leaves.
 */
static void want(struct fx *f, uint32_t input, struct wanted *w)
{
    static const uint64_t sizes[N_TENSORS] = {0, 3 * MIB, 5, 0, 7 * MIB + 13, MIB - 1, 0};
    static const uint64_t holes[N_TENSORS] = {100, 0, 0, 3, 2 * MIB, 0, 0};
    static const char *const names[N_TENSORS] = {"a", "b", "c", "d", "e", "f", "g"};
    uint64_t at = 0;

    for (uint32_t i = 0; i < N_TENSORS; i++) {
        at += holes[i];
        w->tensors[i] = (struct ww_tensor){.name = names[i],
                                           .dtype = WW_DTYPE_U8,
                                           .rank = 1,
                                           .shape = {sizes[i]},
                                           .n_elements = sizes[i],
                                           .n_bytes = sizes[i],
                                           .offset = at};
        w->ranks[i] = 100 - i;
        at += sizes[i];
    }
    w->tree = (struct ww_input_tree){w->tensors, w->ranks, N_TENSORS, w->roots};
    w->trees[input] = &w->tree;
    f->plan.input_trees = w->trees;
    assert_true(at <= f->inputs[input].size_bytes);
}

static void check(const struct fx *f, uint32_t input, const struct wanted *w)
{
    struct ww_error err = {0};
    struct ww_tree_tensor *tree = NULL;
    uint8_t root[WW_SHA256_BYTES];

    OK(ww_tree_tensor_new(&tree, &err));
    for (uint32_t i = 0; i < N_TENSORS; i++) {
        const struct ww_tensor *t = &w->tensors[i];
        ww_tree_tensor_begin(tree, w->ranks[i]);
        OK(ww_tree_tensor_update(tree, f->data[input] + t->offset, t->n_bytes, &err));
        OK(ww_tree_tensor_end(tree, t, root, &err));
        assert_memory_equal(root, w->roots[i], WW_SHA256_BYTES);
    }
    ww_tree_tensor_free(tree);
}

static void run(struct fx *f, uint32_t input, struct wanted *w, uint64_t memory,
                uint64_t *bytes_read)
{
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        struct ww_error err = {0};
        struct ww_stream_result result;
        struct ww_run_options options = {.threads = threads, .memory_bytes = memory};
        fx_reset(f);
        memset(w->roots, 0, sizeof(w->roots));
        OK(ww_stream_run(&f->plan, NULL, &options, &result, &err));
        fx_check_digests(f, &result);
        check(f, input, w);
        *bytes_read = result.report.bytes_read;
        ww_stream_result_release(&result);
    }
}

static void roots_of_an_input_read_in_order(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 31);
    struct wanted w = {0};
    uint32_t a = fx_input(f, 16 * MIB, true);
    struct ww_piece_source at = {a, 100};
    uint64_t n = 0;

    want(f, a, &w);
    fx_output(f, "a");
    fx_bytes(f, a, 0, 100, true);
    fx_tensor(f, &at, 1, 3 * 1024, 1024, FX_RANDOM);
    at.offset += 3 * MIB;
    fx_tensor(f, &at, 1, 9 * 1024, 1024, FX_IDENTITY);
    fx_copy(f, a, at.offset + 9 * MIB, 4 * MIB - 100, false);
    run(f, a, &w, 0, &n);
    assert_int_equal(n, 16 * MIB - 100);
    run(f, a, &w, 16 * MIB, &n);
    assert_int_equal(n, 16 * MIB - 100);
    fx_free(f);
}

static void roots_of_an_input_that_no_piece_reads(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 32);
    struct wanted w = {0};
    uint32_t a = fx_input(f, 3 * MIB, false);
    uint32_t b = fx_input(f, 16 * MIB + 9, true);
    uint64_t n = 0;

    want(f, b, &w);
    fx_output(f, "a");
    fx_copy(f, a, 0, 3 * MIB, true);
    run(f, b, &w, 0, &n);
    assert_int_equal(n, 3 * MIB + 16 * MIB + 9);
    fx_free(f);
}

static void roots_of_an_input_read_backwards(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 33);
    struct wanted w = {0};
    uint32_t a = fx_input(f, 16 * MIB, true);
    uint64_t n = 0;

    want(f, a, &w);
    fx_output(f, "a");
    for (uint64_t k = 16; k-- > 0;) {
        struct ww_piece_source at = {a, k * MIB};
        fx_tensor(f, &at, 1, 1024, 1024, FX_REVERSE);
    }
    run(f, a, &w, 0, &n);
    assert_true(n > 16 * MIB && n <= 32 * MIB);
    fx_free(f);
}

static void roots_need_tensors_in_their_file(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 34);
    struct wanted w = {0};
    struct ww_stream_result result;
    struct ww_error err = {0};
    uint32_t a = fx_input(f, 16 * MIB, true);

    want(f, a, &w);
    fx_output(f, "a");
    fx_copy(f, a, 0, MIB, true);
    w.tensors[5].n_bytes += 16 * MIB;
    FAILS(ww_stream_run(&f->plan, NULL, NULL, &result, &err), WW_E_USAGE);
    want(f, a, &w);
    w.tensors[4].offset = 50;
    FAILS(ww_stream_run(&f->plan, NULL, NULL, &result, &err), WW_E_USAGE);
    want(f, a, &w);
    f->inputs[a].want_sha256 = false;
    FAILS(ww_stream_run(&f->plan, NULL, NULL, &result, &err), WW_E_USAGE);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roots_of_an_input_read_in_order),
        cmocka_unit_test(roots_of_an_input_that_no_piece_reads),
        cmocka_unit_test(roots_of_an_input_read_backwards),
        cmocka_unit_test(roots_need_tensors_in_their_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
