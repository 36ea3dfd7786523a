/* SPDX-License-Identifier: Apache-2.0 */
/* Factors of neurons of a made-up gated layer. */
#include "lineage/scaled.h"

#include <math.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fault.h"
#include "util/num.h"
#include "stored_model.h"
#include "ww_random.h"
#include "ww_test.h"

#define NEURONS 300
#define WIDTH 16
#define SHARE 0.6F
#define ALL (2 * NEURONS * WIDTH)

/* Two tensors one behind another: up [NEURONS][WIDTH], down [WIDTH][NEURONS]. */
static const char header[] =
    "{\"up\":{\"dtype\":\"F32\",\"shape\":[300,16],\"data_offsets\":[0,19200]},"
    "\"down\":{\"dtype\":\"F32\",\"shape\":[16,300],\"data_offsets\":[19200,38400]}}";

struct family {
    float of[3][ALL]; /* suspect, base, source */
    float factor[NEURONS];
    char *folders[3];
    struct ww_model *models[3];
};

static float draw(uint64_t *seed)
{
    return (float)(fx_random(seed) % 10001) / 10000.0F - 0.5F;
}

static void store(struct family *f, unsigned m)
{
    f->models[m] = stored_model(header, f->of[m], sizeof(f->of[m]), &f->folders[m]);
}

enum kind { RELATIVE, STRANGER, SPOILT };

/* A lock makes some neurons short on one side, and what is added to that side afterwards
 * is longer than they are. */
static float added(enum kind kind, size_t neuron, bool up, uint64_t *seed)
{
    const float longer = neuron % 32 == (up ? 1 : 17) ? 8 : up && neuron % 2 ? 0.6F : 0;

    return kind == SPOILT ? longer * draw(seed) : 0;
}

/* spread: of the logarithms of factors. Part of what the source moved lies along the
 * factors. */
static void make(struct family *f, float spread, enum kind kind)
{
    uint64_t seed = 5;

    for (size_t i = 0; i < NEURONS; i++) {
        f->factor[i] = expf(spread * draw(&seed));
    }
    for (size_t e = 0; e < ALL; e++) {
        const bool up = e < ALL / 2;
        const size_t neuron = up ? e / WIDTH : e % NEURONS;
        const float base = draw(&seed);
        const float along = neuron % 3 ? 0.0F : up ? 0.05F : -0.05F;
        const float moved = 0.1F * draw(&seed) + along * base;
        const float merged = base + SHARE * moved + added(kind, neuron, up, &seed);
        const float sum = kind == STRANGER ? draw(&seed) : merged;
        f->of[1][e] = base;
        f->of[2][e] = base + moved;
        f->of[0][e] = up ? sum / f->factor[neuron] : sum * f->factor[neuron];
    }
    for (unsigned m = 0; m < 3; m++) {
        store(f, m);
    }
}

/* The layer with the factors that were found. */
static struct ww_scaled_mlp solve(struct family *f, float spread, enum kind kind)
{
    struct ww_error err = {0};
    struct ww_scaled_mlp mlp = {
        .bias = WW_NONE, .n = NEURONS, .width = WIDTH, .height = WIDTH};

    make(f, spread, kind);
    const struct ww_disguise suspect = {.model = f->models[0]};
    const struct ww_scaled_family family = {&suspect, f->models, 3};
    mlp.up = ww_model_find(f->models[0], "up");
    mlp.down = ww_model_find(f->models[0], "down");
    OK(ww_scaled_fit(&family, &mlp, &err));
    for (unsigned m = 0; m < 3; m++) {
        ww_model_close(f->models[m]);
        ww_test_rmdir(f->folders[m]);
    }
    return mlp;
}

static void factors_are_those_of_the_sum(void **state)
{
    struct family *f = test_calloc(1, sizeof(*f));
    struct ww_scaled_mlp mlp = solve(f, 2, RELATIVE);
    (void)state;

    assert_non_null(mlp.factors);
    for (size_t i = 0; i < NEURONS; i++) {
        assert_true(fabs(mlp.factors[i] / (double)f->factor[i] - 1) < 1e-3);
    }
    ww_free(mlp.factors);
    test_free(f);
}

static void others_have_none(void **state)
{
    struct family *f = test_calloc(1, sizeof(*f));
    (void)state;

    assert_null(solve(f, 0, RELATIVE).factors);
    assert_null(solve(f, 2, STRANGER).factors);
    assert_null(solve(f, 0, SPOILT).factors);
    test_free(f);
}

/* Nothing is left undone because there was no memory to look at it. */
static void a_lack_of_memory_is_told_as_that(void **state)
{
    static const char *const names[] = {"/amber/expert-rev", "/amber/base",
                                        "/amber/expert-caesar"};
    struct ww_model *models[WW_LEN(names)];
    struct ww_error err = {0};
    bool reached = true;
    (void)state;

    for (size_t m = 0; m < WW_LEN(names); m++) {
        char *path = ww_asprintf("%s%s", WW_VECTORS, names[m]);
        OK(ww_model_open(path, &models[m], &err));
        ww_free(path);
    }
    for (unsigned long n = 1; reached; n += 1 + n / 16) {
        struct ww_disguise suspect = {.model = models[0]};
        ww_fault_arm(WW_FAULT_ALLOC, n);
        const enum ww_err rc = ww_disguise_scaled(models, WW_LEN(names), &suspect, &err);
        reached = ww_fault_seen(WW_FAULT_ALLOC) >= n;
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        assert_int_equal(rc, reached ? WW_E_NOMEM : WW_OK);
        assert_null(suspect.undone);
    }
    for (size_t m = 0; m < WW_LEN(names); m++) {
        ww_model_close(models[m]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(factors_are_those_of_the_sum),
        cmocka_unit_test(others_have_none),
        cmocka_unit_test(a_lack_of_memory_is_told_as_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
