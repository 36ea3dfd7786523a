/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Differences of weights as pairs of factors, B A, and what can be done with several
 * without multiplying them out. In: m outputs, n inputs; b is m x rank, a is rank x n.
 *
 *   sum      B's side by side, A's below each other: exact, the ranks add up
 *   shrink   the truncated singular value decomposition of a pair
 *   knots    KnOTS (arXiv 2410.19735): all differences side by side are U S [V_1 ...],
 *            TIES on the V_i
 *   core     Core Space (2509.17786): each difference in the spans of all B and all A,
 *            TIES there
 *   factors  the A's by themselves and the B's by themselves, as PEFT's
 *            add_weighted_adapter does by "linear", "ties", "magnitude_prune",
 *            "dare_linear" and "dare_ties": no sum of the differences, offered to compare
 *   whole    the same done to the differences, multiplied out: its "ties_svd" and kin
 *
 * All but sum and factors go through LAPACK: other machines may give other last bits.
 */
#ifndef WW_MERGE_LORA_PAIR_H
#define WW_MERGE_LORA_PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_lora_pair {
    size_t rank;
    double *a;
    double *b;
};

/** One adapter's part in the merge of a weight; weight * scaling * b a is added. */
struct ww_lora_part {
    struct ww_lora_pair pair; /* own */
    double scaling;
    double weight;
    double density;
    bool rescale;   /* of what chance leaves */
    uint64_t order; /* among the adapters of the recipe, for the masks of chance */
};

/** Parts of one weight. */
struct ww_lora_set {
    struct ww_lora_part *parts;
    uint32_t n;
    size_t m;
    size_t n_in;
    double lambda;    /* of the whole */
    const char *name; /* of the weight, without ".weight" */
    uint64_t seed;    /* of masks by chance */
    bool by_count;    /* election by the number of signs, not by their sum */
};

/** What becomes of factors before they are summed, entry by entry. */
enum ww_lora_prune {
    WW_LORA_KEEP_ALL,
    WW_LORA_KEEP_LARGEST,  /* int(density n) of them */
    WW_LORA_KEEP_BY_CHANCE /* each with probability density, then divided by it */
};

struct ww_lora_rule {
    enum ww_lora_prune prune;
    bool elect; /* a sign, and the mean of those that have it, instead of the sum */
};

struct ww_frame_part;
/** n entries of each part, which are overwritten, by the rule into out. name: of the
 *  tensor, for masks by chance. */
enum ww_err ww_lora_combine(const struct ww_lora_set *set,
                            const struct ww_frame_part *parts,
                            const struct ww_lora_rule *rule, const char *name, size_t n,
                            double *out, struct ww_error *err) WW_MUST_USE;

enum ww_err ww_lora_sum(const struct ww_lora_set *set, struct ww_lora_pair *out,
                        struct ww_error *err) WW_MUST_USE;
enum ww_err ww_lora_knots(const struct ww_lora_set *set, struct ww_lora_pair *out,
                          struct ww_error *err) WW_MUST_USE;
enum ww_err ww_lora_core(const struct ww_lora_set *set, struct ww_lora_pair *out,
                         struct ww_error *err) WW_MUST_USE;
/** WW_E_SHAPE when the ranks differ. Overwrites the parts. */
enum ww_err ww_lora_factors(const struct ww_lora_set *set,
                            const struct ww_lora_rule *rule, struct ww_lora_pair *out,
                            struct ww_error *err) WW_MUST_USE;
/** The differences multiplied out: PEFT's "svd" kinds. rank 0: the largest of the parts'.
 */
enum ww_err ww_lora_whole(const struct ww_lora_set *set, const struct ww_lora_rule *rule,
                          size_t rank, struct ww_lora_pair *out,
                          struct ww_error *err) WW_MUST_USE;
/** By a rank of at most max_rank (0: any) that keeps the share of the squared norm (0: as
 *  much as max_rank can). kept: what was. */
enum ww_err ww_lora_shrink(size_t m, size_t n, struct ww_lora_pair *pair, size_t max_rank,
                           double energy, double *kept, struct ww_error *err) WW_MUST_USE;
void ww_lora_pair_release(struct ww_lora_pair *pair);

/** cols (rows x k) = q r with orthonormal q (rows x *kq); where k is more than rows, q is
 *  the unit matrix. */
struct ww_lora_basis {
    size_t rows;
    size_t k;
    size_t kq;
    double *q;
    double *r; /* kq x k */
};
enum ww_err ww_lora_basis_of(size_t rows, size_t k, const double *cols,
                             struct ww_lora_basis *out, struct ww_error *err) WW_MUST_USE;
void ww_lora_basis_release(struct ww_lora_basis *basis);
/** left and right (rows x k each) side by side or transposed, of all parts. */
enum ww_err ww_lora_gather(const struct ww_lora_set *set, double **b, double **at,
                           size_t *rank, struct ww_error *err) WW_MUST_USE;

#endif
