/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into the members of a package: what its parts share. */
#ifndef WW_RMM_INSPECT_H
#define WW_RMM_INSPECT_H

#include "rmm/own.h"
#include "rmm/pace.h"
#include "rmm/peek.h"
#include "weightward/package_inspect.h"

#define WW_INSPECT_SAMPLE 32 /* matrices that curves, and spectra of models, are of */

struct ww_inspecting {
    struct ww_pack_inspection *report;
    struct ww_peek *peeks; /* [n_members]; not open where the report says why */
    struct ww_chunk_room *room;
    struct ww_buf coded;
    struct ww_pace pace;
    double *gram; /* [n_members * n_members] of the whole changes */
};

/** Adapters, then models. */
enum ww_err ww_inspect_adapters(struct ww_inspecting *x,
                                struct ww_error *err) WW_MUST_USE;
enum ww_err ww_inspect_models(struct ww_inspecting *x, struct ww_error *err) WW_MUST_USE;
/** The adapters' factors by the paper's method, when they all have the same modules and
 *  ranks. */
enum ww_err ww_inspect_rows(struct ww_inspecting *x, struct ww_error *err) WW_MUST_USE;

/** A line of the report with the Gram matrix of the changes, n_members squared. */
enum ww_err ww_inspect_add(struct ww_inspecting *x, const char *name, const double *gram,
                           struct ww_error *err) WW_MUST_USE;
/** Squared singular values of a matrix, largest first, into a member's spectrum. */
void ww_inspect_spectrum(struct ww_inspect_member *m, const double *squares, size_t n);

/** The errors that curves are measured at. */
extern const double ww_inspect_errors[];
#define WW_INSPECT_ERRORS 5

/** A pair of factors of an adapter, found by its module. */
struct ww_inspect_pair {
    const char *module;
    uint32_t a; /* tensors of the peek */
    uint32_t b;
};
/** Is the adapter's change the sum of its pairs of matrices? WW_E_UNSUPPORTED, and what
 *  ww_adapter_scaling has to say. */
enum ww_err ww_inspect_check_pairs(const struct ww_peek *peek,
                                   struct ww_error *err) WW_MUST_USE;
/** Every pair of matrices of an adapter, by module. Free the items. */
enum ww_err ww_inspect_pairs(const struct ww_peek *peek, struct ww_inspect_pair **items,
                             size_t *n, struct ww_error *err) WW_MUST_USE;
/** Factors as doubles, b times the module's scaling. */
struct ww_inspect_side {
    double *a; /* r x d */
    double *b; /* m x r */
    size_t m;
    size_t r;
    size_t d;
    struct ww_chunk_type type;
};
enum ww_err ww_inspect_read(struct ww_peek *peek, const struct ww_inspect_pair *pair,
                            struct ww_inspect_side *out,
                            struct ww_error *err) WW_MUST_USE;
void ww_inspect_side_release(struct ww_inspect_side *side);
/** <B A, B' A'>; 0 for products of other shapes. */
double ww_inspect_inner(const struct ww_inspect_side *s, const struct ww_inspect_side *t);
/** The module's pair among n, or NULL. */
const struct ww_inspect_pair *ww_inspect_find(const struct ww_inspect_pair *items,
                                              size_t n, const char *module);

#endif
