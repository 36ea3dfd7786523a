/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices, phases and the functions behind them: bit for bit as an independent program
 * computes them from the format's page, and as orthogonal as they must be. */
#include "lock_fixture.h"

#include "json/json.h"
#include "lock/dense_draw.h"
#include "util/fs.h"
#include "util/str.h"

static struct ww_json *vectors(void)
{
    struct ww_error err = {0};
    struct ww_json *json = NULL;
    struct ww_buf text;
    ww_buf_init(&text, 1 << 20);
    OK(ww_file_read(WW_VECTORS "/lock/dense.json", &text, &err));
    OK(ww_json_parse(text.data, text.len, &ww_json_limits_small, &json, &err));
    ww_buf_release(&text);
    return json;
}

static double number_of(const struct ww_jnode *node)
{
    const char *hex = NULL;
    uint8_t bytes[8];
    uint64_t bits = 0;
    double value = 0;
    assert_true(ww_jstr(node, &hex) && ww_unhex(bytes, 8, hex, strlen(hex)));
    for (int i = 0; i < 8; i++) {
        bits = bits << 8 | bytes[i];
    }
    memcpy(&value, &bits, 8);
    return value;
}

static void same_bits(double got, double want)
{
    if (memcmp(&got, &want, sizeof(got)) != 0) {
        fail_msg("%.17g, want %.17g", got, want);
    }
}

static struct ww_secret *root(void)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    struct ww_secret *prk = NULL;
    OK(ww_secret_new(32, &secret, &err));
    for (unsigned i = 0; i < 32; i++) {
        ww_secret_open(secret)[i] = (uint8_t)(i + 1);
        ww_secret_close(secret);
    }
    OK(ww_draw_root(secret, &prk, &err));
    ww_secret_free(secret);
    return prk;
}

static size_t draw_row(struct ww_draw *draw, const char *what, uint32_t n, double c,
                       double *out)
{
    struct ww_error err = {0};
    const size_t size = (size_t)n * n;
    if (strcmp(what, "phases") == 0) {
        ww_draw_phases(draw, out, 2 * n);
        return 4 * (size_t)n;
    }
    if (strcmp(what, "haar") == 0) {
        OK(ww_draw_haar(draw, out, n, &err));
        OK(ww_draw_haar(draw, out + size, n, &err));
    } else {
        OK(ww_draw_conditioned(draw, c, out, out + size, n, &err));
    }
    return 2 * size;
}

static void draws_are_the_frozen_ones(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_json *json = vectors();
    struct ww_secret *prk = root();
    unsigned rows = 0;
    for (const struct ww_jnode *row = ww_jfirst(ww_jget(ww_json_root(json), "rows")); row;
         row = ww_jnext(row), rows++) {
        const struct ww_jnode *values = ww_jget(row, "values");
        const struct ww_jnode *c = ww_jget(row, "c");
        const char *what = NULL, *kind = NULL, *owner = NULL;
        uint64_t n = 0;
        struct ww_draw draw = {0};
        double *out = calloc(1024, sizeof(*out));
        size_t i = 0;
        assert_true(ww_jstr(ww_jget(row, "what"), &what) &&
                    ww_jstr(ww_jget(row, "kind"), &kind) &&
                    ww_jstr(ww_jget(row, "owner"), &owner) &&
                    ww_ju64(ww_jget(row, "b"), &n));
        OK(ww_draw_open(&draw, prk, kind, owner, 2, n, &err));
        size_t made = draw_row(&draw, what, (uint32_t)n, c ? number_of(c) : 0, out);
        ww_draw_close(&draw);
        assert_int_equal(made, ww_jsize(values));
        for (const struct ww_jnode *v = ww_jfirst(values); v; v = ww_jnext(v), i++) {
            same_bits(out[i], number_of(v));
        }
        free(out);
    }
    assert_int_equal(rows, 7);
    ww_secret_free(prk);
    ww_json_free(json);
}

static void functions_are_the_frozen_ones_and_near_libm(void **state)
{
    (void)state;
    struct ww_json *json = vectors();
    for (int which = 0; which < 2; which++) {
        const struct ww_jnode *list = ww_jget(ww_json_root(json), which ? "exp" : "log");
        assert_true(ww_jsize(list) >= 5);
        for (const struct ww_jnode *row = ww_jfirst(list); row; row = ww_jnext(row)) {
            const double x = number_of(ww_jfirst(row));
            const double got = which ? ww_exact_exp(x) : ww_exact_log(x);
            same_bits(got, number_of(ww_jnext(ww_jfirst(row))));
            NEAR(got, which ? exp(x) : log(x), 4.5e-16 * (1 + fabs(got)));
        }
    }
    ww_json_free(json);
}

/* Deviation of a b^T from the identity. */
static double off_identity(const double *a, const double *b, uint32_t n)
{
    double worst = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < n; j++) {
            double sum = i == j ? -1 : 0;
            for (uint32_t k = 0; k < n; k++) {
                sum += a[i * n + k] * b[j * n + k];
            }
            worst = fmax(worst, fabs(sum));
        }
    }
    return worst;
}

static double norm2(const double *a, uint32_t n)
{
    double x[256], y[256], length = 0;
    for (uint32_t i = 0; i < n; i++) {
        x[i] = 1 + 0.01 * i;
    }
    for (int step = 0; step < 300; step++) {
        length = 0;
        for (uint32_t i = 0; i < n; i++) {
            y[i] = 0;
            for (uint32_t j = 0; j < n; j++) {
                y[i] += a[i * n + j] * x[j];
            }
        }
        for (uint32_t j = 0; j < n; j++) {
            x[j] = 0;
            for (uint32_t i = 0; i < n; i++) {
                x[j] += a[i * n + j] * y[i];
            }
            length += x[j] * x[j];
        }
        for (uint32_t j = 0; j < n; j++) {
            x[j] /= sqrt(length);
        }
    }
    return sqrt(sqrt(length));
}

static void matrices_are_orthogonal_or_well_conditioned(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_secret *prk = root();
    static const uint32_t sizes[] = {2, 3, 64, 128};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        const uint32_t n = sizes[i];
        struct ww_draw draw = {0};
        double *m = calloc((size_t)n * n, sizeof(*m));
        double *inverse_t = calloc((size_t)n * n, sizeof(*inverse_t));
        OK(ww_draw_open(&draw, prk, "test", "x", 1, n, &err));
        OK(ww_draw_haar(&draw, m, n, &err));
        assert_true(off_identity(m, m, n) < 1e-14);
        OK(ww_draw_conditioned(&draw, 4, m, inverse_t, n, &err));
        assert_true(off_identity(m, inverse_t, n) < 1e-13);
        const double condition = norm2(m, n) * norm2(inverse_t, n);
        assert_true(condition <= 4 * (1 + 1e-12));
        assert_true(n < 64 || condition > 3);
        ww_draw_close(&draw);
        free(m);
        free(inverse_t);
    }
    ww_secret_free(prk);
}

/* The entries of a Haar matrix have mean 0 and mean square 1/n, also on the diagonal and
 * in the first row, where missing signs would show. */
static void haar_has_no_preferred_sign(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_secret *prk = root();
    struct ww_draw draw = {0};
    enum { n = 4, rounds = 4000 };
    double mean[n * n] = {0}, square[n * n] = {0}, m[n * n];
    OK(ww_draw_open(&draw, prk, "test", "haar", 1, n, &err));
    for (int r = 0; r < rounds; r++) {
        OK(ww_draw_haar(&draw, m, n, &err));
        for (int i = 0; i < n * n; i++) {
            mean[i] += m[i] / rounds;
            square[i] += m[i] * m[i] / rounds;
        }
    }
    for (int i = 0; i < n * n; i++) {
        NEAR(mean[i], 0, 0.04); /* 5 standard errors */
        NEAR(square[i], 0.25, 0.02);
    }
    ww_draw_close(&draw);
    ww_secret_free(prk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_the_frozen_ones),
        cmocka_unit_test(functions_are_the_frozen_ones_and_near_libm),
        cmocka_unit_test(matrices_are_orthogonal_or_well_conditioned),
        cmocka_unit_test(haar_has_no_preferred_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
