/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Provenance of a model: an in-toto statement with all files of the folder as subjects
 * and SLSA provenance v1 as its predicate. One writer and one reader for every action, so
 * that whoever walks a chain knows one form.
 */
#ifndef WW_EVIDENCE_PROVENANCE_H
#define WW_EVIDENCE_PROVENANCE_H

#include "json/json.h"
#include "sign/statement.h"
#include "weightward/evidence.h"

#define WW_PROVENANCE_MAX_SOURCES 1024

#define WW_LICENSE_BYTES 128 /* a longer one is none */

/** The file that holds a source's evidence, by its SHA-256. */
enum ww_evidence_kind {
    WW_EVIDENCE_NONE,
    WW_EVIDENCE_PROVENANCE, /* its own provenance */
    WW_EVIDENCE_SIGNATURE   /* it has none: its model signature */
};
struct ww_source_evidence {
    enum ww_evidence_kind kind;
    uint8_t sha256[WW_SHA256_BYTES];
    char license[WW_LICENSE_BYTES]; /* as its card spells it, "" for none */
    bool is_locked;                 /* its tensor statement holds a lock with this id */
    uint8_t lock_id[WW_SHA256_BYTES];
    bool has_decision; /* and the file of what policies said about it */
    uint8_t decision[WW_SHA256_BYTES];
};

/** A model that something was made of. */
struct ww_provenance_source {
    const char *name;
    const struct ww_resource *files; /* that were used */
    const uint64_t *sizes;
    size_t n_files;
    const uint8_t *tree;    /* root of its tensor tree, or NULL */
    const uint8_t *lock_id; /* it was locked so and read as the open model, or NULL */
    struct ww_source_evidence evidence;
};

struct ww_provenance {
    const char *build_type;
    const char *name;                /* of the folder */
    const uint8_t *root;             /* its OMS root, or what else a file is known by */
    const struct ww_resource *files; /* all that the root covers */
    size_t n_files;
    const uint8_t *tree; /* root of its tensor tree, or NULL */
    /** Write members into externalParameters, then into internalParameters; either may be
     *  NULL. External ones must not be empty. */
    void (*external)(struct ww_jw *w, const void *payload);
    void (*internal)(struct ww_jw *w, const void *payload);
    const void *payload;
    const struct ww_provenance_source *sources;
    size_t n_sources;
};

/** The statement; out is initialised here. */
enum ww_err ww_provenance_write(const struct ww_provenance *provenance,
                                struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

/** A source as it was read; everything is borrowed from the document. */
struct ww_provenance_link {
    const char *name;
    const struct ww_jnode *files; /* [{name, digest: {sha256}, bytes}], checked */
    bool has_tree;
    uint8_t tree[WW_SHA256_BYTES];
    struct ww_source_evidence evidence;
};

struct ww_provenance_view {
    struct ww_json *json;
    const char *build_type;
    const char *action; /* static: "merge", "lock", ... */
    const char *method; /* "" for none */
    const char *name;
    uint8_t root[WW_SHA256_BYTES];
    struct ww_resource *files; /* the other subjects, by name, no duplicates */
    size_t n_files;
    bool has_tree;
    uint8_t tree[WW_SHA256_BYTES];
    struct ww_provenance_link *links;
    size_t n_links;
};

/** Parse a payload whose signature holds. WW_E_BUNDLE, WW_E_JSON, WW_E_LIMIT;
 * WW_E_VERSION for a build type that is not known here. */
enum ww_err ww_provenance_parse(const uint8_t *payload, size_t len,
                                struct ww_provenance_view *out,
                                struct ww_error *err) WW_MUST_USE;
void ww_provenance_release(struct ww_provenance_view *view);

/** False, and none, for text that is too long, empty or not printable. */
bool ww_license_set(char out[WW_LICENSE_BYTES], const char *text);

/** {name, digest: {sha256}} of a subject or a file; false when it is none. */
bool ww_provenance_file(const struct ww_jnode *node, struct ww_resource *out);

#endif
