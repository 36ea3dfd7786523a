/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tensors of an adapter are factors of one product. The scale that PEFT applies to
 * a product (alpha, rank, rsLoRA, patterns) changes no relative error, so it is left
 * where it is, in the configuration, and so is all that is no pair.
 */
#include <string.h>

#include "rmm/basis.h"
#include "rmm/chunk.h"
#include "rmm/member.h"
#include "util/alloc.h"
#include "util/fail.h"

/* The part of the adapter's tensor; its file lists them in the same order. */
static uint32_t part_of(const struct ww_member *m, uint32_t tensor)
{
    for (uint32_t f = 0; f < m->table.n_files; f++) {
        if (strcmp(m->table.files[f].path, WW_ADAPTER_WEIGHTS) == 0) {
            return m->table.files[f].first_part + 1 + tensor;
        }
    }
    return WW_NONE;
}

static bool fits(const struct ww_tensor *a, const struct ww_tensor *b)
{
    return a->rank == 2 && b->rank == 2 && a->dtype == b->dtype &&
           ww_chunk_type_of(a->dtype).exponent_mask && a->shape[0] == b->shape[1] &&
           a->shape[0] > 0 && a->shape[0] <= WW_OWN_MAX_RANK && a->n_elements > 0 &&
           b->n_elements > 0;
}

static bool is_mate(enum ww_adapter_part a, enum ww_adapter_part b)
{
    return (a == WW_PART_A && b == WW_PART_B) ||
           (a == WW_PART_EMBEDDING_A && b == WW_PART_EMBEDDING_B);
}

#define WRAPPED                                                                          \
    ".base_layer" /* of a module with factors for several of its parameters              \
                   */

/* Factors of stacked experts (target_parameters of PEFT) are a product for each of some
 * of the latent indices, which a fit of the whole product would mix. A parameter is named
 * with its module before the last dot. */
static bool of_experts(const struct ww_adapter *adapter, const char *module)
{
    const struct ww_jnode *list = adapter->parameters;
    size_t len = strlen(module);

    if (!list) {
        return false;
    }
    while (len > strlen(WRAPPED) &&
           strncmp(module + len - strlen(WRAPPED), WRAPPED, strlen(WRAPPED)) == 0) {
        len -= strlen(WRAPPED);
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at)) {
        const char *name = NULL;
        const char *dot = ww_jstr(at, &name) ? strrchr(name, '.') : NULL;
        const size_t n = dot ? (size_t)(dot - name) : 0;
        if (!dot || (len >= n && memcmp(module + len - n, name, n) == 0 &&
                     (len == n || module[len - n - 1] == '.'))) {
            return true;
        }
    }
    return ww_jtype(list) != WW_J_ARRAY;
}

static void add_pair(struct ww_member *m, uint32_t ta, uint32_t tb)
{
    struct ww_member_pair *pair = &m->pairs[m->n_pairs];

    *pair = (struct ww_member_pair){.part_a = part_of(m, ta),
                                    .part_b = part_of(m, tb),
                                    .a = &m->opened->tensors[ta],
                                    .b = &m->opened->tensors[tb],
                                    .left = 2};
    m->pair_of[pair->part_a] = m->n_pairs;
    m->pair_of[pair->part_b] = m->n_pairs;
    m->n_pairs++;
}

enum ww_err ww_member_pair(struct ww_member *m, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    rc = ww_adapter_open(m->path, &m->opened, err);
    if (rc == WW_E_UNSUPPORTED) {
        ww_error_clear(err);
        return WW_OK; /* what its tensors mean is not known, so they come back exactly */
    }
    if (rc) {
        return rc;
    }
    m->pairs = ww_calloc(m->opened->n_tensors, sizeof(*m->pairs));
    m->pair_of = ww_calloc(m->table.n_parts, sizeof(*m->pair_of));
    if (!m->pairs || !m->pair_of) {
        return WW_FAIL_MEMORY(err, "the factors of an adapter");
    }
    for (uint32_t p = 0; p < m->table.n_parts; p++) {
        m->pair_of[p] = WW_NONE;
    }
    for (uint32_t i = 0; i < m->opened->n_tensors; i++) {
        for (uint32_t k = 0; k < m->opened->n_tensors; k++) {
            const struct ww_adapter_entry *a = &m->opened->entries[i];
            const struct ww_adapter_entry *b = &m->opened->entries[k];
            if (is_mate(a->part, b->part) && strcmp(a->module, b->module) == 0 &&
                fits(a->tensor, b->tensor) && !of_experts(m->opened, a->module)) {
                add_pair(m, i, k);
            }
        }
    }
    return WW_OK;
}

/* As what differs from what a basis makes of it, or by itself where that has too few
 * directions to turn the factors to. */
static enum ww_err fit_shared(struct ww_member *m, struct ww_member_pair *pair,
                              const struct ww_own_factors *factors, struct ww_error *err)
{
    struct ww_own_factors all = *factors;
    double *b = NULL;
    double *a = NULL;
    enum ww_err rc = ww_basis_factor(m, pair->part_b, &b, err);

    if (!rc) {
        rc = ww_basis_factor(m, pair->part_a, &a, err);
    }
    all.near_b = b;
    all.near_a = a;
    if (!rc) {
        rc = ww_own_fit(&all, m->error, &pair->own, err);
    }
    pair->near = pair->own.fits;
    if (!rc && !pair->own.fits) {
        rc = ww_own_fit(factors, m->error, &pair->own, err);
    }
    ww_free(b);
    ww_free(a);
    return rc;
}

static enum ww_err fit_factors(struct ww_member *m, struct ww_member_pair *pair,
                               const struct ww_own_factors *factors, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (m->shared && m->shared[pair->part_a].is) {
        return fit_shared(m, pair, factors, err);
    }
    rc = ww_own_fit(factors, m->error, &pair->own, err);
    return rc || !m->parent || !pair->own.fits ? rc
                                               : ww_member_near(m, pair, factors, err);
}

static enum ww_err fit(struct ww_member *m, struct ww_member_pair *pair,
                       struct ww_error *err)
{
    double *a = NULL;
    double *b = NULL;
    enum ww_err rc = ww_adapter_read(m->opened, pair->a, &a, err);

    if (!rc) {
        rc = ww_adapter_read(m->opened, pair->b, &b, err);
    }
    if (!rc) {
        const struct ww_own_factors factors = {.m = (size_t)pair->b->shape[0],
                                               .r = (size_t)pair->a->shape[0],
                                               .d = (size_t)pair->a->shape[1],
                                               .b = b,
                                               .a = a,
                                               .type = ww_chunk_type_of(pair->a->dtype)};
        rc = fit_factors(m, pair, &factors, err);
    }
    if (rc == WW_E_NONFINITE) {
        ww_error_clear(err);
        rc = WW_OK; /* exactly, with infinities and the payloads of NaNs */
    }
    pair->tried = true;
    ww_free(a);
    ww_free(b);
    return rc;
}

enum ww_err ww_member_fit(struct ww_member *m, uint32_t part,
                          const struct ww_member_pair **out, struct ww_error *err)
{
    const uint32_t i = m->pair_of ? m->pair_of[part] : WW_NONE;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (i == WW_NONE || m->error == 0) {
        return WW_OK;
    }
    if (!m->pairs[i].tried) {
        rc = fit(m, &m->pairs[i], err);
    }
    if (!rc && m->pairs[i].own.fits) {
        *out = &m->pairs[i];
    }
    return rc;
}

void ww_member_fitted(struct ww_member *m, uint32_t part)
{
    const uint32_t i = m->pair_of ? m->pair_of[part] : WW_NONE;

    if (m->ranks[part]) {
        ww_rank_release(&m->ranks[part]->rank); /* the table needs its chunks' digests */
    }
    if (m->shared) {
        ww_shared_release(&m->shared[part].numbers);
    }
    if (i != WW_NONE && --m->pairs[i].left == 0) {
        ww_own_release(&m->pairs[i].own);
    }
}
