/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a bake share: which entries change which weight, and one at work. */
#ifndef WW_MERGE_BAKE_WORK_H
#define WW_MERGE_BAKE_WORK_H

#include "merge/bake.h"
#include "util/str.h"

#define WW_BAKE_PARTS (WW_PART_FULL + 1)
#define WW_BAKE_FUSED 3 /* modules whose rows one tensor holds, at most */

struct ww_bake_fused; /* bake_fused.c */

/** A weight that experts share factors for, or that is one expert's part of them. */
struct ww_bake_expert {
    const char *name; /* of the parameter in memory */
    uint32_t n;       /* experts that the factors stack; 0: no such weight */
    uint32_t index;   /* whose weight it is; WW_NONE: of all, behind each other */
    uint64_t row;     /* which of the expert's n_rows outputs is the weight's first */
    uint64_t n_rows;
};

/** What the adapter says of one weight of the base. */
struct ww_bake_change {
    uint32_t tensor;
    struct ww_bake_expert expert;
    const struct ww_adapter_entry *part[WW_BAKE_PARTS];
    const struct ww_bake_fused *fused; /* rows of several modules; NULL: no */
    const struct ww_adapter_entry *pairs[WW_BAKE_FUSED][WW_PART_B + 1]; /* with it */
};

struct ww_bake_from {
    const struct ww_model *base;
    const struct ww_reader *const *readers;
    const struct ww_adapter *adapter;
};

struct ww_bake_group {
    struct ww_bake_change *changes;
    uint32_t n;
    uint32_t capacity;
    struct ww_strlist names; /* of parameters */
    const char *doubt;
};

/** Entries grouped by the tensor of the base that they change, in its order. A head that
 *  the base ties is not among them. */
enum ww_err ww_bake_group(const struct ww_bake_from *from, struct ww_bake_group *out,
                          struct ww_error *err) WW_MUST_USE;
void ww_bake_group_release(struct ww_bake_group *group);
/** One more, empty. Moves the others. */
enum ww_err ww_bake_group_add(struct ww_bake_group *group, struct ww_bake_change **out,
                              struct ww_error *err) WW_MUST_USE;
/** Changes of a parameter that is no module's weight; *done is false for other entries.
 */
enum ww_err ww_bake_parameter(const struct ww_bake_from *from,
                              const struct ww_adapter_entry *entry,
                              struct ww_bake_group *group, bool *done,
                              struct ww_error *err) WW_MUST_USE;
/** The same for a module that the base keeps as rows of a tensor of several. */
enum ww_err ww_bake_fuse(const struct ww_bake_from *from,
                         const struct ww_adapter_entry *entry,
                         struct ww_bake_group *group, bool *done,
                         struct ww_error *err) WW_MUST_USE;
/** The base's tensor of this name, or of the one that its files have for it; WW_NONE. */
enum ww_err ww_bake_stored(const struct ww_model *base, const char *name, uint32_t *found,
                           struct ww_error *err) WW_MUST_USE;

/** A change with what every row of it needs. */
struct ww_bake_weight {
    const struct ww_bake_from *from;
    const struct ww_bake_change *change;
    const struct ww_tensor *w;      /* of the base */
    const struct ww_tensor *origin; /* w, or the adapter's own weight in its place */
    uint64_t n_rows;
    uint64_t n_cols;
    uint64_t rank; /* 0: nothing is added */
    double scaling;
    const struct ww_tensor *left; /* n_rows x rank, in the adapter's file, */
    bool left_across;             /* or rank x n_rows */
    double *left_held;            /* n_rows x rank in memory instead, or NULL */
    uint64_t rows_each;           /* after so many rows comes the next right factor */
    double *right;                /* rank x n_cols */
    double *magnitude;            /* by output, or NULL */
    bool across;                  /* outputs run over the columns */
    double *factors;              /* by column, or NULL */
    uint64_t fused_rows[WW_BAKE_FUSED]; /* of each module */
};

/** Can the factor be read? WW_E_QUANTISED, WW_E_LIMIT. */
enum ww_err ww_bake_plain(const struct ww_bake_from *from, const struct ww_tensor *t,
                          struct ww_error *err) WW_MUST_USE;
/** Do the parts fit the weight? Reads no tensor. */
enum ww_err ww_bake_weight_check(const struct ww_bake_from *from,
                                 const struct ww_bake_change *change,
                                 struct ww_bake_weight *out,
                                 struct ww_error *err) WW_MUST_USE;
/** Read the factor and, of DoRA across, the norms. */
enum ww_err ww_bake_weight_open(struct ww_bake_weight *weight,
                                struct ww_error *err) WW_MUST_USE;
void ww_bake_weight_close(struct ww_bake_weight *weight);
/** The same two for factors that experts share. */
enum ww_err ww_bake_expert_check(struct ww_bake_weight *weight,
                                 struct ww_error *err) WW_MUST_USE;
enum ww_err ww_bake_expert_open(struct ww_bake_weight *weight,
                                struct ww_error *err) WW_MUST_USE;
/** The same two for factors of rows. */
enum ww_err ww_bake_fused_check(struct ww_bake_weight *weight,
                                struct ww_error *err) WW_MUST_USE;
enum ww_err ww_bake_fused_open(struct ww_bake_weight *weight,
                               struct ww_error *err) WW_MUST_USE;
/** Is it a row of a module that the adapter leaves alone? */
bool ww_bake_fused_keeps(const struct ww_bake_weight *weight, uint64_t row);
/** Heap that an open one holds. */
uint64_t ww_bake_weight_bytes(const struct ww_bake_weight *weight);

/** Room for up to so many rows at once. */
struct ww_bake_room {
    uint64_t step;
    double *rows;
    double *left;
    uint8_t *bytes;
};
enum ww_err ww_bake_room_new(const struct ww_bake_weight *weight,
                             struct ww_bake_room *out, struct ww_error *err) WW_MUST_USE;
void ww_bake_room_release(struct ww_bake_room *room);
/** Rows [first, first + n) of the result into room->rows; n at most room->step. */
enum ww_err ww_bake_rows(const struct ww_bake_weight *weight, uint64_t first, uint64_t n,
                         const struct ww_bake_room *room,
                         struct ww_error *err) WW_MUST_USE;

#endif
