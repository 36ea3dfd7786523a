/* SPDX-License-Identifier: Apache-2.0 */
/* Quantiles of several tensors against a sort, and near scores against exact ones. */
#include "ww_test.h"

#include <math.h>

#include "merge/pcb_score.h"
#include "merge/quantile.h"
#include "merge/select.h"
#include "ww_random.h"

#define TENSORS 3
#define STEP 700

static int descending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* What a pass sees of a tensor: all of it, or the spots of a sample. */
static void pass_tensor(struct ww_quantiles *q, struct ww_merge_job *job,
                        const uint64_t *keys, bool narrow)
{
    ww_quantiles_open(q, job);
    void *acc = calloc(1, job->acc_bytes + 1);
    const uint64_t stride = job->spot_stride ? job->spot_stride : STEP;
    const uint64_t most = job->spot_stride ? job->spot_elements : STEP;
    for (uint64_t at = job->spot_first; at < job->n; at += stride) {
        const size_t n = (size_t)(job->n - at < most ? job->n - at : most);
        uint32_t small[STEP];
        for (size_t i = 0; i < n; i++) {
            small[i] = (uint32_t)keys[at + i];
        }
        if (q->sampling && narrow) {
            ww_quantiles_sample32(q, 0, small, n);
        } else if (q->sampling) {
            ww_quantiles_sample(q, 0, keys + at, n);
        }
        for (uint32_t c = 0; c < q->n_cuts && !q->sampling; c++) {
            if (!q->cuts[c].done && narrow) {
                ww_quantiles_scan32(q, c, small, n, acc);
            } else if (!q->cuts[c].done) {
                ww_quantiles_scan(q, c, keys + at, n, acc);
            }
        }
    }
    ww_quantiles_fold(q, acc);
    free(acc);
}

enum kind { WIDE, NARROW, FEW, MISLED };

static uint64_t key_of(enum kind kind, uint64_t i, uint64_t n, uint64_t *seed)
{
    const uint64_t r = fx_random(seed);
    switch (kind) {
    case WIDE:
        return r >> 1 | r << 63;
    case NARROW:
        return r & 0x7fffffff;
    case FEW:
        return r % 5 * 1000;
    case MISLED:
        break;
    }
    return i % ((n + WW_QUANTILE_SPOTS - 1) / WW_QUANTILE_SPOTS) < WW_QUANTILE_SPOT
               ? 7
               : r & 0x7fffffff;
}

/* All passes over n keys, in tensors of several lengths. */
static enum ww_err run(struct ww_quantiles *q, struct ww_merge_job *job,
                       const uint64_t *keys, uint64_t n, bool narrow, unsigned *passes,
                       struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    bool again = true;
    for (*passes = 0; again && !rc; ++*passes) {
        uint64_t first = 0;
        assert_true(*passes < 20);
        for (uint64_t t = 0; t < TENSORS; t++) {
            job->n = t + 1 < TENSORS ? n / (TENSORS + t) : n - first;
            pass_tensor(q, job, keys + first, narrow);
            first += job->n;
        }
        rc = ww_quantiles_passed(q, job, &again, err);
    }
    return rc;
}

static unsigned check_with(enum kind kind, uint64_t n, double share, uint64_t most_kept)
{
    struct ww_error err = {0};
    struct ww_merge_tensor tensor = {.name = "t"};
    struct ww_merge_job job = {.tensor = &tensor};
    struct ww_quantiles q;
    uint64_t *keys = calloc(n, sizeof(*keys));
    uint64_t seed = n + (uint64_t)kind;
    const bool narrow = kind != WIDE;
    unsigned passes = 0;
    for (uint64_t i = 0; i < n; i++) {
        keys[i] = key_of(kind, i, n, &seed);
    }
    OK(ww_quantiles_init(&q, &job, 1, 2, n, &err));
    q.highest = narrow ? 0x7fffffff : UINT64_MAX;
    q.most_kept = most_kept;
    q.cuts[0].rank = 1 + (uint64_t)(share * (double)(n - 1));
    q.cuts[1].rank = n;
    OK(run(&q, &job, keys, n, narrow, &passes, &err));
    qsort(keys, n, sizeof(*keys), descending);
    assert_int_equal(q.cuts[0].key, keys[q.cuts[0].rank - 1]);
    assert_int_equal(q.cuts[1].key, keys[n - 1]);
    ww_quantiles_release(&q);
    free(keys);
    return passes;
}

static unsigned check(enum kind kind, uint64_t n, double share)
{
    return check_with(kind, n, share, (uint64_t)1 << 20);
}

static void quantiles_are_those_of_a_sort(void **state)
{
    (void)state;
    const double shares[] = {0, 0.1, 0.5, 0.99};
    for (size_t s = 0; s < 4; s++) {
        for (enum kind kind = WIDE; kind <= FEW; kind++) {
            assert_int_equal(check(kind, 1 + 3000 * s, shares[s]), 1); /* the sample */
        }
        assert_int_equal(check(NARROW, 700000, shares[s]), 2); /* keys are kept */
    }
    assert_int_equal(check(WIDE, 700000, 0.3), 2);
    assert_int_equal(check_with(WIDE, 700000, 0.3, 500), 3); /* those of a bin are */
    assert_true(check(FEW, 700000, 0.3) <= 2); /* one reading after the sample */
    (void)check(MISLED, 900000, 0.2);
}

/* Keys that lie outside, in spots of the sample or beside them. */
static void keys_of_no_number_end_the_search(void **state)
{
    static const struct {
        uint64_t n;
        uint64_t in_spots;
        uint64_t beside;
    } cases[] = {{1000, 7, 7 + 100},
                 {1000, 7, 1},
                 {700000, 107, 7},
                 {700000, 7, 107},
                 {700000, 7, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_error err = {0};
        struct ww_merge_tensor tensor = {.name = "t"};
        struct ww_merge_job job = {.tensor = &tensor};
        struct ww_quantiles q;
        const uint64_t n = cases[i].n;
        uint64_t *keys = calloc(n, sizeof(*keys));
        unsigned passes = 0;
        for (uint64_t k = 0; k < n; k++) {
            const uint64_t stride = (n + WW_QUANTILE_SPOTS - 1) / WW_QUANTILE_SPOTS;
            const bool in_spot = k % stride < (n > 1000 ? WW_QUANTILE_SPOT : k % 2);
            keys[k] = in_spot ? cases[i].in_spots : cases[i].beside;
        }
        OK(ww_quantiles_init(&q, &job, 1, 2, n, &err));
        q.lowest = 5;
        q.highest = 100;
        q.cuts[0].rank = 1;
        q.cuts[1].rank = n;
        FAILS(run(&q, &job, keys, n, false, &passes, &err), WW_E_NONFINITE);
        assert_non_null(strstr(err.text, "not finite"));
        ww_quantiles_release(&q);
        free(keys);
    }
}

#define N 512
#define MODELS 3

/* Changes of all sizes, of models that agree or not; some are 0. */
static double change(uint64_t *seed, unsigned scale)
{
    const double size[] = {1e-30, 1e-4, 0.3, 40};
    const double v = ((double)(fx_random(seed) >> 11) * 0x1p-52 - 1) * size[scale];
    return fx_random(seed) % 9 == 0 ? 0 : v;
}

/* Equal models: their tangents and powers pass all places where the series are worst. */
static void near_scores_are_near_at_every_size(void **state)
{
    (void)state;
    struct ww_merge_job job = {.n_sources = MODELS, .max_block = N};
    struct ww_pcb_room room;
    void *scratch = aligned_alloc(64, (ww_pcb_room_bytes(&job) + 63) / 64 * 64);
    static double row[N];
    double *x[MODELS] = {row, row, row};
    ww_pcb_room_of(&job, scratch, &room);
    for (unsigned k = 0; k < 600; k++) {
        double s[N], slack[N];
        struct ww_pcb_model models[MODELS];
        const struct ww_pcb_rule rule = {MODELS, (enum ww_pcb_inter)(k % 3), models};
        /* the last are so small that squares have few bits, or none */
        const double tiny = k < 540 ? 1 : ldexp(1, -500 - (int)k % 50);
        for (uint32_t m = 0; m < MODELS; m++) {
            models[m] =
                (struct ww_pcb_model){.low = 0, .high = tiny * (0.25 + k % 7 * 0.2)};
        }
        for (size_t i = 0; i < N; i++) {
            row[i] = tiny *
                     (k < 540 ? (double)(k * N + i) / (540.0 * N) * 1.5 : (double)i / N);
        }
        ww_pcb_near(&rule, x, N, &room);
        memcpy(s, room.s[0], sizeof(s));
        memcpy(slack, room.slack[0], sizeof(slack));
        ww_pcb_score(&rule, x, N, &room);
        for (size_t i = 0; i < N; i++) {
            assert_true(fabs(room.s[0][i] - s[i]) <= slack[i] / 14);
        }
    }
    free(scratch);
}

static void near_scores_are_within_their_slack(void **state)
{
    (void)state;
    struct ww_merge_job job = {.n_sources = MODELS, .max_block = N};
    struct ww_pcb_room room;
    void *scratch = aligned_alloc(64, (ww_pcb_room_bytes(&job) + 63) / 64 * 64);
    static double rows[MODELS][N];
    static double s[MODELS][N];
    static double slack[MODELS][N];
    double *x[MODELS] = {rows[0], rows[1], rows[2]};
    uint64_t seed = 77;
    ww_pcb_room_of(&job, scratch, &room);
    for (unsigned k = 0; k < 12; k++) {
        struct ww_pcb_model models[MODELS];
        const struct ww_pcb_rule rule = {MODELS, (enum ww_pcb_inter)(k / 4), models};
        for (uint32_t m = 0; m < MODELS; m++) {
            const double size[] = {1e-30, 1e-4, 0.3, 40};
            models[m] = (struct ww_pcb_model){.low = 0.01 * size[k % 4],
                                              .high = (1 + m) * size[k % 4]};
            for (size_t i = 0; i < N; i++) {
                rows[m][i] = change(&seed, k % 4);
            }
        }
        ww_pcb_near(&rule, x, N, &room);
        for (uint32_t m = 0; m < MODELS; m++) {
            memcpy(s[m], room.s[m], sizeof(s[m]));
            memcpy(slack[m], room.slack[m], sizeof(slack[m]));
        }
        ww_pcb_score(&rule, x, N, &room);
        for (uint32_t m = 0; m < MODELS; m++) {
            for (size_t i = 0; i < N; i++) {
                const double off = fabs(room.s[m][i] - s[m][i]);
                assert_true(off <= slack[m][i] / 14);
                assert_true(slack[m][i] <= 1e-4 * exp(MODELS) * MODELS);
            }
        }
    }
    free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_those_of_a_sort),
        cmocka_unit_test(keys_of_no_number_end_the_search),
        cmocka_unit_test(near_scores_are_within_their_slack),
        cmocka_unit_test(near_scores_are_near_at_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
