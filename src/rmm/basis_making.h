/* SPDX-License-Identifier: Apache-2.0 */
/* A basis in the making: for the files that make it. */
#ifndef WW_RMM_BASIS_MAKING_H
#define WW_RMM_BASIS_MAKING_H

#include "rmm/basis.h"
#include "rmm/inspect.h"

struct ww_basis_making {
    struct ww_member *members;
    size_t n;
    const struct ww_basis_options *options;
    uint32_t *pairs; /* [n_modules * n]: of each member */
    uint32_t n_modules;
    struct ww_tensor *tensors; /* of the basis: A and B of each module */
    uint64_t header_bytes;
    int fd;
    struct ww_chunk_room *room;
    struct ww_inspect_side *sides; /* [n] */
    struct ww_basis_side of[2];    /* A, B */
};

/** Pair of member i for module k. */
struct ww_member_pair *ww_basis_pair(const struct ww_basis_making *x, uint32_t k,
                                     size_t i);
/** The modules that all members have, of finite numbers. */
enum ww_err ww_basis_pairs(struct ww_basis_making *x, struct ww_error *err) WW_MUST_USE;
/** The factors of module k of all members, as they are fitted; drop them. */
enum ww_err ww_basis_read(struct ww_basis_making *x, uint32_t k,
                          struct ww_error *err) WW_MUST_USE;
void ww_basis_drop(struct ww_basis_making *x);

/** What was fitted of one side of module k goes to the scratch file at a place, and to
 *  each member. */
enum ww_err ww_basis_give(const struct ww_basis_making *x, uint32_t k, bool is_b,
                          uint64_t at, struct ww_error *err) WW_MUST_USE;
/** What is off when nothing but the basis comes back of member i's module k. */
enum ww_err ww_basis_let_go(const struct ww_basis_making *x, uint32_t k, size_t i,
                            struct ww_error *err) WW_MUST_USE;

#endif
