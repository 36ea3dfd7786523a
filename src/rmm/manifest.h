/* SPDX-License-Identifier: Apache-2.0 */
/** Manifest of a package: base, members, where their sections lie. JSON; members:
 *  docs/formats/package.md. */
#ifndef WW_RMM_MANIFEST_H
#define WW_RMM_MANIFEST_H

#include "crypto/sealed.h"
#include "json/json.h"
#include "rmm/head.h"
#include "rmm/table.h"
#include "weightward/model.h"
#include "weightward/package.h"

#define WW_PACK_SCHEMA "weightward.package/2"
#define WW_PACK_MAX_MEMBERS 4096
#define WW_PACK_ID_BYTES 16
#define WW_PACK_MAX_OTHERS 62 /* with the base what a piece of a plan takes */
#define WW_PACK_MAX_CHAIN 16  /* parents of a member, and theirs */

struct ww_base_tensor {
    const char *name;
    enum ww_dtype dtype;
    unsigned rank;
    uint64_t shape[WW_MAX_RANK];
    uint8_t root[WW_SHA256_BYTES];
};

struct ww_base_file {
    const char *path;
    uint64_t size_bytes;
    uint8_t sha256[WW_SHA256_BYTES];
};

/* A model that a member's base was merged of with it. */
struct ww_pack_other {
    const char *name; /* for texts */
    double weight;
    uint8_t tree[WW_SHA256_BYTES]; /* root of its tensor tree */
};

struct ww_pack_manifest_member {
    const char *name;
    bool adapter;
    bool basis;                 /* what others share: see shared.h */
    enum ww_shared_codec codec; /* of a basis, */
    uint32_t directions;        /* and the most of any of its tensors */
    bool old; /* of a package of version 2: its texts are not coded by what came before */
    bool sealed;
    bool bounded; /* within an error, not exact */
    double error; /* of bounded ones */
    uint64_t offset;
    uint64_t bytes;
    uint8_t sha256[WW_SHA256_BYTES];
    uint64_t n_files;
    uint64_t files_bytes;
    uint8_t commitment[WW_SHA256_BYTES];
    uint64_t coded[WW_PACK_FORMS]; /* plain members */
    uint32_t cipher;               /* sealed ones */
    uint8_t key_id[WW_RECORD_ID_BYTES];
    /* Coded against of_base times the base and the others by their weights. */
    double of_base;
    const struct ww_pack_other *others; /* borrowed */
    size_t n_others;                    /* 0: against the base alone */
    const char *parent; /* member before it that it is a version of, or its basis; NULL:
                           none */
    unsigned depth;     /* parents in all */
};

/** Strings are borrowed; from json when it was read. */
struct ww_pack_manifest {
    uint8_t id[WW_PACK_ID_BYTES];
    uint64_t version;
    bool has_previous;
    uint8_t previous[WW_SHA256_BYTES];
    const char *base_name;          /* NULL: no base */
    struct ww_base_tensor *tensors; /* by name */
    size_t n_tensors;
    struct ww_base_file *files; /* by path */
    size_t n_files;
    struct ww_pack_manifest_member *members;
    size_t n_members;
    struct ww_pack_other *others; /* of all members, when it was read */
    struct ww_json *json;
};

enum ww_err ww_pack_manifest_write(const struct ww_pack_manifest *manifest,
                                   struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
/** Sections must follow each other up to where the head has the manifest, by its
 *  version. name goes into error texts. WW_E_MALFORMED, WW_E_VERSION. */
enum ww_err ww_pack_manifest_read(const uint8_t *text, size_t len,
                                  const struct ww_pack_head *head, const char *name,
                                  struct ww_pack_manifest *out,
                                  struct ww_error *err) WW_MUST_USE;
/** Frees the arrays and the document. */
void ww_pack_manifest_release(struct ww_pack_manifest *manifest);

/** What whoever opens a member that has a parent reads as well: "parent", or "shared" of
 *  a basis, which tells of all that have it. */
const char *ww_pack_manifest_leak(const struct ww_pack_manifest *manifest,
                                  const struct ww_pack_manifest_member *member);
/** WW_NONE-like SIZE_MAX when there is none. */
size_t ww_pack_manifest_find(const struct ww_pack_manifest *manifest, const char *name);

#endif
