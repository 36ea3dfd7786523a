/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks come back bit for bit, whatever the bits are; bytes that no encoder wrote are
 * refused; sizes are where the entropy says. */
#include "ww_test.h"

#include "model/recode.h"
#include "rmm/chunk.h"
#include "util/fail.h"
#include "ww_random.h"

static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32,
                                       WW_DTYPE_F64,  WW_DTYPE_U8,  WW_DTYPE_I64,
                                       WW_DTYPE_I16,  WW_DTYPE_F4};

struct fx {
    struct ww_chunk_room *room;
    struct ww_buf coded;
    uint8_t *bytes;
    uint8_t *base;
    uint8_t *back;
};

static int set_up(void **state)
{
    struct fx *f = calloc(1, sizeof(*f));
    struct ww_error err = {0};
    assert_non_null(f);
    OK(ww_chunk_room_new(&f->room, &err));
    ww_buf_init(&f->coded, WW_CHUNK_MAX_CODED);
    f->bytes = calloc(1, WW_CHUNK_BYTES);
    f->base = calloc(1, WW_CHUNK_BYTES);
    f->back = calloc(1, WW_CHUNK_BYTES);
    assert_true(f->bytes && f->base && f->back);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fx *f = *state;
    ww_chunk_room_free(f->room);
    ww_buf_release(&f->coded);
    free(f->bytes);
    free(f->base);
    free(f->back);
    free(f);
    return 0;
}

/* Code and decode n bytes; the form that was chosen. */
static unsigned round_trip(struct fx *f, enum ww_dtype dtype, bool predicted, size_t n)
{
    const struct ww_chunk_type type = ww_chunk_type_of(dtype);
    const uint8_t *base = predicted ? f->base : NULL;
    struct ww_error err = {0};
    ww_buf_clear(&f->coded);
    OK(ww_chunk_encode(f->room, &(struct ww_chunk_plain){type, f->bytes, base, n},
                       &f->coded, &err));
    assert_true(f->coded.len <= n + 1);
    memset(f->back, 0xa5, n);
    assert_true(
        ww_chunk_decode(f->room, type, f->coded.data, f->coded.len, base, f->back, n));
    assert_memory_equal(f->back, f->bytes, n);
    return f->coded.data[0];
}

static void make_pair(struct fx *f, size_t n, double delta)
{
    uint64_t seed = 7;
    for (size_t i = 0; i < n; i++) {
        const uint16_t b = fx_to_bf16(0.02F * (float)fx_normal(&seed));
        const uint32_t wide = (uint32_t)b << 16;
        float w = 0;
        memcpy(&w, &wide, 4); /* tuning starts from the stored number */
        const uint16_t m = fx_to_bf16(w + (float)delta * (float)fx_normal(&seed));
        memcpy(f->base + 2 * i, &b, 2);
        memcpy(f->bytes + 2 * i, &m, 2);
    }
}

static void odd_lengths_come_back(void **state)
{
    struct fx *f = *state;
    uint64_t seed = 1;
    fx_fill(&seed, f->bytes, 4096);
    fx_fill(&seed, f->base, 4096);
    for (size_t d = 0; d < WW_LEN(dtypes); d++) {
        const unsigned width = ww_chunk_type_of(dtypes[d]).width;
        for (size_t n = 0; n < 14; n++) {
            (void)round_trip(f, dtypes[d], true, n * width);
            (void)round_trip(f, dtypes[d], false, n * width);
        }
    }
}

/* Every pattern against a base that is far from it: -0, infinities, NaN payloads and
 * subnormals are among them. */
static void every_16_bit_pattern_comes_back(void **state)
{
    struct fx *f = *state;
    for (unsigned shift = 0; shift < 3; shift++) {
        for (unsigned i = 0; i < 65536; i++) {
            const uint16_t b = (uint16_t)i;
            const uint16_t p = (uint16_t)(shift == 2 ? 0x3c00 : i * 7 + shift * 12345);
            memcpy(f->bytes + 2 * (size_t)i, &b, 2);
            memcpy(f->base + 2 * (size_t)i, &p, 2);
        }
        (void)round_trip(f, WW_DTYPE_BF16, true, 131072);
        (void)round_trip(f, WW_DTYPE_F16, true, 131072);
        (void)round_trip(f, WW_DTYPE_BF16, false, 131072);
        (void)round_trip(f, WW_DTYPE_F16, false, 131072);
    }
}

static void special_32_bit_numbers_come_back(void **state)
{
    static const uint32_t special[] = {0,          0x80000000, 0x7f800000, 0xff800000,
                                       0x7fc00000, 0x7f800001, 0xffffffff, 1,
                                       0x807fffff, 0x00800000, 0x3f800000, 0x7f7fffff};
    struct fx *f = *state;
    size_t n = 0;
    for (size_t a = 0; a < WW_LEN(special); a++) {
        for (size_t b = 0; b < WW_LEN(special); b++, n += 4) {
            memcpy(f->bytes + n, &special[a], 4);
            memcpy(f->base + n, &special[b], 4);
        }
    }
    /* Many equal ones around them, so that the form order pays. */
    for (size_t i = 0; i < 4000; i++, n += 4) {
        memcpy(f->bytes + n, &special[10], 4);
        memcpy(f->base + n, &special[10], 4);
    }
    assert_int_equal(round_trip(f, WW_DTYPE_F32, true, n), WW_CHUNK_ORDER);
}

static void random_bits_are_stored(void **state)
{
    struct fx *f = *state;
    uint64_t seed = 3;
    fx_fill(&seed, f->bytes, WW_CHUNK_BYTES);
    fx_fill(&seed, f->base, WW_CHUNK_BYTES);
    for (size_t d = 0; d < WW_LEN(dtypes); d++) {
        assert_int_equal(round_trip(f, dtypes[d], true, 65536), WW_CHUNK_STORED);
    }
    assert_int_equal(round_trip(f, WW_DTYPE_F32, true, WW_CHUNK_BYTES), WW_CHUNK_STORED);
}

static void equal_bytes_cost_one(void **state)
{
    struct fx *f = *state;
    uint64_t seed = 4;
    fx_fill(&seed, f->bytes, 1000);
    memcpy(f->base, f->bytes, 1000);
    assert_int_equal(round_trip(f, WW_DTYPE_BF16, true, 1000), WW_CHUNK_SAME);
    assert_int_equal(f->coded.len, 1);
    /* One value everywhere costs tables only, without a prediction too. */
    memset(f->bytes, 0x3c, 100000);
    assert_int_equal(round_trip(f, WW_DTYPE_U8, false, 100000), WW_CHUNK_FEW);
    assert_int_equal(f->coded.len, 3);
    /* The same step everywhere. */
    for (size_t i = 0; i < 50000; i++) {
        const uint16_t b = (uint16_t)(0x3f00 + i % 100);
        const uint16_t m = (uint16_t)(b + 1);
        memcpy(f->base + 2 * i, &b, 2);
        memcpy(f->bytes + 2 * i, &m, 2);
    }
    assert_int_equal(round_trip(f, WW_DTYPE_BF16, true, 100000), WW_CHUNK_ORDER);
    assert_true(f->coded.len < 200); /* 32 states and a table */
}

/* The reference table: bf16, weights of sd 0.02, differences of sd 1e-5 to 2e-3: ideal
 * sizes are 3.2, 18.2, 32.7 and 46.2 percent, 66 without a base. */
static void sizes_are_near_the_entropy(void **state)
{
    static const struct {
        double delta;
        double most;
    } rows[] = {{1e-5, 0.034}, {1e-4, 0.186}, {5e-4, 0.333}, {2e-3, 0.478}};
    struct fx *f = *state;
    const size_t n = WW_CHUNK_BYTES / 2;
    for (size_t r = 0; r < WW_LEN(rows); r++) {
        make_pair(f, n, rows[r].delta);
        assert_int_equal(round_trip(f, WW_DTYPE_BF16, true, 2 * n), WW_CHUNK_ORDER);
        const double share = (double)f->coded.len / (2.0 * (double)n);
        if (share > rows[r].most || share < 0.9 * rows[r].most) {
            fail_msg("delta %g: %.4f of the bytes", rows[r].delta, share);
        }
    }
    assert_int_equal(round_trip(f, WW_DTYPE_BF16, false, 2 * n), WW_CHUNK_SPLIT);
    assert_true((double)f->coded.len < 0.67 * 2.0 * (double)n);
}

static void a_bad_prediction_is_not_used(void **state)
{
    struct fx *f = *state;
    uint64_t seed = 11;
    make_pair(f, 50000, 1e-4);
    fx_fill(&seed, f->base, 100000);
    assert_int_equal(round_trip(f, WW_DTYPE_BF16, true, 100000), WW_CHUNK_SPLIT);
}

/* A flipped bit either is refused or decodes to something, within bounds: it is digests
 * that tell. A cut or longer message is always refused. */
static void cut_and_longer_chunks_are_refused(void **state)
{
    struct fx *f = *state;
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_BF16);
    const size_t n = 4000;
    struct ww_error err = {0};
    unsigned refused = 0;
    make_pair(f, n / 2, 5e-4);
    for (unsigned predicted = 0; predicted < 2; predicted++) {
        const uint8_t *base = predicted ? f->base : NULL;
        (void)round_trip(f, WW_DTYPE_BF16, predicted, n);
        for (size_t len = 0; len < f->coded.len; len++) {
            assert_false(
                ww_chunk_decode(f->room, type, f->coded.data, len, base, f->back, n));
        }
        for (size_t bit = 0; bit < 8 * f->coded.len; bit++) {
            f->coded.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            refused += !ww_chunk_decode(f->room, type, f->coded.data, f->coded.len, base,
                                        f->back, n);
            f->coded.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_false(ww_chunk_decode(f->room, type, f->coded.data, f->coded.len, base,
                                     f->back, n - 2));
        assert_false(ww_chunk_decode(f->room, type, f->coded.data, f->coded.len, base,
                                     f->back, n + 2));
        f->coded.max++;
        OK(ww_buf_add(&f->coded, "", 1, &err));
        assert_false(ww_chunk_decode(f->room, type, f->coded.data, f->coded.len, base,
                                     f->back, n));
    }
    assert_true(refused > 1000);
}

static void forms_without_their_prediction_are_refused(void **state)
{
    struct fx *f = *state;
    static const uint8_t same[] = {WW_CHUNK_SAME};
    static const uint8_t form_4[] = {WW_CHUNK_FORMS};
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_BF16);
    const struct ww_chunk_type whole = ww_chunk_type_of(WW_DTYPE_I16);
    assert_false(ww_chunk_decode(f->room, type, same, 1, NULL, f->back, 8));
    assert_false(ww_chunk_decode(f->room, type, form_4, 1, f->base, f->back, 8));
    make_pair(f, 1000, 1e-4);
    assert_int_equal(round_trip(f, WW_DTYPE_BF16, true, 2000), WW_CHUNK_ORDER);
    assert_false(
        ww_chunk_decode(f->room, type, f->coded.data, f->coded.len, NULL, f->back, 2000));
    assert_false(ww_chunk_decode(f->room, whole, f->coded.data, f->coded.len, f->base,
                                 f->back, 2000));
    /* Another base: another largest exponent, or other contexts. */
    memset(f->base, 0, 2000);
    assert_false(ww_chunk_decode(f->room, type, f->coded.data, f->coded.len, f->base,
                                 f->back, 2000));
}

/* n numbers of the dtype out of `values` different ones, all of which occur. */
static void make_few(struct fx *f, unsigned width, unsigned values, size_t n)
{
    uint64_t seed = values;
    uint8_t table[32 * 8];
    fx_fill(&seed, table, sizeof(table));
    for (unsigned v = 0; v < values; v++) {
        table[v * width] = (uint8_t)v; /* different in one byte at least */
    }
    for (size_t i = 0; i < n; i++) {
        const size_t v = i < values ? i : (size_t)(fx_random(&seed) % values);
        memcpy(f->bytes + i * width, table + v * width, width);
    }
}

static void few_values_cost_their_bits(void **state)
{
    static const struct {
        unsigned values;
        unsigned bits;
    } rows[] = {{2, 1}, {3, 2}, {4, 2}, {5, 4}, {16, 4}};
    struct fx *f = *state;
    const size_t n = 4321;
    for (size_t d = 0; d < WW_LEN(dtypes); d++) {
        const unsigned width = ww_chunk_type_of(dtypes[d]).width;
        for (size_t r = 0; r < WW_LEN(rows) && width > 1; r++) {
            const size_t want = 2 + rows[r].values * width + (n * rows[r].bits + 7) / 8;
            make_few(f, width, rows[r].values, n);
            (void)round_trip(f, dtypes[d], false, n * width);
            assert_true(f->coded.len <= want);
            if (rows[r].values == 2) {
                assert_int_equal(f->coded.data[0], WW_CHUNK_FEW);
                assert_int_equal(f->coded.len, want);
            }
        }
        make_few(f, width, 17, n);
        assert_int_not_equal(round_trip(f, dtypes[d], false, n * width), WW_CHUNK_FEW);
    }
}

/* One way to write a chunk: values in order, all of them used, zeros at the end. */
static void other_ways_to_write_few_values_are_refused(void **state)
{
    static const struct {
        const char *coded;
        size_t len;
        bool good;
    } cases[] = {
        {"\5\2\1\7\5", 5, true},     /* 1 7: 7 1 7 */
        {"\5\2\7\1\5", 5, false},    /* not ascending */
        {"\5\2\1\1\5", 5, false},    /* twice the same */
        {"\5\2\1\7\15", 5, false},   /* a bit behind the end */
        {"\5\2\1\7\0", 5, false},    /* 7 is not used */
        {"\5\2\1\7\5\0", 6, false},  /* longer */
        {"\5\2\1\7", 4, false},      /* cut */
        {"\5\0\5", 3, false},        /* no value */
        {"\5\3\1\2\7\44", 6, true},  /* 1 2 7 */
        {"\5\3\1\2\7\64", 6, false}, /* the fourth of three */
        {"\5", 1, false},
    };
    struct fx *f = *state;
    const struct ww_chunk_type type = ww_chunk_type_of(WW_DTYPE_U8);
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        assert_true(ww_chunk_decode(f->room, type, (const uint8_t *)cases[i].coded,
                                    cases[i].len, NULL, f->back, 3) == cases[i].good);
    }
}

/* n numbers and their base of a dtype become those of F32, in place. */
static void widen_pair(struct fx *f, enum ww_dtype from, size_t n)
{
    uint8_t *const both[] = {f->bytes, f->base};
    for (size_t i = 0; i < WW_LEN(both); i++) {
        memcpy(f->back, both[i], 2 * n);
        ww_recode(from, WW_DTYPE_F32, f->back, both[i], n);
    }
}

/* Two bytes more than what they were before, with a prediction and without. */
static void numbers_stored_wider_cost_what_they_are(void **state)
{
    static const enum ww_dtype kinds[] = {WW_DTYPE_BF16, WW_DTYPE_F16};
    struct fx *f = *state;
    const size_t sizes[] = {100, 5000, WW_CHUNK_BYTES / 4};
    for (size_t k = 0; k < WW_LEN(kinds) * WW_LEN(sizes) * 2; k++) {
        const enum ww_dtype kind = kinds[k % 2];
        const size_t n = sizes[k / 2 % 3];
        const bool predicted = k >= 6;
        make_pair(f, n, 1e-4);
        if (kind == WW_DTYPE_F16) { /* not numbers of the other one as well */
            f->bytes[0] = 1;
            f->bytes[1] = 0x3c;
        }
        const unsigned form = round_trip(f, kind, predicted, 2 * n);
        const size_t len = f->coded.len;
        widen_pair(f, kind, n);
        assert_int_equal(round_trip(f, WW_DTYPE_F32, predicted, 4 * n), WW_CHUNK_NARROW);
        assert_int_equal(f->coded.data[1], k % 2);
        assert_int_equal(f->coded.len, len + 2);
        assert_int_equal(f->coded.data[2], form);
        assert_int_equal(ww_chunk_form_of(f->coded.data, f->coded.len),
                         form == WW_CHUNK_ADAPTIVE ? f->coded.data[4] : form);
        /* A prediction that is no number of that dtype is rounded to it. */
        f->base[0] ^= 1;
        assert_int_equal(round_trip(f, WW_DTYPE_F32, true, 4 * n), WW_CHUNK_NARROW);
        f->bytes[4] ^= 1; /* one number that is not: all as they stand */
        assert_int_not_equal(round_trip(f, WW_DTYPE_F32, predicted, 4 * n),
                             WW_CHUNK_NARROW);
    }
    /* Few numbers, and none, have forms that are known longer. */
    make_few(f, 4, 2, 100);
    assert_int_equal(round_trip(f, WW_DTYPE_F32, false, 400), WW_CHUNK_FEW);
    assert_int_equal(round_trip(f, WW_DTYPE_F32, false, 0), WW_CHUNK_STORED);
}

/* BF16 in F16: what is too small for all of its bits there has fewer, and comes back. */
static void numbers_of_bf16_in_f16_cost_what_they_are(void **state)
{
    struct fx *f = *state;
    const size_t sizes[] = {100, 1000, WW_CHUNK_BYTES / 2};
    for (size_t k = 0; k < 2 * WW_LEN(sizes); k++) {
        const size_t n = sizes[k / 2];
        const bool predicted = k % 2;
        make_pair(f, n, 1e-4);
        for (size_t i = 0; i < 10; i++) {
            f->bytes[2 * i + 1] = (uint8_t)(0x32 + 3 * i); /* 1e-8 to infinity */
        }
        for (unsigned step = 0; step < 2; step++) {
            const enum ww_dtype to = step ? WW_DTYPE_BF16 : WW_DTYPE_F16;
            const enum ww_dtype from = step ? WW_DTYPE_F16 : WW_DTYPE_BF16;
            ww_recode(from, to, f->bytes, f->bytes, n);
            ww_recode(from, to, f->base, f->base, n);
        }
        const unsigned form = round_trip(f, WW_DTYPE_BF16, predicted, 2 * n);
        const size_t len = f->coded.len;
        ww_recode(WW_DTYPE_BF16, WW_DTYPE_F16, f->bytes, f->bytes, n);
        ww_recode(WW_DTYPE_BF16, WW_DTYPE_F16, f->base, f->base, n);
        const unsigned got = round_trip(f, WW_DTYPE_F16, predicted, 2 * n);
        if (form == WW_CHUNK_STORED) { /* which is as short as it stands */
            assert_int_equal(n, sizes[0]);
            assert_int_equal(got, WW_CHUNK_STORED);
        } else {
            assert_int_equal(got, WW_CHUNK_NARROW);
            assert_int_equal(f->coded.len, len + 2);
            assert_int_equal(f->coded.data[2], form);
        }
        f->base[0] ^= 1; /* no number of BF16 */
        assert_true(round_trip(f, WW_DTYPE_F16, true, 2 * n) == WW_CHUNK_NARROW ||
                    n == sizes[0]);
        f->bytes[198] = 1; /* one number that is not: all as they stand */
        f->bytes[199] = 0x3c;
        assert_int_not_equal(round_trip(f, WW_DTYPE_F16, predicted, 2 * n),
                             WW_CHUNK_NARROW);
    }
}

static void other_ways_to_write_narrow_chunks_are_refused(void **state)
{
    static const struct {
        enum ww_dtype dtype;
        const char *coded;
        size_t len;
        bool good;
    } cases[] = {
        {WW_DTYPE_F32, "\21\0\0\200\77", 5, true},       /* stored, 1.0 */
        {WW_DTYPE_F32, "\21\1\0\0\74", 5, true},         /* the same of F16 */
        {WW_DTYPE_F32, "\21\2\0\0\74", 5, false},        /* of what? */
        {WW_DTYPE_F32, "\21", 1, false},                 /* cut */
        {WW_DTYPE_F32, "\21\0", 2, false},               /* cut */
        {WW_DTYPE_F32, "\21\0\0\200", 4, false},         /* too short */
        {WW_DTYPE_F32, "\21\0\0\200\77\0", 6, false},    /* too long */
        {WW_DTYPE_F32, "\21\0\21\0\0\77", 6, false},     /* narrow twice */
        {WW_DTYPE_F32, "\20\1\21\0\0\77", 6, false},     /* in the form adaptive */
        {WW_DTYPE_F32, "\21\0\1", 3, false},             /* same as nothing */
        {WW_DTYPE_F32, "\21\1\21\0\0\200\77", 7, false}, /* the same of F16 */
        {WW_DTYPE_F16, "\21\1\0\0\74", 5, false},        /* F16 of F16 */
        {WW_DTYPE_I32, "\21\0\0\200\77", 5, false},      /* no float */
        {WW_DTYPE_F64, "\21\0\0\200\77\0\0", 7, false},
        {WW_DTYPE_BF16, "\21\0\0\200\77", 5, false},
    };
    struct fx *f = *state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        const struct ww_chunk_type type = ww_chunk_type_of(cases[i].dtype);
        const bool got = ww_chunk_decode(f->room, type, (const uint8_t *)cases[i].coded,
                                         cases[i].len, NULL, f->back, type.width);
        if (got != cases[i].good) {
            fail_msg("case %zu", i);
        }
        assert_true(!got || memcmp(f->back, "\0\0\200\77", 4) == 0);
    }
    const struct ww_chunk_type half = ww_chunk_type_of(WW_DTYPE_F16);
    const uint8_t one[] = {WW_CHUNK_NARROW, 0, WW_CHUNK_STORED, 0x80, 0x3f};
    assert_true(ww_chunk_decode(f->room, half, one, sizeof(one), NULL, f->back, 2));
    assert_memory_equal(f->back, "\0\74", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(odd_lengths_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_16_bit_pattern_comes_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(special_32_bit_numbers_come_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(random_bits_are_stored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(equal_bytes_cost_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sizes_are_near_the_entropy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_prediction_is_not_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut_and_longer_chunks_are_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(numbers_stored_wider_cost_what_they_are, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(numbers_of_bf16_in_f16_cost_what_they_are, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(other_ways_to_write_narrow_chunks_are_refused,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(few_values_cost_their_bits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_ways_to_write_few_values_are_refused,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(forms_without_their_prediction_are_refused,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
