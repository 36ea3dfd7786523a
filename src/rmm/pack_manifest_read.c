/* SPDX-License-Identifier: Apache-2.0 */
/* Closed at every level; what is used as an offset or a length is checked here. */
#include <string.h>

#include "crypto/aead.h"
#include "model/dtype.h"
#include "rmm/manifest.h"
#include "rmm/shared.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

static const char *const root_keys[] = {"schema",   "tool", "id",     "version",
                                        "previous", "base", "members"};
static const char *const base_keys[] = {"name", "tensors", "files"};
static const char *const tensor_keys[] = {"name", "dtype", "shape", "root"};
static const char *const file_keys[] = {"path", "size", "sha256"};
static const char *const plain_keys[] = {
    "name",   "kind",  "mode",        "error",      "offset", "bytes",
    "sha256", "files", "files_bytes", "commitment", "coded",  "unmerge",
    "parent", "leak",  "codec",       "directions"};
static const char *const sealed_keys[] = {
    "name",    "kind",   "mode",        "error",      "offset",    "bytes",
    "sha256",  "files",  "files_bytes", "commitment", "cipher",    "key_id",
    "unmerge", "parent", "leak",        "codec",      "directions"};
static const char *const unmerge_keys[] = {"merged", "sources"};
static const char *const other_keys[] = {"name", "weight", "tensor_tree"};

struct reader {
    const struct ww_pack_head *head;
    const char *name;
    struct ww_pack_manifest *m;
    struct ww_error *err;
    size_t n_others; /* read so far */
};

static enum ww_err malformed(const struct reader *r, const char *what)
{
    return WW_FAIL(r->err, WW_E_MALFORMED,
                   "package '%s': '%s' in its manifest is missing or malformed", r->name,
                   what);
}

static enum ww_err only(const struct reader *r, const struct ww_jnode *node,
                        const char *const *keys, size_t n)
{
    return ww_jonly(node, keys, n, WW_E_MALFORMED, "package manifest", r->err);
}

static bool is_array(const struct ww_jnode *node)
{
    return node && ww_jtype(node) == WW_J_ARRAY;
}

static enum ww_err read_tensor(struct reader *r, const struct ww_jnode *node)
{
    struct ww_base_tensor *t = &r->m->tensors[r->m->n_tensors++];
    const struct ww_jnode *shape = ww_jget(node, "shape");
    const char *dtype = NULL;
    const enum ww_err rc = only(r, node, tensor_keys, WW_LEN(tensor_keys));

    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "name"), &t->name) ||
        (r->m->n_tensors > 1 && strcmp(t[-1].name, t->name) >= 0)) {
        return malformed(r, "tensors.name");
    }
    if (!ww_jstr(ww_jget(node, "dtype"), &dtype) ||
        !ww_dtype_parse(dtype, strlen(dtype), &t->dtype)) {
        return malformed(r, "tensors.dtype");
    }
    if (!is_array(shape) || ww_jsize(shape) > WW_MAX_RANK) {
        return malformed(r, "tensors.shape");
    }
    for (const struct ww_jnode *at = ww_jfirst(shape); at; at = ww_jnext(at)) {
        if (!ww_ju64(at, &t->shape[t->rank++])) {
            return malformed(r, "tensors.shape");
        }
    }
    return ww_jhex(ww_jget(node, "root"), t->root, WW_SHA256_BYTES)
               ? WW_OK
               : malformed(r, "tensors.root");
}

static enum ww_err read_file(struct reader *r, const struct ww_jnode *node)
{
    struct ww_base_file *f = &r->m->files[r->m->n_files++];
    const enum ww_err rc = only(r, node, file_keys, WW_LEN(file_keys));

    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "path"), &f->path) || !ww_path_is_relative(f->path) ||
        (r->m->n_files > 1 && strcmp(f[-1].path, f->path) >= 0) ||
        !ww_ju64(ww_jget(node, "size"), &f->size_bytes) ||
        !ww_jhex(ww_jget(node, "sha256"), f->sha256, WW_SHA256_BYTES)) {
        return malformed(r, "base.files");
    }
    return WW_OK;
}

static enum ww_err read_base(struct reader *r, const struct ww_jnode *base)
{
    const struct ww_jnode *tensors = ww_jget(base, "tensors");
    const struct ww_jnode *files = ww_jget(base, "files");
    enum ww_err rc = WW_OK;

    if (base && ww_jtype(base) == WW_J_NULL) {
        return WW_OK;
    }
    if (!base || ww_jtype(base) != WW_J_OBJECT ||
        !ww_jstr(ww_jget(base, "name"), &r->m->base_name) || !is_array(tensors) ||
        !is_array(files)) {
        return malformed(r, "base");
    }
    rc = only(r, base, base_keys, WW_LEN(base_keys));
    if (rc) {
        return rc;
    }
    r->m->tensors = ww_calloc(ww_jsize(tensors), sizeof(*r->m->tensors));
    r->m->files = ww_calloc(ww_jsize(files), sizeof(*r->m->files));
    if (!r->m->tensors || !r->m->files) {
        return WW_FAIL_MEMORY(r->err, "a manifest");
    }
    for (const struct ww_jnode *at = ww_jfirst(tensors); at && !rc; at = ww_jnext(at)) {
        rc = read_tensor(r, at);
    }
    for (const struct ww_jnode *at = ww_jfirst(files); at && !rc; at = ww_jnext(at)) {
        rc = read_file(r, at);
    }
    return rc;
}

/* How many numbers others share, and how. */
static enum ww_err read_codec(struct reader *r, const struct ww_jnode *node,
                              struct ww_pack_manifest_member *m)
{
    const char *codec = NULL;
    uint64_t directions = 0;

    if (!m->basis) {
        return ww_jget(node, "codec") || ww_jget(node, "directions")
                   ? malformed(r, "members.codec")
                   : WW_OK;
    }
    if (!ww_jstr(ww_jget(node, "codec"), &codec) ||
        !ww_shared_codec_parse(codec, &m->codec) ||
        !ww_ju64(ww_jget(node, "directions"), &directions) || directions == 0 ||
        directions > WW_SHARED_MOST) {
        return malformed(r, "members.codec");
    }
    m->directions = (uint32_t)directions;
    return WW_OK;
}

static enum ww_err read_kind(struct reader *r, const struct ww_jnode *node,
                             struct ww_pack_manifest_member *m)
{
    const char *kind = NULL;
    const char *mode = NULL;

    if (!ww_jstr(ww_jget(node, "kind"), &kind) ||
        (strcmp(kind, "adapter") != 0 && strcmp(kind, "model") != 0 &&
         strcmp(kind, "basis") != 0)) {
        return malformed(r, "members.kind");
    }
    m->adapter = strcmp(kind, "adapter") == 0;
    m->basis = strcmp(kind, "basis") == 0;
    if (!ww_jstr(ww_jget(node, "mode"), &mode)) {
        return malformed(r, "members.mode");
    }
    m->bounded = strcmp(mode, "bounded") == 0;
    if (!m->bounded && strcmp(mode, "exact") != 0) {
        return WW_FAIL(r->err, WW_E_VERSION,
                       "package '%s': member '%s' has mode '%s', expected 'exact' or "
                       "'bounded'; use a newer weightward",
                       r->name, m->name, mode);
    }
    return ww_jdouble(ww_jget(node, "error"), &m->error) && m->error >= 0 &&
                   (m->bounded ? !m->basis : m->error == 0)
               ? WW_OK
               : malformed(r, "members.error");
}

static enum ww_err read_sealing(struct reader *r, const struct ww_jnode *node,
                                struct ww_pack_manifest_member *m)
{
    const struct ww_jnode *coded = ww_jget(node, "coded");
    const char *cipher = NULL;
    size_t n = 0;

    if (m->sealed) {
        return ww_jstr(ww_jget(node, "cipher"), &cipher) &&
                       ww_aead_find(cipher, &m->cipher) &&
                       ww_jhex(ww_jget(node, "key_id"), m->key_id, WW_RECORD_ID_BYTES)
                   ? WW_OK
                   : malformed(r, "members.cipher");
    }
    if (!coded || ww_jtype(coded) != WW_J_OBJECT) {
        return malformed(r, "members.coded");
    }
    for (unsigned f = 0; f < WW_PACK_FORMS; f++) {
        const struct ww_jnode *bytes =
            ww_jget(coded, ww_pack_form_name((enum ww_pack_form)f));
        if (!bytes && f >= WW_PACK_FEW) {
            continue; /* named only where there are some */
        }
        if (!ww_ju64(bytes, &m->coded[f])) {
            return malformed(r, "members.coded");
        }
        n++;
    }
    return ww_jsize(coded) == n ? WW_OK : malformed(r, "members.coded");
}

static enum ww_err read_other(struct reader *r, const struct ww_jnode *node)
{
    struct ww_pack_other *other = &r->m->others[r->n_others++];
    const enum ww_err rc = only(r, node, other_keys, WW_LEN(other_keys));

    if (rc) {
        return rc;
    }
    return ww_jstr(ww_jget(node, "name"), &other->name) && ww_path_is_bare(other->name) &&
                   ww_jdouble(ww_jget(node, "weight"), &other->weight) &&
                   ww_jhex(ww_jget(node, "tensor_tree"), other->tree, WW_SHA256_BYTES)
               ? WW_OK
               : malformed(r, "members.unmerge");
}

static enum ww_err read_unmerge(struct reader *r, const struct ww_jnode *node,
                                struct ww_pack_manifest_member *m)
{
    const struct ww_jnode *unmerge = ww_jget(node, "unmerge");
    const struct ww_jnode *sources = ww_jget(unmerge, "sources");
    enum ww_err rc = WW_OK;

    if (!unmerge) {
        return WW_OK;
    }
    rc = only(r, unmerge, unmerge_keys, WW_LEN(unmerge_keys));
    if (!rc &&
        (!r->m->base_name || m->bounded || m->basis ||
         !ww_jdouble(ww_jget(unmerge, "merged"), &m->of_base) || !is_array(sources) ||
         ww_jsize(sources) == 0 || ww_jsize(sources) > WW_PACK_MAX_OTHERS)) {
        rc = malformed(r, "members.unmerge");
    }
    m->others = &r->m->others[r->n_others];
    for (const struct ww_jnode *at = ww_jfirst(sources); at && !rc; at = ww_jnext(at)) {
        rc = read_other(r, at);
        m->n_others++;
    }
    return rc;
}

/* A member before it, which whoever opens this one can open; "leak" says so. */
static enum ww_err read_parent(struct reader *r, const struct ww_jnode *node,
                               struct ww_pack_manifest_member *m)
{
    const struct ww_jnode *parent = ww_jget(node, "parent");
    const char *leak = NULL;
    size_t at = SIZE_MAX;

    if (!parent) {
        return ww_jget(node, "leak") ? malformed(r, "members.leak") : WW_OK;
    }
    if (ww_jstr(parent, &m->parent)) {
        at = ww_pack_manifest_find(r->m, m->parent);
    }
    if (!m->parent || !ww_jstr(ww_jget(node, "leak"), &leak) ||
        strcmp(leak, ww_pack_manifest_leak(r->m, m)) != 0) {
        return malformed(r, "members.leak");
    }
    if (at >= r->m->n_members - 1 || m->basis ||
        (r->m->members[at].basis && !m->adapter) || r->m->members[at].n_others > 0 ||
        m->n_others > 0 || r->m->members[at].depth >= WW_PACK_MAX_CHAIN) {
        return malformed(r, "members.parent");
    }
    m->depth = r->m->members[at].depth + 1;
    return WW_OK;
}

/* Room for what read_unmerge reads. */
static enum ww_err count_others(struct reader *r, const struct ww_jnode *list)
{
    size_t n = 0;

    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at)) {
        n += ww_jsize(ww_jget(ww_jget(at, "unmerge"), "sources"));
    }
    r->m->others = ww_calloc(n, sizeof(*r->m->others));
    return r->m->others ? WW_OK : WW_FAIL_MEMORY(r->err, "a manifest");
}

/* *end: of the section before, then of this one. */
static enum ww_err read_place(struct reader *r, const struct ww_jnode *node,
                              struct ww_pack_manifest_member *m, uint64_t *end)
{
    m->old = r->head->version == WW_PACK_VERSION_2;
    if (!ww_ju64(ww_jget(node, "offset"), &m->offset) ||
        m->offset != ww_round_up(*end, ww_pack_align(r->head->version))) {
        return malformed(r, "members.offset");
    }
    if (!ww_ju64(ww_jget(node, "bytes"), &m->bytes) || m->bytes < 8 ||
        !ww_add_u64(m->offset, m->bytes, end) || *end > INT64_MAX) {
        return malformed(r, "members.bytes");
    }
    if (!ww_jhex(ww_jget(node, "sha256"), m->sha256, WW_SHA256_BYTES)) {
        return malformed(r, "members.sha256");
    }
    return WW_OK;
}

static enum ww_err read_member(struct reader *r, const struct ww_jnode *node,
                               uint64_t *end)
{
    struct ww_pack_manifest_member *m = &r->m->members[r->m->n_members];
    enum ww_err rc = WW_OK;

    m->sealed = ww_jget(node, "key_id") != NULL;
    rc = m->sealed ? only(r, node, sealed_keys, WW_LEN(sealed_keys))
                   : only(r, node, plain_keys, WW_LEN(plain_keys));
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "name"), &m->name) || !ww_path_is_bare(m->name) ||
        ww_pack_manifest_find(r->m, m->name) != SIZE_MAX) {
        return malformed(r, "members.name");
    }
    r->m->n_members++;
    rc = read_kind(r, node, m);
    if (!rc) {
        rc = read_codec(r, node, m);
    }
    if (!rc) {
        rc = read_place(r, node, m, end);
    }
    if (!rc) {
        rc = read_unmerge(r, node, m);
    }
    if (!rc) {
        rc = read_parent(r, node, m);
    }
    if (!rc && (!ww_ju64(ww_jget(node, "files"), &m->n_files) ||
                !ww_ju64(ww_jget(node, "files_bytes"), &m->files_bytes) ||
                !ww_jhex(ww_jget(node, "commitment"), m->commitment, WW_SHA256_BYTES))) {
        rc = malformed(r, "members.files");
    }
    return rc ? rc : read_sealing(r, node, m);
}

static enum ww_err read_members(struct reader *r, const struct ww_jnode *list)
{
    uint64_t end = ww_pack_first(r->head->version);
    enum ww_err rc = WW_OK;

    if (!is_array(list) || ww_jsize(list) > WW_PACK_MAX_MEMBERS) {
        return malformed(r, "members");
    }
    r->m->members = ww_calloc(ww_jsize(list), sizeof(*r->m->members));
    if (!r->m->members) {
        return WW_FAIL_MEMORY(r->err, "a manifest");
    }
    rc = count_others(r, list);
    for (const struct ww_jnode *at = ww_jfirst(list); at && !rc; at = ww_jnext(at)) {
        rc = read_member(r, at, &end);
    }
    if (!rc &&
        ww_round_up(end, ww_pack_align(r->head->version)) != r->head->manifest_offset) {
        rc = malformed(r, "members.bytes");
    }
    return rc;
}

static enum ww_err read_root(struct reader *r, const struct ww_jnode *root)
{
    struct ww_pack_manifest *m = r->m;
    const struct ww_jnode *previous = ww_jget(root, "previous");
    const char *schema = NULL;
    const char *tool = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(root, "schema"), &schema)) {
        return malformed(r, "schema");
    }
    if (strcmp(schema, WW_PACK_SCHEMA) != 0) {
        return WW_FAIL(r->err, WW_E_VERSION,
                       "package '%s': manifest of schema '%s', expected '%s'", r->name,
                       schema, WW_PACK_SCHEMA);
    }
    rc = only(r, root, root_keys, WW_LEN(root_keys));
    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(root, "tool"), &tool) ||
        !ww_jhex(ww_jget(root, "id"), m->id, WW_PACK_ID_BYTES)) {
        return malformed(r, "id");
    }
    m->has_previous = previous && ww_jtype(previous) != WW_J_NULL;
    if (!ww_ju64(ww_jget(root, "version"), &m->version) || m->version == 0 || !previous ||
        m->has_previous != (m->version > 1) ||
        (m->has_previous && !ww_jhex(previous, m->previous, WW_SHA256_BYTES))) {
        return malformed(r, "version");
    }
    rc = read_base(r, ww_jget(root, "base"));
    return rc ? rc : read_members(r, ww_jget(root, "members"));
}

enum ww_err ww_pack_manifest_read(const uint8_t *text, size_t len,
                                  const struct ww_pack_head *head, const char *name,
                                  struct ww_pack_manifest *out, struct ww_error *err)
{
    struct reader r = {head, name, out, err, 0};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_json_parse(text, len, &ww_json_limits_bundle, &out->json, err);
    if (rc) {
        ww_error_context(err, "package '%s'", name);
    } else {
        rc = read_root(&r, ww_json_root(out->json));
    }
    if (rc) {
        ww_pack_manifest_release(out);
    }
    return rc;
}
