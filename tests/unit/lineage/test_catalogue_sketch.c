/* SPDX-License-Identifier: Apache-2.0 */
/* Sketches against their definition and their theory, and the search over them. */
#include "ww_test.h"

#include "lineage/catalogue_mates.h"
#include "lineage/catalogue_print.h"
#include "lineage/catalogue_pursuit.h"
#include "lineage/catalogue_threshold.h"
#include "lineage/catalogue_scan.h"
#include "lineage/catalogue_sketch.h"
#include "util/num.h"

#define M WW_SKETCH_COARSE

static struct ww_error err;

/* Twelve even numbers make a normal one; four of them come out of each word. */
static double normal(uint64_t *s)
{
    double sum = -6;
    for (int i = 0; i < 3; i++) {
        *s = ww_mix64(*s);
        for (unsigned k = 0; k < 4; k++) {
            sum += ((double)(*s >> 16 * k & 0xffff) + 0.5) / 65536;
        }
    }
    return sum;
}

static void mix_is_splitmix64_and_the_seed_spells_its_name(void **state)
{
    uint8_t bytes[8];
    (void)state;
    /* First outputs of SplitMix64 from the state 0, as published. */
    assert_true(ww_mix64(0) == UINT64_C(0xe220a8397b1dcdaf));
    assert_true(ww_mix64(UINT64_C(0x9e3779b97f4a7c15)) == UINT64_C(0x6e789e6aa1b965f4));
    ww_put_u64le(bytes, WW_SKETCH_SEED);
    assert_memory_equal(bytes, "dwthgiew", 8);
}

static void a_sketch_is_the_same_however_a_tensor_is_cut_and_folds(void **state)
{
    static double x[1001];
    static double whole[M];
    static double cut[M];
    static double fine[WW_SKETCH_FINE];
    uint64_t s = 1;
    const uint64_t key = ww_sketch_key("layers.0.q");
    (void)state;
    for (size_t i = 0; i < 1001; i++) {
        x[i] = (double)(ww_mix64(s++) % 1000);
    }
    ww_sketch_add(whole, M, key, 0, x, 1001);
    ww_sketch_add(cut, M, key, 0, x, 500);
    ww_sketch_add(cut, M, key, 500, x + 500, 501);
    assert_memory_equal(whole, cut, sizeof(whole));
    ww_sketch_add(fine, WW_SKETCH_FINE, key, 0, x, 1001);
    for (size_t i = 0; i < M; i++) {
        double sum = 0;
        for (size_t j = 0; j < 32; j++) {
            sum += fine[i * 32 + j];
        }
        NEAR(sum, whole[i], 0); /* whole numbers: exact in any order */
    }
}

static void products_of_sketches_are_products_with_noise_of_theory(void **state)
{
    enum { N = 20000, TRIALS = 200 };
    static double x[N];
    static double y[N];
    uint64_t s = 5;
    double xx = 0;
    double yy = 0;
    double xy = 0;
    double mean = 0;
    double square = 0;
    (void)state;
    for (size_t i = 0; i < N; i++) {
        x[i] = normal(&s);
        y[i] = 0.6 * x[i] + 0.8 * normal(&s);
        xx += x[i] * x[i];
        yy += y[i] * y[i];
        xy += x[i] * y[i];
    }
    for (uint64_t t = 0; t < TRIALS; t++) {
        static double a[M];
        static double b[M];
        double e = 0;
        memset(a, 0, sizeof(a));
        memset(b, 0, sizeof(b));
        ww_sketch_add(a, M, ww_mix64(t), 0, x, N);
        ww_sketch_add(b, M, ww_mix64(t), 0, y, N);
        for (size_t i = 0; i < M; i++) {
            e += a[i] * b[i];
        }
        e = (e - xy) / sqrt(xx * yy);
        mean += e / TRIALS;
        square += e * e / TRIALS;
    }
    /* variance (1 + rho^2) / m of an inner product; 200 trials know it to 10 %. */
    NEAR(mean, 0, 4 * sqrt(1.36 / M / TRIALS));
    NEAR(sqrt(square * M / 1.36), 1, 0.2);
}

static void names_lose_their_wrappers_and_show_their_layer(void **state)
{
    const char *inside = NULL;
    (void)state;
    assert_string_equal(ww_canonical_name("model.language_model.layers.3.q"),
                        "layers.3.q");
    assert_string_equal(ww_canonical_name("lm_head.weight"), "lm_head.weight");
    assert_int_equal(ww_layer_of("model.layers.12.mlp.experts.3.w", &inside), 12);
    assert_string_equal(inside, "mlp.experts.3.w");
    assert_true(ww_layer_of("model.norm.weight", NULL) == WW_NONE);
}

static void the_quantile_follows_the_number_of_siblings(void **state)
{
    (void)state;
    NEAR(ww_family_wise_z(1e-3, 20000), 5.3267, 1e-3);
    NEAR(ww_family_wise_z(1e-3, 1), 3.0902, 1e-3);
}

/* A family: root, members whose differences share a part, and a blend of some. */
struct family {
    float *sketches;
    float *root;
    float *suspect;
    bool *use;
    size_t n;
    double noise; /* squared length of the suspect's rounding */
};

/* Members i, i + clusters, ... share their part with each other only. */
static struct family make_clusters(size_t n, size_t clusters, double shared, uint64_t s)
{
    struct family f = {calloc(n * M, sizeof(float)),
                       calloc(M, sizeof(float)),
                       calloc(M, sizeof(float)),
                       calloc(n, sizeof(bool)),
                       n,
                       0};
    double *common = calloc(clusters * M, sizeof(double));
    for (size_t j = 0; j < M; j++) {
        f.root[j] = (float)(10 * normal(&s));
        f.suspect[j] = f.root[j];
    }
    for (size_t j = 0; j < clusters * M; j++) {
        common[j] = normal(&s);
    }
    for (size_t i = 0; i < n; i++) {
        f.use[i] = true;
        for (size_t j = 0; j < M; j++) {
            f.sketches[i * M + j] =
                f.root[j] + (float)(shared * common[(i % clusters) * M + j] +
                                    sqrt(1 - shared * shared) * normal(&s));
        }
    }
    free(common);
    return f;
}

static struct family make_family(size_t n, double shared, uint64_t s)
{
    return make_clusters(n, 1, shared, s);
}

static void blend(struct family *f, size_t member, double share)
{
    for (size_t j = 0; j < M; j++) {
        f->suspect[j] += (float)share * (f->sketches[member * M + j] - f->root[j]);
    }
}

static struct ww_pursuit_problem problem_of(const struct family *f)
{
    return (struct ww_pursuit_problem){.suspect = f->suspect,
                                       .root = f->root,
                                       .sketches = f->sketches,
                                       .use = f->use,
                                       .n = f->n,
                                       .m = M,
                                       .elements = 1e9,
                                       .noise = f->noise,
                                       .threads = 2};
}

static struct ww_pursuit search(const struct family *f)
{
    struct ww_pursuit found;
    const struct ww_pursuit_problem p = problem_of(f);
    double *likeness = calloc(f->n, sizeof(double));
    OK(ww_pursue(&p, likeness, &found, &err));
    free(likeness);
    return found;
}

/* Picks that are called sources; members[] gets them. */
static unsigned sources(const struct family *f, size_t members[WW_PURSUIT_MOST],
                        unsigned *picks)
{
    struct ww_pursuit found;
    struct ww_mates mates[WW_PURSUIT_MOST];
    const struct ww_pursuit_problem p = problem_of(f);
    double *likeness = calloc(f->n, sizeof(double));
    unsigned n = 0;
    OK(ww_pursue(&p, likeness, &found, &err));
    OK(ww_mates_compare(&p, likeness, &found, mates, &err));
    for (unsigned i = 0; i < found.n; i++) {
        if (ww_mates_source(&mates[i], found.unexplained, WW_MATES_EXPLAINED)) {
            members[n++] = found.picks[i].member;
        }
    }
    *picks = found.n;
    free(likeness);
    return n;
}

static void free_family(struct family *f)
{
    free(f->sketches);
    free(f->root);
    free(f->suspect);
    free(f->use);
}

static void sources_among_a_thousand_alike_siblings_are_found(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct family f = make_family(1000, 0.6, seed);
        uint64_t s = seed;
        blend(&f, 7, 0.5);
        blend(&f, 700, 0.3);
        blend(&f, 999, 0.2);
        for (size_t j = 0; j < M; j++) {
            f.suspect[j] += (float)(0.1 * normal(&s));
        }
        const struct ww_pursuit found = search(&f);
        assert_true(found.calibrated);
        assert_int_equal(found.n, 3);
        assert_int_equal(found.picks[0].member, 7);
        assert_int_equal(found.picks[1].member, 700);
        assert_int_equal(found.picks[2].member, 999);
        NEAR(found.picks[0].share, 0.5, 0.02);
        NEAR(found.picks[2].share, 0.2, 0.02);
        free_family(&f);
    }
}

static void a_source_that_is_missing_is_blamed_on_nobody(void **state)
{
    (void)state;
    for (uint64_t seed = 21; seed <= 25; seed++) {
        struct family f = make_family(301, 0.6, seed);
        blend(&f, 7, 0.4);
        blend(&f, 300, 0.5);
        f.n = 300;
        const struct ww_pursuit found = search(&f);
        assert_int_equal(found.n, 1);
        assert_int_equal(found.picks[0].member, 7);
        NEAR(found.picks[0].share, 0.4, 0.05);
        assert_true(found.unexplained > 0.2);
        free_family(&f);
    }
}

static void another_sibling_has_no_source_among_siblings(void **state)
{
    (void)state;
    for (uint64_t seed = 11; seed <= 15; seed++) {
        struct family f = make_family(201, 0.6, seed);
        f.n = 200; /* the suspect is the one that is left out */
        memcpy(f.suspect, f.sketches + 200 * M, M * sizeof(float));
        const struct ww_pursuit found = search(&f);
        assert_true(found.calibrated);
        assert_int_equal(found.n, 0);
        free_family(&f);
    }
}

static void one_more_of_a_cluster_is_blamed_on_none_of_it(void **state)
{
    static const struct {
        size_t n;
        size_t clusters;
        double shared;
    } kinds[] = {{100, 5, 0.7}, {100, 10, 0.7},  {200, 5, 0.95}, {30, 1, 0.9},
                 {60, 2, 0.9},  {200, 200, 0.7}, {12, 1, 0.8},   {2, 1, 0.6}};
    size_t members[WW_PURSUIT_MOST];
    unsigned by_likeness = 0;
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (uint64_t seed = 31; seed <= 33; seed++) {
            /* The last one, of the cluster of member 0, is the suspect. */
            struct family f =
                make_clusters(kinds[k].n + 1, kinds[k].clusters, kinds[k].shared, seed);
            f.n--;
            memcpy(f.suspect, f.sketches + f.n * M, M * sizeof(float));
            unsigned picks = 0;
            assert_int_equal(sources(&f, members, &picks), 0);
            by_likeness += picks;
            free_family(&f);
        }
    }
    /* Likeness alone would have named some: the mates decide here. */
    assert_true(by_likeness > 10);
}

static void sources_in_a_cluster_are_told_from_their_mates(void **state)
{
    size_t members[WW_PURSUIT_MOST];
    unsigned picks = 0;
    (void)state;
    for (uint64_t seed = 41; seed <= 43; seed++) {
        struct family f = make_clusters(200, 5, 0.7, seed);
        uint64_t s = seed;
        blend(&f, 10, 0.5);
        blend(&f, 15, 0.3); /* a mate of 10 */
        blend(&f, 3, 0.2);
        for (size_t j = 0; j < M; j++) {
            f.suspect[j] += (float)(0.2 * normal(&s));
        }
        assert_int_equal(sources(&f, members, &picks), 3);
        assert_int_equal(members[0], 10);
        assert_int_equal(members[1], 15);
        assert_int_equal(members[2], 3);
        free_family(&f);
    }
}

/* Blocks made its weights shorter, by more than its sources changed them. */
static void the_size_of_a_rounded_suspect_is_nobodys(void **state)
{
    size_t members[WW_PURSUIT_MOST];
    unsigned picks = 0;
    (void)state;
    for (uint64_t seed = 51; seed <= 53; seed++) {
        struct family f = make_clusters(200, 5, 0.7, seed);
        uint64_t s = seed;
        blend(&f, 10, 0.5);
        blend(&f, 3, 0.3);
        for (size_t j = 0; j < M; j++) {
            f.suspect[j] += (float)(0.2 * normal(&s)) - 0.3F * f.root[j];
        }
        f.noise = 0.2 * 0.2 * M;
        assert_int_equal(sources(&f, members, &picks), 2);
        assert_int_equal(members[0], 10);
        assert_int_equal(members[1], 3);
        free_family(&f);
    }
}

static void the_root_is_nearest_to_the_mean_of_its_children(void **state)
{
    struct family f = make_family(40, 0, 3);
    static double room[M + 40];
    static double sum[M];
    const struct ww_scan scan = {f.sketches, f.use, NULL, f.n, M, 2};
    (void)state;
    memcpy(f.sketches + 17 * M, f.root, M * sizeof(float));
    assert_int_equal(ww_sketch_centre(&scan, NULL, room), 17);
    ww_scan_sum(&scan, sum);
    assert_int_equal(ww_sketch_centre(&scan, sum, room), 17);
    memset(f.use, 0, f.n * sizeof(bool));
    assert_int_equal(ww_sketch_centre(&scan, NULL, room), f.n);
    free_family(&f);
}

/* One pass for several targets gives what plain sums give, for any number of threads. */
static void a_pass_has_the_products_of_plain_sums(void **state)
{
    enum { N = 37 };
    struct family f = make_family(N, 0.5, 8);
    double room[2][WW_SCAN_AT_ONCE + 1][N];
    const float *targets[WW_SCAN_AT_ONCE];
    (void)state;
    f.use[5] = false;
    for (unsigned k = 1; k <= WW_SCAN_AT_ONCE; k++) {
        for (unsigned threads = 1; threads <= 2; threads++) {
            const struct ww_scan scan = {f.sketches, f.use, f.root, N, M, threads};
            double *with[WW_SCAN_AT_ONCE];
            for (unsigned t = 0; t < k; t++) {
                targets[t] = f.sketches + (t + 1) * M;
                with[t] = room[threads - 1][t];
            }
            ww_scan_products(&scan, targets, k, with, room[threads - 1][WW_SCAN_AT_ONCE]);
        }
        for (unsigned t = 0; t <= WW_SCAN_AT_ONCE; t++) {
            assert_memory_equal(room[0][t], room[1][t], sizeof(room[0][t]));
            t = t + 1 == k ? WW_SCAN_AT_ONCE - 1 : t;
        }
    }
    for (size_t i = 0; i < N; i++) {
        double square = 0;
        for (unsigned t = 0; t < WW_SCAN_AT_ONCE; t++) {
            double with = 0;
            square = 0;
            for (size_t j = 0; j < M && f.use[i]; j++) {
                const double d = (double)f.sketches[i * M + j] - (double)f.root[j];
                with += d * (double)targets[t][j];
                square += d * d;
            }
            NEAR(room[0][t][i], with, 1e-5 * M);
        }
        NEAR(room[0][WW_SCAN_AT_ONCE][i], square, 1e-6 * M);
    }
    free_family(&f);
}

/* The sum that reading leaves behind is as good as one made by the search. */
static void a_sum_that_is_known_gives_the_same_sources(void **state)
{
    struct family f = make_family(100, 0.6, 9);
    static double sum[M];
    static double likeness[100];
    struct ww_pursuit found;
    struct ww_pursuit_problem p = problem_of(&f);
    const struct ww_scan scan = {f.sketches, f.use, NULL, f.n, M, 2};
    (void)state;
    for (size_t i = 20; i < 26; i++) { /* more than one pass asks for at once */
        blend(&f, i, 0.15);
    }
    ww_scan_sum(&scan, sum);
    p.sum = sum;
    OK(ww_pursue(&p, likeness, &found, &err));
    const struct ww_pursuit again = search(&f);
    assert_int_equal(found.n, 6);
    assert_int_equal(again.n, 6);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(found.picks[i].member, again.picks[i].member);
        NEAR(found.picks[i].share, again.picks[i].share, 1e-9);
        NEAR(found.picks[i].share, 0.15, 0.001);
    }
    free_family(&f);
}

/* Finite floats whose squares are none: like nothing, and no order is lost over them. */
static void members_too_long_for_a_float_are_picked_by_nobody(void **state)
{
    struct family f = make_family(60, 0.3, 10);
    (void)state;
    blend(&f, 7, 0.7);
    for (size_t j = 0; j < M; j++) {
        f.sketches[3 * M + j] = j % 2 ? 3e38F : -3e38F;
        f.sketches[4 * M + j] = 3e38F;
    }
    const struct ww_pursuit found = search(&f);
    for (unsigned i = 0; i < found.n; i++) {
        assert_true(found.picks[i].member != 3 && found.picks[i].member != 4);
    }
    free_family(&f);
}

static void the_root_itself_has_no_sources(void **state)
{
    struct family f = make_family(30, 0, 4);
    (void)state;
    const struct ww_pursuit found = search(&f);
    assert_int_equal(found.n, 0);
    NEAR(found.unexplained, -1, 0);
    free_family(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mix_is_splitmix64_and_the_seed_spells_its_name),
        cmocka_unit_test(a_sketch_is_the_same_however_a_tensor_is_cut_and_folds),
        cmocka_unit_test(products_of_sketches_are_products_with_noise_of_theory),
        cmocka_unit_test(names_lose_their_wrappers_and_show_their_layer),
        cmocka_unit_test(the_quantile_follows_the_number_of_siblings),
        cmocka_unit_test(sources_among_a_thousand_alike_siblings_are_found),
        cmocka_unit_test(a_source_that_is_missing_is_blamed_on_nobody),
        cmocka_unit_test(another_sibling_has_no_source_among_siblings),
        cmocka_unit_test(one_more_of_a_cluster_is_blamed_on_none_of_it),
        cmocka_unit_test(sources_in_a_cluster_are_told_from_their_mates),
        cmocka_unit_test(the_size_of_a_rounded_suspect_is_nobodys),
        cmocka_unit_test(the_root_is_nearest_to_the_mean_of_its_children),
        cmocka_unit_test(a_pass_has_the_products_of_plain_sums),
        cmocka_unit_test(a_sum_that_is_known_gives_the_same_sources),
        cmocka_unit_test(members_too_long_for_a_float_are_picked_by_nobody),
        cmocka_unit_test(the_root_itself_has_no_sources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
