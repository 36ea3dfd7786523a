/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan must satisfy, and that its digest covers all that decides the output. */
#include "stream/plan.h"

#include "stream_fixture.h"

static struct fx *small(void)
{
    struct fx *f = fx_new(NULL, 5);
    uint32_t a = fx_input(f, 100, true);
    struct ww_piece_source at = {a, 4};
    fx_output(f, "a.bin");
    fx_bytes(f, a, 0, 4, true);
    fx_tensor(f, &at, 1, 8, 4, FX_IDENTITY);
    fx_copy(f, a, 36, 10, true);
    fx_output(f, "d/b.bin");
    fx_copy(f, a, 0, 100, false);
    return f;
}

static void plan_check_accepts_a_good_plan(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    OK(ww_plan_check(&f->plan, &err));
    fx_free(f);
}

/* One thing wrong at a time; each has its code and is named. */
static void plan_check_refuses(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    struct ww_piece *bytes = &f->pieces[0][0];
    struct ww_piece *tensor = &f->pieces[0][1];
    struct ww_piece *copy = &f->pieces[0][2];
    struct ww_piece good[3] = {*bytes, *tensor, *copy};

#define BROKEN(change, code, word)                                                       \
    do {                                                                                 \
        change;                                                                          \
        FAILS(ww_plan_check(&f->plan, &err), code);                                      \
        assert_non_null(strstr(err.text, word));                                         \
        *bytes = good[0];                                                                \
        *tensor = good[1];                                                               \
        *copy = good[2];                                                                 \
    } while (0)
    struct ww_piece_source wrong_input = {1, 0};
    struct ww_piece_source wrong_end = {0, 91};
    struct ww_piece_source wrap = {0, UINT64_MAX};
    BROKEN(bytes->n_sources = 2, WW_E_USAGE, "not given");
    BROKEN(bytes->bytes = NULL, WW_E_USAGE, "not given");
    BROKEN(copy->n_sources = 0, WW_E_USAGE, "one source");
    BROKEN(copy->sources = &wrong_input, WW_E_USAGE, "no input");
    BROKEN(copy->sources = &wrong_end, WW_E_USAGE, "beyond the end");
    BROKEN(copy->sources = &wrap, WW_E_USAGE, "beyond the end");
    BROKEN(tensor->kernel = NULL, WW_E_USAGE, "sources");
    BROKEN(tensor->n_sources = WW_MAX_SOURCES + 1, WW_E_USAGE, "sources");
    BROKEN(tensor->n_rows = 7, WW_E_USAGE, "rows");
    BROKEN((tensor->n_rows = UINT64_MAX, tensor->row_bytes = 2), WW_E_USAGE, "rows");
    BROKEN(tensor->tree_index = 2, WW_E_USAGE, "not in the tree");
    BROKEN(tensor->tree_index = 1, WW_E_USAGE, "another size");
    BROKEN(tensor->tree_index = WW_NONE, WW_E_USAGE, "in no output");
    BROKEN((tensor->n_rows = 10, tensor->n_bytes = 40), WW_E_USAGE, "");
#undef BROKEN
    f->outputs[0].size_bytes++;
    FAILS(ww_plan_check(&f->plan, &err), WW_E_USAGE);
    f->outputs[0].size_bytes--;
    f->outputs[0].path = "../a";
    FAILS(ww_plan_check(&f->plan, &err), WW_E_PATH);
    f->outputs[0].path = ".weightward-journal";
    FAILS(ww_plan_check(&f->plan, &err), WW_E_PATH);
    f->outputs[0].path = "a.bin";
    f->pieces[1][0].tree_index = 1;
    f->tensors[1].n_bytes = 100;
    FAILS(ww_plan_check(&f->plan, &err), WW_E_USAGE);
    fx_free(f);
}

static void plan_check_refuses_a_tensor_twice(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = fx_new(NULL, 5);
    uint32_t a = fx_input(f, 100, false);
    fx_output(f, "a");
    fx_copy(f, a, 0, 10, true);
    fx_copy(f, a, 0, 10, false);
    f->pieces[0][1].tree_index = 0;
    FAILS(ww_plan_check(&f->plan, &err), WW_E_USAGE);
    assert_non_null(strstr(err.text, "twice"));
    fx_free(f);
}

static void plan_digest_covers_what_decides(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = small();
    uint8_t digests[16][WW_SHA256_BYTES];
    static const struct ww_kernel other = {"other", fx_open, fx_run, fx_close};
    unsigned n = 0;

    OK(ww_plan_digest(&f->plan, digests[n++], &err));
    f->pieces[0][1].params_digest[31] ^= 1;
    OK(ww_plan_digest(&f->plan, digests[n++], &err));
    f->pieces[0][1].params_digest[31] ^= 1;
    f->pieces[0][1].kernel = &other;
    OK(ww_plan_digest(&f->plan, digests[n++], &err));
    f->pieces[0][1].kernel = &fx_kernel;
    f->pieces[0][1].n_rows = 4;
    f->pieces[0][1].row_bytes = 8;
    OK(ww_plan_digest(&f->plan, digests[n++], &err));
    f->pieces[0][1].n_rows = 8;
    f->pieces[0][1].row_bytes = 4;
    f->data[0][1] ^= 1; /* of the bytes piece */
    OK(ww_plan_digest(&f->plan, digests[n++], &err));
    f->data[0][1] ^= 1;
    f->outputs[1].path = "d/c.bin";
    OK(ww_plan_digest(&f->plan, digests[n++], &err));
    f->outputs[1].path = "d/b.bin";
    f->inputs[0].size_bytes = 101;
    OK(ww_plan_digest(&f->plan, digests[n++], &err));
    f->inputs[0].size_bytes = 100;
    f->sources[f->n_used - 2][0].offset = 35;
    OK(ww_plan_digest(&f->plan, digests[n++], &err));
    f->sources[f->n_used - 2][0].offset = 36;
    f->tensors[0].shape[0] = 31;
    OK(ww_plan_digest(&f->plan, digests[n++], &err));
    f->tensors[0].shape[0] = 32;
    f->tree[0].rank++;
    OK(ww_plan_digest(&f->plan, digests[n++], &err));
    f->tree[0].rank--;
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < i; k++) {
            assert_memory_not_equal(digests[i], digests[k], WW_SHA256_BYTES);
        }
    }
    OK(ww_plan_digest(&f->plan, digests[1], &err));
    assert_memory_equal(digests[0], digests[1], WW_SHA256_BYTES);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_check_accepts_a_good_plan),
        cmocka_unit_test(plan_check_refuses),
        cmocka_unit_test(plan_check_refuses_a_tensor_twice),
        cmocka_unit_test(plan_digest_covers_what_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
