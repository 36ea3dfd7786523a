/* SPDX-License-Identifier: Apache-2.0 */
/* Which factors belong together, and reading them. */
#include <string.h>

#include "rmm/basis_making.h"
#include "util/alloc.h"
#include "util/fail.h"

#define MOST_NUMBERS (UINT64_C(1) << 27) /* of a module of all members */

struct ww_member_pair *ww_basis_pair(const struct ww_basis_making *x, uint32_t k,
                                     size_t i)
{
    return &x->members[i].pairs[x->pairs[k * x->n + i]];
}

static enum ww_err other_modules(const struct ww_basis_making *x, size_t i,
                                 struct ww_error *err)
{
    return WW_FAIL(err, WW_E_UNSUPPORTED,
                   "members '%s' and '%s' have other modules, shapes or ranks; what "
                   "adapters share needs the same in all of them",
                   x->members[0].name, x->members[i].name);
}

static bool same_shape(const struct ww_member_pair *p, const struct ww_member_pair *q)
{
    return strcmp(p->a->name, q->a->name) == 0 && strcmp(p->b->name, q->b->name) == 0 &&
           p->a->shape[0] == q->a->shape[0] && p->a->shape[1] == q->a->shape[1] &&
           p->b->shape[0] == q->b->shape[0];
}

/* The pairs of member i for those of the first. */
static enum ww_err match(struct ww_basis_making *x, size_t i, struct ww_error *err)
{
    const struct ww_member *m = &x->members[i];

    if (m->n_pairs != x->n_modules) {
        return other_modules(x, i, err);
    }
    for (uint32_t k = 0; k < x->n_modules; k++) {
        uint32_t found = k; /* files mostly have the same order */
        if (!same_shape(&x->members[0].pairs[k], &m->pairs[found])) {
            for (found = 0; found < m->n_pairs &&
                            !same_shape(&x->members[0].pairs[k], &m->pairs[found]);) {
                found++;
            }
        }
        if (found == m->n_pairs) {
            return other_modules(x, i, err);
        }
        x->pairs[k * x->n + i] = found;
    }
    return WW_OK;
}

static enum ww_err find_pairs(struct ww_basis_making *x, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < x->n && !rc; i++) {
        struct ww_member *m = &x->members[i];
        if (!m->adapter) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "member '%s' is a model, and adapters share numbers; pack it "
                           "for itself",
                           m->name);
        }
        rc = m->pairs ? WW_OK : ww_member_pair(m, err);
        if (!rc && m->n_pairs == 0) {
            rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                         "member '%s' has no pairs of factors that are understood; pack "
                         "it for itself",
                         m->name);
        }
        m->shared = rc ? NULL : ww_calloc(m->table.n_parts, sizeof(*m->shared));
        if (!rc && !m->shared) {
            rc = WW_FAIL_MEMORY(err, "what adapters share");
        }
    }
    x->n_modules = x->members[0].n_pairs;
    x->pairs = rc ? NULL : ww_calloc((size_t)x->n_modules * x->n, sizeof(*x->pairs));
    if (!rc && !x->pairs) {
        rc = WW_FAIL_MEMORY(err, "what adapters share");
    }
    for (size_t i = 0; i < x->n && !rc; i++) {
        rc = match(x, i, err);
    }
    return rc;
}

void ww_basis_drop(struct ww_basis_making *x)
{
    for (size_t i = 0; i < x->n; i++) {
        ww_inspect_side_release(&x->sides[i]);
    }
}

static enum ww_err read_sides(struct ww_basis_making *x, uint32_t k, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < x->n && !rc; i++) {
        const struct ww_member_pair *pair = ww_basis_pair(x, k, i);
        struct ww_inspect_side *s = &x->sides[i];
        *s = (struct ww_inspect_side){.m = (size_t)pair->b->shape[0],
                                      .r = (size_t)pair->a->shape[0],
                                      .d = (size_t)pair->a->shape[1],
                                      .type = ww_chunk_type_of(pair->a->dtype)};
        if ((s->m + s->d) * s->r > MOST_NUMBERS / x->n) {
            return WW_FAIL(err, WW_E_LIMIT,
                           "the factors of '%.160s' of %zu members are more than %llu "
                           "numbers; share among fewer",
                           pair->a->name, x->n, (unsigned long long)MOST_NUMBERS);
        }
        rc = ww_adapter_read(x->members[i].opened, pair->a, &s->a, err);
        if (!rc) {
            rc = ww_adapter_read(x->members[i].opened, pair->b, &s->b, err);
        }
    }
    return rc;
}

static enum ww_err balance(struct ww_inspect_side *s, struct ww_error *err)
{
    const struct ww_own_factors factors = {
        .m = s->m, .r = s->r, .d = s->d, .b = s->b, .a = s->a, .type = s->type};
    struct ww_inspect_side to = *s;
    enum ww_err rc = WW_OK;

    to.b = ww_calloc(s->m * s->r, sizeof(double));
    to.a = ww_calloc(s->r * s->d, sizeof(double));
    rc = to.b && to.a ? ww_own_balance(&factors, to.b, to.a, err)
                      : WW_FAIL_MEMORY(err, "what adapters share");
    if (rc) {
        ww_inspect_side_release(&to);
        return rc;
    }
    ww_inspect_side_release(s);
    *s = to;
    return WW_OK;
}

/* Modules of finite numbers move to the front. */
static enum ww_err keep_finite(struct ww_basis_making *x, struct ww_error *err)
{
    uint32_t kept = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t k = 0; k < x->n_modules && !rc; k++) {
        rc = read_sides(x, k, err);
        ww_basis_drop(x);
        if (rc == WW_E_NONFINITE) {
            ww_error_clear(err);
            rc = WW_OK;
            continue;
        }
        memmove(x->pairs + (size_t)kept * x->n, x->pairs + (size_t)k * x->n,
                x->n * sizeof(*x->pairs));
        kept++;
    }
    x->n_modules = kept;
    if (!rc && kept == 0) {
        rc = WW_FAIL(err, WW_E_NONFINITE,
                     "there is no module of finite numbers in all of the members");
    }
    return rc;
}

enum ww_err ww_basis_pairs(struct ww_basis_making *x, struct ww_error *err)
{
    const enum ww_err rc = find_pairs(x, err);

    return rc ? rc : keep_finite(x, err);
}

enum ww_err ww_basis_read(struct ww_basis_making *x, uint32_t k, struct ww_error *err)
{
    enum ww_err rc = read_sides(x, k, err);

    for (size_t i = 0; i < x->n && !rc && x->options->balanced; i++) {
        rc = balance(&x->sides[i], err);
    }
    return rc;
}
