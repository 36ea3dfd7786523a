/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of few numbers without tables: each form comes back, is shorter than by tables,
 * and what no encoder wrote is refused. */
#include "ww_test.h"

#include "rmm/chunk.h"
#include "rmm/chunk_adaptive.h"
#include "rmm/rank.h"
#include "rmm/table.h"
#include "util/fail.h"
#include "ww_random.h"

#define MOST ((size_t)70000)

struct fx {
    struct ww_chunk_room *room;
    struct ww_chunk_room *tables; /* of one that may not adapt */
    struct ww_buf coded;
    uint8_t bytes[4 * MOST];
    uint8_t base[4 * MOST];
    uint8_t back[4 * MOST];
    int16_t integers[MOST];
};

static int set_up(void **state)
{
    struct fx *f = calloc(1, sizeof(*f));
    struct ww_error err = {0};
    assert_non_null(f);
    OK(ww_chunk_room_new(&f->room, &err));
    OK(ww_chunk_room_new(&f->tables, &err));
    ww_chunk_room_adapt(f->room);
    ww_buf_init(&f->coded, WW_CHUNK_MAX_CODED);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fx *f = *state;
    ww_chunk_room_free(f->room);
    ww_chunk_room_free(f->tables);
    ww_buf_release(&f->coded);
    free(f);
    return 0;
}

static void put(enum ww_dtype dtype, float x, uint8_t *at)
{
    ww_chunk_own_number(ww_chunk_type_of(dtype), 1, x, at);
}

/* Weights, and a change of a stated size. */
static void make_pair(struct fx *f, enum ww_dtype dtype, size_t n, double delta)
{
    const unsigned width = ww_chunk_type_of(dtype).width;
    uint64_t seed = n + (uint64_t)dtype;
    for (size_t i = 0; i < n; i++) {
        const double w = 0.02 * fx_normal(&seed);
        const double d = delta * fx_normal(&seed);
        put(dtype, (float)w, f->base + i * width);
        put(dtype, (float)(w + d), f->bytes + i * width);
    }
}

static size_t tables_take(struct fx *f, enum ww_dtype dtype, size_t n,
                          const uint8_t *base)
{
    const struct ww_chunk_plain plain = {ww_chunk_type_of(dtype), f->bytes, base, n};
    struct ww_error err = {0};
    struct ww_buf coded;
    size_t len = 0;
    ww_buf_init(&coded, WW_CHUNK_MAX_CODED);
    OK(ww_chunk_encode(f->tables, &plain, &coded, &err));
    len = coded.len;
    ww_buf_release(&coded);
    return len;
}

static bool decodes(struct fx *f, enum ww_dtype dtype, const uint8_t *base, size_t len,
                    size_t n)
{
    return ww_chunk_decode(f->tables, ww_chunk_type_of(dtype), f->coded.data, len, base,
                           f->back, n);
}

/* Any room decodes what one that may adapt has coded. */
static void round_trip(struct fx *f, enum ww_dtype dtype, const uint8_t *base, size_t n)
{
    const struct ww_chunk_plain plain = {ww_chunk_type_of(dtype), f->bytes, base, n};
    struct ww_error err = {0};
    ww_buf_clear(&f->coded);
    OK(ww_chunk_encode(f->room, &plain, &f->coded, &err));
    assert_true(f->coded.len <= n + 1);
    assert_true(decodes(f, dtype, base, f->coded.len, n));
    assert_memory_equal(f->back, f->bytes, n);
}

/* Cut, longer, of another mode or form, with a bit changed. */
static void refuse_others(struct fx *f, enum ww_dtype dtype, const uint8_t *base,
                          size_t n)
{
    const size_t len = f->coded.len;
    struct ww_error err = {0};
    unsigned refused = 0;
    for (size_t cut = 0; cut < len; cut += 1 + cut / 32) {
        assert_false(decodes(f, dtype, base, cut, n));
    }
    for (unsigned byte = 1; byte < 3; byte++) {
        const uint8_t before = f->coded.data[byte];
        for (unsigned other = 0; other < 256; other++) {
            f->coded.data[byte] = (uint8_t)other;
            if (other != before) { /* another way to read it: seldom one that ends */
                refused += !decodes(f, dtype, base, len, n);
            }
        }
        f->coded.data[byte] = before;
    }
    assert_true(refused > 500);
    f->coded.data[1] &= (uint8_t)~WW_ADAPTIVE_IS;
    assert_false(decodes(f, dtype, base, len, n));
    f->coded.data[1] |= WW_ADAPTIVE_IS;
    refused = 0;
    for (size_t at = 3; at < len; at += 1 + len / 200) {
        f->coded.data[at] ^= 4;
        refused += !decodes(f, dtype, base, len, n) || memcmp(f->back, f->bytes, n) != 0;
        f->coded.data[at] ^= 4;
    }
    assert_true(refused > 10);
    f->coded.max++;
    OK(ww_buf_add(&f->coded, "", 1, &err));
    assert_false(decodes(f, dtype, base, len + 1, n));
}

static void small_pairs_are_shorter_without_tables(void **state)
{
    static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32};
    static const size_t sizes[] = {1, 2, 100, 1000, 8192, 65536};
    struct fx *f = *state;
    for (size_t d = 0; d < WW_LEN(dtypes); d++) {
        const size_t width = ww_chunk_type_of(dtypes[d]).width;
        for (size_t s = 0; s < WW_LEN(sizes); s++) {
            const size_t n = sizes[s];
            make_pair(f, dtypes[d], n, 2e-4);
            round_trip(f, dtypes[d], f->base, n * width);
            assert_true(f->coded.len <= tables_take(f, dtypes[d], n * width, f->base));
            if (n >= 100 && n <= 8192 && width == 2) { /* of more it does not pay */
                assert_int_equal(f->coded.data[0], WW_CHUNK_ADAPTIVE);
                assert_int_equal(ww_chunk_form_of(f->coded.data, f->coded.len),
                                 WW_CHUNK_ORDER);
                assert_true(f->coded.len < tables_take(f, dtypes[d], n * width, f->base));
            }
        }
    }
    make_pair(f, WW_DTYPE_BF16, 1000, 2e-4);
    round_trip(f, WW_DTYPE_BF16, f->base, 2000);
    refuse_others(f, WW_DTYPE_BF16, f->base, 2000);
    assert_false(decodes(f, WW_DTYPE_BF16, NULL, f->coded.len, 2000));
}

/* Any bits, NaNs and the ends of the range among them. */
static void any_numbers_come_back(void **state)
{
    struct fx *f = *state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        const size_t n = 4 * (seed * 37 % 200 + 1);
        uint64_t s = seed;
        fx_fill(&s, f->base, n);
        fx_fill(&s, f->bytes, n);
        memset(f->bytes, seed % 2 ? 0xff : 0x7f, n / 4);
        memset(f->base, seed % 3 ? 0x80 : 0, n / 4);
        round_trip(f, WW_DTYPE_BF16, f->base, n);
        round_trip(f, WW_DTYPE_F32, f->base, n);
        round_trip(f, WW_DTYPE_U8, NULL, n);
    }
}

/* More numbers than the form takes are for tables. */
static void many_numbers_have_tables(void **state)
{
    struct fx *f = *state;
    make_pair(f, WW_DTYPE_BF16, WW_ADAPTIVE_MOST + 1, 1e-3);
    round_trip(f, WW_DTYPE_BF16, f->base, 2 * (WW_ADAPTIVE_MOST + 1));
    assert_int_equal(f->coded.data[0], WW_CHUNK_ORDER);
}

static void text_is_coded_by_the_byte_before(void **state)
{
    struct fx *f = *state;
    size_t n = 0;
    for (unsigned i = 0; i < 40; i++) {
        n += (size_t)snprintf(
            (char *)f->bytes + n, sizeof(f->bytes) - n,
            "\"model.layers.%u.mlp.up_proj.weight\":{\"dtype\":\"BF16\"},", i);
    }
    round_trip(f, WW_DTYPE_U8, NULL, n);
    assert_int_equal(f->coded.data[0], WW_CHUNK_ADAPTIVE);
    assert_true(2 * f->coded.len < tables_take(f, WW_DTYPE_U8, n, NULL));
    refuse_others(f, WW_DTYPE_U8, NULL, n);
    assert_false(decodes(f, WW_DTYPE_BF16, NULL, f->coded.len, n - n % 2));
}

static void code_factor(struct fx *f, unsigned axis, uint32_t rank, size_t n, bool near)
{
    static float scales[300];
    static uint8_t classes[300];
    struct ww_error err = {0};
    struct ww_chunk_scales s = {axis, rank, n / rank, 0, scales, classes, near};
    uint64_t seed = n;
    for (uint32_t k = 0; k < rank; k++) {
        scales[k] = 0.001F * (float)(k + 1);
        classes[k] = (uint8_t)(k % 16);
    }
    for (size_t i = 0; i < n; i++) {
        const size_t k = axis ? i % rank : i / (n / rank);
        f->integers[i] = (int16_t)(fx_normal(&seed) * (2 << k % 11));
    }
    ww_buf_clear(&f->coded);
    OK(ww_chunk_own_encode(f->room, f->integers, n, &s, &f->coded, &err));
}

static void factors_share_what_is_learnt(void **state)
{
    struct fx *f = *state;
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_F32);
    for (unsigned axis = 0; axis < 2; axis++) {
        for (uint32_t rank = 1; rank <= 200; rank = 3 * rank + 1) {
            const size_t n = (size_t)rank * 160;
            code_factor(f, axis, rank, n, false);
            assert_int_equal(f->coded.data[0], WW_CHUNK_ADAPTIVE);
            assert_true(decodes(f, WW_DTYPE_F32, NULL, f->coded.len, 4 * n));
            for (size_t i = 0; i < n; i++) {
                const size_t k = axis ? i % rank : i / 160;
                ww_chunk_own_number(type, f->integers[i], 0.001F * (float)(k + 1),
                                    f->bytes + 4 * i);
            }
            assert_memory_equal(f->bytes, f->back, 4 * n);
        }
    }
    code_factor(f, 0, 8, 1280, false);
    assert_true(decodes(f, WW_DTYPE_F32, NULL, f->coded.len, 4 * 1280));
    memcpy(f->bytes, f->back, 4 * 1280);
    refuse_others(f, WW_DTYPE_F32, NULL, 4 * 1280);
    assert_false(decodes(f, WW_DTYPE_F32, NULL, f->coded.len - 1, 4 * 1281));
    code_factor(f, 1, 8, 1280, true); /* on top of a prediction */
    assert_int_equal(ww_chunk_form_of(f->coded.data, f->coded.len), WW_CHUNK_KLT);
    assert_false(decodes(f, WW_DTYPE_F32, NULL, f->coded.len, 4 * 1280));
    make_pair(f, WW_DTYPE_F32, 1280, 0.1);
    assert_true(decodes(f, WW_DTYPE_F32, f->base, f->coded.len, 4 * 1280));
}

static void levels_are_coded_without_tables(void **state)
{
    static const struct ww_chunk_levels levels = {3, 0.0007F, {0.0008F, 0.0014F, 0.002F}};
    struct fx *f = *state;
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_BF16);
    struct ww_error err = {0};
    struct ww_buf plain;
    const size_t n = 8192;
    const struct ww_chunk_plain in = {type, f->bytes, f->base, 2 * n};
    ww_buf_init(&plain, WW_CHUNK_MAX_CODED);
    make_pair(f, WW_DTYPE_BF16, n, 5e-4);
    OK(ww_chunk_dense_encode(f->tables, &in, &levels, &plain, &err));
    OK(ww_chunk_dense_encode(f->room, &in, &levels, &f->coded, &err));
    assert_int_equal(f->coded.data[0], WW_CHUNK_ADAPTIVE);
    assert_true(f->coded.len + 100 < plain.len); /* states of lanes and tables */
    assert_true(
        ww_chunk_decode(f->room, type, plain.data, plain.len, f->base, f->bytes, 2 * n));
    assert_true(decodes(f, WW_DTYPE_BF16, f->base, f->coded.len, 2 * n));
    assert_memory_equal(f->back, f->bytes, 2 * n);
    refuse_others(f, WW_DTYPE_BF16, f->base, 2 * n);
    ww_buf_release(&plain);
}

#define ROWS 100
#define COLUMNS 128

/* A tensor that is the base and a product, and factors that are near. */
static void make_merged(struct fx *f, enum ww_dtype dtype, struct ww_rank *rank)
{
    const size_t n = (size_t)ROWS * COLUMNS;
    const float off = dtype == WW_DTYPE_F16 ? 0.0001F : 0.0008F; /* steps are finer */
    uint64_t seed = 4;
    make_pair(f, dtype, n, 0);
    for (size_t i = 0; i < ROWS * 8; i++) {
        rank->b[i] = 0.02F * (float)fx_normal(&seed);
    }
    for (size_t i = 0; i < COLUMNS * 8; i++) {
        rank->a[i] = 0.1F * (float)fx_normal(&seed);
    }
    ww_rank_predict(rank, 0, f->base, f->bytes, 2 * n);
    for (size_t i = 0; i < ROWS * 8; i++) {
        rank->b[i] *= 1 + off * (float)fx_normal(&seed);
    }
}

/* Hints say where the few numbers are that differ. */
static void hints_make_what_is_left_shorter(void **state)
{
    static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_BF16, WW_DTYPE_F16};
    struct fx *f = *state;
    const size_t n = 2 * (size_t)ROWS * COLUMNS;
    for (unsigned c = 0; c < WW_LEN(dtypes); c++) {
        const struct ww_pack_rank shape = {.rank = 8, .rows = ROWS, .product = c == 1};
        struct ww_error err = {0};
        struct ww_rank rank;
        size_t with = 0;
        OK(ww_rank_init(&rank, &shape, COLUMNS, dtypes[c], &err));
        make_merged(f, dtypes[c], &rank);
        memcpy(f->back, f->base, n);
        ww_chunk_room_hints(f->room, &rank, 0, f->back, n);
        ww_chunk_room_hints(f->tables, &rank, 0, f->back, n);
        ww_rank_predict(&rank, 0, f->base, f->base, n);
        assert_true(memcmp(f->bytes, f->base, n) != 0);
        round_trip(f, dtypes[c], f->base, n);
        assert_int_equal(f->coded.data[1], WW_ADAPTIVE_IS | WW_ADAPTIVE_NEAR);
        refuse_others(f, dtypes[c], f->base, n);
        ww_chunk_room_hints(f->tables, NULL, 0, NULL, 0);
        assert_false(decodes(f, dtypes[c], f->base, f->coded.len, n));
        with = f->coded.len;
        ww_chunk_room_hints(f->room, NULL, 0, NULL, 0);
        round_trip(f, dtypes[c], f->base, n);
        assert_true(with * 9 < f->coded.len * 8);
        ww_rank_release(&rank);
    }
}

/* What came before comes again, also where it overlaps with itself. */
static void texts_that_repeat_are_shorter(void **state)
{
    static const size_t periods[] = {1, 3, 4, 5, 40, 500};
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_U8);
    struct fx *f = *state;
    uint64_t seed = 9;
    for (size_t p = 0; p < WW_LEN(periods); p++) {
        for (size_t i = 0; i < 2000; i++) {
            f->bytes[i] =
                i < periods[p] ? (uint8_t)fx_random(&seed) : f->bytes[i - periods[p]];
        }
        for (size_t n = 0; n < 10; n++) {
            round_trip(f, WW_DTYPE_U8, NULL, n);
        }
        round_trip(f, WW_DTYPE_U8, NULL, 2000);
        assert_true(periods[p] < 4 || f->coded.data[1] == 33);
        assert_true(f->coded.len < periods[p] * 5 / 4 + 60);
        for (size_t len = 0; len < f->coded.len; len++) {
            assert_false(
                ww_chunk_decode(f->room, type, f->coded.data, len, NULL, f->back, 2000));
        }
    }
}

static void tables_of_members_are_coded(void **state)
{
    static const char text[] = "{\"schema\":\"weightward.package-member/2\",\"salt\":\""
                               "000000000000000000000000000000000000000000000000000000000"
                               "0000000\",\"files\":[]}";
    struct ww_pack_table t;
    struct ww_buf plain;
    struct ww_buf coded;
    struct ww_error err = {0};
    (void)state;
    ww_buf_init(&plain, 1 << 20);
    ww_buf_init(&coded, 1 << 20);
    OK(ww_buf_add(&plain, text, sizeof(text) - 1, &err));
    OK(ww_pack_text_code(&plain, &coded, &err));
    assert_true(coded.len < plain.len && coded.data[0] == 0);
    OK(ww_pack_table_open(coded.data, coded.len, 0, "m", &t, &err));
    assert_int_equal(t.n_files, 0);
    ww_pack_table_release(&t);
    OK(ww_pack_table_open(plain.data, plain.len, 0, "m", &t, &err));
    ww_pack_table_release(&t);
    for (size_t len = 1; len < coded.len; len++) {
        FAILS(ww_pack_table_open(coded.data, len, 0, "m", &t, &err), WW_E_MALFORMED);
    }
    for (size_t at = 1; at < 8; at++) { /* length and form */
        coded.data[at] ^= 1;
        FAILS(ww_pack_table_open(coded.data, coded.len, 0, "m", &t, &err),
              WW_E_MALFORMED);
        coded.data[at] ^= 1;
    }
    ww_buf_release(&plain);
    ww_buf_release(&coded);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(small_pairs_are_shorter_without_tables),
        TEST(any_numbers_come_back),
        TEST(many_numbers_have_tables),
        TEST(text_is_coded_by_the_byte_before),
        TEST(factors_share_what_is_learnt),
        TEST(levels_are_coded_without_tables),
        TEST(hints_make_what_is_left_shorter),
        TEST(texts_that_repeat_are_shorter),
        TEST(tables_of_members_are_coded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
