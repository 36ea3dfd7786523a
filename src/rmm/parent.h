/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Versions: a member that is coded against a member before it, its parent, tensor by
 * tensor where that is shorter than against the base. A chunk of it is predicted by the
 * parent's chunk at the same place, which is decoded first, and so on up to a member that
 * needs no parent there. So any tensor is still read alone, and nothing of a parent
 * touches a disk.
 */
#ifndef WW_RMM_PARENT_H
#define WW_RMM_PARENT_H

#include "rmm/unpack_kernel.h"

struct ww_parent_name;

/** A member that others were coded against. */
struct ww_parent {
    struct ww_pack_view view;
    const struct ww_model *base;    /* borrowed; NULL: none */
    const struct ww_parent *parent; /* borrowed; what its own chained parts need */
    struct ww_parent_name *names;   /* its parts, sorted */
    size_t n_names;
};

/** Open a member as a parent; key, of its section, is taken over. WW_E_MALFORMED when
 *  its own parent has not what it names. */
enum ww_err ww_parent_open(int fd, uint64_t offset,
                           const struct ww_pack_manifest_member *member,
                           struct ww_secret *key, const struct ww_model *base,
                           const struct ww_parent *parent, struct ww_parent *out,
                           struct ww_error *err) WW_MUST_USE;
/** Also for one that is all zero. */
void ww_parent_close(struct ww_parent *parent);

/** All parents of a member, nearest first. */
struct ww_parents {
    struct ww_parent *items;
    size_t n;
    const struct ww_parent *first; /* NULL: the member has none */
};
/** WW_E_NOT_FOR_YOU when one of them is sealed for others. */
enum ww_err ww_parents_open(struct ww_parents *parents, const struct ww_pack_file *file,
                            size_t member, const struct ww_unsealer *unsealer,
                            const struct ww_model *base,
                            struct ww_error *err) WW_MUST_USE;
void ww_parents_close(struct ww_parents *parents);

/** The part of a parent that may predict this part of a file at path; WW_NONE: none. */
uint32_t ww_parent_part(const struct ww_parent *parent,
                        const struct ww_pack_table_part *part, const char *path);
/** Find the parent's part for each that a table says is chained, and keep the parent in
 *  the table. parent may be NULL. WW_E_MALFORMED. */
enum ww_err ww_parent_bind(const struct ww_parent *parent, const char *member,
                           struct ww_pack_table *table, struct ww_error *err) WW_MUST_USE;

/** What predicts a chunk of a part that is chained: the parent's bytes there, or what the
 * part makes of a basis. out as below. */
enum ww_err ww_parent_predict(const struct ww_pack_view *view,
                              const struct ww_pack_table_part *part, uint64_t chunk,
                              struct ww_unpack_room *room, uint8_t *out,
                              struct ww_error *err) WW_MUST_USE;
/** The bytes of one chunk of a parent's part; out is none of the room's but mixed. */
enum ww_err ww_parent_read(const struct ww_parent *parent, uint32_t part, uint64_t chunk,
                           struct ww_unpack_room *room, uint8_t *out,
                           struct ww_error *err) WW_MUST_USE;
/** Does the part come back with the base's tensor of its name only? */
bool ww_parent_needs_base(const struct ww_parent *parent, uint32_t part);
/** Add what decides a part's bytes beside the base. */
void ww_parent_digest(const struct ww_parent *parent, uint32_t part,
                      struct ww_sha256 *sha);

#endif
