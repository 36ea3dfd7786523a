/* SPDX-License-Identifier: Apache-2.0 */
/* Rotation and shares of a made-up suspect: a reader behind a norm, and a writer. */
#include "lineage/rotated.h"

#include <math.h>

#include "stored_model.h"
#include "ww_random.h"
#include "ww_test.h"

#define WIDTH 4
#define ROWS 300 /* of each matrix: more than one piece */
#define SHARE 0.6
#define GROWN 1.02 /* times as long as its gain says is a column that was not turned */

/* Three tensors one behind another: gains, reader [ROWS][WIDTH], writer [WIDTH][ROWS]. */
enum { GAINS, READER, WRITER, TENSORS };
#define AT_READER WIDTH
#define AT_WRITER (WIDTH + ROWS * WIDTH)
#define ALL (WIDTH + 2 * ROWS * WIDTH)

static const char header[] =
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[300,4],\"data_offsets\":[16,4816]},"
    "\"c\":{\"dtype\":\"F32\",\"shape\":[4,300],\"data_offsets\":[4816,9616]}}";

static const struct ww_depths in_place = {0};

struct family {
    float of[3][ALL]; /* suspect, base, source */
    char *folders[3];
    struct ww_model *models[3];
    double turn[WIDTH * WIDTH]; /* x' = turn x */
    struct ww_rotation rotation;
    struct ww_stream_part parts[TENSORS];
    double *gains[TENSORS];
    double base_gains[WIDTH];
    double r[WIDTH * WIDTH];
};

static void store(struct family *f, unsigned m)
{
    f->models[m] = stored_model(header, f->of[m], sizeof(f->of[m]), &f->folders[m]);
}

/* x by (turn x), with gains before. */
static void turn(const struct family *f, const double *gains, const float *x,
                 size_t stride, float *out)
{
    for (size_t i = 0; i < WIDTH; i++) {
        double sum = 0;
        for (size_t j = 0; j < WIDTH; j++) {
            const double gain = gains ? gains[j] : 1;
            sum += f->turn[i * WIDTH + j] * gain * (double)x[j * stride];
        }
        out[i * stride] = (float)sum;
    }
}

/* A rotation in the plane of the first two axes upon one of the last two. */
static void rotation_by(double angle, double *out)
{
    const double c = cos(angle);
    const double s = sin(angle);
    const double r[WIDTH * WIDTH] = {c, -s, 0, 0, s, c, 0, 0, 0, 0, c, s, 0, 0, -s, c};

    memcpy(out, r, sizeof(r));
}

static float draw(uint64_t *seed)
{
    return (float)(fx_random(seed) % 10001) / 10000.0F - 0.5F;
}

static void make(struct family *f, bool relative, double angle)
{
    float sum[ALL];
    double gains[WIDTH];
    uint64_t seed = 5;

    for (size_t i = 0; i < ALL; i++) {
        const float base = draw(&seed) + (i < WIDTH ? 1.0F : 0.0F);
        const float moved = 0.1F * draw(&seed);
        f->of[1][i] = base;
        f->of[2][i] = base + moved;
        sum[i] = relative ? base + (float)SHARE * moved : draw(&seed);
    }
    rotation_by(angle, f->turn);
    for (size_t i = 0; i < WIDTH; i++) {
        gains[i] = (double)sum[i] * (angle == 0 && i == 1 ? GROWN : 1);
        f->of[0][i] = 1;
        f->base_gains[i] = (double)f->of[1][i];
    }
    for (size_t i = 0; i < ROWS; i++) {
        const size_t reader = AT_READER + i * WIDTH;
        turn(f, gains, sum + reader, 1, f->of[0] + reader);
        turn(f, NULL, sum + AT_WRITER + i, ROWS, f->of[0] + AT_WRITER + i);
    }
    for (unsigned m = 0; m < 3; m++) {
        store(f, m);
    }
}

/* What the base alone would give: not far from the rotation. */
static void start(struct family *f)
{
    rotation_by(0.72, f->r);
    f->gains[GAINS] = f->base_gains;
    f->parts[GAINS] = (struct ww_stream_part){.on = true, .is_gain = true};
    f->parts[READER] =
        (struct ww_stream_part){.on = true, .axis = 1, .gains = f->base_gains};
    f->parts[WRITER] = (struct ww_stream_part){.on = true};
    f->rotation = (struct ww_rotation){.n = WIDTH,
                                       .r = f->r,
                                       .parts = f->parts,
                                       .gains = f->gains,
                                       .n_tensors = TENSORS};
}

static void end(struct family *f)
{
    for (unsigned m = 0; m < 3; m++) {
        ww_model_close(f->models[m]);
        ww_test_rmdir(f->folders[m]);
    }
}

static void rotation_and_gains_of_a_sum_are_found(void **state)
{
    struct family *f = test_calloc(1, sizeof(*f));
    struct ww_error err = {0};
    bool related = false;
    (void)state;

    make(f, true, 0.7);
    start(f);
    OK(ww_rotated_fit(f->models, 3, &in_place, NULL, &f->rotation, &related, &err));
    assert_true(related);
    for (size_t i = 0; i < WIDTH * WIDTH; i++) {
        assert_true(fabs(f->r[i] - f->turn[i]) < 1e-5);
    }
    for (size_t i = 0; i < WIDTH; i++) {
        const double base = (double)f->of[1][i];
        const double moved = (double)f->of[2][i] - base;
        assert_true(fabs(f->base_gains[i] - base - SHARE * moved) < 1e-5);
    }
    end(f);
    test_free(f);
}

static int stop(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (void)payload;
    (void)phase;
    (void)done;
    (void)total;
    return 1;
}

static void who_waits_for_a_rotation_can_end_it(void **state)
{
    const struct ww_run_options run = {.progress = stop};
    struct family *f = test_calloc(1, sizeof(*f));
    struct ww_error err = {0};
    bool related = false;
    (void)state;

    make(f, true, 0.7);
    start(f);
    FAILS(ww_rotated_fit(f->models, 3, &in_place, &run, &f->rotation, &related, &err),
          WW_E_CANCELLED);
    end(f);
    test_free(f);
}

static void a_stranger_is_none(void **state)
{
    struct family *f = test_calloc(1, sizeof(*f));
    struct ww_error err = {0};
    bool related = true;
    (void)state;

    make(f, false, 0.7);
    start(f);
    OK(ww_rotated_fit(f->models, 3, &in_place, NULL, &f->rotation, &related, &err));
    assert_false(related);
    end(f);
    test_free(f);
}

/* A gain that was rounded is told by its column. */
static void a_stream_that_was_not_turned_stays(void **state)
{
    struct family *f = test_calloc(1, sizeof(*f));
    struct ww_error err = {0};
    bool still = false;
    (void)state;

    make(f, true, 0);
    start(f);
    rotation_by(0.01, f->r);
    OK(ww_rotated_still(f->models, 3, NULL, &f->rotation, &still, &err));
    assert_true(still);
    for (size_t i = 0; i < WIDTH * WIDTH; i++) {
        assert_true(f->r[i] == (i % (WIDTH + 1) == 0));
    }
    for (size_t i = 0; i < WIDTH; i++) {
        const double base = (double)f->of[1][i];
        const double moved = (double)f->of[2][i] - base;
        const double grown = i == 1 ? GROWN : 1;
        assert_true(fabs(f->base_gains[i] / grown - base - SHARE * moved) < 1e-5);
    }
    end(f);
    test_free(f);
}

static void a_stream_that_was_turned_is_not_still(void **state)
{
    struct family *f = test_calloc(1, sizeof(*f));
    struct ww_error err = {0};
    bool still = true;
    (void)state;

    make(f, true, 0.3);
    start(f);
    rotation_by(0.3, f->r);
    OK(ww_rotated_still(f->models, 3, NULL, &f->rotation, &still, &err));
    assert_false(still);
    for (size_t i = 0; i < WIDTH * WIDTH; i++) {
        assert_true(f->r[i] == f->turn[i]);
    }
    end(f);
    test_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotation_and_gains_of_a_sum_are_found),
        cmocka_unit_test(who_waits_for_a_rotation_can_end_it),
        cmocka_unit_test(a_stranger_is_none),
        cmocka_unit_test(a_stream_that_was_not_turned_stays),
        cmocka_unit_test(a_stream_that_was_turned_is_not_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
