/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IEEE fixes + - * / and sqrt; libm's functions differ between versions and processors,
 * and a merge must not. Argument reduction after Cody and Waite, then plain series: the
 * arguments left are small enough that the first dropped term is below the last bit.
 */
#include "la/fixmath.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "util/clones.h"

#define PI 0x1.921fb54442d18p+1
#define HALF_PI 0x1.921fb54442d18p+0
#define HALF_PI_1 0x1.921fb54400000p+0 /* its first 33 bits, the next 33, the rest */
#define HALF_PI_2 0x1.0b4611a600000p-34
#define HALF_PI_3 0x1.3198a2e037073p-69
#define LN2_1 0x1.62e42fee00000p-1
#define LN2_2 0x1.a39ef35793c76p-33
#define LN2 0x1.62e42fefa39efp-1
#define SQRT_HALF 0x1.6a09e667f3bcdp-1

static int64_t nearest(double x)
{
    return (int64_t)(x < 0 ? x - 0.5 : x + 0.5);
}

/* 1 / first! - r2 / (first + 2)! + ... by Horner; both series go to the 19th power. */
static double alternating(double r2, int first)
{
    double sum = 1;
    for (int k = 19 - (first == 0); k > first; k -= 2) {
        sum = 1 - r2 / (double)(k * (k - 1)) * sum;
    }
    return sum;
}

static double sin_quarter(double x, int64_t turns)
{
    int64_t k = nearest(x / HALF_PI);
    double q = (double)k;
    double r = ((x - q * HALF_PI_1) - q * HALF_PI_2) - q * HALF_PI_3;
    int64_t quadrant = (k + turns) & 3;
    double r2 = r * r;
    double v = quadrant & 1 ? alternating(r2, 0) : r * alternating(r2, 1);
    return quadrant & 2 ? -v : v;
}

double ww_fix_sin(double x)
{
    return sin_quarter(x, 0);
}

double ww_fix_cos(double x)
{
    return sin_quarter(x, 1);
}

/* For q in [0, 1]: the angle is halved twice, which leaves at most tan(pi/16). */
static double atan_series(double q)
{
    q = q / (1 + sqrt(1 + q * q));
    q = q / (1 + sqrt(1 + q * q));
    double q2 = q * q;
    double sum = 0;
    for (int k = 25; k >= 1; k -= 2) {
        sum = 1 / (double)k - q2 * sum;
    }
    return 4 * (q * sum);
}

double ww_fix_acos(double x)
{
    double up = sqrt(1 - x);
    double down = sqrt(1 + x);
    if (up <= down) {
        return up == 0 ? 0 : 2 * atan_series(up / down);
    }
    return PI - 2 * atan_series(down / up);
}

static double power_of_two(int64_t e)
{
    uint64_t bits = (uint64_t)(e + 1023) << 52;
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

/* exp(r) - 1 for abs(r) up to 0.35 */
static double expm1_series(double r)
{
    double sum = 1;
    for (int k = 15; k >= 2; k--) {
        sum = 1 + r / (double)k * sum;
    }
    return r * sum;
}

double ww_fix_exp(double x)
{
    if (x < -745) {
        return 0;
    }
    if (x > 709.8) {
        return (double)INFINITY;
    }
    int64_t k = nearest(x / LN2);
    double q = (double)k;
    double v = 1 + expm1_series((x - q * LN2_1) - q * LN2_2);
    int64_t half = k / 2; /* in two steps: 2^k alone may leave the range */
    return v * power_of_two(half) * power_of_two(k - half);
}

double ww_fix_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    int64_t e = (int64_t)(bits >> 52) - 1022;
    bits = (bits & 0x000fffffffffffffU) | (uint64_t)1022 << 52;
    double m;
    memcpy(&m, &bits, sizeof(m)); /* in [0.5, 1) */
    if (m < SQRT_HALF) {
        m = 2 * m;
        e--;
    }
    double s = (m - 1) / (m + 1);
    double s2 = s * s;
    double sum = 0;
    for (int k = 23; k >= 1; k -= 2) {
        sum = 1 / (double)k + s2 * sum;
    }
    double q = (double)e;
    return q * LN2_1 + (q * LN2_2 + 2 * (s * sum));
}

double ww_fix_tanh(double x)
{
    double a = x < 0 ? -x : x;
    if (a > 20) {
        return x < 0 ? -1 : 1;
    }
    double e = a < 0.17 ? expm1_series(2 * a) : ww_fix_exp(2 * a) - 1;
    double t = e / (e + 2);
    return x < 0 ? -t : t;
}

/* Of many: both sides of every choice are computed, so that loops become vector code. An
 * argument of 2^k is clamped to where 2^k does not matter, so 32 bits hold k. */
static inline double part_of_exp(double x, double *series, int32_t *power)
{
    const double at = x / LN2;
    const int32_t k = (int32_t)(x < 0 ? at - 0.5 : at + 0.5);
    const double q = (double)k;
    const double r = (x - q * LN2_1) - q * LN2_2;
    double sum = 1;
    for (int i = 15; i >= 2; i--) {
        sum = 1 + r / (double)i * sum;
    }
    *series = r * sum;
    *power = k;
    return 1 + *series;
}

static inline double scaled_by(double v, int32_t k)
{
    const int32_t half = k / 2;
    return v * power_of_two(half) * power_of_two(k - half);
}

WW_CLONES void ww_fix_exp_n(const double *x, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        const double v = x[i];
        const double low = v < -745 ? -745 : v;
        const double inside = low > 709.8 ? 709.8 : low;
        double series;
        int32_t k;
        const double e = part_of_exp(inside, &series, &k);
        double result = scaled_by(e, k);
        result = v < -745 ? 0 : result;
        out[i] = v > 709.8 ? (double)INFINITY : result;
    }
}

/* Below 0.17 the power of two is 0 and the argument of the series the same. */
WW_CLONES void ww_fix_tanh_n(const double *x, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        const double v = x[i];
        const double a = v < 0 ? -v : v;
        const double inside = a > 20 ? 20 : a;
        double series;
        int32_t k;
        const double whole = part_of_exp(2 * inside, &series, &k);
        const double e = a < 0.17 ? series : scaled_by(whole, k) - 1;
        double t = e / (e + 2);
        t = a > 20 ? 1 : t;
        out[i] = v < 0 ? -t : t;
    }
}
