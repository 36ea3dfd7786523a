/* SPDX-License-Identifier: Apache-2.0 */
/* Residuals come back for every type, cost what they should, and parse safely. */
#include "ww_test.h"

#include "lock/residual.h"
#include "lock/residual_symbol.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "ww_random.h"

static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32,
                                       WW_DTYPE_F64};

/* Lines of predictions and of originals near them, wild ones among them. */
struct lines {
    struct ww_residual_shape shape;
    size_t n_bytes;
    unsigned width;
    uint8_t *predicted, *original;
    int16_t *levels;
};

static void make_lines(struct lines *l, enum ww_dtype dtype, uint64_t n_lines,
                       uint64_t line, bool wild)
{
    uint64_t seed = 4;
    const size_t n = (size_t)(n_lines * line);
    l->shape = (struct ww_residual_shape){dtype, n_lines, line};
    l->width = ww_dtype_bits(dtype) / 8;
    l->n_bytes = n * l->width;
    l->predicted = calloc(n, l->width);
    l->original = calloc(n, l->width);
    l->levels = calloc(n, sizeof(*l->levels));
    for (size_t i = 0; i < n; i++) {
        const double sum = (double)(fx_random(&seed) >> 12) * 0x1p-52 +
                           (double)(fx_random(&seed) >> 12) * 0x1p-52 - 1;
        const double p = 0.02 * sum;
        uint64_t bits = 0;
        ww_from_double(dtype, &p, l->predicted + i * l->width, 1);
        bits = ww_ordered_of(ww_ordered_load(l->predicted + i * l->width, l->width),
                             l->width);
        bits += fx_random(&seed) % 5 - 2;
        if (wild && fx_random(&seed) % 50 == 0) {
            bits = fx_random(&seed);
        }
        bits = ww_ordered_bits(bits & (~UINT64_C(0) >> (64 - 8 * l->width)), l->width);
        memcpy(l->original + i * l->width, &bits, l->width);
        l->levels[i] = i % 97 == 0 ? WW_NO_LEVEL : -4;
    }
}

static void free_lines(struct lines *l)
{
    free(l->predicted);
    free(l->original);
    free(l->levels);
}

static void write_lines(const struct lines *l, struct ww_buf *out)
{
    struct ww_error err = {0};
    struct ww_residual_writer *writer = NULL;
    const size_t step = (size_t)l->shape.line * l->width;
    OK(ww_residual_writer_new(&l->shape, &writer, &err));
    for (uint64_t i = l->shape.n_lines; i-- > 0;) { /* any order */
        ww_residual_note(writer, i, l->predicted + i * step, l->original + i * step,
                         l->levels + i * l->shape.line);
    }
    OK(ww_residual_finish(writer, out, &err));
    ww_residual_writer_free(writer);
}

static void originals_come_back(void **state)
{
    (void)state;
    struct ww_error err = {0};
    for (size_t d = 0; d < WW_LEN(dtypes); d++) {
        struct lines l;
        struct ww_buf out;
        struct ww_residual_reader *reader = NULL;
        size_t len = 0;
        make_lines(&l, dtypes[d], 7, 301, true);
        const size_t step = (size_t)l.shape.line * l.width;
        ww_buf_init(&out, 1 << 20);
        write_lines(&l, &out);
        uint8_t *bytes = ww_buf_take(&out, &len);
        OK(ww_residual_reader_new(&l.shape, bytes, len, &reader, &err));
        for (uint64_t i = 0; i < l.shape.n_lines; i++) {
            assert_true(ww_residual_restore(reader, i, l.predicted + i * step,
                                            l.levels + i * l.shape.line));
        }
        assert_memory_equal(l.predicted, l.original, l.n_bytes);
        ww_residual_reader_free(reader);
        ww_buf_release(&out);
        free_lines(&l);
    }
}

/* Five equally likely differences are worth log2(5) = 2.32 bits each. */
static void length_is_near_the_entropy(void **state)
{
    (void)state;
    struct lines l;
    struct ww_buf out;
    make_lines(&l, WW_DTYPE_BF16, 20, 4096, false);
    ww_buf_init(&out, 1 << 20);
    write_lines(&l, &out);
    const double bits = 8 * (double)out.len / (20 * 4096.0);
    assert_true(bits > 2.3 && bits < 2.37);
    ww_buf_release(&out);
    free_lines(&l);
}

static void order_and_folding_are_reversible(void **state)
{
    (void)state;
    uint64_t seed = 8;
    for (unsigned width = 2; width <= 8; width *= 2) {
        const uint64_t all = ~UINT64_C(0) >> (64 - 8 * width);
        for (int i = 0; i < 2000; i++) {
            const uint64_t a = fx_random(&seed) & all;
            const uint64_t b =
                i % 3 ? (a + (uint64_t)(i % 9) - 4) & all : fx_random(&seed) & all;
            const uint64_t f = ww_ordered_fold(a, b, width);
            unsigned n_raw = 0;
            assert_int_equal(ww_ordered_bits(ww_ordered_of(a, width), width), a);
            assert_int_equal(ww_ordered_unfold(f, b, width), a);
            assert_true(i % 3 == 0 || f <= 8);
            assert_true(ww_residual_token(f, &n_raw) < WW_RESIDUAL_TOKENS);
        }
    }
    /* -0.0 and 0.0 are neighbours, and the order is that of the numbers. */
    assert_int_equal(ww_ordered_of(0x8000, 2) + 1, ww_ordered_of(0, 2));
    assert_true(ww_ordered_of(0xbf80, 2) < ww_ordered_of(0x8000, 2));
    assert_true(ww_ordered_of(0x3f80, 2) > ww_ordered_of(0x3f7f, 2));
}

/* Whatever was changed: no crash, and where the frame breaks, the right error. */
static void changed_sections_are_safe(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lines l;
    struct ww_buf out;
    uint64_t seed = 1;
    unsigned refused = 0;
    make_lines(&l, WW_DTYPE_BF16, 5, 64, true);
    ww_buf_init(&out, 1 << 20);
    write_lines(&l, &out);
    for (int round = 0; round < 600; round++) {
        struct ww_residual_reader *reader = NULL;
        size_t len = round % 3 ? out.len : (size_t)fx_random(&seed) % out.len;
        uint8_t *bytes = ww_calloc(1, len + 1);
        memcpy(bytes, out.data, len);
        if (round % 3) {
            bytes[fx_random(&seed) % (round % 2 ? 120 : len)] ^=
                (uint8_t)(1 + round % 255);
        }
        ww_error_clear(&err);
        enum ww_err rc = ww_residual_reader_new(&l.shape, bytes, len, &reader, &err);
        if (rc) {
            assert_int_equal(rc, WW_E_SEALED);
            ww_free(bytes);
            refused++;
            continue;
        }
        for (uint64_t i = 0; i < l.shape.n_lines; i++) {
            uint8_t numbers[128];
            memcpy(numbers, l.predicted + i * 128, sizeof(numbers));
            (void)!ww_residual_restore(reader, i, numbers, l.levels + i * 64);
        }
        ww_residual_reader_free(reader);
    }
    assert_true(refused > 200);
    ww_buf_release(&out);
    free_lines(&l);
}

static void other_shapes_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct lines l;
    struct ww_buf out;
    make_lines(&l, WW_DTYPE_BF16, 5, 64, false);
    ww_buf_init(&out, 1 << 20);
    write_lines(&l, &out);
    const struct ww_residual_shape others[] = {{WW_DTYPE_F32, 5, 64},
                                               {WW_DTYPE_BF16, 4, 80},
                                               {WW_DTYPE_BF16, 5, 63},
                                               {WW_DTYPE_BF16, UINT64_MAX, 64}};
    for (size_t i = 0; i < WW_LEN(others); i++) {
        struct ww_residual_reader *reader = NULL;
        FAILS(ww_residual_reader_new(&others[i], out.data, out.len, &reader, &err),
              WW_E_SEALED);
        assert_null(reader);
    }
    ww_buf_release(&out);
    free_lines(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(originals_come_back),
        cmocka_unit_test(length_is_near_the_entropy),
        cmocka_unit_test(order_and_folding_are_reversible),
        cmocka_unit_test(changed_sections_are_safe),
        cmocka_unit_test(other_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
