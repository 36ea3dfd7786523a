/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_pursuit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lineage/nnls.h"
#include "lineage/slices.h"
#include "util/alloc.h"
#include "util/clones.h"
#include "util/fail.h"
#include "util/order.h"

#define LANES 8
/* Below this the difference is what storing sketches in 32 bits leaves. */
#define SAME 1e-12

double ww_family_wise_z(double chance, size_t n)
{
    const double tail = chance / (n > 0 ? (double)n : 1);
    double low = 0;
    double high = 40;

    for (int i = 0; i < 80; i++) {
        const double mid = (low + high) / 2;
        if (erfc(mid / sqrt(2.0)) / 2 > tail) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return high;
}

/* <r, x - root> and |x - root|^2 in eight lanes: a fixed order that a compiler can keep
 * in vector registers. */
WW_CLONES static void products(const double *r, const float *x, const float *root,
                               size_t m, double *with, double *square)
{
    double a[LANES] = {0};
    double b[LANES] = {0};

    for (size_t i = 0; i + LANES <= m; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            const double d = (double)x[i + l] - (double)root[i + l];
            a[l] += r[i + l] * d;
            b[l] += d * d;
        }
    }
    *with = ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
    *square = ((b[0] + b[1]) + (b[2] + b[3])) + ((b[4] + b[5]) + (b[6] + b[7]));
}

WW_CLONES static double cosine(const float *a, const float *b, size_t m)
{
    double x[LANES] = {0};
    double y[LANES] = {0};
    double xy[LANES] = {0};
    double sx = 0;
    double sy = 0;
    double sxy = 0;

    for (size_t i = 0; i + LANES <= m; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            const double p = (double)a[i + l];
            const double q = (double)b[i + l];
            x[l] += p * p;
            y[l] += q * q;
            xy[l] += p * q;
        }
    }
    for (size_t l = 0; l < LANES; l++) {
        sx += x[l];
        sy += y[l];
        sxy += xy[l];
    }
    return sx > 0 && sy > 0 ? sxy / sqrt(sx * sy) : 0;
}

double ww_sketch_cosine(const float *a, const float *b, size_t m)
{
    return cosine(a, b, m);
}

/* The sum of all members in use, less that many roots when there is one. */
struct total {
    const struct ww_pursuit_problem *p;
    double *out; /* [m] */
};

WW_CLONES static void add_difference(const float *x, const float *root, size_t n,
                                     double *out)
{
    for (size_t j = 0; j < n; j++) {
        out[j] += (double)x[j] - (double)root[j];
    }
}

WW_CLONES static void add_row(const float *x, size_t n, double *out)
{
    for (size_t j = 0; j < n; j++) {
        out[j] += (double)x[j];
    }
}

static void add_members(void *payload, size_t from, size_t to)
{
    const struct total *t = payload;
    const struct ww_pursuit_problem *p = t->p;

    for (size_t i = 0; i < p->n; i++) {
        const float *x = p->sketches + i * p->m + from;
        if (p->use[i] && p->root) {
            add_difference(x, p->root + from, to - from, t->out + from);
        } else if (p->use[i]) {
            add_row(x, to - from, t->out + from);
        }
    }
}

struct centre {
    const struct ww_pursuit_problem *p;
    const double *mean;
    double *squares; /* [n] */
};

static void measure(void *payload, size_t from, size_t to)
{
    const struct centre *c = payload;
    const size_t m = c->p->m;

    for (size_t i = from; i < to; i++) {
        const float *x = c->p->sketches + i * m;
        double d[LANES] = {0};
        for (size_t j = 0; c->p->use[i] && j + LANES <= m; j += LANES) {
            for (size_t l = 0; l < LANES; l++) {
                const double off = (double)x[j + l] - c->mean[j + l];
                d[l] += off * off;
            }
        }
        c->squares[i] = 0;
        for (size_t l = 0; l < LANES; l++) {
            c->squares[i] += d[l];
        }
    }
}

size_t ww_sketch_centre(const struct ww_pursuit_problem *problem, double *room)
{
    struct ww_pursuit_problem p = *problem;
    struct total total = {&p, room};
    struct centre centre = {&p, room, room + p.m};
    size_t best = p.n;
    size_t count = 0;

    p.root = NULL;
    memset(room, 0, p.m * sizeof(*room));
    for (size_t i = 0; i < p.n; i++) {
        count += p.use[i];
    }
    ww_slices(p.threads, p.m, LANES, add_members, &total);
    for (size_t j = 0; j < p.m && count > 0; j++) {
        room[j] /= (double)count;
    }
    ww_slices(p.threads, p.n, 1, measure, &centre);
    for (size_t i = 0; i < p.n; i++) {
        if (p.use[i] && (best == p.n || centre.squares[i] < centre.squares[best])) {
            best = i;
        }
    }
    return best;
}

struct state {
    const struct ww_pursuit_problem *p;
    double *y;        /* suspect - root */
    double *r;        /* what the picks leave */
    double *columns;  /* [WW_PURSUIT_MOST][m], picks - root */
    bool *taken;      /* [n] */
    double *likeness; /* [n], with what is left */
    double *first;    /* [n], before any pick; the caller's */
    double *squares;  /* [n], of members - root; below 0: not known yet */
    double *sorted;   /* [n] */
    size_t members[WW_PURSUIT_MOST];
    double xx[WW_PURSUIT_MOST * WW_PURSUIT_MOST];
    double xy[WW_PURSUIT_MOST];
    double share[WW_PURSUIT_MOST];
    bool active[WW_PURSUIT_MOST];
    unsigned k;
    double y2;
    double r2;
    double *common; /* [m], the mean of the members, of length 1; zeros: not taken out */
    double y_common;
    double column_common[WW_PURSUIT_MOST];
    bool apart; /* common is taken out */
};

static double dot(const double *a, const double *b, size_t m)
{
    double s = 0;
    for (size_t i = 0; i < m; i++) {
        s += a[i] * b[i];
    }
    return s;
}

/* Take the common direction out of v; how much there was. */
static double take_apart(const struct state *s, double *v)
{
    const double along = s->apart ? dot(v, s->common, s->p->m) : 0;

    for (size_t i = 0; i < s->p->m && s->apart; i++) {
        v[i] -= along * s->common[i];
    }
    return along;
}

/*
 * What siblings have in common says nothing about which of them went in, but it
 * correlates with every one of them when a source is not in the catalogue. A blend stays
 * the same blend of the same members in the space beside that direction.
 */
static void find_common(struct state *s)
{
    const size_t m = s->p->m;
    struct total total = {s->p, s->common};
    size_t n = 0;
    double length = 0;

    for (size_t i = 0; i < s->p->n; i++) {
        n += s->p->use[i];
    }
    if (n >= WW_PURSUIT_CONTROLS) {
        ww_slices(s->p->threads, m, LANES, add_members, &total);
    }
    length = sqrt(dot(s->common, s->common, m));
    s->apart = n >= WW_PURSUIT_CONTROLS && length > 0;
    for (size_t j = 0; j < m; j++) {
        s->common[j] = s->apart ? s->common[j] / length : 0;
    }
}

static void add_column(struct state *s, size_t member)
{
    const size_t m = s->p->m;
    double *column = s->columns + s->k * m;

    for (size_t i = 0; i < m; i++) {
        column[i] = (double)s->p->sketches[member * m + i] - (double)s->p->root[i];
    }
    s->column_common[s->k] = take_apart(s, column);
    for (unsigned j = 0; j <= s->k; j++) {
        const double v = dot(column, s->columns + j * m, m);
        s->xx[s->k * WW_PURSUIT_MOST + j] = v;
        s->xx[j * WW_PURSUIT_MOST + s->k] = v;
    }
    s->xy[s->k] = dot(column, s->y, m);
    s->members[s->k] = member;
    s->active[s->k] = true;
    s->taken[member] = true;
    s->k++;
}

static void fit(struct state *s)
{
    const size_t m = s->p->m;

    ww_nnls(s->xx, WW_PURSUIT_MOST, s->xy, s->k, s->active, s->share);
    memcpy(s->r, s->y, m * sizeof(*s->r));
    for (unsigned j = 0; j < s->k; j++) {
        for (size_t i = 0; s->share[j] > 0 && i < m; i++) {
            s->r[i] -= s->share[j] * s->columns[j * m + i];
        }
    }
    s->r2 = dot(s->r, s->r, m);
}

/* <r, x - root> alone, when the squares are known. */
WW_CLONES static double product(const double *r, const float *x, const float *root,
                                size_t m)
{
    double a[LANES] = {0};

    for (size_t i = 0; i + LANES <= m; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            a[l] += r[i + l] * ((double)x[i + l] - (double)root[i + l]);
        }
    }
    return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
}

/* Likeness of every member still free to what is left; -2 for the others. */
static void correlate_slice(void *payload, size_t from, size_t to)
{
    struct state *s = payload;
    const struct ww_pursuit_problem *p = s->p;

    for (size_t i = from; i < to; i++) {
        const float *x = p->sketches + i * p->m;
        double with = 0;
        s->likeness[i] = -2;
        if (!p->use[i] || s->taken[i]) {
            continue;
        }
        if (s->squares[i] < 0) {
            products(s->r, x, p->root, p->m, &with, &s->squares[i]);
        } else {
            with = product(s->r, x, p->root, p->m);
        }
        /* r is beside the common direction; x need not be. */
        if (s->squares[i] > 0 && s->r2 > 0) {
            s->likeness[i] = with / sqrt(s->squares[i] * s->r2);
        }
    }
}

static size_t correlate(struct state *s)
{
    size_t n = 0;

    ww_slices(s->p->threads, s->p->n, 1, correlate_slice, s);
    for (size_t i = 0; i < s->p->n; i++) {
        if (s->likeness[i] >= -1.5) {
            s->sorted[n++] = s->likeness[i];
        }
    }
    return n;
}

/* Median and spread of the members, sources being few among them. */
static double empirical_threshold(double *sorted, size_t n, double z)
{
    double median = 0;

    qsort(sorted, n, sizeof(*sorted), ww_order_doubles);
    median = sorted[n / 2];
    for (size_t i = 0; i < n; i++) {
        sorted[i] = fabs(sorted[i] - median);
    }
    qsort(sorted, n, sizeof(*sorted), ww_order_doubles);
    return median + z * 1.4826 * sorted[n / 2];
}

/* The member most like what is left, if it reaches the threshold. */
static bool pick(struct state *s, double z, struct ww_pursuit *out)
{
    const double own = s->p->elements > 0 ? 1 / s->p->elements : 0;
    double threshold = z * sqrt(1 / (double)s->p->m + own);
    size_t member = s->p->n;
    const size_t n = correlate(s);

    if (n >= WW_PURSUIT_CONTROLS) {
        const double seen = empirical_threshold(s->sorted, n, z);
        threshold = seen > threshold ? seen : threshold;
    }
    if (s->k == 0) {
        memcpy(s->first, s->likeness, s->p->n * sizeof(*s->first));
        out->threshold = threshold;
        out->calibrated = n >= WW_PURSUIT_CONTROLS;
    }
    for (size_t i = 0; i < s->p->n; i++) {
        if (s->likeness[i] >= threshold &&
            (member == s->p->n || s->likeness[i] > s->likeness[member])) {
            member = i;
        }
    }
    if (member < s->p->n) {
        add_column(s, member);
    }
    return member < s->p->n;
}

/* Error of each share if what is left were noise that sketching spreads evenly. */
static bool drop_weakest(struct state *s, double z_least, double z[WW_PURSUIT_MOST])
{
    double inverse[WW_PURSUIT_MOST] = {0};
    bool active[WW_PURSUIT_MOST] = {false};
    unsigned weakest = s->k;
    const double per_bucket = s->r2 / (double)s->p->m;

    for (unsigned j = 0; j < s->k; j++) {
        active[j] = s->active[j] && s->share[j] > 0;
        s->active[j] = active[j];
    }
    if (!ww_inverse_diagonal(s->xx, WW_PURSUIT_MOST, s->k, active, inverse)) {
        return false;
    }
    for (unsigned j = 0; j < s->k; j++) {
        z[j] = active[j] ? s->share[j] / sqrt(per_bucket * inverse[j] + 1e-300) : 0;
        if (active[j] && z[j] < z_least && (weakest == s->k || z[j] < z[weakest])) {
            weakest = j;
        }
    }
    if (weakest == s->k) {
        return false;
    }
    s->active[weakest] = false;
    return true;
}

static int larger_share_first(const void *a, const void *b)
{
    const struct ww_pursuit_pick *x = a;
    const struct ww_pursuit_pick *y = b;
    return (x->share < y->share) - (x->share > y->share);
}

static void tell(const struct state *s, const double z[WW_PURSUIT_MOST],
                 struct ww_pursuit *out)
{
    double common = s->y_common;

    for (unsigned j = 0; j < s->k; j++) {
        const double square = s->xx[j * WW_PURSUIT_MOST + j];
        if (!s->active[j] || s->share[j] <= 0) {
            continue;
        }
        common -= s->share[j] * s->column_common[j];
        /* Without this pick, share x column would be left as well. */
        const double norm2 = s->r2 + s->share[j] * s->share[j] * square;
        out->picks[out->n++] = (struct ww_pursuit_pick){
            s->members[j], s->share[j], s->share[j] * sqrt(square / norm2), z[j]};
    }
    qsort(out->picks, out->n, sizeof(*out->picks), larger_share_first);
    out->unexplained = (s->r2 + common * common) / s->y2;
}

static void pursue(struct state *s, struct ww_pursuit *out)
{
    const struct ww_pursuit_problem *p = s->p;
    const double z_least = ww_family_wise_z(WW_FIND_FALSE_ALARM, p->n);
    double z[WW_PURSUIT_MOST] = {0};
    double root2 = 0;

    for (size_t i = 0; i < p->m; i++) {
        s->y[i] = (double)p->suspect[i] - (double)p->root[i];
        root2 += (double)p->root[i] * (double)p->root[i];
    }
    s->y2 = dot(s->y, s->y, p->m);
    if (s->y2 <= SAME * root2) {
        out->unexplained = -1;
        return;
    }
    find_common(s);
    s->y_common = take_apart(s, s->y);
    memcpy(s->r, s->y, p->m * sizeof(*s->r));
    s->r2 = dot(s->r, s->r, p->m);
    while (s->k < WW_PURSUIT_MOST && s->r2 > SAME * root2 && pick(s, z_least, out)) {
        fit(s);
    }
    while (drop_weakest(s, z_least, z)) {
        fit(s);
    }
    tell(s, z, out);
}

enum ww_err ww_pursue(const struct ww_pursuit_problem *problem, double *likeness,
                      struct ww_pursuit *out, struct ww_error *err)
{
    struct state *s = ww_calloc(1, sizeof(*s));
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (s) {
        s->p = problem;
        s->first = likeness;
        s->y = ww_calloc(problem->m, sizeof(*s->y));
        s->r = ww_calloc(problem->m, sizeof(*s->r));
        s->columns = ww_calloc(WW_PURSUIT_MOST * problem->m, sizeof(*s->columns));
        s->taken = ww_calloc(problem->n, sizeof(*s->taken));
        s->likeness = ww_calloc(problem->n, sizeof(*s->likeness));
        s->sorted = ww_calloc(problem->n, sizeof(*s->sorted));
        s->common = ww_calloc(problem->m, sizeof(*s->common));
        s->squares = ww_calloc(problem->n, sizeof(*s->squares));
    }
    if (!s || !s->y || !s->r || !s->columns || !s->taken || !s->likeness || !s->sorted ||
        !s->common || !s->squares) {
        rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for a search");
    } else {
        for (size_t i = 0; i < problem->n; i++) {
            s->squares[i] = -1;
        }
        pursue(s, out);
    }
    if (s) {
        ww_free(s->y);
        ww_free(s->r);
        ww_free(s->columns);
        ww_free(s->taken);
        ww_free(s->likeness);
        ww_free(s->sorted);
        ww_free(s->common);
        ww_free(s->squares);
    }
    ww_free(s);
    return rc;
}
