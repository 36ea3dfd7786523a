/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PEFT 0.21.2's "svd" kinds: the differences are multiplied out, pruned, elected and
 * summed as whole matrices, and a truncated singular value decomposition makes a pair of
 * the result. The only merge of adapters that holds matrices of the size of the weight:
 * 8 bytes for each element of each adapter, and of the result three times.
 */
#include <math.h>
#include <string.h>

#include "la/la.h"
#include "merge/frame_ties.h"
#include "merge/lora_pair.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static enum ww_err multiply_out(const struct ww_lora_set *set,
                                struct ww_frame_part *parts, struct ww_error *err)
{
    for (uint32_t i = 0; i < set->n; i++) {
        const struct ww_lora_part *part = &set->parts[i];
        parts[i] =
            (struct ww_frame_part){ww_calloc(set->m * set->n_in + 1, sizeof(double)),
                                   part->density, part->weight};
        if (!parts[i].x) {
            return WW_FAIL_MEMORY(err, "an adapter's whole differences");
        }
        ww_la_gemm(WW_LA_PLAIN, WW_LA_PLAIN, set->m, set->n_in, part->pair.rank,
                   part->scaling, part->pair.b, part->pair.rank, part->pair.a, set->n_in,
                   0, parts[i].x, set->n_in);
    }
    return WW_OK;
}

static size_t largest_rank(const struct ww_lora_set *set)
{
    size_t rank = 0;

    for (uint32_t i = 0; i < set->n; i++) {
        rank = set->parts[i].pair.rank > rank ? set->parts[i].pair.rank : rank;
    }
    return rank;
}

/* b = u sqrt(s), a = sqrt(s) vt of the leading `rank`. */
static enum ww_err cut(const struct ww_lora_set *set, const double *u, const double *s,
                       const double *vt, size_t r, struct ww_lora_pair *out,
                       struct ww_error *err)
{
    out->a = ww_calloc(out->rank * set->n_in + 1, sizeof(*out->a));
    out->b = ww_calloc(set->m * out->rank + 1, sizeof(*out->b));
    if (!out->a || !out->b) {
        return WW_FAIL_MEMORY(err, "an adapter's whole differences");
    }
    for (size_t k = 0; k < out->rank; k++) {
        const double root = sqrt(s[k]);
        for (size_t j = 0; j < set->n_in; j++) {
            out->a[k * set->n_in + j] = root * vt[k * set->n_in + j];
        }
        for (size_t i = 0; i < set->m; i++) {
            out->b[i * out->rank + k] = root * u[i * r + k];
        }
    }
    return WW_OK;
}

static enum ww_err decompose(const struct ww_lora_set *set, double *x, size_t rank,
                             struct ww_lora_pair *out, struct ww_error *err)
{
    const size_t r = set->m < set->n_in ? set->m : set->n_in;
    double *u = ww_calloc(set->m * r + 1, sizeof(*u));
    double *s = ww_calloc(r + 1, sizeof(*s));
    double *vt = ww_calloc(r * set->n_in + 1, sizeof(*vt));
    enum ww_err rc =
        u && s && vt ? WW_OK : WW_FAIL_MEMORY(err, "an adapter's whole differences");

    out->rank = rank < r ? rank : r;
    if (!rc) {
        rc = ww_la_svd(set->m, set->n_in, x, u, s, vt, err);
    }
    if (!rc) {
        rc = cut(set, u, s, vt, r, out, err);
    }
    ww_free(u);
    ww_free(s);
    ww_free(vt);
    return rc;
}

enum ww_err ww_lora_whole(const struct ww_lora_set *set, const struct ww_lora_rule *rule,
                          size_t rank, struct ww_lora_pair *out, struct ww_error *err)
{
    const size_t n = set->m * set->n_in;
    struct ww_frame_part *parts = ww_calloc(set->n, sizeof(*parts));
    double *sum = ww_calloc(n + 1, sizeof(*sum));
    char *name = ww_asprintf("%s.weight", set->name);
    enum ww_err rc = parts && sum && name
                         ? WW_OK
                         : WW_FAIL_MEMORY(err, "an adapter's whole differences");

    if (!rc) {
        rc = ww_la_ready(err);
    }
    if (!rc) {
        rc = multiply_out(set, parts, err);
    }
    if (!rc) {
        rc = ww_lora_combine(set, parts, rule, name, n, sum, err);
    }
    for (uint32_t i = 0; parts && i < set->n; i++) {
        ww_free(parts[i].x);
    }
    if (!rc) {
        rc = decompose(set, sum, rank ? rank : largest_rank(set), out, err);
    }
    ww_free(parts);
    ww_free(sum);
    ww_free(name);
    return rc;
}
