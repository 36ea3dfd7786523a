/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading an OMS statement (specification 1.0, sections 5, 6 and 8.3; section 11 for what
 * older releases wrote). The bytes are signed by now, but the signer may be careless or
 * another program: names must be clean and unique, digests exact, members known. Two
 * verifiers that read two meanings from one statement would be a way around both.
 */
#include "sign/oms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

static const char *const predicate_keys[] = {"resources", "serialization"};
static const char *const serialization_keys[] = {"method", "hash_type", "allow_symlinks",
                                                 "shard_size", "ignore_paths"};

struct algorithm_row {
    const char *name;
    size_t digest_bytes; /* 0: OMS names it, this program does not compute it */
};

static const struct algorithm_row algorithm_rows[] = {
    {"sha256", 32},
    {"blake2b", 64},
    {"blake3", 0},
};

static enum ww_err set_algorithm(const char *name, struct ww_oms *out,
                                 struct ww_error *err)
{
    for (size_t i = 0; i < WW_LEN(algorithm_rows); i++) {
        if (ww_str_eq(name, algorithm_rows[i].name) && algorithm_rows[i].digest_bytes) {
            out->algorithm = algorithm_rows[i].name;
            out->digest_bytes = algorithm_rows[i].digest_bytes;
            return WW_OK;
        }
    }
    return WW_FAIL(
        err, WW_E_UNSUPPORTED,
        "files were hashed with '%s', only 'sha256' and 'blake2b' are supported", name);
}

static enum ww_err read_ignore_paths(const struct ww_jnode *node, struct ww_oms *out,
                                     struct ww_error *err)
{
    const char *path = NULL;

    if (!node) {
        return WW_OK;
    }
    if (ww_jtype(node) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_BUNDLE, "'ignore_paths' of the statement is no array");
    }
    for (const struct ww_jnode *at = ww_jfirst(node); at; at = ww_jnext(at)) {
        if (!ww_jstr(at, &path) || *path == '\0') {
            return WW_FAIL(
                err, WW_E_BUNDLE,
                "'ignore_paths' of the statement holds something that is no path");
        }
    }
    out->ignore_paths = node;
    return WW_OK;
}

static enum ww_err read_method(const struct ww_jnode *node, struct ww_oms *out,
                               struct ww_error *err)
{
    const struct ww_jnode *size = ww_jget(node, "shard_size");
    const char *method = NULL;

    if (!ww_jstr(ww_jget(node, "method"), &method)) {
        return WW_FAIL(err, WW_E_BUNDLE, "statement has no serialization method");
    }
    if (ww_str_eq(method, "files")) {
        return size ? WW_FAIL(err, WW_E_BUNDLE, "'shard_size' given with method 'files'")
                    : WW_OK;
    }
    if (!ww_str_eq(method, "shards")) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "serialization method '%s' is not supported, only 'files' and "
                       "'shards' are",
                       method);
    }
    if (!ww_ju64(size, &out->shard_size) || out->shard_size == 0) {
        return WW_FAIL(err, WW_E_BUNDLE, "'shard_size' must be a positive integer");
    }
    return WW_OK;
}

static enum ww_err read_serialization(const struct ww_jnode *node, struct ww_oms *out,
                                      struct ww_error *err)
{
    const char *hash = NULL;
    bool links = false;
    enum ww_err rc = WW_OK;

    if (!node || ww_jtype(node) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_BUNDLE, "statement has no 'serialization'");
    }
    rc = ww_jonly(node, serialization_keys, WW_LEN(serialization_keys), WW_E_BUNDLE,
                  "serialization", err);
    if (rc) {
        return rc;
    }
    rc = read_method(node, out, err);
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "hash_type"), &hash)) {
        return WW_FAIL(err, WW_E_BUNDLE, "statement has no 'hash_type'");
    }
    /* Required, but of no effect: links are refused here whatever the signer did. */
    if (!ww_jbool(ww_jget(node, "allow_symlinks"), &links)) {
        return WW_FAIL(err, WW_E_BUNDLE, "statement has no 'allow_symlinks'");
    }
    rc = read_ignore_paths(ww_jget(node, "ignore_paths"), out, err);
    if (rc) {
        return rc;
    }
    return set_algorithm(hash, out, err);
}

/* PATH:START:END. The path may hold colons, so the numbers are read from behind. */
static bool split_shard(char *name, uint64_t *start, uint64_t *end)
{
    char *last = strrchr(name, ':');
    char *first = NULL;

    if (!last) {
        return false;
    }
    *last = '\0';
    first = strrchr(name, ':');
    if (!first || !ww_parse_u64(first + 1, strlen(first + 1), start) ||
        !ww_parse_u64(last + 1, strlen(last + 1), end)) {
        return false;
    }
    *first = '\0';
    return *end > *start;
}

static enum ww_err read_name(const char *name, const struct ww_oms *oms,
                             struct ww_oms_resource *out, struct ww_error *err)
{
    out->path = ww_strdup(name);
    if (!out->path) {
        return WW_FAIL_MEMORY(err, "a file name");
    }
    if (oms->shard_size && !split_shard(out->path, &out->start, &out->end)) {
        return WW_FAIL(err, WW_E_BUNDLE, "shard '%s' is not named PATH:START:END", name);
    }
    /* The reference client calls a model that is one file ".". */
    if (!ww_path_is_relative(out->path) &&
        !(oms->n_resources == 1 && ww_str_eq(out->path, "."))) {
        return WW_FAIL(err, WW_E_PATH,
                       "signed file '%s' has no plain name: relative, without '.', '..', "
                       "'//' and control characters",
                       name);
    }
    return WW_OK;
}

/* "sha256", and for shards also "sha256-sharded-SIZE", as the Python client writes. */
static bool algorithm_fits(const struct ww_oms *oms, const char *algorithm)
{
    char sharded[64];

    if (ww_str_eq(algorithm, oms->algorithm)) {
        return true;
    }
    snprintf(sharded, sizeof(sharded), "%s-sharded-%llu", oms->algorithm,
             (unsigned long long)oms->shard_size);
    return oms->shard_size && ww_str_eq(algorithm, sharded);
}

static enum ww_err read_digest(const char *hex, const char *name,
                               const struct ww_oms *oms, struct ww_oms_resource *out,
                               struct ww_error *err)
{
    if (!hex || !ww_unhex(out->digest, oms->digest_bytes, hex, strlen(hex))) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "digest of '%s' is not %zu lower-case hexadecimal digits", name,
                       2 * oms->digest_bytes);
    }
    return WW_OK;
}

/* Members beyond the three are legal: the extension point of the format. */
static enum ww_err read_resource(const struct ww_jnode *node, const struct ww_oms *oms,
                                 struct ww_oms_resource *out, struct ww_error *err)
{
    const char *name = NULL;
    const char *digest = NULL;
    const char *algorithm = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(node, "name"), &name)) {
        return WW_FAIL(err, WW_E_BUNDLE, "signed file without a name");
    }
    if (!ww_jstr(ww_jget(node, "algorithm"), &algorithm) ||
        !algorithm_fits(oms, algorithm)) {
        return WW_FAIL(err, WW_E_BUNDLE, "'%s' was hashed with '%s', expected '%s'", name,
                       algorithm ? algorithm : "", oms->algorithm);
    }
    (void)ww_jstr(ww_jget(node, "digest"), &digest);
    rc = read_digest(digest, name, oms, out, err);
    if (rc) {
        return rc;
    }
    return read_name(name, oms, out, err);
}

/* Release 0.2: a subject per file, its digest in the way of in-toto. */
static enum ww_err read_subject_v02(const struct ww_jnode *node, const struct ww_oms *oms,
                                    struct ww_oms_resource *out, struct ww_error *err)
{
    const struct ww_jnode *notes = ww_jget(node, "annotations");
    const struct ww_jnode *how = ww_jget(notes, "actual_hash_algorithm");
    const char *name = NULL;
    const char *digest = NULL;
    const char *algorithm = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(node, "name"), &name)) {
        return WW_FAIL(err, WW_E_BUNDLE, "signed file without a name");
    }
    if (how && (!ww_jstr(how, &algorithm) || !ww_str_eq(algorithm, "file-sha256"))) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "'%s' was hashed by '%s', of release 0.2 only 'file-sha256' is "
                       "supported",
                       name, algorithm ? algorithm : "");
    }
    (void)ww_jstr(ww_jget(ww_jget(node, "digest"), "sha256"), &digest);
    rc = read_digest(digest, name, oms, out, err);
    if (rc) {
        return rc;
    }
    return read_name(name, oms, out, err);
}

typedef enum ww_err (*read_fn)(const struct ww_jnode *node, const struct ww_oms *oms,
                               struct ww_oms_resource *out, struct ww_error *err);

/* All resources in listed order, and the root digest over them. */
static enum ww_err read_resources(const struct ww_jnode *list, read_fn read,
                                  struct ww_oms *out, struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    size_t i = 0;
    enum ww_err rc = WW_OK;

    if (!list || ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) == 0) {
        return WW_FAIL(err, WW_E_BUNDLE, "statement lists no file");
    }
    out->resources = ww_calloc(ww_jsize(list), sizeof(*out->resources));
    if (!out->resources) {
        return WW_FAIL_MEMORY(err, "%zu files", ww_jsize(list));
    }
    out->n_resources = ww_jsize(list);
    rc = ww_sha256_new(&h, err);
    if (rc) {
        return rc;
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at && !rc; at = ww_jnext(at), i++) {
        rc = read(at, out, &out->resources[i], err);
        ww_sha256_update(h, out->resources[i].digest, out->digest_bytes);
    }
    ww_sha256_final(h, out->root);
    ww_sha256_free(h);
    return rc;
}

static int compare_resource(const void *a, const void *b)
{
    const struct ww_oms_resource *x = a;
    const struct ww_oms_resource *y = b;
    int by_path = strcmp(x->path, y->path);

    return by_path ? by_path : (x->start > y->start) - (x->start < y->start);
}

/* Shards of a file must lie side by side from its first byte, all but the last whole.
 * Whether the last ends where the file does is seen when the file is there. */
static enum ww_err check_neighbours(const struct ww_oms *oms, size_t i,
                                    struct ww_error *err)
{
    const struct ww_oms_resource *at = &oms->resources[i];
    const struct ww_oms_resource *before = i ? &oms->resources[i - 1] : NULL;
    bool same_file = before && strcmp(before->path, at->path) == 0;

    if (!oms->shard_size) {
        return same_file
                   ? WW_FAIL(err, WW_E_BUNDLE, "file '%s' is listed twice", at->path)
                   : WW_OK;
    }
    if (at->end - at->start > oms->shard_size || at->start % oms->shard_size ||
        at->start != (same_file ? before->end : 0)) {
        return WW_FAIL(
            err, WW_E_BUNDLE,
            "shards of file '%s' leave a hole, overlap or do not have the stated "
            "size",
            at->path);
    }
    return WW_OK;
}

static enum ww_err finish(struct ww_oms *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    qsort(out->resources, out->n_resources, sizeof(*out->resources), compare_resource);
    for (size_t i = 0; i < out->n_resources && !rc; i++) {
        rc = check_neighbours(out, i, err);
    }
    return rc;
}

static enum ww_err parse_v02(const struct ww_jnode *root, struct ww_oms *out,
                             struct ww_error *err)
{
    const char *type = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(root, "_type"), &type) || !ww_str_eq(type, WW_STATEMENT_TYPE) ||
        !ww_jstr(ww_jget(root, "predicateType"), &type) ||
        !ww_str_eq(type, WW_OMS_PREDICATE_V02)) {
        return WW_FAIL(
            err, WW_E_BUNDLE,
            "signed in the encoding of release 0.2, but not a statement of that "
            "release: found '%s', expected '%s'",
            type ? type : "", WW_OMS_PREDICATE_V02);
    }
    rc = set_algorithm("sha256", out, err);
    if (rc) {
        return rc;
    }
    return read_resources(ww_jget(root, "subject"), read_subject_v02, out, err);
}

static enum ww_err parse_v1(const struct ww_jnode *root, struct ww_oms *out,
                            struct ww_error *err)
{
    struct ww_statement_view view;
    enum ww_err rc = ww_statement_read(root, WW_OMS_PREDICATE, &view, err);
    if (rc) {
        return rc;
    }
    rc = ww_jonly(view.predicate, predicate_keys, WW_LEN(predicate_keys), WW_E_BUNDLE,
                  "predicate", err);
    if (rc) {
        return rc;
    }
    rc = read_serialization(ww_jget(view.predicate, "serialization"), out, err);
    if (rc) {
        return rc;
    }
    rc = read_resources(ww_jget(view.predicate, "resources"), read_resource, out, err);
    if (rc) {
        return rc;
    }
    if (memcmp(out->root, view.subject_sha256, WW_SHA256_BYTES) != 0) {
        return WW_FAIL(err, WW_E_BUNDLE,
                       "root digest of the statement is not that of the files it lists");
    }
    return WW_OK;
}

enum ww_err ww_oms_parse(const uint8_t *payload, size_t len, bool is_v02,
                         struct ww_oms *out, struct ww_error *err)
{
    const struct ww_jnode *root = NULL;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_json_parse(payload, len, &ww_json_limits_bundle, &out->json, err);
    if (rc) {
        ww_error_context(err, "signed statement");
        goto out;
    }
    root = ww_json_root(out->json);
    rc = is_v02 ? parse_v02(root, out, err) : parse_v1(root, out, err);
    if (rc) {
        goto out;
    }
    rc = finish(out, err);
out:
    if (rc) {
        ww_oms_release(out);
    }
    return rc;
}

void ww_oms_release(struct ww_oms *oms)
{
    if (!oms) {
        return;
    }
    for (size_t i = 0; i < oms->n_resources; i++) {
        ww_free(oms->resources[i].path);
    }
    ww_free(oms->resources);
    ww_json_free(oms->json);
    memset(oms, 0, sizeof(*oms));
}
