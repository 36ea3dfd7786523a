/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying evidence from sources. A statement is read here only to learn which files of the
 * source's own store belong to it; one that cannot be read is carried all the same, so that
 * the walk refuses it by name instead of not knowing of it.
 */
#include "evidence/ancestors.h"

#include <stdio.h>
#include <string.h>

#include "sign/bundle.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

void ww_ancestor_path(const uint8_t sha256[WW_SHA256_BYTES],
                      char out[WW_ANCESTOR_PATH_BYTES])
{
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];

    ww_hex(hex, sha256, WW_SHA256_BYTES);
    (void)snprintf(out, WW_ANCESTOR_PATH_BYTES, WW_ANCESTORS_DIR "/%s.sigstore.json",
                   hex);
}

static bool is_known(const struct ww_ancestors *all, const uint8_t *sha256)
{
    for (size_t i = 0; i < all->n; i++) {
        if (memcmp(all->items[i].sha256, sha256, WW_SHA256_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes the text. */
static enum ww_err keep(struct ww_ancestors *all, const uint8_t sha256[WW_SHA256_BYTES],
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
        return WW_FAIL(err, WW_E_NOMEM, "out of memory for the evidence of ancestors");
    }
    all->items = grown;
    memcpy(grown[all->n].sha256, sha256, WW_SHA256_BYTES);
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
    return rc == WW_OK || rc == WW_E_NOTFOUND ? WW_OK : WW_FAIL(err, rc, "%s", local.text);
}

/* The ancestors that a kept statement names, from the store of the same folder. */
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

        if (e->kind == WW_EVIDENCE_NONE || is_known(all, e->sha256)) {
            continue;
        }
        ww_buf_init(&text, WW_ANCESTOR_MAX_BYTES);
        ww_ancestor_path(e->sha256, path);
        rc = read_file(dirfd, path, &text, &found, err);
        if (!rc && found) {
            rc = keep(all, e->sha256, &text, err);
        }
        ww_buf_release(&text);
    }
    return rc;
}

/* Breadth first over what was kept since: the list is its own queue. */
static enum ww_err gather_links(struct ww_ancestors *all, int dirfd, size_t from,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = from; i < all->n && !rc; i++) {
        struct ww_provenance_view view = {0};
        struct ww_bundle bundle = {0};
        const struct ww_buf *text = &all->items[i].text;

        if (ww_bundle_parse(text->data, text->len, &bundle, NULL) != WW_OK) {
            continue;
        }
        if (ww_provenance_parse(bundle.payload.data, bundle.payload.len, &view, NULL) ==
            WW_OK) {
            rc = gather_named(all, dirfd, &view, err);
            ww_provenance_release(&view);
        }
        ww_bundle_release(&bundle);
    }
    return rc;
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
        ww_sha256_of(text.data, text.len, out->sha256);
        if (!is_known(all, out->sha256)) {
            rc = keep(all, out->sha256, &text, err);
        }
    }
    if (!rc) {
        rc = gather_links(all, dirfd, from, err);
    }
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_ancestors_put(const struct ww_ancestors *all, ww_ancestor_put_fn put,
                             void *payload, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < all->n && !rc; i++) {
        char path[WW_ANCESTOR_PATH_BYTES];
        ww_ancestor_path(all->items[i].sha256, path);
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
