/* SPDX-License-Identifier: Apache-2.0 */
/* The chance of so many agreements, and that votes are fair coins for a model that was
 * made without the copy. */
#include "trace_fixture.h"

#include "util/alloc.h"

static void chance_is_the_binomial_tail(void **state)
{
    (void)state;
    /* Exact: sums of binomial coefficients over powers of two. */
    static const struct {
        uint32_t n, k;
        double want;
    } rows[] = {
        {1, 1, 0.5},           {10, 10, 1.0 / 1024},        {10, 9, 11.0 / 1024},
        {10, 6, 386.0 / 1024}, {20, 15, 21700.0 / 1048576}, {60, 60, 0x1p-60},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const double p = ww_votes_chance(rows[i].n, rows[i].k);
        assert_true(p >= rows[i].want);
        assert_true(p <= rows[i].want * (1 + 1e-5));
    }
    assert_true(ww_votes_chance(0, 0) == 1);
    assert_true(ww_votes_chance(10, 5) == 1);
    assert_true(ww_votes_chance(100000, 100000) == 1e-300);
    /* Far out it stays above the leading term and falls with every agreement. */
    double last = 1;
    for (uint32_t k = 1025; k <= 2048; k++) {
        const double p = ww_votes_chance(2048, k);
        assert_true(p > 0 && p <= last);
        last = p;
    }
    NEAR(log(ww_votes_chance(2048, 1200)), -33.2107, 1e-3);
}

struct bench {
    struct ww_model *model, *other;
    struct ww_layout *layout;
    struct ww_places places;
    struct ww_evidence evidence, stranger;
    double *source;
    struct ww_copy_place *copy;
};

static void bench_init(struct bench *b, const char *path, const char *other)
{
    struct ww_error err = {0};
    memset(b, 0, sizeof(*b));
    OK(ww_model_open(path, &b->model, &err));
    OK(ww_model_open(other, &b->other, &err));
    OK(ww_layout_resolve(b->model, NULL, &b->layout, &err));
    OK(ww_places_init(&b->places, b->layout, &ww_probes_ledger, &err));
    OK(ww_evidence_open(&b->evidence, &b->places, b->layout, b->model, &err));
    OK(ww_evidence_open(&b->stranger, &b->places, b->layout, b->other, &err));
    const size_t n = (size_t)b->places.n_coords * b->places.samples;
    b->source = calloc(n, sizeof(*b->source));
    b->copy = calloc(n, sizeof(*b->copy));
    OK(ww_evidence_samples(&b->evidence, &b->places, b->source, &err));
}

static void bench_free(struct bench *b)
{
    free(b->source);
    free(b->copy);
    ww_evidence_close(&b->evidence);
    ww_evidence_close(&b->stranger);
    ww_places_release(&b->places);
    ww_layout_free(b->layout);
    ww_model_close(b->model);
    ww_model_close(b->other);
}

static void places_cover_every_kind_of_sign(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, FX_MODEL, FX_OTHER);
    size_t seen[16] = {0};
    for (uint32_t c = 0; c < b.places.n_coords; c++) {
        seen[b.layout->spaces[b.places.coords[c].space].kind]++;
    }
    assert_int_equal(b.places.n_coords, 128 + 4 * 256 + 4 * 2 * 32);
    assert_int_equal(seen[WW_SPACE_RESIDUAL], 128);
    assert_int_equal(seen[WW_SPACE_NEURON], 4 * 256);
    assert_int_equal(seen[WW_SPACE_VALUE], 4 * 2 * 32);
    bench_free(&b);
}

static struct ww_votes votes_of(struct bench *b, const struct ww_evidence *suspect,
                                uint32_t number)
{
    struct ww_error err = {0};
    struct ww_secret *secret = fx_secret(0);
    struct ww_gauge gauge;
    struct ww_votes votes;
    memcpy(ww_secret_open(secret), &number, sizeof(number));
    ww_secret_close(secret);
    OK(ww_gauge_init(&gauge, b->layout, secret, false, WW_WRONG_NONE, &err));
    OK(ww_copy_places(&gauge, &b->places, b->copy, &err));
    OK(ww_votes_count(suspect, &b->places, b->copy, b->source, &votes, &err));
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    return votes;
}

/* Were a sign counted twice, or did a vote depend on another one, the spread of the sums
 * over many keys would be too wide; five standard deviations of its estimate are let
 * pass. */
static void votes_are_fair_coins_without_the_copy(void **state)
{
    (void)state;
    static const char *const models[][2] = {
        {FX_MODEL, FX_MODEL},
        {FX_MODEL, FX_OTHER},
        {WW_VECTORS "/forward/gemma2", WW_VECTORS "/forward/gemma2"},
        {WW_VECTORS "/forward/mixtral", WW_VECTORS "/forward/mixtral"},
    };
    enum { KEYS = 200 };
    for (size_t m = 0; m < sizeof(models) / sizeof(models[0]); m++) {
        struct bench b;
        double sum = 0, squares = 0;
        bench_init(&b, models[m][0], models[m][1]);
        for (uint32_t i = 0; i < KEYS; i++) {
            const struct ww_votes v = votes_of(&b, &b.stranger, i + 1);
            const double z = (2.0 * v.agree - v.n) / sqrt(v.n);
            assert_true(v.n > b.places.n_coords / 2);
            sum += z;
            squares += z * z;
        }
        NEAR(sum / KEYS, 0, 5 / sqrt(KEYS));
        NEAR(squares / KEYS, 1, 5 * sqrt(2.0 / KEYS));
        bench_free(&b);
    }
}

/* The copy itself agrees everywhere, for layouts with experts, tied embeddings and two
 * stacks. */
static void a_copy_agrees_everywhere(void **state)
{
    (void)state;
    static const char *const models[] = {
        FX_MODEL, WW_VECTORS "/forward/gemma2", WW_VECTORS "/forward/llama",
        WW_VECTORS "/forward/mixtral", WW_VECTORS "/forward/t5"};
    for (size_t m = 0; m < sizeof(models) / sizeof(models[0]); m++) {
        struct folders f;
        struct bench b;
        folders_init(&f);
        shell("rm -r '%s' && cp -r '%s' '%s' && chmod -R u+w '%s'", f.model, models[m],
              f.model, f.model);
        uint32_t number = 77;
        uint8_t *bytes = ww_secret_open(f.secret);
        memset(bytes, 0, 32);
        memcpy(bytes, &number, sizeof(number));
        ww_secret_close(f.secret);
        must(&f, do_lock(&f), WW_OK);
        bench_init(&b, f.model, f.locked);
        const struct ww_votes v = votes_of(&b, &b.stranger, number);
        if (v.agree != v.n || v.n < 16) {
            fail_msg("%s: %u of %u", models[m], v.agree, v.n);
        }
        const struct ww_votes w = votes_of(&b, &b.stranger, number + 1);
        assert_true(ww_votes_chance(w.n, w.agree) > 1e-6);
        bench_free(&b);
        folders_free(&f);
    }
}

/* Tensors that are too large to hold are read element by element: the same votes. */
static void large_tensors_give_the_same_votes(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, FX_MODEL, FX_OTHER);
    const struct ww_votes held = votes_of(&b, &b.stranger, 5);
    for (uint32_t s = 0; s < b.stranger.n_tensors; s++) {
        assert_non_null(b.stranger.bytes[s]);
        ww_free(b.stranger.bytes[s]);
        b.stranger.bytes[s] = NULL;
    }
    const struct ww_votes read = votes_of(&b, &b.stranger, 5);
    assert_int_equal(read.n, held.n);
    assert_int_equal(read.agree, held.agree);
    bench_free(&b);
}

/* The places are part of what a ledger keeps, so they are frozen: the digest is that of
 * tests/vectors/lock/trace_places.py. */
static void places_are_the_frozen_ones(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct bench b;
    uint8_t digest[32];
    char hex[65];
    bench_init(&b, FX_MODEL, FX_OTHER);
    OK(ww_places_digest(&b.places, b.layout, digest, &err));
    ww_hex(hex, digest, 32);
    assert_string_equal(hex, "4fbdb9173b4d776aa691e041b0877d34"
                             "48411a7578f30af8ca3c56b63de401fe");
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chance_is_the_binomial_tail),
        cmocka_unit_test(places_cover_every_kind_of_sign),
        cmocka_unit_test(votes_are_fair_coins_without_the_copy),
        cmocka_unit_test(a_copy_agrees_everywhere),
        cmocka_unit_test(large_tensors_give_the_same_votes),
        cmocka_unit_test(places_are_the_frozen_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
