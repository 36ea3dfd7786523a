/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying evidence from sources. A statement is read here only to learn which files of
 * the source's own store belong to it; one that cannot be read is carried all the same,
 * so that the walk refuses it by name instead of not knowing of it.
 */
#include "evidence/ancestors.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "evidence/front_matter.h"
#include "evidence/chain.h"
#include "sign/tensors.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/guard.h"

static const struct {
    const char *suffix;
    const char *side;
} files[WW_ANCESTOR_FILES] = {
    [WW_ANCESTOR_STATEMENT] = {".sigstore.json", NULL},
    [WW_ANCESTOR_CARD] = {".card.md", "README.md"},
    [WW_ANCESTOR_POLICY] = {".policy.json", WW_POLICY_REFERENCE},
    [WW_ANCESTOR_DECISION] = {".decision.sigstore.json", NULL},
};

const char *ww_ancestor_side(enum ww_ancestor_file file)
{
    return files[file].side;
}

void ww_ancestor_path(const uint8_t sha256[WW_SHA256_BYTES], enum ww_ancestor_file file,
                      char out[WW_ANCESTOR_PATH_BYTES])
{
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];

    ww_hex(hex, sha256, WW_SHA256_BYTES);
    (void)snprintf(out, WW_ANCESTOR_PATH_BYTES, WW_ANCESTORS_DIR "/%s%s", hex,
                   files[file].suffix);
}

enum ww_err ww_ancestor_read(int dirfd, const uint8_t sha256[WW_SHA256_BYTES],
                             enum ww_ancestor_file file, struct ww_buf *text,
                             struct ww_error *err)
{
    struct ww_error local = {0};
    char path[WW_ANCESTOR_PATH_BYTES];
    uint8_t digest[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    ww_ancestor_path(sha256, file, path);
    rc = ww_file_read_at(dirfd, path, WW_LINKS_REFUSE, text, &local);
    if (rc == WW_E_NOTFOUND) {
        return WW_FAIL(err, rc,
                       "its evidence '%s' is missing, so what it was made of cannot be "
                       "told",
                       path);
    }
    if (rc) {
        return WW_FAIL(err, rc, "%s", local.text);
    }
    ww_sha256_of(text->data, text->len, digest);
    return memcmp(digest, sha256, sizeof(digest)) == 0
               ? WW_OK
               : WW_FAIL(err, WW_E_TAMPERED,
                         "its evidence '%s' is not what its name says", path);
}

static bool is_known(const struct ww_ancestors *all, const uint8_t *sha256,
                     enum ww_ancestor_file file)
{
    for (size_t i = 0; i < all->n; i++) {
        if (all->items[i].file == file &&
            memcmp(all->items[i].sha256, sha256, WW_SHA256_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes the text. */
static enum ww_err keep(struct ww_ancestors *all, const struct ww_ancestor *item,
                        struct ww_buf *text, struct ww_error *err)
{
    struct ww_ancestor *grown = NULL;

    if (all->n >= WW_ANCESTORS_MAX || text->len > WW_ANCESTORS_MAX_BYTES - all->bytes) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "the evidence of all ancestors is more than %d files or %zu MiB",
                       WW_ANCESTORS_MAX, WW_ANCESTORS_MAX_BYTES >> 20);
    }
    grown = ww_realloc_array(all->items, all->n + 1, sizeof(*grown));
    if (!grown) {
        return WW_FAIL_MEMORY(err, "the evidence of ancestors");
    }
    all->items = grown;
    grown[all->n] = *item;
    grown[all->n].text = *text;
    all->bytes += text->len;
    all->n++;
    ww_buf_init(text, WW_ANCESTOR_MAX_BYTES);
    return WW_OK;
}

/* A file of the folder; *found is false when it is not there. */
static enum ww_err read_file(int dirfd, const char *path, struct ww_buf *text,
                             bool *found, struct ww_error *err)
{
    struct ww_error local = {0};
    enum ww_err rc = ww_file_read_at(dirfd, path, WW_LINKS_HUB, text, &local);

    *found = rc == WW_OK;
    return rc == WW_OK || rc == WW_E_NOTFOUND ? WW_OK
                                              : WW_FAIL(err, rc, "%s", local.text);
}

/* A side file that a statement has the digest of: the source's own lies in its folder, an
 * ancestor's in the store. One that is not those bytes, or is too long, is left out. */
static enum ww_err gather_side(struct ww_ancestors *all, int dirfd, bool is_own,
                               const uint8_t *sha256, enum ww_ancestor_file file,
                               struct ww_error *err)
{
    struct ww_ancestor item = {.file = file};
    char path[WW_ANCESTOR_PATH_BYTES];
    uint8_t digest[WW_SHA256_BYTES];
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    if (!sha256 || is_known(all, sha256, file)) {
        return WW_OK;
    }
    ww_buf_init(&text, WW_ANCESTOR_SIDE_MAX_BYTES);
    ww_ancestor_path(sha256, file, path);
    rc = ww_file_read_at(dirfd, is_own ? files[file].side : path, WW_LINKS_HUB, &text,
                         NULL);
    if (rc) {
        rc = rc == WW_E_NOMEM ? WW_FAIL(err, rc, "out of memory for a side file") : WW_OK;
        goto out;
    }
    ww_sha256_of(text.data, text.len, digest);
    if (memcmp(digest, sha256, sizeof(digest)) == 0) {
        memcpy(item.sha256, sha256, WW_SHA256_BYTES);
        rc = keep(all, &item, &text, err);
    }
out:
    ww_buf_release(&text);
    return rc;
}

/* The ancestors that a kept statement names, from the store of the same folder, and what
 * was decided about them. */
static enum ww_err gather_named(struct ww_ancestors *all, int dirfd,
                                const struct ww_provenance_view *view,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < view->n_links && !rc; i++) {
        const struct ww_source_evidence *e = &view->links[i].evidence;
        char path[WW_ANCESTOR_PATH_BYTES];
        struct ww_buf text;
        bool found = false;

        if (e->has_decision) {
            rc = gather_side(all, dirfd, false, e->decision, WW_ANCESTOR_DECISION, err);
        }
        if (rc || e->kind == WW_EVIDENCE_NONE ||
            is_known(all, e->sha256, WW_ANCESTOR_STATEMENT)) {
            continue;
        }
        ww_buf_init(&text, WW_ANCESTOR_MAX_BYTES);
        ww_ancestor_path(e->sha256, WW_ANCESTOR_STATEMENT, path);
        rc = read_file(dirfd, path, &text, &found, err);
        if (!rc && found) {
            struct ww_ancestor item = {.kind = e->kind};
            memcpy(item.sha256, e->sha256, WW_SHA256_BYTES);
            rc = keep(all, &item, &text, err);
        }
        ww_buf_release(&text);
    }
    return rc;
}

/* What belongs to one statement. */
static enum ww_err gather_of(struct ww_ancestors *all, int dirfd, bool is_own,
                             const struct ww_chain_evidence *e, struct ww_error *err)
{
    enum ww_err rc = gather_named(all, dirfd, &e->provenance, err);

    for (unsigned f = 0; f < WW_ANCESTOR_FILES && !rc; f++) {
        if (files[f].side) {
            rc = gather_side(all, dirfd, is_own, ww_chain_stated(e, files[f].side),
                             (enum ww_ancestor_file)f, err);
        }
    }
    return rc;
}

/* No statement can have the digest of what is decided about the same step, so it is the
 * next step's statement that names it. */
static enum ww_err gather_decision(struct ww_ancestors *all, int dirfd,
                                   struct ww_source_evidence *out, struct ww_error *err)
{
    struct ww_ancestor item = {.file = WW_ANCESTOR_DECISION};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ANCESTOR_SIDE_MAX_BYTES);
    rc = read_file(dirfd, WW_DECISION_FILE, &text, &out->has_decision, err);
    if (!rc && out->has_decision) {
        ww_sha256_of(text.data, text.len, out->decision);
        memcpy(item.sha256, out->decision, WW_SHA256_BYTES);
        if (!is_known(all, item.sha256, item.file)) {
            rc = keep(all, &item, &text, err);
        }
    }
    ww_buf_release(&text);
    return rc;
}

/* Breadth first over what was kept since: the list is its own queue. The first is the
 * source's own statement. */
static enum ww_err gather_links(struct ww_ancestors *all, int dirfd, size_t from,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = from; i < all->n && !rc; i++) {
        struct ww_chain_evidence e = {.kind = all->items[i].kind};
        struct ww_bundle bundle = {0};
        const struct ww_buf *text = &all->items[i].text;

        if (all->items[i].file == WW_ANCESTOR_STATEMENT &&
            ww_bundle_parse(text->data, text->len, &bundle, NULL) == WW_OK &&
            ww_chain_evidence_parse(&bundle, &e, NULL) == WW_OK) {
            rc = gather_of(all, dirfd, i == from, &e, err);
        }
        ww_chain_evidence_release(&e);
        ww_bundle_release(&bundle);
    }
    return rc;
}

/* The evidence of a source that was gathered, read. */
static enum ww_err read_kept(const struct ww_ancestors *all,
                             const struct ww_source_evidence *evidence,
                             struct ww_provenance_view *out)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct ww_ancestor *item = &all->items[i];
        struct ww_bundle bundle = {0};
        enum ww_err rc = WW_OK;
        if (item->file != WW_ANCESTOR_STATEMENT ||
            memcmp(item->sha256, evidence->sha256, WW_SHA256_BYTES) != 0) {
            continue;
        }
        rc = ww_bundle_parse(item->text.data, item->text.len, &bundle, NULL);
        if (!rc) {
            rc = ww_provenance_parse(bundle.payload.data, bundle.payload.len, out, NULL);
        }
        ww_bundle_release(&bundle);
        return rc;
    }
    return WW_E_NOTFOUND;
}

bool ww_ancestors_tree(const struct ww_ancestors *all,
                       const struct ww_source_evidence *evidence,
                       const struct ww_resource *used, size_t n,
                       uint8_t tree[WW_SHA256_BYTES])
{
    struct ww_chain_evidence e = {.kind = WW_EVIDENCE_PROVENANCE};
    bool same = evidence->kind == WW_EVIDENCE_PROVENANCE &&
                read_kept(all, evidence, &e.provenance) == WW_OK && e.provenance.has_tree;

    for (size_t i = 0; i < n && same; i++) {
        const uint8_t *stated = ww_chain_stated(&e, used[i].name);
        same = stated && memcmp(stated, used[i].sha256, WW_SHA256_BYTES) == 0;
    }
    if (same) {
        memcpy(tree, e.provenance.tree, WW_SHA256_BYTES);
    }
    ww_chain_evidence_release(&e);
    return same;
}

enum ww_err ww_license_at(int dirfd, const char *path, char out[WW_LICENSE_BYTES],
                          struct ww_error *err)
{
    struct ww_yaml *card = NULL;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    out[0] = '\0';
    ww_buf_init(&text, WW_ANCESTOR_SIDE_MAX_BYTES);
    rc = ww_file_read_at(dirfd, path, WW_LINKS_HUB, &text, NULL);
    if (!rc) {
        card = ww_card_open(text.data, text.len);
    }
    if (card) {
        (void)ww_license_set(out, ww_card_license(card));
    }
    ww_yaml_free(card);
    ww_buf_release(&text);
    return rc == WW_E_NOMEM ? WW_FAIL(err, rc, "out of memory for a card") : WW_OK;
}

/* Locked or not, as its own tensor statement says. One that cannot be read says nothing.
 */
static void gather_lock(int dirfd, struct ww_source_evidence *out)
{
    struct ww_tensor_statement statement = {0};

    if (ww_tensors_read(dirfd, NULL, &statement, NULL) == WW_OK) {
        out->is_locked = ww_jhex(ww_jget(statement.lock, "lock_id"), out->lock_id,
                                 sizeof(out->lock_id));
    }
    ww_tensors_release(&statement);
}

enum ww_err ww_ancestors_gather(struct ww_ancestors *all, int dirfd,
                                struct ww_source_evidence *out, struct ww_error *err)
{
    static const struct {
        const char *path;
        enum ww_evidence_kind kind;
    } own[] = {{WW_PROVENANCE_FILE, WW_EVIDENCE_PROVENANCE},
               {WW_SIGNATURE_FILE, WW_EVIDENCE_SIGNATURE}};
    const size_t from = all->n;
    struct ww_buf text;
    bool found = false;
    enum ww_err rc = WW_OK;

    *out = (struct ww_source_evidence){0};
    ww_buf_init(&text, WW_ANCESTOR_MAX_BYTES);
    for (size_t i = 0; i < WW_LEN(own) && !rc && !found; i++) {
        rc = read_file(dirfd, own[i].path, &text, &found, err);
        out->kind = found ? own[i].kind : WW_EVIDENCE_NONE;
    }
    if (!rc && found) {
        struct ww_ancestor item = {.kind = out->kind};
        ww_sha256_of(text.data, text.len, out->sha256);
        memcpy(item.sha256, out->sha256, WW_SHA256_BYTES);
        if (!is_known(all, out->sha256, WW_ANCESTOR_STATEMENT)) {
            rc = keep(all, &item, &text, err);
        }
    }
    if (!rc) {
        rc = gather_links(all, dirfd, from, err);
    }
    if (!rc) {
        rc = gather_decision(all, dirfd, out, err);
    }
    if (!rc) {
        rc = ww_license_at(dirfd, files[WW_ANCESTOR_CARD].side, out->license, err);
        gather_lock(dirfd, out);
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err visit_file(void *payload, const struct ww_walk_entry *entry,
                              bool *skip, struct ww_error *err)
{
    bool *found = payload;

    (void)skip;
    (void)err;
    *found = *found || ww_str_ends(entry->path, files[WW_ANCESTOR_POLICY].suffix);
    return WW_OK;
}

enum ww_err ww_ancestors_ask(int dirfd, bool *out, struct ww_error *err)
{
    const int fd =
        openat(dirfd, WW_ANCESTORS_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    enum ww_err rc = WW_OK;

    *out = false;
    if (fd >= 0) {
        rc = ww_walk(fd, visit_file, out, err);
        close(fd);
    }
    return rc;
}

enum ww_err ww_ancestors_put(const struct ww_ancestors *all, ww_ancestor_put_fn put,
                             void *payload, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < all->n && !rc; i++) {
        char path[WW_ANCESTOR_PATH_BYTES];
        ww_ancestor_path(all->items[i].sha256, all->items[i].file, path);
        rc = put(payload, path, all->items[i].text.data, all->items[i].text.len, err);
    }
    return rc;
}

enum ww_err ww_ancestor_into_out(void *out, const char *path, const void *bytes,
                                 size_t len, struct ww_error *err)
{
    return ww_out_add(out, path, bytes, len, err);
}

void ww_ancestors_release(struct ww_ancestors *all)
{
    for (size_t i = 0; i < all->n; i++) {
        ww_buf_release(&all->items[i].text);
    }
    ww_free(all->items);
    memset(all, 0, sizeof(*all));
}
