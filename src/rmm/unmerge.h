/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a merge says of one of its sources, as the prediction of a member: of_base times
 * the base (the merge) and the other sources by their weights. Products and sums are
 * those of IEEE doubles, one after the other, the base first, and the sum is rounded once
 * to the dtype; a sum that is no number counts as 0. So it is the same bits everywhere.
 */
#ifndef WW_RMM_UNMERGE_H
#define WW_RMM_UNMERGE_H

#include "rmm/manifest.h"
#include "weightward/merge.h"

struct ww_unmerge {
    double of_base;
    struct ww_model **models;     /* [n] the others, opened */
    struct ww_pack_other *others; /* [n] what the manifest says of them */
    size_t n;                     /* 0: the base alone */
};

/** Open what an inverse names. WW_E_LIMIT. */
enum ww_err ww_unmerge_open(const struct ww_merge_inverse *inverse,
                            struct ww_unmerge *out, struct ww_error *err) WW_MUST_USE;
/** Find what a manifest names among folders, by their tensor trees. WW_E_UNRELATED when
 *  one is not among them. */
enum ww_err ww_unmerge_find(const struct ww_pack_manifest_member *member,
                            const char *const *folders, size_t n, struct ww_unmerge *out,
                            struct ww_error *err) WW_MUST_USE;
void ww_unmerge_close(struct ww_unmerge *unmerge);
/** WW_E_CHANGED when one of the others is not what it was. */
enum ww_err ww_unmerge_unchanged(const struct ww_unmerge *unmerge,
                                 struct ww_error *err) WW_MUST_USE;

/** Can this tensor of the base be mixed: plain numbers, and the same dtype and shape in
 *  all others? Their tensors in found, [n], if so. */
bool ww_unmerge_tensor(const struct ww_unmerge *unmerge, const struct ww_tensor *base,
                       uint32_t *found);
/** n bytes of a prediction; rows: of the base, then of the others. out may be rows[0]. */
void ww_unmerge_mix(const struct ww_unmerge *unmerge, enum ww_dtype dtype,
                    const uint8_t *const *rows, uint8_t *out, size_t n);
/** The same with the others read: n bytes from `at` of the base's tensor, in bytes. */
enum ww_err ww_unmerge_read(const struct ww_unmerge *unmerge,
                            const struct ww_tensor *base, uint64_t at, uint8_t *bytes,
                            size_t n, struct ww_error *err) WW_MUST_USE;

#endif
