/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A statement of origin: the signer of a folder says that it was made of no other model.
 * It is a claim, as every statement is; what it is worth is the name that stands below
 * it. The list of files is that of the signature, so nothing is hashed again.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "crypto/signkey.h"
#include "evidence/chain.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define MAX_BYTES ((size_t)32 << 20)

static void write_external(struct ww_jw *w, const void *payload)
{
    (void)payload;
    ww_jw_kstr(w, "claim", "made of no other model");
}

/* The signature, by this very key. */
static enum ww_err read_signature(int dirfd, const struct ww_signer *signer,
                                  struct ww_oms *out, struct ww_error *err)
{
    struct ww_bundle bundle = {0};
    struct ww_pubkey *key = NULL;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    rc = ww_file_read_at(dirfd, WW_SIGNATURE_FILE, WW_LINKS_REFUSE, &text, err);
    if (!rc) {
        rc = ww_bundle_parse(text.data, text.len, &bundle, err);
    }
    if (!rc) {
        rc = ww_signkey_public(signer->key, &key, err);
    }
    if (!rc) {
        rc = ww_bundle_check_key(&bundle, key, err);
    }
    if (!rc) {
        rc = ww_oms_parse(bundle.payload.data, bundle.payload.len, bundle.is_v02, out,
                          err);
    }
    ww_pubkey_free(key);
    ww_bundle_release(&bundle);
    ww_buf_release(&text);
    return rc;
}

/* The root of the folder's tensor statement, where there is one by the same key. */
static bool read_tree(int dirfd, const struct ww_signer *signer,
                      uint8_t out[WW_SHA256_BYTES])
{
    struct ww_tensor_statement statement = {0};
    struct ww_pubkey *key = NULL;
    bool found = ww_signkey_public(signer->key, &key, NULL) == WW_OK &&
                 ww_tensors_read(dirfd, key, &statement, NULL) == WW_OK &&
                 statement.was_signed;

    if (found) {
        memcpy(out, statement.model_root, WW_SHA256_BYTES);
    }
    ww_tensors_release(&statement);
    ww_pubkey_free(key);
    return found;
}

static enum ww_err make(int dirfd, const char *name, const struct ww_oms *oms,
                        const struct ww_signer *signer, struct ww_buf *bundle,
                        struct ww_error *err)
{
    struct ww_resource *files = ww_calloc(oms->n_resources, sizeof(*files));
    uint8_t tree[WW_SHA256_BYTES];
    struct ww_buf payload = {0};
    struct ww_provenance p = {.build_type = WW_ORIGIN_BUILD_TYPE,
                              .name = name,
                              .root = oms->root,
                              .files = files,
                              .n_files = oms->n_resources,
                              .external = write_external};
    enum ww_err rc = files ? WW_OK : WW_FAIL_MEMORY(err, "a statement of origin");

    for (size_t i = 0; i < oms->n_resources && !rc; i++) {
        files[i].name = oms->resources[i].path;
        memcpy(files[i].sha256, oms->resources[i].digest, WW_SHA256_BYTES);
    }
    p.tree = read_tree(dirfd, signer, tree) ? tree : NULL;
    if (!rc) {
        rc = ww_provenance_write(&p, &payload, err);
    }
    if (!rc) {
        rc = ww_bundle_sign(signer, payload.data, payload.len, bundle, err);
    }
    ww_buf_release(&payload);
    ww_free(files);
    return rc;
}

/* What says today that the model was made of others may not be overwritten by mistake. */
static enum ww_err refuse_descendant(int dirfd, struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_provenance_view view = {0};
    struct ww_buf payload;
    bool was_signed = false;
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, WW_PAYLOAD_MAX_BYTES);
    rc = ww_statement_load(dirfd, WW_PROVENANCE_FILE, WW_PROVENANCE_PLAIN_FILE, &payload,
                           &was_signed, &local);
    if (!rc) {
        rc = ww_provenance_parse(payload.data, payload.len, &view, &local);
    }
    if (rc) {
        rc = rc == WW_E_NOTFOUND ? WW_OK : WW_FAIL(err, rc, "%s", local.text);
    } else if (view.n_links > 0) {
        rc = WW_FAIL(err, WW_E_EXISTS,
                     "the folder's provenance says that it was made of %zu models by a "
                     "%s; it has another origin",
                     view.n_links, view.action);
    }
    ww_provenance_release(&view);
    ww_buf_release(&payload);
    return rc;
}

enum ww_err ww_origin_state(const char *path, const struct ww_signer *signer,
                            bool replace, struct ww_error *err)
{
    struct ww_oms oms = {0};
    struct ww_buf bundle;
    char *name = NULL;
    int dirfd = -1;
    enum ww_err rc = ww_dir_open(path, &dirfd, err);

    ww_buf_init(&bundle, MAX_BYTES);
    if (!rc) {
        rc = ww_path_last(path, &name, err);
    }
    if (!rc) {
        rc = refuse_descendant(dirfd, err);
    }
    if (!rc) {
        rc = read_signature(dirfd, signer, &oms, err);
    }
    if (!rc && (oms.shard_size != 0 || strcmp(oms.algorithm, "sha256") != 0)) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "a statement of origin needs a signature over whole files by "
                     "SHA-256; sign the folder again");
    }
    if (!rc) {
        rc = make(dirfd, name, &oms, signer, &bundle, err);
    }
    if (!rc) {
        rc = ww_mkdirs_at(dirfd, WW_ATTESTATIONS_DIR, err);
    }
    if (!rc) {
        rc = ww_file_write_at(dirfd, WW_PROVENANCE_FILE, bundle.data, bundle.len, 0644,
                              replace, err);
    }
    ww_free(name);
    ww_oms_release(&oms);
    ww_buf_release(&bundle);
    if (dirfd >= 0) {
        close(dirfd);
    }
    return rc;
}
