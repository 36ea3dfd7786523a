/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matrices are drawn per attention and kind, for all groups at once, and the last few
 * draws are kept: the tensors of one attention lie side by side in every file, and a
 * matrix costs more to draw than to use on a bias.
 */
#include "lock/dense_gauge.h"

#include <string.h>

#include "lock/dense_draw.h"
#include "lock/gauge_attention.h"
#include "util/alloc.h"
#include "util/fail.h"

#define CACHED 12

/* What is drawn together. */
enum part { PART_QK, PART_PHASES, PART_VO };

struct drawn {
    bool used;
    uint64_t age;
    uint32_t owner;
    enum part part;
    uint32_t n;      /* rows of a matrix, or number of pairs */
    uint64_t n_sets; /* groups, 1 when shared */
    double *direct;  /* [n_sets, n, n], or [n_sets, n, 2] */
    double *inverse;
};

struct ww_dense_gauge {
    const struct ww_gauge *gauge;
    double condition;
    enum ww_dense_wrong wrong;
    struct ww_dense_moves *moves;
    struct drawn cache[CACHED];
    uint64_t clock;
    struct ww_cell_source source;
};

static void free_drawn(struct drawn *drawn)
{
    ww_free(drawn->direct);
    ww_free(drawn->inverse);
    memset(drawn, 0, sizeof(*drawn));
}

static enum ww_err draw_matrices(const struct ww_dense_gauge *dense,
                                 const struct drawn *drawn, struct ww_draw *draw,
                                 struct ww_error *err)
{
    const size_t size = (size_t)drawn->n * drawn->n;
    enum ww_err rc = WW_OK;

    for (uint64_t g = 0; g < drawn->n_sets && !rc; g++) {
        double *direct = drawn->direct + g * size;
        double *inverse = drawn->inverse + g * size;
        if (dense->condition > 0) {
            rc = ww_draw_conditioned(draw, dense->condition, direct, inverse, drawn->n,
                                     err);
        } else {
            rc = ww_draw_haar(draw, direct, drawn->n, err);
            memcpy(inverse, direct, size * sizeof(*inverse));
        }
    }
    return rc;
}

static enum ww_err fill(const struct ww_dense_gauge *dense, struct drawn *drawn,
                        struct ww_error *err)
{
    static const char *const kinds[] = {"dense-qk", "dense-phase", "dense-vo"};
    const struct ww_attention *att = &dense->gauge->layout->attentions[drawn->owner];
    const bool phases = drawn->part == PART_PHASES;
    const size_t n_values = (size_t)drawn->n_sets * drawn->n * (phases ? 2 : drawn->n);
    struct ww_draw draw = {0};
    enum ww_err rc = WW_OK;

    drawn->direct = ww_calloc(n_values, sizeof(double));
    drawn->inverse = ww_calloc(n_values, sizeof(double));
    if (!drawn->direct || !drawn->inverse) {
        return WW_FAIL_MEMORY(err, "the matrices of '%s'", att->name);
    }
    rc = ww_draw_open(&draw, dense->gauge->prk, kinds[drawn->part], att->name,
                      drawn->n_sets, drawn->n, err);
    if (!rc && phases) {
        ww_draw_phases(&draw, drawn->direct, (uint32_t)drawn->n_sets * drawn->n);
    } else if (!rc) {
        rc = draw_matrices(dense, drawn, &draw, err);
    }
    ww_draw_close(&draw);
    return rc;
}

/* Kept from before, or drawn now in the place of the oldest. */
static enum ww_err find(struct ww_dense_gauge *dense, const struct drawn *want,
                        const struct drawn **out, struct ww_error *err)
{
    struct drawn *oldest = &dense->cache[0];
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < CACHED; i++) {
        struct drawn *at = &dense->cache[i];
        if (at->used && at->owner == want->owner && at->part == want->part) {
            at->age = ++dense->clock;
            *out = at;
            return WW_OK;
        }
        oldest = at->age < oldest->age ? at : oldest;
    }
    free_drawn(oldest);
    *oldest = *want;
    rc = fill(dense, oldest, err);
    if (rc) {
        free_drawn(oldest);
        return rc;
    }
    oldest->used = true;
    oldest->age = ++dense->clock;
    *out = oldest;
    return WW_OK;
}

/* The heads of a space: where their pairs and their matrix lie. */
struct heads {
    uint32_t owner;
    uint64_t n;         /* heads */
    uint64_t per_group; /* heads that share a set */
    uint64_t width;     /* of a head in the space */
    bool mix, turn;
    enum part part;  /* of mix */
    uint64_t rotary; /* pairs over dimensions 0 .. rotary */
    uint64_t first;  /* of the matrix in the head */
    uint64_t rest;   /* its rows */
    bool shared_phases;
    enum ww_rope_style style;
    bool astray; /* a fault: sets of the next group */
    bool flat;   /* a fault: not inverted */
};

/* The spaces of a latent attention; the rope key is one head for all. */
static void latent_heads(const struct ww_dense_gauge *dense, enum ww_space_kind kind,
                         const struct ww_attention *att,
                         const struct ww_dense_moves *moves, struct heads *h)
{
    const bool nope = kind == WW_SPACE_MLA_Q_NOPE || kind == WW_SPACE_MLA_K_NOPE;
    const bool key = kind == WW_SPACE_MLA_K_NOPE || kind == WW_SPACE_MLA_K_ROPE;

    if (nope) {
        h->n = key ? att->n_kv_heads : att->n_heads;
        h->width = h->rest = att->mla_nope;
        h->mix = moves->qk;
        h->part = PART_QK;
        h->astray = key && dense->wrong == WW_DENSE_WRONG_GROUP;
    } else {
        h->n = key ? 1 : att->n_heads;
        h->width = h->rotary = att->rope.dims;
        h->turn = moves->phases;
        h->shared_phases = true;
    }
    h->per_group = key ? 1 : h->per_group;
}

static void query_key_heads(const struct ww_dense_gauge *dense, bool key,
                            const struct ww_attention *att,
                            const struct ww_dense_moves *moves, struct heads *h)
{
    h->n = key ? att->n_kv_heads : att->n_heads;
    h->per_group = key ? 1 : h->per_group;
    h->width = att->head_dim;
    h->rotary = att->rope.style == WW_ROPE_NONE ? 0 : att->rope.dims;
    h->first = h->rotary;
    h->rest = att->head_dim - h->rotary;
    h->mix = moves->qk;
    h->turn = moves->phases;
    h->part = PART_QK;
    h->astray = key && dense->wrong == WW_DENSE_WRONG_GROUP;
}

static void value_heads(const struct ww_dense_gauge *dense, bool context,
                        const struct ww_attention *att,
                        const struct ww_dense_moves *moves, struct heads *h)
{
    h->n = context ? att->n_heads : att->n_kv_heads;
    h->per_group = context ? h->per_group : 1;
    h->width = h->rest = att->v_dim;
    h->mix = moves->vo;
    h->part = PART_VO;
    h->astray = context && dense->wrong == WW_DENSE_WRONG_GROUP;
    h->flat = context && dense->wrong == WW_DENSE_WRONG_OUTPUT;
}

static bool heads_of(const struct ww_dense_gauge *dense, uint32_t space_index,
                     struct heads *h)
{
    const struct ww_layout *layout = dense->gauge->layout;
    const struct ww_space *space = &layout->spaces[space_index];
    const enum ww_space_kind kind = space->kind;

    memset(h, 0, sizeof(*h));
    if (space->owner >= layout->n_attentions || kind == WW_SPACE_RESIDUAL ||
        kind == WW_SPACE_NEURON || kind == WW_SPACE_EXPERT) {
        return false;
    }
    const struct ww_attention *att = &layout->attentions[space->owner];
    const struct ww_dense_moves *moves = &dense->moves[space->owner];
    h->owner = att->element_owner;
    h->style = att->rope.style;
    h->per_group = att->n_heads / att->n_kv_heads;
    if (kind == WW_SPACE_QUERY || kind == WW_SPACE_KEY) {
        query_key_heads(dense, kind == WW_SPACE_KEY, att, moves, h);
    } else if (kind == WW_SPACE_VALUE || kind == WW_SPACE_CONTEXT) {
        value_heads(dense, kind == WW_SPACE_CONTEXT, att, moves, h);
    } else if (kind == WW_SPACE_MLA_Q_NOPE || kind == WW_SPACE_MLA_K_NOPE ||
               kind == WW_SPACE_MLA_Q_ROPE || kind == WW_SPACE_MLA_K_ROPE) {
        latent_heads(dense, kind, att, moves, h);
    }
    return h->mix || h->turn;
}

static bool source_has(const void *payload, uint32_t space)
{
    struct heads h;

    return heads_of(payload, space, &h);
}

static uint64_t set_of(const struct heads *h, uint64_t head, uint64_t n_sets)
{
    const uint64_t group = head / h->per_group;
    return n_sets == 1 ? 0 : h->astray ? (group + 1) % n_sets : group;
}

/* A cell of two for each pair of each head, with a matrix of its own. */
static void add_pairs(const struct ww_dense_gauge *dense, const struct heads *h,
                      const struct drawn *phases, struct ww_cells *out)
{
    enum ww_rope_style style = h->style;

    if (dense->wrong == WW_DENSE_WRONG_PAIRING) {
        style = style == WW_ROPE_HALF ? WW_ROPE_ADJACENT : WW_ROPE_HALF;
    }
    for (uint64_t head = 0; head < h->n; head++) {
        const uint64_t set = set_of(h, head, h->shared_phases ? 1 : phases->n_sets);
        for (uint64_t f = 0; f < h->rotary / 2; f++) {
            uint64_t i = 0;
            uint64_t j = 0;
            ww_rope_pair(style, h->rotary, f, &i, &j);
            out->cells[out->n_cells++] = (struct ww_cell){2, out->n_at, out->n_values};
            out->at[out->n_at++] = (uint32_t)(head * h->width + i);
            out->at[out->n_at++] = (uint32_t)(head * h->width + j);
            if (phases->direct) {
                const double *z = phases->direct + 2 * (set * phases->n + f);
                const double matrix[4] = {z[0], -z[1], z[1], z[0]};
                memcpy(out->direct + out->n_values, matrix, sizeof(matrix));
                memcpy(out->inverse + out->n_values, matrix, sizeof(matrix));
            }
            out->n_values += 4;
        }
    }
}

/* Not inverting the output projection: it takes the values' own matrix transposed. */
static void spoil(const struct drawn *drawn, double *inverse)
{
    const size_t n = drawn->n;

    for (size_t g = 0; g < drawn->n_sets; g++) {
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < n; j++) {
                inverse[(g * n + i) * n + j] = drawn->direct[(g * n + j) * n + i];
            }
        }
    }
}

/* One cell per head; heads of a group share the matrix. */
static void add_matrices(const struct heads *h, const struct drawn *drawn,
                         struct ww_cells *out)
{
    const size_t size = (size_t)drawn->n * drawn->n;
    const size_t base = out->n_values;

    if (drawn->direct) {
        memcpy(out->direct + base, drawn->direct, drawn->n_sets * size * sizeof(double));
        memcpy(out->inverse + base, drawn->inverse,
               drawn->n_sets * size * sizeof(double));
    }
    if (drawn->direct && h->flat) {
        spoil(drawn, out->inverse + base);
    }
    out->n_values += drawn->n_sets * size;
    for (uint64_t head = 0; head < h->n; head++) {
        const uint64_t set = set_of(h, head, drawn->n_sets);
        out->cells[out->n_cells++] =
            (struct ww_cell){drawn->n, out->n_at, base + set * size};
        for (uint64_t i = 0; i < h->rest; i++) {
            out->at[out->n_at++] = (uint32_t)(head * h->width + h->first + i);
        }
    }
}

static enum ww_err make_room(const struct heads *h, uint64_t n_groups,
                             struct ww_cells *out, struct ww_error *err)
{
    const uint64_t n_pairs = h->turn ? h->n * (h->rotary / 2) : 0;
    const uint64_t n_mixed = h->mix ? h->n : 0;
    const uint64_t n_at = 2 * n_pairs + n_mixed * h->rest;
    const uint64_t n_sets = h->mix ? n_groups : 0;
    enum ww_err rc =
        ww_cells_init(out, (uint32_t)(n_pairs + n_mixed), (uint32_t)n_at,
                      (size_t)(4 * n_pairs + n_sets * h->rest * h->rest), err);

    out->n_cells = 0;
    out->n_at = 0;
    out->n_values = 0;
    return rc;
}

/* Cells of pairs and of matrices; without numbers when only the shape is asked for. */
static enum ww_err add_cells(struct ww_dense_gauge *dense, const struct heads *h,
                             const struct drawn *want, bool shape_only,
                             struct ww_cells *out, struct ww_error *err)
{
    const struct drawn *drawn = want;
    enum ww_err rc = shape_only ? WW_OK : find(dense, want, &drawn, err);

    if (rc) {
        return rc;
    }
    if (want->part == PART_PHASES) {
        add_pairs(dense, h, drawn, out);
    } else {
        add_matrices(h, drawn, out);
    }
    return WW_OK;
}

static enum ww_err source_get(void *payload, uint32_t space, bool shape_only,
                              struct ww_cells *out, struct ww_error *err)
{
    struct ww_dense_gauge *dense = payload;
    struct heads h;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!heads_of(dense, space, &h)) {
        return WW_OK;
    }
    const uint64_t n_groups = dense->gauge->layout->attentions[h.owner].n_kv_heads;
    rc = make_room(&h, n_groups, out, err);
    if (!rc && h.turn) {
        const struct drawn phases = {.owner = h.owner,
                                     .part = PART_PHASES,
                                     .n = (uint32_t)(h.rotary / 2),
                                     .n_sets = h.shared_phases ? 1 : n_groups};
        rc = add_cells(dense, &h, &phases, shape_only, out, err);
    }
    if (!rc && h.mix) {
        const struct drawn matrices = {
            .owner = h.owner, .part = h.part, .n = (uint32_t)h.rest, .n_sets = n_groups};
        rc = add_cells(dense, &h, &matrices, shape_only, out, err);
    }
    if (rc) {
        ww_cells_release(out);
    }
    return rc;
}

enum ww_err ww_dense_gauge_new(const struct ww_gauge *gauge, double condition,
                               enum ww_dense_wrong wrong, struct ww_dense_gauge **out,
                               struct ww_error *err)
{
    struct ww_dense_gauge *dense = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!(condition == 0 || (condition > 1 && condition <= 4))) {
        return WW_FAIL(err, WW_E_USAGE,
                       "a condition of %g, expected more than 1 and at most 4 (worse "
                       "conditioned matrices wreck 16-bit weights)",
                       condition);
    }
    dense = ww_calloc(1, sizeof(*dense));
    if (!dense) {
        return WW_FAIL_MEMORY(err, "a dense lock");
    }
    dense->gauge = gauge;
    dense->condition = condition;
    dense->wrong = wrong;
    dense->source = (struct ww_cell_source){source_has, source_get, dense};
    rc = ww_dense_moves(gauge->layout, &dense->moves, err);
    if (rc) {
        ww_dense_gauge_free(dense);
        return rc;
    }
    *out = dense;
    return WW_OK;
}

void ww_dense_gauge_free(struct ww_dense_gauge *dense)
{
    if (!dense) {
        return;
    }
    for (size_t i = 0; i < CACHED; i++) {
        free_drawn(&dense->cache[i]);
    }
    ww_free(dense->moves);
    ww_free(dense);
}

const struct ww_cell_source *ww_dense_gauge_source(const struct ww_dense_gauge *dense)
{
    return &dense->source;
}
