/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that goes into a package: its files as parts that are coded on their own. */
#ifndef WW_RMM_MEMBER_H
#define WW_RMM_MEMBER_H

#include "model/adapter.h"
#include "model/folder.h"
#include "model/st_file.h"
#include "rmm/dense.h"
#include "rmm/own.h"
#include "rmm/rank_code.h"
#include "rmm/shared.h"
#include "rmm/table.h"
#include "rmm/unmerge.h"
#include "weightward/package.h"

/** A file being read; parts are in the table. */
struct ww_member_file {
    int fd;
    struct stat st;
    struct ww_st_file weights; /* fd -1: no weight file */
    bool known;                /* its digest is, and it is not read for that */
};

/** Two factors of one product, when they need not come back exactly. */
struct ww_member_pair {
    uint32_t part_a;
    uint32_t part_b;
    const struct ww_tensor *a; /* r x d */
    const struct ww_tensor *b; /* m x r */
    bool tried;
    unsigned left; /* parts not written yet */
    bool near;     /* coded as what differs from the parent's */
    struct ww_own own;
};

/** A factor that is made of a basis, and what the member's own numbers are. */
struct ww_member_shared {
    int fd;                   /* where the basis lies, borrowed; */
    uint64_t at;              /* this part of it */
    bool is;                  /* false: the part shares nothing */
    bool loose;               /* what the basis leaves is not coded */
    double error;             /* of the product then */
    struct ww_shared numbers; /* while the part is written */
};

/* The change of a tensor of a model, when it need not come back exactly. */
struct ww_member_change {
    bool tried;
    struct ww_dense dense;
};

struct ww_parent;
struct ww_unpack_rooms;
struct ww_pack_beside;

struct ww_member {
    const char *name; /* borrowed */
    const char *path;
    int dirfd;
    bool adapter;
    struct ww_folder folder;
    struct ww_member_file *files; /* as the table's */
    struct ww_pack_table table;   /* digests and chunks still to come */
    uint32_t *base_tensors;       /* per part: in the base, or WW_NONE */
    struct ww_unmerge unmerge;    /* what the base says of it; n 0: as it is */
    uint64_t bytes;               /* of all files */
    double error;                 /* 0: exact, and no pairs */
    struct ww_adapter *opened;    /* with pairs */
    struct ww_member_pair *pairs;
    uint32_t n_pairs;
    struct ww_rank_coded **ranks;     /* per part, or NULL; numbers while it is written */
    bool *rank_sought;                /* per part */
    uint32_t *pair_of;                /* per part: its pair, or WW_NONE */
    struct ww_member_change *changes; /* per part, of a model within an error */
    struct ww_member_shared *shared;  /* per part, of a group; or NULL */
    bool loose;                       /* some part is: it comes back changed */
    const struct ww_parent *parent;   /* borrowed; NULL: no version of another */
    struct ww_unpack_rooms *rooms;    /* to read it in */
    const struct ww_pack_beside
        *beside;          /* borrowed: has chunks that are coded already; */
    size_t beside_source; /* as this one of its sources; or NULL */
};

/** Open every file and cut it into parts. base may be NULL; error 0: exact.
 * WW_E_UNSUPPORTED for a folder without weights in safetensors files, and with an error
 * for models without a base. */
enum ww_err ww_member_open(const char *name, const char *path,
                           const struct ww_model *base, double error,
                           struct ww_member *out, struct ww_error *err) WW_MUST_USE;
/** One file that is open and needs no name, as a member of its own; fd is taken over. */
enum ww_err ww_member_of_file(const char *name, const char *file, int fd,
                              struct ww_member *out, struct ww_error *err) WW_MUST_USE;
/** Such a member, exact and not written yet, with one more file, which sorts behind the
 * others. */
enum ww_err ww_member_with_file(struct ww_member *member, const char *file, int fd,
                                struct ww_error *err) WW_MUST_USE;
/** Find the pairs of an adapter; none for one whose settings are not understood. */
enum ww_err ww_member_pair(struct ww_member *member, struct ww_error *err) WW_MUST_USE;
/** The pair of a part that is coded with an error, fitted now if it was not yet; NULL for
 *  a part that is coded exactly. */
enum ww_err ww_member_fit(struct ww_member *member, uint32_t part,
                          const struct ww_member_pair **out,
                          struct ww_error *err) WW_MUST_USE;
/** Of a version: replace what was fitted by the difference to the parent's factors, where
 *  both lie in it and that is shorter. Both parts are chained then. */
enum ww_err ww_member_near(struct ww_member *member, struct ww_member_pair *pair,
                           const struct ww_own_factors *factors,
                           struct ww_error *err) WW_MUST_USE;
/** A part was written: factors that nobody needs any more go. */
void ww_member_fitted(struct ww_member *member, uint32_t part);
/** The same of a tensor of a model, whose base is given, and the product that its
 *  prediction has, or NULL; a part that is chained has its parent's as prediction. The
 * error is of the whole change against the base. */
enum ww_err ww_member_dense(struct ww_member *member, const struct ww_model *base,
                            const struct ww_rank *rank, uint32_t part,
                            const struct ww_dense **out,
                            struct ww_error *err) WW_MUST_USE;
void ww_member_close(struct ww_member *member);
/** WW_E_CHANGED when a file is not what it was. */
enum ww_err ww_member_unchanged(const struct ww_member *member,
                                struct ww_error *err) WW_MUST_USE;

#endif
