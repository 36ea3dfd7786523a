/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/nnls.h"

#include <math.h>
#include <string.h>

#define MAX_K (WW_LINEAGE_MAX_SOURCES + 2)
#define FLAT 1e-12 /* a gradient below this share of the largest right side is none */

struct active {
    unsigned index[MAX_K];
    unsigned n;
    double factor[MAX_K * MAX_K]; /* Cholesky, lower */
};

static void gather(const bool *set, unsigned k, struct active *a)
{
    a->n = 0;
    for (unsigned i = 0; i < k; i++) {
        if (set[i]) {
            a->index[a->n++] = i;
        }
    }
}

/* False when a pivot is lost in rounding: columns that depend on each other. */
static bool factorise(const double *xx, unsigned k_row, struct active *a)
{
    for (unsigned i = 0; i < a->n; i++) {
        const double *row = xx + (size_t)a->index[i] * k_row;
        for (unsigned j = 0; j <= i; j++) {
            double sum = row[a->index[j]];
            for (unsigned m = 0; m < j; m++) {
                sum -= a->factor[i * MAX_K + m] * a->factor[j * MAX_K + m];
            }
            if (i != j) {
                a->factor[i * MAX_K + j] = sum / a->factor[j * MAX_K + j];
            } else if (sum > FLAT * row[a->index[i]]) {
                a->factor[i * MAX_K + i] = sqrt(sum);
            } else {
                return false;
            }
        }
    }
    return true;
}

static void substitute(const struct active *a, double *b)
{
    for (unsigned i = 0; i < a->n; i++) {
        for (unsigned m = 0; m < i; m++) {
            b[i] -= a->factor[i * MAX_K + m] * b[m];
        }
        b[i] /= a->factor[i * MAX_K + i];
    }
    for (unsigned i = a->n; i-- > 0;) {
        for (unsigned m = i + 1; m < a->n; m++) {
            b[i] -= a->factor[m * MAX_K + i] * b[m];
        }
        b[i] /= a->factor[i * MAX_K + i];
    }
}

static double gradient(const double *xx, unsigned k_row, const double *xy, unsigned k,
                       const double *a, unsigned j)
{
    double g = xy[j];

    for (unsigned i = 0; i < k; i++) {
        g -= xx[(size_t)j * k_row + i] * a[i];
    }
    return g;
}

/* Move from a towards the solution on the set, dropping what would turn negative. False
 * when the set is singular. */
static bool settle(const double *xx, unsigned k_row, const double *xy, unsigned k,
                   bool *set, double *a)
{
    struct active act;
    double b[MAX_K];

    for (;;) {
        double step = 1;
        unsigned first = k;
        gather(set, k, &act);
        if (!factorise(xx, k_row, &act)) {
            return false;
        }
        for (unsigned i = 0; i < act.n; i++) {
            b[i] = xy[act.index[i]];
        }
        substitute(&act, b);
        for (unsigned i = 0; i < act.n; i++) {
            const double from = a[act.index[i]];
            if (b[i] <= 0 && from / (from - b[i]) < step) {
                step = from / (from - b[i]);
                first = act.index[i];
            }
        }
        for (unsigned i = 0; i < act.n; i++) {
            a[act.index[i]] += step * (b[i] - a[act.index[i]]);
        }
        if (first == k) {
            return true;
        }
        a[first] = 0;
        set[first] = false;
    }
}

void ww_nnls(const double *xx, unsigned k_row, const double *xy, unsigned k,
             const bool *use, double *a)
{
    bool set[MAX_K] = {false};
    bool barred[MAX_K] = {false};
    double scale = 0;

    memset(a, 0, k * sizeof(*a));
    for (unsigned i = 0; i < k; i++) {
        barred[i] = !use[i];
        scale = fabs(xy[i]) > scale ? fabs(xy[i]) : scale;
    }
    for (unsigned round = 0; round < 3 * k; round++) {
        double best = FLAT * scale;
        unsigned which = k;
        for (unsigned j = 0; j < k; j++) {
            const double g = set[j] || barred[j] ? 0 : gradient(xx, k_row, xy, k, a, j);
            if (g > best) {
                best = g;
                which = j;
            }
        }
        if (which == k) {
            return;
        }
        set[which] = true;
        if (!settle(xx, k_row, xy, k, set, a)) {
            set[which] = false;
            barred[which] = true;
        }
    }
}

bool ww_inverse_diagonal(const double *xx, unsigned k_row, unsigned k, const bool *active,
                         double *out)
{
    struct active act;
    double b[MAX_K];

    memset(out, 0, k * sizeof(*out));
    gather(active, k, &act);
    if (!factorise(xx, k_row, &act)) {
        return false;
    }
    for (unsigned i = 0; i < act.n; i++) {
        memset(b, 0, sizeof(b));
        b[i] = 1;
        substitute(&act, b);
        out[act.index[i]] = b[i];
    }
    return true;
}

bool ww_inverse_row(const double *xx, unsigned k_row, unsigned k, const bool *active,
                    unsigned i, double *out)
{
    struct active act;
    double b[MAX_K] = {0};

    memset(out, 0, k * sizeof(*out));
    gather(active, k, &act);
    if (!active[i] || !factorise(xx, k_row, &act)) {
        return false;
    }
    for (unsigned m = 0; m < act.n; m++) {
        b[m] = act.index[m] == i;
    }
    substitute(&act, b);
    for (unsigned m = 0; m < act.n; m++) {
        out[act.index[m]] = b[m];
    }
    return true;
}
