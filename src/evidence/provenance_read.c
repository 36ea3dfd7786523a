/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading provenance that this project wrote. in-toto tells readers to pass over unknown
 * members, and so does this one inside the predicate; what the walk relies on is checked
 * strictly, since a second reader must not find another lineage in the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "evidence/provenance.h"
#include "sign/oms.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static const char *const statement_keys[] = {"_type", "subject", "predicateType",
                                             "predicate"};

/* What was done, by the build type; where its method stands. */
static const struct {
    const char *type;
    const char *action;
    const char *parameters;
    const char *method;
} builds[] = {
    {WW_MERGE_BUILD_TYPE, "merge", "internalParameters", "method"},
    {WW_LOCK_BUILD_TYPE, "lock", "externalParameters", "level"},
    {WW_SEAL_BUILD_TYPE, "seal", "externalParameters", "level"},
    {WW_EXTRACT_BUILD_TYPE, "extract", "externalParameters", "method"},
    {WW_ORIGIN_BUILD_TYPE, "origin", "externalParameters", "method"},
    {WW_PACK_BUILD_TYPE, "pack", "externalParameters", "mode"},
    {WW_FUSION_BUILD_TYPE, "fusion", "externalParameters", "rule"},
};

static enum ww_err malformed(struct ww_error *err, const char *what)
{
    return WW_FAIL(err, WW_E_BUNDLE, "provenance: %s", what);
}

bool ww_license_set(char out[WW_LICENSE_BYTES], const char *text)
{
    const size_t len = text ? strlen(text) : 0;

    out[0] = '\0';
    if (len == 0 || len >= WW_LICENSE_BYTES || !ww_text_ok((const uint8_t *)text, len)) {
        return false;
    }
    memcpy(out, text, len + 1);
    return true;
}

bool ww_provenance_file(const struct ww_jnode *node, struct ww_resource *out)
{
    return ww_jstr(ww_jget(node, "name"), &out->name) && out->name[0] &&
           ww_text_ok((const uint8_t *)out->name, strlen(out->name)) &&
           ww_jhex(ww_jget(ww_jget(node, "digest"), "sha256"), out->sha256,
                   WW_SHA256_BYTES);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ww_resource *)a)->name,
                  ((const struct ww_resource *)b)->name);
}

static enum ww_err read_subjects(const struct ww_jnode *list,
                                 struct ww_provenance_view *out, struct ww_error *err)
{
    const struct ww_jnode *node = ww_jfirst(list);
    const size_t n = ww_jsize(list);
    struct ww_resource model = {0};

    if (ww_jtype(list) != WW_J_ARRAY || n < 1) {
        return malformed(err, "it has no subjects, expected the folder and its files");
    }
    if (!ww_provenance_file(node, &model)) {
        return malformed(err, "its first subject has no name or no digest");
    }
    out->name = model.name;
    memcpy(out->root, model.sha256, sizeof(out->root));
    out->files = ww_calloc(n, sizeof(*out->files));
    if (!out->files) {
        return WW_FAIL_MEMORY(err, "%zu subjects", n);
    }
    for (node = ww_jnext(node); node; node = ww_jnext(node)) {
        if (!ww_provenance_file(node, &out->files[out->n_files++])) {
            return malformed(err, "a subject has no name or no digest");
        }
    }
    qsort(out->files, out->n_files, sizeof(*out->files), by_name);
    for (size_t i = 1; i < out->n_files; i++) {
        if (by_name(&out->files[i - 1], &out->files[i]) == 0) {
            return WW_FAIL(err, WW_E_BUNDLE, "provenance: subject '%s' is there twice",
                           out->files[i].name);
        }
    }
    return WW_OK;
}

static enum ww_err read_evidence(const struct ww_jnode *notes,
                                 struct ww_source_evidence *out, struct ww_error *err)
{
    const struct ww_jnode *provenance = ww_jget(notes, "provenance");
    const struct ww_jnode *signature = ww_jget(notes, "signature");
    const struct ww_jnode *decision = ww_jget(notes, "decision");
    const char *license = NULL;

    out->is_locked = ww_jget(notes, "locked") != NULL;
    if (out->is_locked &&
        !ww_jhex(ww_jget(notes, "locked"), out->lock_id, WW_SHA256_BYTES)) {
        return malformed(err, "the lock id of a source is malformed");
    }
    out->has_decision = decision != NULL;
    if (decision && !ww_jhex(decision, out->decision, WW_SHA256_BYTES)) {
        return malformed(err, "the digest of a source's decision is malformed");
    }
    if (ww_jstr(ww_jget(notes, "license"), &license) &&
        !ww_license_set(out->license, license)) {
        return malformed(err, "the licence of a source is no short text");
    }
    if (provenance && signature) {
        return malformed(err, "a source has evidence of two kinds");
    }
    if (!provenance && !signature) {
        return WW_OK;
    }
    out->kind = provenance ? WW_EVIDENCE_PROVENANCE : WW_EVIDENCE_SIGNATURE;
    return ww_jhex(provenance ? provenance : signature, out->sha256, WW_SHA256_BYTES)
               ? WW_OK
               : malformed(err, "the digest of a source's evidence is malformed");
}

static enum ww_err read_source(const struct ww_jnode *node,
                               struct ww_provenance_link *out, struct ww_error *err)
{
    const struct ww_jnode *notes = ww_jget(node, "annotations");
    const struct ww_jnode *tree = ww_jget(notes, "tensor_tree");
    struct ww_resource file = {0};

    if (!ww_jstr(ww_jget(node, "name"), &out->name) ||
        !ww_text_ok((const uint8_t *)out->name, strlen(out->name))) {
        return malformed(err, "a source has no name");
    }
    out->has_tree = tree != NULL;
    if (tree && !ww_jhex(tree, out->tree, WW_SHA256_BYTES)) {
        return malformed(err, "the tensor root of a source is malformed");
    }
    out->files = ww_jget(notes, "files");
    if (ww_jsize(out->files) == 0 || ww_jtype(out->files) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_BUNDLE, "provenance: source '%s' lists no files",
                       out->name);
    }
    for (const struct ww_jnode *f = ww_jfirst(out->files); f; f = ww_jnext(f)) {
        if (!ww_provenance_file(f, &file)) {
            return malformed(err, "a file of a source has no name or no digest");
        }
    }
    return read_evidence(notes, &out->evidence, err);
}

static enum ww_err read_sources(const struct ww_jnode *list,
                                struct ww_provenance_view *out, struct ww_error *err)
{
    const size_t n = ww_jsize(list);
    enum ww_err rc = WW_OK;

    if (ww_jtype(list) != WW_J_ARRAY) {
        return malformed(err, "it has no list 'resolvedDependencies'");
    }
    if (n > WW_PROVENANCE_MAX_SOURCES) {
        return WW_FAIL(err, WW_E_LIMIT, "provenance: %zu sources, at most %d", n,
                       WW_PROVENANCE_MAX_SOURCES);
    }
    /* A recipe is one file, and a folder is none without files. */
    if (out->n_files == 0 && strcmp(out->action, "fusion") != 0) {
        return malformed(err, "it has one subject, expected the folder and its files");
    }
    if ((n == 0) != (strcmp(out->action, "origin") == 0)) {
        return WW_FAIL(err, WW_E_BUNDLE, "provenance: %zu sources of build type '%s'", n,
                       out->build_type);
    }
    out->links = ww_calloc(n, sizeof(*out->links));
    if (!out->links) {
        return WW_FAIL_MEMORY(err, "%zu sources", n);
    }
    for (const struct ww_jnode *s = ww_jfirst(list); s && !rc; s = ww_jnext(s)) {
        rc = read_source(s, &out->links[out->n_links++], err);
    }
    return rc;
}

static enum ww_err read_build(const struct ww_jnode *build,
                              struct ww_provenance_view *out, struct ww_error *err)
{
    out->method = "";
    if (!ww_jstr(ww_jget(build, "buildType"), &out->build_type)) {
        return malformed(err, "it has no build type");
    }
    for (size_t i = 0; i < WW_LEN(builds); i++) {
        if (strcmp(builds[i].type, out->build_type) == 0) {
            out->action = builds[i].action;
            (void)ww_jstr(ww_jget(ww_jget(build, builds[i].parameters), builds[i].method),
                          &out->method);
            return read_sources(ww_jget(build, "resolvedDependencies"), out, err);
        }
    }
    return WW_FAIL(err, WW_E_VERSION,
                   "provenance: build type '%.200s' is not known to this version",
                   out->build_type);
}

/* The root of the output's tensor tree, where it is stated. */
static enum ww_err read_tree(const struct ww_jnode *run, struct ww_provenance_view *out,
                             struct ww_error *err)
{
    for (const struct ww_jnode *b = ww_jfirst(ww_jget(run, "byproducts")); b;
         b = ww_jnext(b)) {
        struct ww_resource made = {0};
        if (!ww_provenance_file(b, &made)) {
            return malformed(err, "a byproduct has no name or no digest");
        }
        if (strcmp(made.name, "tensor tree of the output") == 0) {
            out->has_tree = true;
            memcpy(out->tree, made.sha256, sizeof(out->tree));
        }
    }
    return WW_OK;
}

static enum ww_err read_statement(const struct ww_jnode *root,
                                  struct ww_provenance_view *out, struct ww_error *err)
{
    const struct ww_jnode *predicate = ww_jget(root, "predicate");
    const char *type = "";
    enum ww_err rc = ww_jonly(root, statement_keys, WW_LEN(statement_keys), WW_E_BUNDLE,
                              "statement", err);

    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(root, "_type"), &type) || strcmp(type, WW_STATEMENT_TYPE) != 0) {
        return malformed(err, "it is no in-toto statement of version 1");
    }
    if (!ww_jstr(ww_jget(root, "predicateType"), &type) ||
        strcmp(type, WW_PROVENANCE_PREDICATE) != 0) {
        return malformed(err, "its predicate is not SLSA provenance of version 1");
    }
    rc = read_subjects(ww_jget(root, "subject"), out, err);
    if (!rc) {
        rc = read_build(ww_jget(predicate, "buildDefinition"), out, err);
    }
    return rc ? rc : read_tree(ww_jget(predicate, "runDetails"), out, err);
}

enum ww_err ww_provenance_parse(const uint8_t *payload, size_t len,
                                struct ww_provenance_view *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_json_parse(payload, len, &ww_json_limits_bundle, &out->json, err);
    if (!rc && ww_jtype(ww_json_root(out->json)) != WW_J_OBJECT) {
        rc = malformed(err, "it is no JSON object");
    }
    if (!rc) {
        rc = read_statement(ww_json_root(out->json), out, err);
    }
    if (rc) {
        ww_provenance_release(out);
    }
    return rc;
}

void ww_provenance_release(struct ww_provenance_view *view)
{
    ww_free(view->files);
    ww_free(view->links);
    ww_json_free(view->json);
    memset(view, 0, sizeof(*view));
}
