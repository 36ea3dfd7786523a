/* SPDX-License-Identifier: Apache-2.0 */
/* What the adapters of a group share, worked out before any of them is written. */
#ifndef WW_RMM_BASIS_H
#define WW_RMM_BASIS_H

#include "rmm/member.h"

#define WW_BASIS_FILE "basis.safetensors"

struct ww_inspect_side;

struct ww_basis_options {
    enum ww_shared_codec codec;
    size_t directions;
    bool loose;    /* what the basis leaves is not coded */
    bool balanced; /* factors are not taken as they are stored, but both as long, which is
                      how integers within an error say them */
};

struct ww_basis {
    struct ww_member member; /* one file, which has no name */
    uint32_t directions;     /* the most of any tensor */
};

/** Fit a basis of the pairs that n adapters have in common, which must be all of them,
 * and give each member its own numbers. scratch: a nameless file, taken over. A module
 * with a number that is not finite in one of the members is left out: it comes back
 * exactly. Sums in a fixed order: the same bytes everywhere. Memory: the factors of one
 * module of all members as doubles. WW_E_UNSUPPORTED when they do not have the same
 * modules, shapes and ranks, WW_E_LIMIT for more directions than there can be. */
enum ww_err ww_basis_make(struct ww_member *members, size_t n, const char *name,
                          const struct ww_basis_options *options, int scratch,
                          struct ww_basis *out, struct ww_error *err) WW_MUST_USE;
/** Also for one that is all zero. */
void ww_basis_release(struct ww_basis *basis);

/** Read the numbers of a part that is about to be written, if they are not there yet. */
enum ww_err ww_basis_load(struct ww_member *member, uint32_t part,
                          struct ww_chunk_room *room, struct ww_error *err) WW_MUST_USE;

/** Read the numbers of a part of a member, and give the factor as they make it, in
 * doubles that are numbers of its dtype. *out is the caller's. */
enum ww_err ww_basis_factor(struct ww_member *member, uint32_t part, double **out,
                            struct ww_error *err) WW_MUST_USE;

/** A side of a module: basis as shared.h has it, own: of each member one after the other.
 */
struct ww_basis_side {
    struct ww_pack_shared shape;
    uint64_t n; /* numbers of a factor */
    float *basis;
    float *own;
};
/** Fit both sides, A and B, of n members: numbers of BF16. */
enum ww_err ww_basis_rows(const struct ww_inspect_side *sides, size_t n,
                          struct ww_basis_side of[2], struct ww_error *err) WW_MUST_USE;
enum ww_err ww_basis_core(const struct ww_inspect_side *sides, size_t n,
                          struct ww_basis_side of[2], struct ww_error *err) WW_MUST_USE;

#endif
