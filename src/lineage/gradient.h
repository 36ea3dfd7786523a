/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Shares that follow the depth: recipes give a number as a list over the layers, for all
 * tensors or for those of attention and of the feed-forward block apart.
 */
#ifndef WW_LINEAGE_GRADIENT_H
#define WW_LINEAGE_GRADIENT_H

#include "lineage/family.h"
#include "lineage/fit.h"

#define WW_GRADIENT_MOST 126 /* layers */
#define WW_GRADIENT_ANCHORS 32

enum ww_gradient_group { WW_GRADIENT_ATTENTION, WW_GRADIENT_MLP, WW_GRADIENT_REST };
#define WW_GRADIENT_GROUPS 3

/** A number at one place of the depth, 0 the first layer and 1 the last one. */
struct ww_gradient_point {
    double at;
    double value;
    double error;
    enum ww_gradient_group group;
};

/** A list over the layers: values at even distances, straight lines between. n is 1 for a
 *  number that does not follow the depth, 0 where there is nothing to say. */
struct ww_gradient_list {
    size_t n;
    double at[WW_GRADIENT_ANCHORS];
};

struct ww_gradient {
    bool one; /* of all tensors: groups[0] */
    struct ww_gradient_list groups[WW_GRADIENT_GROUPS];
};

/** The words by which recipes pick the groups; REST has none. */
const char *ww_gradient_filter(enum ww_gradient_group group);

/** Shares of each layer and group. */
struct ww_gradient_shares {
    unsigned k;
    size_t n;
    struct ww_gradient_point *points; /* [n]: place and group */
    double *shares;                   /* [n][k] */
    double *errors;                   /* [n][k] */
};
/** moments: per tensor of the family, those with fitted count. n stays 0 when the suspect
 *  has one layer or more than WW_GRADIENT_MOST. */
enum ww_err ww_gradient_shares(const struct ww_family *family,
                               struct ww_moments *const *moments, const bool *fitted,
                               const int8_t *side, struct ww_gradient_shares *out,
                               struct ww_error *err) WW_MUST_USE;
void ww_gradient_shares_release(struct ww_gradient_shares *shares);

/** The shortest lists that n points allow, in short decimals where those do. False: there
 *  are none; out is undefined then. */
bool ww_gradient_fit(const struct ww_gradient_point *points, size_t n,
                     struct ww_gradient *out);
/** Value of a list at a place. */
double ww_gradient_at(const struct ww_gradient_list *list, double at);

#endif
