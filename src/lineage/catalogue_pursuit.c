/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_pursuit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lineage/catalogue_threshold.h"
#include "lineage/nnls.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Below this the difference is what storing sketches in 32 bits leaves. */
#define SAME 1e-12
/* A difference that is no longer than this many times the noise says nothing. */
#define NOISE_ALONE 1.1

/* Products of all members' differences with one member's, which may be picked. */
struct probe {
    double *with; /* [n]; NULL: free */
    size_t member;
};
#define PROBES (WW_PURSUIT_MOST + WW_SCAN_AT_ONCE)

struct state {
    const struct ww_pursuit_problem *p;
    double *y;        /* suspect - root */
    double *r;        /* what the picks leave */
    double *room;     /* [m] */
    double *columns;  /* [WW_PURSUIT_MOST][m], picks - root */
    float *targets;   /* [WW_SCAN_AT_ONCE][m] */
    bool *taken;      /* [n] */
    double *likeness; /* [n], with what is left */
    double *first;    /* [n], before any pick; the caller's */
    double *with;     /* [n], products of members' differences with y */
    double *squares;  /* [n], of those differences */
    double *values;   /* [n] */
    struct probe probes[PROBES];
    unsigned of[WW_PURSUIT_MOST]; /* a pick's probe */
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

/* A suspect that was rounded in blocks differs from its root by its size as well. */
static void take_size(const struct state *s, double *v)
{
    if (s->p->noise > 0) {
        ww_sketch_beside(v, s->p->root, s->p->m);
    }
}

/* Take the common direction out of v; how much there was. */
static double take_apart(const struct state *s, double *v)
{
    const double along = s->apart ? ww_sketch_dot(v, s->common, s->p->m) : 0;

    for (size_t i = 0; i < s->p->m && s->apart; i++) {
        v[i] -= along * s->common[i];
    }
    return along;
}

static struct ww_scan scan_of(const struct state *s)
{
    return (struct ww_scan){.sketches = s->p->sketches,
                            .use = s->p->use,
                            .root = s->p->root,
                            .n = s->p->n,
                            .m = s->p->m,
                            .threads = s->p->threads};
}

/*
 * What siblings have in common says nothing about which of them went in, but it
 * correlates with every one of them when a source is not in the catalogue. A blend stays
 * the same blend of the same members in the space beside that direction.
 */
static void find_common(struct state *s)
{
    const size_t m = s->p->m;
    const struct ww_scan scan = scan_of(s);
    size_t n = 0;
    double length = 0;

    for (size_t i = 0; i < s->p->n; i++) {
        n += s->p->use[i];
    }
    if (n >= WW_PURSUIT_CONTROLS && s->p->sum) {
        for (size_t j = 0; j < m; j++) {
            s->common[j] = s->p->sum[j] - (double)n * (double)s->p->root[j];
        }
    } else if (n >= WW_PURSUIT_CONTROLS) {
        ww_scan_sum(&scan, s->common);
    }
    take_size(s, s->common);
    length = sqrt(ww_sketch_dot(s->common, s->common, m));
    s->apart = n >= WW_PURSUIT_CONTROLS && length > 0;
    for (size_t j = 0; j < m; j++) {
        s->common[j] = s->apart ? s->common[j] / length : 0;
    }
}

double ww_pursuit_unexplained(double left, double all, double noise)
{
    return all > noise ? fmin(1, fmax(0, left - noise) / (all - noise)) : 1;
}

/* A member's difference, without what is common; how much that was. */
static double make_column(const struct state *s, size_t member, double *column)
{
    const size_t m = s->p->m;

    for (size_t i = 0; i < m; i++) {
        column[i] = (double)s->p->sketches[member * m + i] - (double)s->p->root[i];
    }
    take_size(s, column);
    return take_apart(s, column);
}

static void add_column(struct state *s, size_t member)
{
    const size_t m = s->p->m;
    double *column = s->columns + s->k * m;

    s->column_common[s->k] = make_column(s, member, column);
    for (unsigned j = 0; j <= s->k; j++) {
        const double v = ww_sketch_dot(column, s->columns + j * m, m);
        s->xx[s->k * WW_PURSUIT_MOST + j] = v;
        s->xx[j * WW_PURSUIT_MOST + s->k] = v;
    }
    s->xy[s->k] = ww_sketch_dot(column, s->y, m);
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
    s->r2 = ww_sketch_dot(s->r, s->r, m);
}

static void narrow(const double *x, size_t m, float *out)
{
    for (size_t i = 0; i < m; i++) {
        out[i] = (float)x[i];
    }
}

/* Products with y and lengths, of all members. */
static void measure_members(struct state *s)
{
    const struct ww_scan scan = scan_of(s);
    const float *target = s->targets;

    narrow(s->y, s->p->m, s->targets);
    ww_scan_products(&scan, &target, 1, &s->with, s->squares);
}

static bool has_probe(const struct state *s, size_t member)
{
    for (unsigned i = 0; i < PROBES; i++) {
        if (s->probes[i].with && s->probes[i].member == member) {
            return true;
        }
    }
    return false;
}

/* The member most like what is left that nobody probed; n when there is none. */
static size_t most_alike(const struct state *s)
{
    size_t best = s->p->n;

    for (size_t i = 0; i < s->p->n; i++) {
        if (s->likeness[i] > 0 &&
            (best == s->p->n || s->likeness[i] > s->likeness[best]) && !has_probe(s, i)) {
            best = i;
        }
    }
    return best;
}

static bool is_picked(const struct state *s, unsigned probe)
{
    for (unsigned j = 0; j < s->k; j++) {
        if (s->of[j] == probe) {
            return true;
        }
    }
    return false;
}

/*
 * What is left after a pick is y less shares of picks, and so are its products: one more
 * pass tells those with the pick, and with the members that are likely to be picked next.
 */
static bool probe(struct state *s)
{
    const size_t m = s->p->m;
    const struct ww_scan scan = scan_of(s);
    const float *targets[WW_SCAN_AT_ONCE];
    double *with[WW_SCAN_AT_ONCE];
    unsigned n = 0;

    for (unsigned i = 0; i < PROBES && n < WW_SCAN_AT_ONCE; i++) {
        struct probe *free_one = &s->probes[i];
        size_t member = 0;
        if (is_picked(s, i)) {
            continue;
        }
        free_one->member = s->p->n; /* what it was is asked for again, if it is */
        member = most_alike(s);
        if (member == s->p->n) {
            break;
        }
        if (!free_one->with) {
            free_one->with = ww_calloc(s->p->n, sizeof(*free_one->with));
        }
        if (!free_one->with) {
            return false;
        }
        free_one->member = member;
        (void)make_column(s, member, s->room);
        narrow(s->room, m, s->targets + n * m);
        targets[n] = s->targets + n * m;
        with[n++] = free_one->with;
    }
    ww_scan_products(&scan, targets, n, with, NULL);
    return true;
}

/* Likeness of every member still free to what is left; -2 for the others. Those that a
 * foreign hand made so long that their squares are no numbers are like nothing. */
static size_t correlate(struct state *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->p->n; i++) {
        double with = s->with[i];
        double likeness = 0;
        s->likeness[i] = -2;
        if (!s->p->use[i] || s->taken[i]) {
            continue;
        }
        for (unsigned j = 0; j < s->k; j++) {
            with -= s->share[j] * s->probes[s->of[j]].with[i];
        }
        /* r is beside the common direction; x need not be. */
        likeness =
            s->squares[i] > 0 && s->r2 > 0 ? with / sqrt(s->squares[i] * s->r2) : -2;
        if (isfinite(likeness) && likeness >= -1.5) {
            s->likeness[i] = likeness;
            s->values[n++] = likeness;
        }
    }
    return n;
}

/* The member most like what is left, if it reaches the threshold; n when none does. */
static size_t best_member(struct state *s, double z, struct ww_pursuit *out)
{
    const double own = s->p->elements > 0 ? 1 / s->p->elements : 0;
    double threshold = z * sqrt(1 / (double)s->p->m + own);
    size_t member = s->p->n;
    const size_t n = correlate(s);

    if (n >= WW_PURSUIT_CONTROLS) {
        const double seen = ww_empirical_threshold(s->values, n, z);
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
    return member;
}

static enum ww_err take(struct state *s, size_t member, struct ww_error *err)
{
    if (!has_probe(s, member) && !probe(s)) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    for (unsigned i = 0; i < PROBES; i++) {
        if (s->probes[i].with && s->probes[i].member == member) {
            s->of[s->k] = i;
        }
    }
    add_column(s, member);
    return WW_OK;
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
    out->unexplained =
        out->n == 0 && s->y2 <= NOISE_ALONE * s->p->noise
            ? -1
            : ww_pursuit_unexplained(s->r2 + common * common, s->y2, s->p->noise);
}

static enum ww_err pursue(struct state *s, struct ww_pursuit *out, struct ww_error *err)
{
    const struct ww_pursuit_problem *p = s->p;
    const double z_least = ww_family_wise_z(WW_FIND_FALSE_ALARM, p->n);
    double z[WW_PURSUIT_MOST] = {0};
    double root2 = 0;
    enum ww_err rc = WW_OK;

    out->noise = p->noise;
    for (size_t i = 0; i < p->m; i++) {
        s->y[i] = (double)p->suspect[i] - (double)p->root[i];
        root2 += (double)p->root[i] * (double)p->root[i];
    }
    s->y2 = ww_sketch_dot(s->y, s->y, p->m);
    if (s->y2 <= SAME * root2) {
        out->unexplained = -1;
        return WW_OK;
    }
    take_size(s, s->y);
    s->y2 = ww_sketch_dot(s->y, s->y, p->m);
    out->rounding = s->y2 > 0 ? fmin(1, p->noise / s->y2) : 0;
    find_common(s);
    s->y_common = take_apart(s, s->y);
    memcpy(s->r, s->y, p->m * sizeof(*s->r));
    s->r2 = ww_sketch_dot(s->r, s->r, p->m);
    measure_members(s);
    while (!rc && s->k < WW_PURSUIT_MOST && s->r2 > SAME * root2) {
        const size_t member = best_member(s, z_least, out);
        if (member == p->n) {
            break;
        }
        rc = take(s, member, err);
        if (!rc) {
            fit(s);
        }
    }
    if (rc) {
        return rc;
    }
    while (drop_weakest(s, z_least, z)) {
        fit(s);
    }
    tell(s, z, out);
    return WW_OK;
}

static void release(struct state *s)
{
    for (unsigned i = 0; i < PROBES; i++) {
        ww_free(s->probes[i].with);
    }
    ww_free(s->y);
    ww_free(s->r);
    ww_free(s->room);
    ww_free(s->columns);
    ww_free(s->targets);
    ww_free(s->taken);
    ww_free(s->likeness);
    ww_free(s->with);
    ww_free(s->values);
    ww_free(s->common);
    ww_free(s->squares);
    ww_free(s);
}

enum ww_err ww_pursue(const struct ww_pursuit_problem *problem, double *likeness,
                      struct ww_pursuit *out, struct ww_error *err)
{
    const size_t n = problem->n;
    const size_t m = problem->m;
    struct state *s = ww_calloc(1, sizeof(*s));
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!s) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    s->p = problem;
    s->first = likeness;
    s->y = ww_calloc(m, sizeof(*s->y));
    s->r = ww_calloc(m, sizeof(*s->r));
    s->room = ww_calloc(m, sizeof(*s->room));
    s->columns = ww_calloc(WW_PURSUIT_MOST * m, sizeof(*s->columns));
    s->targets = ww_calloc(WW_SCAN_AT_ONCE * m, sizeof(*s->targets));
    s->common = ww_calloc(m, sizeof(*s->common));
    s->taken = ww_calloc(n, sizeof(*s->taken));
    s->likeness = ww_calloc(n, sizeof(*s->likeness));
    s->with = ww_calloc(n, sizeof(*s->with));
    s->values = ww_calloc(n, sizeof(*s->values));
    s->squares = ww_calloc(n, sizeof(*s->squares));
    if (!s->y || !s->r || !s->room || !s->columns || !s->targets || !s->common ||
        !s->taken || !s->likeness || !s->with || !s->values || !s->squares) {
        rc = WW_FAIL_MEMORY(err, "a search");
    } else {
        rc = pursue(s, out, err);
    }
    release(s);
    return rc;
}
