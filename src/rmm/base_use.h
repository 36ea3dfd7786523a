/* SPDX-License-Identifier: Apache-2.0 */
/* What members use of the base: roots of tensors, digests of files. */
#ifndef WW_RMM_BASE_USE_H
#define WW_RMM_BASE_USE_H

#include "rmm/manifest.h"
#include "rmm/pace.h"

struct ww_base_use {
    const struct ww_model *base; /* NULL: none */
    uint32_t *order;             /* tensors by name */
    uint32_t *rank;
    bool *used; /* per tensor: its root is known */
    uint8_t (*roots)[WW_SHA256_BYTES];
    uint8_t (**leaves)[WW_SHA256_BYTES]; /* per tensor, while it is read, */
    uint64_t *reader;                    /* by this part of a member */
    struct ww_base_file *files;          /* per side file; path NULL: not used */
};

enum ww_err ww_base_use_init(struct ww_base_use *use, const struct ww_model *base,
                             struct ww_error *err) WW_MUST_USE;
void ww_base_use_release(struct ww_base_use *use);

/** Room for the leaves of a tensor that a part is about to read, when its root is wanted
 *  and no other part is reading it. reader: a number for each part of each member. */
enum ww_err ww_base_use_begin(struct ww_base_use *use, uint32_t tensor, uint64_t reader,
                              struct ww_error *err) WW_MUST_USE;
/** The part reads it no more. */
void ww_base_use_cancel(struct ww_base_use *use, uint32_t tensor, uint64_t reader);
/** The leaves that this part is to fill, NULL for none. */
uint8_t (*ww_base_use_leaves(const struct ww_base_use *use, uint32_t tensor,
                             uint64_t reader))[WW_SHA256_BYTES];
/** Its root is known from elsewhere. */
void ww_base_use_state(struct ww_base_use *use, uint32_t tensor,
                       const uint8_t root[WW_SHA256_BYTES]);
/** The part has read it: fold the leaves that it filled. */
enum ww_err ww_base_use_end(struct ww_base_use *use, uint32_t tensor, uint64_t reader,
                            struct ww_error *err) WW_MUST_USE;

/** Is the open file the base's of this path? Its digest either way. */
enum ww_err ww_base_use_file(struct ww_base_use *use, const char *path, int fd,
                             uint64_t size_bytes, uint8_t sha256[WW_SHA256_BYTES],
                             bool *same, struct ww_error *err) WW_MUST_USE;

/** Add what is used to a manifest, which may list some already from an earlier version.
 *  WW_E_UNRELATED when that was of another base. */
enum ww_err ww_base_use_note(const struct ww_base_use *use, struct ww_pack_manifest *m,
                             struct ww_error *err) WW_MUST_USE;

/** Refuse: this is not the base that the package was made with. WW_E_UNRELATED. */
enum ww_err ww_base_use_other(const char *what, const char *name, struct ww_error *err);
/** Which tensor or file that the manifest lists is another one in this base? Reads them
 *  all; WW_E_UNRELATED names the first. */
enum ww_err ww_base_use_check(const struct ww_model *base,
                              const struct ww_pack_manifest *m,
                              struct ww_error *err) WW_MUST_USE;

/** The same of its tensors alone. */
enum ww_err ww_base_use_check_tensors(const struct ww_model *base,
                                      const struct ww_pack_manifest *m,
                                      struct ww_error *err) WW_MUST_USE;

/** The same for one tensor. */
enum ww_err ww_base_use_check_tensor(const struct ww_model *base,
                                     const struct ww_pack_manifest *m, const char *name,
                                     struct ww_error *err) WW_MUST_USE;

/** Roots of all tensors that no member has used, for adapters: the base is read. */
enum ww_err ww_base_use_whole(struct ww_base_use *use, struct ww_pace *pace,
                              struct ww_error *err) WW_MUST_USE;
/** For packages that are measured: the base is read for the first of them. Coded roots
 *  have the length of what they are, so others do not stand for them. */
struct ww_base_roots {
    uint8_t (*of)[WW_SHA256_BYTES]; /* NULL at first; to be freed */
    uint32_t n;
};
enum ww_err ww_base_use_whole_again(struct ww_base_use *use, struct ww_base_roots *kept,
                                    struct ww_pace *pace,
                                    struct ww_error *err) WW_MUST_USE;
/** Are all tensors of this base those of the manifest? known: all are listed there.
 *  WW_E_UNRELATED for the first that is another one. */
enum ww_err ww_base_use_check_whole(const struct ww_model *base,
                                    const struct ww_pack_manifest *m, bool *known,
                                    struct ww_error *err) WW_MUST_USE;

#endif
