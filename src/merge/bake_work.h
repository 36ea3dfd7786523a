/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a bake share: which entries change which weight, and one at work. */
#ifndef WW_MERGE_BAKE_WORK_H
#define WW_MERGE_BAKE_WORK_H

#include "merge/bake.h"

#define WW_BAKE_PARTS (WW_PART_FULL + 1)

/** What the adapter says of one weight of the base. */
struct ww_bake_change {
    uint32_t tensor;
    const struct ww_adapter_entry *part[WW_BAKE_PARTS];
};

struct ww_bake_from {
    const struct ww_model *base;
    const struct ww_reader *const *readers;
    const struct ww_adapter *adapter;
};

/** Entries grouped by the tensor of the base that they change, in its order; room for one
 *  change per entry. A head that the base ties is not among them. */
enum ww_err ww_bake_group(const struct ww_bake_from *from, struct ww_bake_change *changes,
                          uint32_t *n, const char **doubt,
                          struct ww_error *err) WW_MUST_USE;

/** A change with what every row of it needs. */
struct ww_bake_weight {
    const struct ww_bake_from *from;
    const struct ww_bake_change *change;
    const struct ww_tensor *w;      /* of the base */
    const struct ww_tensor *origin; /* w, or the adapter's own weight in its place */
    uint64_t n_rows;
    uint64_t n_cols;
    uint64_t rank;                  /* 0: nothing is added */
    double scaling;
    const struct ww_tensor *left;   /* n_rows x rank, in the adapter's file, */
    bool left_across;               /* or rank x n_rows */
    double *right;                  /* rank x n_cols */
    double *magnitude;              /* by output, or NULL */
    bool across;                    /* outputs run over the columns */
    double *factors;                /* by column, or NULL */
};

/** Do the parts fit the weight? Reads no tensor. */
enum ww_err ww_bake_weight_check(const struct ww_bake_from *from,
                                 const struct ww_bake_change *change,
                                 struct ww_bake_weight *out,
                                 struct ww_error *err) WW_MUST_USE;
/** Read the factor and, of DoRA across, the norms. */
enum ww_err ww_bake_weight_open(struct ww_bake_weight *weight,
                                struct ww_error *err) WW_MUST_USE;
void ww_bake_weight_close(struct ww_bake_weight *weight);
/** Heap that an open one holds. */
uint64_t ww_bake_weight_bytes(const struct ww_bake_weight *weight);

/** Room for up to so many rows at once. */
struct ww_bake_room {
    uint64_t step;
    double *rows;
    double *left;
    uint8_t *bytes;
};
enum ww_err ww_bake_room_new(const struct ww_bake_weight *weight, struct ww_bake_room *out,
                             struct ww_error *err) WW_MUST_USE;
void ww_bake_room_release(struct ww_bake_room *room);
/** Rows [first, first + n) of the result into room->rows; n at most room->step. */
enum ww_err ww_bake_rows(const struct ww_bake_weight *weight, uint64_t first, uint64_t n,
                         const struct ww_bake_room *room,
                         struct ww_error *err) WW_MUST_USE;

#endif
