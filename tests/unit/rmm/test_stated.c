/* SPDX-License-Identifier: Apache-2.0 */
/* The error that a package states of a model is that of what comes back, also where some
 * chunks were shorter exactly.
 */
#include "rmm_fixture.h"

#include <math.h>

#include "model/convert.h"

enum { ROWS = 1200, COLUMNS = 1000, N = ROWS * COLUMNS }; /* more than a chunk */
#define IN_FIRST ((size_t)1 << 20)

static double uniform(uint64_t *seed)
{
    return ((double)(fx_random(seed) % 100000) - 50000) / 50000;
}

/* Of a change the first chunk's numbers are far too coarse to be rounded further; the
 * others are fine. */
static char *model(const struct fx *f, const char *name, double change)
{
    char *dir = fx_join(f->dir, name);
    double *numbers = calloc(N, sizeof(*numbers));
    uint8_t *bytes = calloc(N, 2);
    char header[200];
    uint64_t a = 3;
    uint64_t b = 4;
    assert_true(numbers && bytes);
    for (size_t i = 0; i < N; i++) {
        const bool coarse = i < IN_FIRST;
        numbers[i] = (coarse ? 1 : 0.001) * (1.5 + uniform(&a) / 2);
        numbers[i] += change * (coarse ? 0.1 : 0.0004) * uniform(&b);
    }
    ww_from_double(WW_DTYPE_BF16, numbers, bytes, N);
    snprintf(header, sizeof(header),
             "{\"w\":{\"dtype\":\"BF16\",\"shape\":[%d,%d],\"data_offsets\":[0,%d]}}",
             ROWS, COLUMNS, 2 * N);
    assert_int_equal(mkdir(dir, 0755), 0);
    fx_shard(dir, "model.safetensors", header, bytes, (size_t)2 * N);
    fx_write(dir, "config.json", "{\"model_type\":\"llama\"}", 22);
    free(numbers);
    free(bytes);
    return dir;
}

static double *numbers_of(const char *dir)
{
    double *out = calloc(N, sizeof(*out));
    struct ww_buf bytes;
    assert_non_null(out);
    fx_read(fx_name(dir, "/model.safetensors"), &bytes);
    ww_to_double(WW_DTYPE_BF16, bytes.data + bytes.len - (size_t)2 * N, out, N);
    ww_buf_release(&bytes);
    return out;
}

static double true_error(const char *base, const char *tune, const char *back)
{
    double *x = numbers_of(base);
    double *y = numbers_of(tune);
    double *z = numbers_of(back);
    double norm2 = 0;
    double error2 = 0;
    for (size_t i = 0; i < N; i++) {
        norm2 += (y[i] - x[i]) * (y[i] - x[i]);
        error2 += (y[i] - z[i]) * (y[i] - z[i]);
    }
    free(x);
    free(y);
    free(z);
    return sqrt(error2 / norm2);
}

static void the_stated_error_is_that_of_what_comes_back(void **state)
{
    static const double errors[] = {0.0005, 0.004, 0.3};
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    (void)state;
    char *base = model(f, "coarse", 0);
    char *tune = model(f, "tune", 1);
    const struct ww_pack_member members[] = {{"tune", tune, NULL, 0}};
    for (size_t i = 0; i < WW_LEN(errors); i++) {
        const struct ww_pack_options options = {
            .base = base, .error = errors[i], .run = {.threads = 2}};
        (void)unlink(f->pkg);
        OK(ww_pack_create(f->pkg, members, 1, &options, &report, &err));
        OK(fx_unpack(f, "tune", base, NULL, &err));
        const double want = true_error(base, tune, f->out);
        const double got = report.members[0].error;
        print_message("within %g: stated %g, true %g, %llu of order and %llu dense\n",
                      errors[i], got, want,
                      (unsigned long long)report.members[0].coded[WW_PACK_ORDER],
                      (unsigned long long)report.members[0].coded[WW_PACK_DENSE]);
        assert_true(got <= errors[i]);
        assert_true(fabs(got - want) <= 1e-6 * want + 1e-12);
        assert_true(i > 0 || report.members[0].coded[WW_PACK_ORDER] > IN_FIRST / 4);
        assert_true(report.members[0].coded[WW_PACK_DENSE] > 0);
        ww_pack_report_release(&report);
        char command[1200];
        snprintf(command, sizeof(command), "rm -r '%s'", f->out);
        assert_int_equal(system(command), 0);
    }
    free(base);
    free(tune);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stated_error_is_that_of_what_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
