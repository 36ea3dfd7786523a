/* SPDX-License-Identifier: Apache-2.0 */
/* Exact cuts against a sort, over tiles in any order. */
#include "ww_test.h"

#include <math.h>

#include "merge/bracket.h"
#include "merge/kept.h"
#include "merge/mask.h"
#include "merge/pick.h"
#include "merge/rowrank.h"
#include "merge/rowsettle.h"
#include "merge/select.h"
#include "merge/stored.h"
#include "merge/stored_pick.h"
#include "util/fail.h"
#include "util/fault.h"
#include "ww_random.h"

#define N 10000
#define TILE 999

struct sorted {
    uint64_t key;
    uint32_t index;
};

static int descending(const void *a, const void *b)
{
    const struct sorted *x = a;
    const struct sorted *y = b;
    if (x->key != y->key) {
        return x->key > y->key ? -1 : 1;
    }
    return x->index > y->index ? 1 : -1;
}

static void run(struct ww_select *s, struct ww_merge_job *job, const uint64_t *keys)
{
    struct ww_error err = {0};
    bool again = true;
    while (again) {
        for (uint64_t t = job->n_tiles; t-- > 0;) {
            void *acc = calloc(1, job->acc_bytes);
            uint64_t first = t * TILE;
            size_t n = N - first < TILE ? N - first : TILE;
            for (size_t at = 0; at < n; at += 100) {
                ww_select_scan(s, 0, keys + first + at, n - at < 100 ? n - at : 100, acc);
            }
            ww_select_fold(s, t, acc);
            free(acc);
        }
        OK(ww_select_scanned(s, job, &again, &err));
    }
}

static void above_of(const struct ww_cut *cut, const uint64_t *keys, uint8_t *above)
{
    for (uint64_t t = 0; t * TILE < N; t++) {
        uint64_t seen = 0;
        size_t n = N - t * TILE < TILE ? N - t * TILE : TILE;
        for (size_t at = 0; at < n; at += 77) {
            ww_select_above(cut, t, keys + t * TILE + at, n - at < 77 ? n - at : 77,
                            &seen, above + t * TILE + at);
        }
    }
}

static void check(uint64_t rank, bool wide, uint64_t distinct, bool all, bool none)
{
    struct ww_error err = {0};
    struct ww_merge_tensor tensor = {.name = "t"};
    struct ww_merge_job job = {
        .tensor = &tensor, .n = N, .n_tiles = (N + TILE - 1) / TILE};
    struct ww_select s;
    uint64_t seed = rank + distinct;
    uint64_t *keys = calloc(N, sizeof(*keys));
    struct sorted *order = calloc(N, sizeof(*order));
    uint8_t *above = calloc(N, 1);
    for (uint32_t i = 0; i < N; i++) {
        double v = (double)(fx_random(&seed) % distinct) / 1000 - 1;
        keys[i] = ww_key_magnitude(v, wide);
        order[i] = (struct sorted){keys[i], i};
    }
    qsort(order, N, sizeof(*order), descending);
    OK(ww_select_init(&s, &job, 1, N, wide, &err));
    s.cuts[0] = (struct ww_cut){.rank = rank, .all_ties = all, .no_ties = none};
    run(&s, &job, keys);
    above_of(&s.cuts[0], keys, above);
    for (uint64_t i = 0; i < N; i++) {
        bool want = i < rank;
        if (all && rank > 0 && rank <= N) {
            want = order[i].key >= order[rank - 1].key;
        }
        if (none && rank > 0 && rank < N && order[rank - 1].key == order[rank].key) {
            want = order[i].key > order[rank].key;
        }
        assert_int_equal(above[order[i].index], want);
    }
    ww_select_release(&s);
    free(keys);
    free(order);
    free(above);
}

static void cuts_are_those_of_a_sort(void **state)
{
    (void)state;
    const uint64_t ranks[] = {0, 1, 2, 500, 4999, N - 1, N, N + 5};
    const uint64_t distinct[] = {1, 3, 1000, UINT64_C(1) << 40};
    for (size_t r = 0; r < 8; r++) {
        for (size_t d = 0; d < 4; d++) {
            check(ranks[r], false, distinct[d], false, false);
            check(ranks[r], true, distinct[d], false, false);
            check(ranks[r], false, distinct[d], true, false);
            check(ranks[r], true, distinct[d], false, true);
        }
    }
}

static unsigned n_passes; /* of the last bracket */

/* Changes from 0 whose keys these are, as they are stored; block by block. */
static void scan_stored(const struct ww_bracket *b, const uint8_t *x, size_t n, void *acc)
{
    static const uint8_t base[2 * WW_STORED_PICK_MOST];

    for (size_t at = 0; at < n; at += WW_STORED_PICK_MOST) {
        const size_t left = n - at;
        const uint8_t *from = x + 2 * at;
        assert_true(ww_bracket_scan_stored(
            b, &from, 1, base, left < WW_STORED_PICK_MOST ? left : WW_STORED_PICK_MOST,
            acc));
    }
}

/* Passes as the engine makes them: all of a tile, or the spots that lie in it. stored:
 * the keys as changes, or NULL. */
static enum ww_err run_bracket(struct ww_bracket *b, struct ww_merge_job *job,
                               uint64_t tile, const uint32_t *keys, const uint8_t *stored)
{
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;
    bool again = true;
    for (n_passes = 0; again && !rc; n_passes++) {
        const bool sampling = n_passes == 0;
        for (uint64_t t = job->n_tiles; t-- > 0;) {
            void *acc = calloc(1, job->acc_bytes + 1);
            const uint64_t first = t * tile;
            const uint64_t end = first + tile < job->n ? first + tile : job->n;
            const uint64_t stride = job->spot_stride ? job->spot_stride : end - first;
            const uint64_t most = job->spot_stride ? job->spot_elements : end - first;
            uint64_t at =
                job->spot_stride ? (first + stride - 1) / stride * stride : first;
            for (; at < end; at += stride) {
                const uint64_t n = end - at < most ? end - at : most;
                if (stored && !sampling) {
                    scan_stored(b, stored + 2 * at, (size_t)n, acc);
                } else {
                    ww_bracket_scan(b, 0, keys + at, (size_t)n, acc);
                }
            }
            ww_bracket_fold(b, t, acc);
            free(acc);
        }
        rc = ww_bracket_scanned(b, job, &again, &err);
    }
    return rc;
}

/* Elements in spots of a sample are small or large, all others are not. */
enum misled { BY_NOTHING, BY_SMALL, BY_LARGE };
static double misleading(const struct ww_merge_job *job, uint64_t i, enum misled by)
{
    const double in_spot = by == BY_SMALL ? 1 : 1e9;
    return i % job->spot_stride < job->spot_elements ? in_spot : 1000 + (double)i;
}

/* Keys lose what BF16 does not hold. */
static void round_keys(uint64_t *wide, uint32_t *keys, uint64_t n, uint8_t *stored)
{
    for (uint64_t i = 0; i < n; i++) {
        const uint16_t bits = (uint16_t)(keys[i] >> 16 | (i % 2) << 15);
        memcpy(stored + 2 * i, &bits, sizeof(bits));
        keys[i] &= 0xffff0000U;
        wide[i] = keys[i];
    }
}

/* n keys of few or of many values; the cut is that of the histograms. */
static void check_bracket_of(uint64_t n, uint64_t distinct, double share, enum misled by,
                             bool in_bf16)
{
    struct ww_error err = {0};
    struct ww_merge_tensor tensor = {.name = "t"};
    const uint64_t tile = n > 512 ? n / 7 + 1 : n;
    struct ww_merge_job job = {
        .tensor = &tensor, .n = n, .n_tiles = (n + tile - 1) / tile};
    struct ww_select want = {0};
    struct ww_select got = {0};
    struct ww_bracket *b = NULL;
    uint64_t seed = distinct;
    uint64_t *wide = calloc(n, sizeof(*wide));
    uint32_t *keys = calloc(n, sizeof(*keys));
    uint8_t *stored = in_bf16 ? calloc(n, 2) : NULL;
    bool again = true;
    const struct ww_cut cut = {.rank = (uint64_t)(share * (double)n)};
    OK(ww_select_init(&got, &job, 1, n, false, &err));
    assert_true(n > 512 || job.acc_bytes < 2048); /* histograms are as small as that */
    got.cuts[0] = cut;
    OK(ww_bracket_new(&got, &job, &b, &err));
    for (uint64_t i = 0; i < n; i++) {
        const double v =
            by ? misleading(&job, i, by) : (double)(fx_random(&seed) % distinct);
        wide[i] = ww_key_magnitude(v * 1.25e-4, false);
        keys[i] = (uint32_t)wide[i];
    }
    if (stored) {
        round_keys(wide, keys, n, stored);
    }
    OK(run_bracket(b, &job, tile, keys, stored));
    assert_true(!job.narrow && job.spot_stride == 0);
    OK(ww_select_init(&want, &job, 1, n, false, &err));
    want.cuts[0] = cut;
    while (again) {
        for (uint64_t t = 0; t < job.n_tiles; t++) {
            void *acc = calloc(1, job.acc_bytes);
            const uint64_t first = t * tile;
            ww_select_scan(&want, 0, wide + first,
                           (size_t)(first + tile < n ? tile : n - first), acc);
            ww_select_fold(&want, t, acc);
            free(acc);
        }
        OK(ww_select_scanned(&want, &job, &again, &err));
    }
    assert_int_equal(got.cuts[0].key, want.cuts[0].key);
    assert_int_equal(got.cuts[0].take, want.cuts[0].take);
    assert_true(!got.cuts[0].before == !want.cuts[0].before);
    for (uint64_t t = 0; want.cuts[0].before && t <= job.n_tiles; t++) {
        assert_int_equal(got.cuts[0].before[t], want.cuts[0].before[t]);
    }
    ww_bracket_free(b);
    ww_select_release(&want);
    ww_select_release(&got);
    free(wide);
    free(keys);
    free(stored);
}

static void check_bracket(uint64_t n, uint64_t distinct, double share, enum misled by)
{
    check_bracket_of(n, distinct, share, by, false);
}

static void brackets_of_what_is_stored_find_the_same(void **state)
{
    (void)state;
    const double shares[] = {1e-4, 0.2, 0.5, 0.9999, 1};

    if (!ww_stored_fast()) {
        skip();
    }
    for (size_t s = 0; s < WW_LEN(shares); s++) {
        check_bracket_of(50003, 2, shares[s], BY_NOTHING, true);
        check_bracket_of(50003, 700, shares[s], BY_NOTHING, true);
        check_bracket_of(400003, 20, shares[s], BY_NOTHING, true);
        check_bracket_of(400003, UINT64_C(1) << 40, shares[s], BY_NOTHING, true);
    }
    check_bracket_of(900000, 1, 0.3, BY_SMALL, true);
    check_bracket_of(900000, 1, 0.7, BY_LARGE, true);
}

static void brackets_find_the_cuts_of_histograms(void **state)
{
    (void)state;
    const double shares[] = {0, 1e-4, 0.2, 0.5, 0.9999, 1};
    const uint64_t distinct[] = {1, 2, 700, UINT64_C(1) << 40};
    for (size_t s = 0; s < 6; s++) {
        for (size_t d = 0; d < 4; d++) {
            check_bracket(50000, distinct[d], shares[s], BY_NOTHING);
        }
    }
    /* large enough for a sample */
    /* few elements are put into order by one reading */
    for (size_t d = 0; d < WW_LEN(distinct); d++) {
        check_bracket(300, distinct[d], 0.4, BY_NOTHING);
        assert_int_equal(n_passes, 1);
        check_bracket(1, distinct[d], 1, BY_NOTHING);
        assert_int_equal(n_passes, 1);
    }
    check_bracket(900000, 900, 0.5, BY_NOTHING);
    check_bracket(900000, 900, 0.01, BY_NOTHING);
    assert_int_equal(n_passes, 2); /* the sample, then one reading: both ends are near */
    check_bracket(900000, UINT64_C(1) << 40, 0.3, BY_NOTHING);
    check_bracket(900000, UINT64_C(1) << 40, 1e-5, BY_NOTHING);
    check_bracket(900000, 1, 0.3, BY_SMALL);
    check_bracket(900000, 1, 0.7, BY_LARGE);
}

/* Two cuts of N keys, the n-th allocation failing. */
static enum ww_err cut_twice(const uint32_t *keys, unsigned long n, struct ww_select *out)
{
    struct ww_error err = {0};
    struct ww_merge_tensor tensor = {.name = "t"};
    struct ww_merge_job job = {
        .tensor = &tensor, .n = N, .n_tiles = (N + TILE - 1) / TILE};
    struct ww_bracket *b = NULL;
    enum ww_err rc = WW_OK;
    OK(ww_select_init(out, &job, 2, N, false, &err));
    out->cuts[0] = (struct ww_cut){.rank = N / 5};
    out->cuts[1] = (struct ww_cut){.rank = N / 2};
    ww_fault_arm(WW_FAULT_ALLOC, n);
    rc = ww_bracket_new(out, &job, &b, &err);
    rc = rc ? rc : run_bracket(b, &job, TILE, keys, NULL);
    ww_fault_arm(WW_FAULT_ALLOC, 0);
    ww_bracket_free(b);
    return rc;
}

static void memory_that_is_out_is_told_or_costs_a_pass(void **state)
{
    static uint32_t keys[N];
    struct ww_select want;
    uint64_t seed = 21;
    unsigned told = 0;
    unsigned passed = 0;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        keys[i] = 0x3a000000 + (uint32_t)(fx_random(&seed) % 300) * 0x10000;
    }
    assert_int_equal(cut_twice(keys, 0, &want), WW_OK);
    assert_true(want.cuts[0].before && want.cuts[1].before);
    for (unsigned long n = 1; n == 1 || ww_fault_seen(WW_FAULT_ALLOC) >= n - 1; n++) {
        struct ww_select got;
        const enum ww_err rc = cut_twice(keys, n, &got);
        told += rc == WW_E_NOMEM;
        passed += rc == WW_OK;
        assert_true(rc == WW_E_NOMEM || rc == WW_OK);
        for (size_t c = 0; c < 2 && !rc; c++) {
            assert_int_equal(got.cuts[c].key, want.cuts[c].key);
            assert_int_equal(got.cuts[c].take, want.cuts[c].take);
            assert_memory_equal(got.cuts[c].before, want.cuts[c].before,
                                (N / TILE + 2) * sizeof(*want.cuts[c].before));
        }
        ww_select_release(&got);
    }
    /* One is the last, where nothing fails; a list of filled bins may lack memory. */
    assert_true(told > 5 && passed > 2);
    ww_select_release(&want);
}

static void picking_by_vectors_is_picking_one_by_one(void **state)
{
    (void)state;
    uint64_t seed = 5;
    uint32_t keys[300];
    uint32_t got[300 + WW_PICK_SLACK];
    uint32_t want[300 + WW_PICK_SLACK];
    const uint32_t lows[] = {0, 1000, 0x7ffffff0, 0x40000000};
    if (!ww_pick_fast()) {
        skip();
    }
    for (size_t n = 0; n <= 300; n += 1 + n / 7) {
        for (size_t k = 0; k < 16; k++) {
            const uint32_t low = lows[k / 4];
            const uint32_t span = (k % 4) * ((0x7fffffff - low) / 3);
            uint64_t larger[2] = {3, 3};
            for (size_t i = 0; i < n; i++) {
                keys[i] = (uint32_t)fx_random(&seed) & (i % 3 ? 0x7fffffff : 0x7ff);
            }
            const size_t m = ww_pick_x86(keys, n, low, span, got, &larger[0]);
            assert_int_equal(m, ww_pick_plain(keys, n, low, span, want, &larger[1]));
            assert_memory_equal(got, want, m * sizeof(*got));
            assert_int_equal(larger[0], larger[1]);
        }
    }
}

static void the_least_of_a_key_has_it_and_what_is_below_has_not(void **state)
{
    (void)state;
    static const uint32_t ends[] = {1, 2, 3, 0x7fffff, 0x800000, 0x800001, 0x7f7fffff};
    uint64_t seed = 6;

    assert_true(ww_key_least(0) == 0 && isinf(ww_key_least(0x7f800001)) &&
                isinf(ww_key_least(UINT64_MAX)));
    assert_true(ww_key_magnitude(ww_key_least(0x7f800000), false) == 0x7f800000);
    for (size_t i = 0; i < 2000; i++) {
        const uint32_t key =
            i < WW_LEN(ends) ? ends[i] : (uint32_t)(1 + fx_random(&seed) % 0x7f7fffff);
        const double least = ww_key_least(key);
        assert_true(ww_key_magnitude(least, false) >= key);
        assert_true(ww_key_magnitude(nextafter(least, 0), false) < key);
    }
}

/* How many have the cut's key before each tile. */
static void count_tiles(struct ww_cut *cut, const uint64_t *keys, size_t n, size_t tile)
{
    for (size_t i = 0; i < n; i++) {
        cut->before[i / tile + 1] += keys[i] == cut->key;
    }
    for (size_t t = 0; t < (n + tile - 1) / tile; t++) {
        cut->before[t + 1] += cut->before[t];
    }
}

/* Two cuts over few values, with equal ones on both sides of each, in one tile or in
 * some: what is kept by the range, or where there is none by bytes, is what the cuts say
 * one by one. */
static void ranges_keep_what_cuts_say(void **state)
{
    (void)state;
    enum { BLOCK = 77, LAST = N - N % BLOCK, IN_TILE = 9 * BLOCK };
    static uint64_t before[2][N / IN_TILE + 2];
    struct ww_cut cuts[2] = {{.take = 0}, {.take = 0}};
    uint64_t seed = 12;
    static double x[N], want[N];
    static uint64_t keys[N];
    static uint8_t above[2][N];

    for (unsigned round = 0; round < 30; round++) {
        const uint64_t takes[] = {0, 1, 400, 3000, UINT64_MAX};
        uint64_t seen[2] = {0, 0};
        uint64_t seen_by_key[2] = {0, 0};
        unsigned n_ranges = 0;
        for (size_t i = 0; i < N; i++) {
            x[i] = (double)(fx_random(&seed) % 9) * 0x1p-9 - 0x1p-7;
            keys[i] = ww_key_magnitude(x[i], false);
        }
        for (unsigned c = 0; c < 2; c++) {
            cuts[c].take = takes[(round + c * (round / 5)) % WW_LEN(takes)];
            cuts[c].key = ww_key_magnitude((double)(1 + 2 * c) * 0x1p-9, false);
            cuts[c].before = round % 2 ? before[c] : NULL;
            if (cuts[c].before) {
                memset(before[c], 0, sizeof(before[c]));
                count_tiles(&cuts[c], keys, LAST, IN_TILE);
            }
        }
        for (size_t at = 0; at < LAST; at += BLOCK) {
            const uint64_t tile = round % 2 ? at / IN_TILE : 0;
            double range[2];
            for (unsigned c = 0; c < 2; c++) {
                if (round % 2 && at % IN_TILE == 0) {
                    seen[c] = seen_by_key[c] = 0;
                }
                ww_select_above(&cuts[c], tile, keys + at, BLOCK, &seen_by_key[c],
                                above[c] + at);
            }
            for (size_t i = at; i < at + BLOCK; i++) {
                above[0][i] &= !above[1][i];
                want[i] = above[0][i] ? x[i] * 3 * 0.7 : 0;
            }
            if (ww_select_range(cuts, 2, tile, x + at, BLOCK, seen, range)) {
                n_ranges++;
                ww_keep_range(x + at, range, 3, 0.7, BLOCK);
            } else {
                uint8_t one[2][BLOCK];
                for (unsigned c = 0; c < 2; c++) {
                    ww_select_above(&cuts[c], tile, keys + at, BLOCK, &seen[c], one[c]);
                }
                for (size_t i = 0; i < BLOCK; i++) {
                    one[0][i] &= !one[1][i];
                }
                ww_keep_bytes(x + at, one[0], 3, 0.7, BLOCK);
            }
        }
        assert_memory_equal(x, want, LAST * sizeof(*x));
        assert_true(n_ranges > LAST / BLOCK * 3 / 4); /* all but those about a cut */
    }
}

static void bits_keep_what_bytes_keep(void **state)
{
    (void)state;
    uint64_t seed = 13;
    double x[100], y[100];
    uint8_t keep[100], bits[13];

    for (size_t n = 0; n <= WW_LEN(x); n += 4) {
        for (size_t i = 0; i < n; i++) {
            keep[i] = fx_random(&seed) % 2;
            x[i] = y[i] = (double)(fx_random(&seed) % 1000) - 500;
        }
        ww_mask_pack(keep, n, bits);
        ww_keep_bytes(x, keep, 1.5, -0.3, n);
        ww_keep_bits(y, bits, 1.5, -0.3, n);
        assert_memory_equal(x, y, n * sizeof(*x));
    }
}

static void signed_keys_sort_and_come_back(void **state)
{
    (void)state;
    const double values[] = {-3e38, -1, -1e-40, 0, 1e-40, 0.25, 7, 3e38};
    for (size_t i = 0; i < 8; i++) {
        assert_true(ww_key_signed_value(ww_key_signed(values[i])) ==
                    (double)(float)values[i]);
        assert_true(i == 0 || ww_key_signed(values[i - 1]) < ww_key_signed(values[i]));
    }
}

static void row_ranks_are_those_of_a_sort(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (size_t n = 1; n < 3000; n = n * 2 + 1) {
        uint32_t *keys = calloc(n, sizeof(*keys));
        double *rank = calloc(n, sizeof(*rank));
        double *mean = calloc(n, sizeof(*mean));
        void *scratch = calloc(1, WW_ROW_RANK_SCRATCH(n));
        for (size_t i = 0; i < n; i++) {
            keys[i] = (uint32_t)(fx_random(&seed) % (n / 2 + 1) * 1000003 & 0x7fffffff);
        }
        ww_row_rank(keys, n, false, scratch, rank);
        ww_row_rank(keys, n, true, scratch, mean);
        for (size_t i = 0; i < n; i++) {
            size_t smaller = 0, before = 0, equal = 0;
            for (size_t k = 0; k < n; k++) {
                smaller += keys[k] < keys[i];
                equal += keys[k] == keys[i];
                before += keys[k] == keys[i] && k < i;
            }
            assert_true(rank[i] == (double)(smaller + before));
            assert_true(mean[i] == (double)smaller + (double)(equal - 1) / 2);
        }
        free(keys);
        free(rank);
        free(mean);
        free(scratch);
    }
}

/* Keys of one value, of few, of many, of many octaves, and as differences of 16-bit
 * floats have them: small whole numbers of some units, zeros, and a few others; the same
 * with most of them zeros. */
#define KINDS 6
static uint32_t key_like(uint64_t *seed, unsigned kind)
{
    const uint32_t r = (uint32_t)fx_random(seed);
    const double unit = r & 0x100 ? 0x1p-13 : r & 0x200 ? 0x1p-14 : 0x1.37p-17;
    const uint32_t by_kind[KINDS] = {
        5,
        r % 3 << 20,
        0x3a000000 + r % 5000 * 1000,
        r & 0x7fffffff,
        (uint32_t)ww_key_magnitude(unit * (double)(r % 16), false),
        r % 7 ? 0 : (uint32_t)ww_key_magnitude(unit * (double)(r % 5), false)};
    return by_kind[kind];
}

static void a_row_keeps_what_draws_and_ranks_say(void **state)
{
    (void)state;
    static const struct ww_row_odds odds[] = {
        {0.4, 0.2, false, NULL}, {0.4, 0.2, true, NULL},    {0.7, -0.3, false, NULL},
        {0.5, 0, true, NULL},    {0.01, 0.98, false, NULL},
    };
    enum { MOST = 70000 }; /* more than 16 bits count */
    uint64_t seed = 11;
    static uint32_t keys[MOST], draws[MOST];
    static double rank[MOST];
    static uint8_t keep[MOST], again[MOST];
    static uint32_t last[MOST];
    uint8_t *scratch = malloc(WW_ROW_KEEP_SCRATCH(MOST));
    size_t sizes[] = {1, 2, 63, 896, 5000, MOST};

    assert_non_null(scratch);
    for (size_t t = 0; t < 5 * KINDS * 6; t++) {
        const size_t n = sizes[t / (5 * KINDS)];
        struct ww_row_odds o = odds[t % 5];
        o.step /= n > 1 ? (double)(n - 1) : 1;
        for (size_t i = 0; i < n; i++) {
            keys[i] = key_like(&seed, (unsigned)(t / 5 % KINDS));
            draws[i] = (uint32_t)fx_random(&seed);
        }
        ww_row_rank(keys, n, o.shared, scratch, rank);
        ww_row_keep(keys, draws, n, &o, scratch, keep);
        for (size_t i = 0; i < n; i++) {
            const double bound = (o.low + o.step * rank[i]) * 0x1p32;
            assert_int_equal(keep[i], (double)draws[i] < bound);
        }
        ww_row_last(&o, n, last);
        o.last = last;
        ww_row_keep(keys, draws, n, &o, scratch, again);
        assert_memory_equal(keep, again, n);
    }
    free(scratch);
}

static void draws_are_settled_alike_by_vectors(void **state)
{
    (void)state;
    enum { MOST = 200 };
    static const struct ww_row_limit limits[] = {{0, 0},
                                                 {0, UINT32_MAX},
                                                 {1U << 30, UINT32_MAX},
                                                 {0x98000000, UINT32_MAX},
                                                 {UINT32_MAX, UINT32_MAX}};
    uint64_t seed = 21;

    if (!ww_row_settle_fast()) {
        skip();
    }
    for (size_t t = 0; t < 2500; t++) {
        const struct ww_row_limit below = limits[t % 5];
        const struct ww_row_limit above = limits[t / 5 % 5];
        const size_t n = t % (MOST + 1);
        uint32_t draws[MOST], open[MOST + 1], again[MOST + 1];
        uint8_t scratch[MOST + 1], keep[MOST + 1], kept[MOST + 1];
        for (size_t i = 0; i < n; i++) {
            const uint32_t edge = fx_random(&seed) % 2 ? below.last : above.last;
            draws[i] = i % 3 ? (uint32_t)fx_random(&seed) : edge + (uint32_t)(i % 2);
        }
        keep[n] = kept[n] = 9;
        open[n] = again[n] = 77;
        const size_t m = ww_row_settle_plain(draws, n, below, above, scratch, keep, open);
        assert_int_equal(m, ww_row_settle_x86(draws, n, below, above, kept, again));
        assert_memory_equal(open, again, m * sizeof(open[0]));
        assert_memory_equal(keep, kept, n + 1);
        assert_int_equal(again[n], 77);
        if (ww_row_settle_wide()) {
            memset(again, 0, n * sizeof(again[0]));
            memset(kept, 7, n);
            assert_int_equal(m, ww_row_settle_512(draws, n, below, above, kept, again));
            assert_memory_equal(open, again, m * sizeof(open[0]));
            assert_memory_equal(keep, kept, n + 1);
            assert_int_equal(again[n], 77);
        }
        for (size_t i = 0, k = 0; i < n; i++) {
            const bool in = below.any && draws[i] <= below.last;
            const bool doubt = !in && above.any && draws[i] <= above.last;
            assert_int_equal(keep[i], in);
            assert_true(!doubt || (k < m && open[k++] == i));
        }
    }
}

static void masks_come_back_from_their_bits(void **state)
{
    (void)state;
    uint64_t seed = 5;
    uint8_t mask[100] = {0};
    uint8_t back[100], bits[13];

    for (size_t n = 0; n <= sizeof(mask); n++) {
        for (size_t i = 0; i < n; i++) {
            mask[i] = fx_random(&seed) % 2;
        }
        memset(back, 7, sizeof(back));
        ww_mask_pack(mask, n, bits);
        ww_mask_unpack(bits, n, back);
        assert_memory_equal(mask, back, n);
        assert_true(n == sizeof(back) || back[n] == 7);
        size_t m = 0;
        uint32_t at[100];
        const size_t n_ones = ww_mask_places(mask, n, at);
        for (size_t i = 0; i < n; i++) {
            assert_true(!mask[i] || at[m++] == i);
        }
        assert_int_equal(m, n_ones);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_are_those_of_a_sort),
        cmocka_unit_test(brackets_find_the_cuts_of_histograms),
        cmocka_unit_test(brackets_of_what_is_stored_find_the_same),
        cmocka_unit_test(memory_that_is_out_is_told_or_costs_a_pass),
        cmocka_unit_test(picking_by_vectors_is_picking_one_by_one),
        cmocka_unit_test(the_least_of_a_key_has_it_and_what_is_below_has_not),
        cmocka_unit_test(ranges_keep_what_cuts_say),
        cmocka_unit_test(bits_keep_what_bytes_keep),
        cmocka_unit_test(signed_keys_sort_and_come_back),
        cmocka_unit_test(row_ranks_are_those_of_a_sort),
        cmocka_unit_test(a_row_keeps_what_draws_and_ranks_say),
        cmocka_unit_test(draws_are_settled_alike_by_vectors),
        cmocka_unit_test(masks_come_back_from_their_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
