/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The norm of a matrix of independent noise is at most about the largest row plus the
 * largest column in root mean square (Bandeira and van Handel 2016), so singular values
 * above that are not rounding's. How many there are is the number of positive pivots of
 * D D^T - edge^2 I (Sylvester's law of inertia), which needs no eigenvalues; their energy
 * is what two power steps from a fixed start find. Plain sums in fixed order: the same
 * numbers on any machine. A corner of the matrix has the rank of the whole.
 */
#include "lineage/directions.h"

#include <math.h>
#include <string.h>

#include "la/exact.h"
#include "lineage/corner.h"
#include "lineage/draws.h"
#include "lineage/moments.h"
#include "lineage/per_tensor.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SIDE WW_DIRECTIONS_SIDE
#define FEW 4     /* the rank's part of the side, at most one in so many */
#define SLACK 1.1 /* of the edge: the bound holds up to a small factor */
#define LEFT 1.5  /* what may be left over, in what rounding leaves */
#define POWER_STEPS 2
#define TRIED_FIRST 8 /* matrices that must agree before all are looked at */
#define AGREEING 0.9

static double edge_of(const double *variances, size_t m, size_t n, double *total)
{
    double columns[SIDE] = {0};
    double row_most = 0;
    double column_most = 0;

    *total = 0;
    for (size_t i = 0; i < m; i++) {
        double row = 0;
        for (size_t j = 0; j < n; j++) {
            row += variances[i * n + j];
            columns[j] += variances[i * n + j];
        }
        row_most = row > row_most ? row : row_most;
        *total += row;
    }
    for (size_t j = 0; j < n; j++) {
        column_most = columns[j] > column_most ? columns[j] : column_most;
    }
    return SLACK * (sqrt(row_most) + sqrt(column_most));
}

/* Positive pivots of g - shift I; g is overwritten. */
static uint32_t count_above(double *g, size_t m, double shift)
{
    uint32_t n = 0;

    for (size_t i = 0; i < m; i++) {
        g[i * m + i] -= shift;
    }
    for (size_t p = 0; p < m; p++) {
        const double pivot = g[p * m + p];
        n += pivot > 0;
        for (size_t i = p + 1; i < m && pivot != 0; i++) {
            const double factor = g[i * m + p] / pivot;
            for (size_t j = p + 1; j < m; j++) {
                g[i * m + j] -= factor * g[p * m + j];
            }
        }
    }
    return n;
}

/* trace(Q G Q^T) for the k leading directions of g (m x m). */
static enum ww_err leading_energy(const double *g, size_t m, size_t k, double *out,
                                  struct ww_error *err)
{
    double *q = ww_calloc(2 * k * m + 1, sizeof(*q));
    double *next = NULL;
    uint64_t state = 1;

    *out = 0;
    if (!q) {
        return WW_FAIL_MEMORY(err, "the rank of a difference");
    }
    next = q + k * m;
    for (size_t i = 0; i < k * m; i++) {
        q[i] = ww_draw(&state) >> 63 ? 1 : -1;
    }
    for (unsigned step = 0; step < POWER_STEPS; step++) {
        ww_exact_gemm(k, m, m, q, m, g, m, 0, next, m);
        memcpy(q, next, k * m * sizeof(*q));
        ww_corner_orthonormalise(q, k, m);
    }
    ww_exact_gemm(k, m, m, q, m, g, m, 0, next, m);
    for (size_t i = 0; i < k * m; i++) {
        *out += q[i] * next[i];
    }
    ww_free(q);
    return WW_OK;
}

enum ww_err ww_directions_count(const double *d, const double *variances, size_t m,
                                size_t n, struct ww_directions *out, struct ww_error *err)
{
    double *turned = ww_calloc(m * n + 1, sizeof(*turned));
    double *g = ww_calloc(2 * m * m + 1, sizeof(*g));
    double noise = 0;
    double energy = 0;
    double trace = 0;
    enum ww_err rc = WW_OK;

    *out = (struct ww_directions){.most = (uint32_t)((m < n ? m : n) / FEW)};
    if (!turned || !g) {
        rc = WW_FAIL_MEMORY(err, "the rank of a difference");
        goto out;
    }
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            turned[j * m + i] = d[i * n + j];
        }
    }
    ww_exact_gemm(m, m, n, d, n, turned, m, 0, g, m);
    memcpy(g + m * m, g, m * m * sizeof(*g));
    for (size_t i = 0; i < m; i++) {
        trace += g[i * m + i];
    }
    const double edge = edge_of(variances, m, n, &noise);
    out->rank = count_above(g + m * m, m, edge * edge);
    if (out->rank > 0 && out->rank <= out->most) {
        rc = leading_energy(g, m, out->rank, &energy, err);
        out->few = trace - energy <= LEFT * noise;
    }
    out->part = trace > 0 ? energy / trace : 0;
out:
    ww_free(turned);
    ww_free(g);
    return rc;
}

/* Room of a thread. */
struct corner {
    double *d; /* [SIDE][SIDE], and so are the next two */
    double *variances;
    double *base;
    double row[SIDE];
    uint8_t bytes[SIDE * sizeof(double)];
};

struct finding {
    const struct ww_directions_ask *ask;
    struct corner *corners;
    struct ww_directions *found; /* per tensor */
    bool *moved;                 /* per tensor: more than rounding is left over */
};

/* What the sources with a share leave over in one row, and how it was rounded. */
static enum ww_err read_difference(const struct finding *f, struct corner *c,
                                   uint32_t tensor, size_t row, size_t n,
                                   struct ww_error *err)
{
    const struct ww_family *family = f->ask->family;
    const unsigned n_sources = family->n_models - WW_FAMILY_SOURCES;
    const double *shares = f->ask->per_tensor
                               ? f->ask->per_tensor + (size_t)tensor * n_sources
                               : f->ask->shares;
    const enum ww_dtype grid = family->tensors[tensor].grid;
    double *d = c->d + row * n;
    enum ww_err rc = ww_corner_row(family, tensor, WW_FAMILY_SUSPECT, row, n, c->bytes, d,
                                   c->row, err);

    if (!rc) {
        rc = ww_corner_row(family, tensor, WW_FAMILY_BASE, row, n, c->bytes, c->base,
                           c->row, err);
    }
    for (size_t j = 0; j < n && !rc; j++) {
        const double step = ldexp(1, ww_moments_step(d[j], grid));
        c->variances[row * n + j] = step * step / 12;
        d[j] -= c->base[j];
    }
    for (unsigned i = 0; i < n_sources && !rc; i++) {
        if (shares[i] == 0) {
            continue;
        }
        rc = ww_corner_row(family, tensor, WW_FAMILY_SOURCES + i, row, n, c->bytes,
                           c->row, c->row, err);
        for (size_t j = 0; j < n && !rc; j++) {
            d[j] -= shares[i] * (c->row[j] - c->base[j]);
        }
    }
    return rc;
}

static enum ww_err visit(void *payload, struct ww_per_tensor *crew, unsigned thread,
                         uint32_t tensor, struct ww_error *err)
{
    const struct finding *f = payload;
    size_t m = 0;
    size_t n = 0;
    struct corner *c = &f->corners[thread];
    double energy = 0;
    double noise = 0;
    enum ww_err rc = WW_OK;

    ww_corner_sides(f->ask->family, tensor, SIDE, &m, &n);
    for (size_t i = 0; i < m && !rc; i++) {
        rc = read_difference(f, c, tensor, i, n, err);
    }
    for (size_t e = 0; e < m * n && !rc; e++) {
        energy += c->d[e] * c->d[e];
        noise += c->variances[e];
    }
    f->moved[tensor] = energy > LEFT * noise;
    if (!rc) {
        rc = ww_directions_count(c->d, c->variances, m, n, &f->found[tensor], err);
    }
    return rc ? rc : ww_per_tensor_progress(crew, 0, err);
}

static bool is_taken(const struct finding *f, uint32_t t)
{
    return ww_corner_has(f->ask->family, t) && (!f->ask->use || f->ask->use[t]) &&
           f->ask->family->tensors[t].layer != WW_NONE;
}

/* Sizes of the matrices to look at: some over the whole depth, or all but those. */
static void choose(const struct finding *f, bool first, uint64_t *sizes)
{
    const uint32_t n_tensors = f->ask->family->n_tensors;
    uint32_t all = 0;
    uint32_t n = 0;

    for (uint32_t t = 0; t < n_tensors; t++) {
        all += is_taken(f, t);
    }
    for (uint32_t t = 0; t < n_tensors; t++) {
        const bool taken = is_taken(f, t);
        const bool early = n % (all / TRIED_FIRST + 1) == 0;
        sizes[t] = taken && early == first ? 1 : 0;
        n += taken;
    }
}

/* Of the matrices that say something, are most of few directions? */
static bool agrees(const struct finding *f, bool may_come)
{
    uint32_t moved = 0;
    uint32_t few = 0;

    for (uint32_t t = 0; t < f->ask->family->n_tensors; t++) {
        moved += f->moved[t] || f->found[t].rank > 0;
        few += f->found[t].few;
    }
    return (few > 0 || may_come) && few >= AGREEING * moved;
}

static enum ww_err look(struct finding *f, bool first, uint64_t *sizes,
                        struct ww_error *err)
{
    uint64_t read = 0;
    const struct ww_per_tensor_job job = {.phase = "rank",
                                          .run = f->ask->run,
                                          .sizes = sizes,
                                          .n = f->ask->family->n_tensors,
                                          .total_bytes = 1,
                                          .visit = visit,
                                          .payload = f};

    choose(f, first, sizes);
    return ww_per_tensor_run(&job, &read, err);
}

static enum ww_err tell(const struct finding *f, struct ww_decompose_report *report,
                        struct ww_error *err)
{
    const struct ww_family *family = f->ask->family;

    report->ranks = ww_calloc(family->n_tensors, sizeof(*report->ranks));
    if (!report->ranks) {
        return WW_FAIL_MEMORY(err, "the rank of a difference");
    }
    for (uint32_t t = 0; t < family->n_tensors; t++) {
        struct ww_lineage_rank *out = &report->ranks[report->n_ranks];
        if (f->found[t].rank == 0) {
            continue;
        }
        out->name = ww_strdup(family->tensors[t].name);
        if (!out->name) {
            return WW_FAIL_MEMORY(err, "the rank of a difference");
        }
        report->n_ranks++;
        out->rank = f->found[t].rank;
        out->most = f->found[t].most;
        out->part = f->found[t].part;
    }
    return WW_OK;
}

static enum ww_err make_corners(struct corner *corners, unsigned n, struct ww_error *err)
{
    for (unsigned i = 0; i < n; i++) {
        corners[i].d = ww_calloc((size_t)SIDE * SIDE, sizeof(double));
        corners[i].variances = ww_calloc((size_t)SIDE * SIDE, sizeof(double));
        corners[i].base = ww_calloc(SIDE, sizeof(double));
        if (!corners[i].d || !corners[i].variances || !corners[i].base) {
            return WW_FAIL_MEMORY(err, "the rank of a difference");
        }
    }
    return WW_OK;
}

enum ww_err ww_directions_find(const struct ww_directions_ask *ask,
                               struct ww_decompose_report *report, struct ww_error *err)
{
    const uint32_t n = ask->family->n_tensors;
    const unsigned n_threads = ww_per_tensor_threads(ask->run);
    struct finding f = {.ask = ask};
    uint64_t *sizes = ww_calloc(n + (size_t)1, sizeof(*sizes));
    enum ww_err rc = WW_OK;

    f.corners = ww_calloc(n_threads, sizeof(*f.corners));
    f.found = ww_calloc(n + (size_t)1, sizeof(*f.found));
    f.moved = ww_calloc(n + (size_t)1, sizeof(*f.moved));
    rc = sizes && f.corners && f.found && f.moved
             ? make_corners(f.corners, n_threads, err)
             : WW_FAIL_MEMORY(err, "the rank of a difference");
    if (!rc) {
        rc = look(&f, true, sizes, err);
    }
    if (!rc && agrees(&f, true)) {
        rc = look(&f, false, sizes, err);
    }
    if (!rc && agrees(&f, false)) {
        rc = tell(&f, report, err);
    }
    for (unsigned i = 0; f.corners && i < n_threads; i++) {
        ww_free(f.corners[i].d);
        ww_free(f.corners[i].variances);
        ww_free(f.corners[i].base);
    }
    ww_free(f.corners);
    ww_free(f.found);
    ww_free(f.moved);
    ww_free(sizes);
    return rc;
}
