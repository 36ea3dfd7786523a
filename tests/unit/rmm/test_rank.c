/* SPDX-License-Identifier: Apache-2.0 */
/* Merged adapters are found and cost little; what is no product is left alone. */
#include "ww_test.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rmm/rank_block.h"
#include "rmm/rank_code.h"
#include "util/fail.h"
#include "ww_random.h"

/* Sanitizers have much memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif
#define M 320
#define D 512

struct fx {
    int fd; /* the base, then the tensor */
    uint16_t base[M * D];
    uint16_t tune[M * D];
    uint16_t predicted[M * D];
    float b[M * 16];
    float a[16 * D];
};

static int set_up(void **state)
{
    struct fx *f = calloc(1, sizeof(*f));
    char path[] = "/tmp/ww-rank.XXXXXX";
    assert_non_null(f);
    f->fd = mkstemp(path);
    assert_true(f->fd >= 0);
    unlink(path);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fx *f = *state;
    close(f->fd);
    free(f);
    return 0;
}

static void make_base(struct fx *f, uint64_t *seed)
{
    for (size_t i = 0; i < M * D; i++) {
        f->base[i] = fx_to_bf16(0.02F * (float)fx_normal(seed));
    }
}

/* Changes of about 1e-3 from factors of rank r, rounded as a merge does. */
static void merge(struct fx *f, size_t r, bool product)
{
    uint64_t seed = 11;
    make_base(f, &seed);
    for (size_t i = 0; i < M * r; i++) {
        f->b[i] = 0.03F * (float)fx_normal(&seed) / sqrtf((float)r);
    }
    for (size_t i = 0; i < r * D; i++) {
        f->a[i] = 0.03F * (float)fx_normal(&seed);
    }
    for (size_t i = 0; i < M * D; i++) {
        double sum = 0;
        for (size_t k = 0; k < r; k++) {
            sum += (double)f->b[i / D * r + k] * (double)f->a[k * D + i % D];
        }
        const float d = product ? fx_from_bf16(fx_to_bf16((float)sum)) : (float)sum;
        f->tune[i] = fx_to_bf16(fx_from_bf16(f->base[i]) + d);
    }
}

static void find(struct fx *f, struct ww_rank_found *found)
{
    const struct ww_rank_pair pair = {.fd = f->fd,
                                      .at = sizeof(f->base),
                                      .base = {f->fd, "x", 0, WW_DTYPE_BF16},
                                      .name = "x",
                                      .dtype = WW_DTYPE_BF16,
                                      .m = M,
                                      .d = D};
    struct ww_error err = {0};
    assert_int_equal(pwrite(f->fd, f->base, sizeof(f->base), 0), sizeof(f->base));
    assert_int_equal(pwrite(f->fd, f->tune, sizeof(f->tune), sizeof(f->base)),
                     sizeof(f->tune));
    OK(ww_rank_find(&pair, found, &err));
}

/* Share of the numbers that the base and the product give exactly. */
static double share(struct fx *f, const struct ww_rank *rank)
{
    size_t equal = 0;
    /* In pieces that begin and end anywhere. */
    for (size_t at = 0; at < sizeof(f->base); at += 2046) {
        const size_t n = sizeof(f->base) - at < 2046 ? sizeof(f->base) - at : 2046;
        ww_rank_predict(rank, at, (uint8_t *)f->base + at, (uint8_t *)f->predicted + at,
                        n);
    }
    for (size_t i = 0; i < M * D; i++) {
        equal += f->predicted[i] == f->tune[i];
    }
    return (double)equal / (M * D);
}

static void a_merged_adapter_is_found(void **state)
{
    static const size_t ranks[] = {1, 4, 16};
    struct fx *f = *state;
    for (size_t i = 0; i < WW_LEN(ranks); i++) {
        for (unsigned product = 0; product < 2; product++) {
            struct ww_rank_found found;
            merge(f, ranks[i], product);
            find(f, &found);
            assert_int_equal(found.rank.shape.rank, ranks[i]);
            assert_int_equal(found.rank.shape.product, product);
            const double equal = share(f, &found.rank);
            if (equal < 0.8) {
                fail_msg("rank %zu, product %u: %.3f are equal", ranks[i], product,
                         equal);
            }
            ww_rank_found_release(&found);
        }
    }
}

/* In fp32 a product is rounded so finely that factors of 16 bits leave some of it. */
static void an_adapter_merged_in_fp32_is_found(void **state)
{
    struct fx *f = *state;
    const size_t n = sizeof(f->base) / 4; /* M/2 rows */
    float *base = (float *)(void *)f->base;
    float *tune = (float *)(void *)f->tune;
    struct ww_rank_pair pair = {.fd = f->fd,
                                .at = sizeof(f->base),
                                .base = {f->fd, "x", 0, WW_DTYPE_F32},
                                .name = "x",
                                .dtype = WW_DTYPE_F32,
                                .m = M / 2,
                                .d = D};
    struct ww_rank_found found;
    struct ww_error err = {0};
    uint64_t seed = 5;
    merge(f, 4, false); /* for its factors */
    for (size_t i = 0; i < n; i++) {
        float sum = 0;
        for (size_t k = 0; k < 4; k++) {
            sum += f->b[i / D * 4 + k] * f->a[k * D + i % D];
        }
        base[i] = 0.02F * (float)fx_normal(&seed);
        tune[i] = base[i] + sum;
    }
    assert_int_equal(pwrite(f->fd, base, sizeof(f->base), 0), sizeof(f->base));
    assert_int_equal(pwrite(f->fd, tune, sizeof(f->tune), sizeof(f->base)),
                     sizeof(f->tune));
    OK(ww_rank_find(&pair, &found, &err));
    assert_int_equal(found.rank.shape.rank, 4);
    assert_false(found.rank.shape.product);
    ww_rank_predict(&found.rank, 0, (uint8_t *)base, (uint8_t *)f->predicted,
                    sizeof(f->base));
    const double with = ww_rank_bits(WW_DTYPE_F32, (uint8_t *)tune,
                                     (uint8_t *)f->predicted, (uint8_t *)base, n);
    const double without =
        ww_rank_bits(WW_DTYPE_F32, (uint8_t *)tune, (uint8_t *)base, (uint8_t *)base, n);
    if (with > without / 2) {
        fail_msg("%.2f bits of %.2f", with / (double)n, without / (double)n);
    }
    ww_rank_found_release(&found);
}

static void what_is_no_product_is_left_alone(void **state)
{
    struct fx *f = *state;
    struct ww_rank_found found;
    static const float deltas[] = {1e-5F, 1e-4F, 1e-3F};
    for (size_t i = 0; i < WW_LEN(deltas); i++) {
        uint64_t seed = 3;
        make_base(f, &seed);
        for (size_t j = 0; j < M * D; j++) {
            f->tune[j] = fx_to_bf16(fx_from_bf16(f->base[j]) +
                                    deltas[i] * (float)fx_normal(&seed));
        }
        find(f, &found);
        assert_int_equal(found.rank.shape.rank, 0);
        assert_null(found.rank.b);
    }
    /* Nothing changed at all; a number that is none. */
    memcpy(f->tune, f->base, sizeof(f->tune));
    find(f, &found);
    assert_int_equal(found.rank.shape.rank, 0);
    merge(f, 4, false);
    f->tune[77] = 0x7fc0;
    find(f, &found);
    assert_int_equal(found.rank.shape.rank, 0);
}

/* Numbers that are none in the base: the prediction is 0, on every machine. */
static void what_is_no_number_is_predicted_as_zero(void **state)
{
    static const uint16_t base[4] = {0x7fc0, 0xff81, 0x7f80, 0x3f80};
    const struct ww_pack_rank shape = {.rank = 1, .rows = 1, .product = false};
    struct ww_error err = {0};
    struct ww_rank rank;
    uint16_t out[4];
    (void)state;
    OK(ww_rank_init(&rank, &shape, 4, WW_DTYPE_BF16, &err));
    rank.b[0] = 1;
    rank.a[0] = 1;
    rank.a[1] = 1;
    rank.a[2] = -INFINITY; /* inf - inf */
    rank.a[3] = 1;
    ww_rank_predict(&rank, 0, (const uint8_t *)base, (uint8_t *)out, sizeof(base));
    assert_int_equal(out[0], 0);
    assert_int_equal(out[1], 0);
    assert_int_equal(out[2], 0);
    assert_int_equal(out[3], 0x4000);
    ww_rank_release(&rank);
}

#define TALL ((size_t)12000)
#define NARROW ((size_t)128)
#define MOST ((size_t)42) /* a third of the narrow side */

static void fill_tall(int fd)
{
    enum { RANK = 40 };
    uint16_t *base = calloc(TALL * NARROW, 2);
    uint16_t *tune = calloc(TALL * NARROW, 2);
    float *a = calloc((size_t)RANK * NARROW, sizeof(*a));
    float b[RANK];
    uint64_t seed = 21;
    assert_true(base && tune && a);
    for (size_t k = 0; k < RANK * NARROW; k++) {
        a[k] = 0.03F * (float)fx_normal(&seed);
    }
    for (size_t i = 0; i < TALL; i++) {
        float row[NARROW] = {0};
        for (size_t k = 0; k < RANK; k++) {
            b[k] = 0.03F * (float)fx_normal(&seed);
            for (size_t j = 0; j < NARROW; j++) {
                row[j] += b[k] * a[k * NARROW + j];
            }
        }
        for (size_t j = 0; j < NARROW; j++) {
            base[i * NARROW + j] = fx_to_bf16(0.02F * (float)fx_normal(&seed));
            tune[i * NARROW + j] =
                fx_to_bf16(fx_from_bf16(base[i * NARROW + j]) + row[j]);
        }
    }
    assert_int_equal(pwrite(fd, base, TALL * NARROW * 2, 0), TALL * NARROW * 2);
    assert_int_equal(pwrite(fd, tune, TALL * NARROW * 2, TALL * NARROW * 2),
                     TALL * NARROW * 2);
    free(base);
    free(tune);
    free(a);
}

/* In a process of its own, which may take so many bytes more: the rank, or no memory. */
static int rank_within(const struct ww_rank_pair *pair, uint64_t bytes)
{
    const pid_t pid = fork();
    int status = 0;
    if (pid == 0) {
        unsigned long pages = 0;
        struct ww_rank_found found;
        struct ww_error err = {0};
        FILE *f = fopen("/proc/self/statm", "r");
        if (!f || fscanf(f, "%lu", &pages) != 1) {
            _exit(101);
        }
        fclose(f);
        const rlim_t most = pages * (rlim_t)sysconf(_SC_PAGESIZE) + bytes;
        const struct rlimit limit = {most, most};
        if (setrlimit(RLIMIT_AS, &limit) != 0) {
            _exit(102);
        }
        const enum ww_err rc = ww_rank_find(pair, &found, &err);
        _exit(rc == WW_OK ? (int)found.rank.shape.rank : rc == WW_E_NOMEM ? 100 : 103);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_search_keeps_to_its_memory(void **state)
{
    struct fx *f = *state;
    const struct ww_rank_pair large = {.dtype = WW_DTYPE_BF16, .m = 14336, .d = 4096};
    const struct ww_rank_pair huge = {.dtype = WW_DTYPE_BF16, .m = 152064, .d = 4096};
    const struct ww_rank_pair pair = {.fd = f->fd,
                                      .at = TALL * NARROW * 2,
                                      .base = {f->fd, "x", 0, WW_DTYPE_BF16},
                                      .name = "x",
                                      .dtype = WW_DTYPE_BF16,
                                      .m = TALL,
                                      .d = NARROW,
                                      .most = MOST};
    assert_int_equal(ww_rank_most(&large), WW_RANK_SOUGHT);
    assert_in_range(ww_rank_most(&huge), 36, WW_RANK_SOUGHT - 1);
    assert_true(ww_rank_memory(&huge, ww_rank_most(&huge)) <= WW_RANK_MEMORY);
    if (SANITIZED) {
        return;
    }
    const uint64_t most = ww_rank_memory(&pair, MOST);
    fill_tall(f->fd);
    /* A heap grows by steps. */
    assert_int_equal(rank_within(&pair, most + ((uint64_t)1 << 20)), 40);
    assert_int_equal(rank_within(&pair, most / 2), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_merged_adapter_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_adapter_merged_in_fp32_is_found, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_product_is_left_alone, set_up,
                                        tear_down),
        cmocka_unit_test(what_is_no_number_is_predicted_as_zero),
        cmocka_unit_test_setup_teardown(a_search_keeps_to_its_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
