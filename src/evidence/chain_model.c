/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model that a chain begins with: who signed it, every file of it, and its own two
 * statements, each against what was found. Of its ancestors there are statements alone.
 */
#include "evidence/chain_model.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "evidence/beside.h"
#include "evidence/fusion_stated.h"
#include "sign/tensors.h"
#include "sign/verify.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

/* Who signed the folder, among those that are trusted. */
static enum ww_err find_signer(const struct ww_chain_model *m,
                               const struct ww_verifier **out, struct ww_bundle *bundle,
                               struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    rc = ww_file_read_at(m->dirfd, WW_SIGNATURE_FILE, WW_LINKS_REFUSE, &text, &local);
    if (rc == WW_E_NOTFOUND) {
        rc = WW_FAIL(err, WW_E_NOT_SIGNED,
                     "no signature '" WW_SIGNATURE_FILE "' found for '%s'", m->path);
    } else if (rc) {
        rc = WW_FAIL(err, rc, "%s", local.text);
    }
    if (!rc) {
        rc = ww_bundle_parse(text.data, text.len, bundle, err);
    }
    if (!rc) {
        rc = ww_chain_keys_find(m->keys, bundle, out, err);
    }
    if (rc && rc != WW_E_NOT_SIGNED) {
        ww_error_context(err, "signature '" WW_SIGNATURE_FILE "'");
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err verify_files(struct ww_chain_model *m, struct ww_error *err)
{
    const struct ww_chain_options *o = m->options;
    const struct ww_verify_options options = {
        .ignore_paths = o->ignore_paths,
        .n_ignore_paths = o->n_ignore_paths,
        .ignore_unsigned_files = o->ignore_unsigned_files,
        .run = o->run,
    };
    const struct ww_verifier *verifier = NULL;
    struct ww_bundle bundle = {0};
    enum ww_err rc = find_signer(m, &verifier, &bundle, err);

    ww_bundle_release(&bundle);
    if (!rc) {
        memcpy(m->hint, verifier->hint, WW_HINT_BYTES);
        rc = ww_verify_folder_by(m->path, verifier, &options, m->report, err);
    }
    return rc;
}

/* The tensor statement must hold here, and speak of the tensors that were made. */
static enum ww_err check_tensors(const struct ww_chain_model *m,
                                 const struct ww_chain_evidence *e, struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_bundle bundle = {0};
    struct ww_tensor_statement statement = {0};
    const struct ww_verifier *verifier = NULL;
    enum ww_err rc = ww_chain_open_signed(m->dirfd, WW_TENSORS_FILE, m->keys, &bundle,
                                          &verifier, &local);

    if (rc == WW_E_NOTFOUND) {
        rc = WW_OK;
        goto out;
    }
    if (!rc) {
        rc = ww_tensors_read_by(m->dirfd, verifier, NULL, &statement, &local);
    }
    if (rc) {
        rc = WW_FAIL(err, rc, "tensor statement: %s", local.text);
        goto out;
    }
    if (e->provenance.has_tree &&
        memcmp(e->provenance.tree, statement.model_root, WW_SHA256_BYTES) != 0) {
        rc = WW_FAIL(err, WW_E_WRONG_MODEL,
                     "provenance speaks of other tensors than the tensor statement");
    }
out:
    ww_tensors_release(&statement);
    ww_bundle_release(&bundle);
    return rc;
}

/* What its statement must speak of: said by who knows such files, or its SHA-256. */
static enum ww_err verify_file(struct ww_chain_model *m, struct ww_error *err)
{
    struct ww_verify_report *model = m->report;
    uint8_t digest[WW_SHA256_BYTES];
    uint64_t bytes = 0;
    enum ww_err rc = WW_OK;

    if (m->options->n_ignore_paths > 0 || m->options->ignore_unsigned_files) {
        return WW_FAIL(err, WW_E_USAGE,
                       "'%s' is a file and no folder: nothing of it can be ignored",
                       m->path);
    }
    if (m->options->check_file) {
        rc = m->options->check_file(m->path, m->keys, model, m->hint, err);
        m->is_known = !rc && model->root_sha256[0];
    }
    if (!rc && !m->is_known) {
        rc = ww_file_sha256(m->path, digest, &bytes, err);
    }
    if (!rc && !m->is_known) {
        ww_hex(model->root_sha256, digest, sizeof(digest));
        model->files_checked = 1;
        model->bytes_checked = bytes;
    }
    return rc;
}

/* Unverified, the tensor statement's word is taken for what a verification reports. */
static enum ww_err take_word(struct ww_chain_model *m, struct ww_error *err)
{
    struct ww_tensor_statement statement = {0};
    struct ww_verify_report *model = m->report;
    enum ww_err rc = ww_tensors_read_by(m->dirfd, NULL, NULL, &statement, err);

    if (!rc) {
        ww_hex(model->tensor_root, statement.model_root, WW_SHA256_BYTES);
        model->locked = statement.lock != NULL;
    }
    ww_tensors_release(&statement);
    if (rc == WW_E_NOTFOUND) {
        ww_error_clear(err);
        return WW_OK;
    }
    return rc;
}

static bool has_plain(const struct ww_chain_model *m)
{
    return faccessat(m->dirfd, WW_PROVENANCE_PLAIN_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A file with a package's manifest in it, or with the digests that a folder's root is
 * made of, has the very digest that the statement speaks of, and is neither. */
static enum ww_err check_kind(const struct ww_chain_model *m, const char *action,
                              struct ww_error *err)
{
    const bool of_package = strcmp(action, "pack") == 0;
    const bool of_recipe = strcmp(action, "fusion") == 0;
    const bool fits = m->is_known  ? of_package
                      : m->is_file ? of_recipe
                                   : !of_package && !of_recipe;

    return fits ? WW_OK
                : WW_FAIL(err, WW_E_WRONG_MODEL,
                          "provenance speaks of a %s, found a %s with its digest",
                          of_package  ? "package"
                          : of_recipe ? "recipe"
                                      : "folder",
                          m->is_known  ? "package"
                          : m->is_file ? "plain file"
                                       : "folder");
}

/* The provenance of the model itself; NONE when it has none. */
static enum ww_err open_own(const struct ww_chain_model *m, struct ww_chain_evidence *out,
                            struct ww_error *err)
{
    struct ww_error local = {0};
    char root[WW_HEX_BYTES(WW_SHA256_BYTES)];
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ANCESTOR_MAX_BYTES);
    rc = ww_file_read_at(m->dirfd, WW_PROVENANCE_FILE, WW_LINKS_REFUSE, &text, &local);
    if (rc == WW_E_NOTFOUND && m->is_file) {
        rc = WW_FAIL(err, rc, "there is no '" WW_PROVENANCE_FILE "' beside the file");
        goto out;
    }
    if (rc == WW_E_NOTFOUND) {
        rc = has_plain(m) ? WW_FAIL(err, WW_E_NOT_SIGNED, "provenance '%s' is not signed",
                                    WW_PROVENANCE_PLAIN_FILE)
                          : WW_OK;
        goto out;
    }
    if (!rc) {
        rc = ww_chain_evidence_open(m->keys, &text, WW_EVIDENCE_PROVENANCE, out, &local);
    }
    if (rc) {
        rc = WW_FAIL(err, rc, "'" WW_PROVENANCE_FILE "': %s", local.text);
        goto out;
    }
    ww_hex(root, out->provenance.root, WW_SHA256_BYTES);
    if (m->keys && strcmp(root, m->report->root_sha256) != 0) {
        rc = WW_FAIL(err, WW_E_WRONG_MODEL, "provenance speaks of a %s %s, found %s",
                     m->is_file ? "file known by" : "folder with root", root,
                     m->report->root_sha256);
    } else if (m->keys) {
        rc = check_kind(m, out->provenance.action, err);
    }
out:
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_chain_model_open(struct ww_chain_model *m, struct ww_chain_evidence *own,
                                struct ww_error *err)
{
    enum ww_err rc = ww_evidence_dir(m->path, &m->is_file, &m->dirfd, err);

    if (!rc && m->keys) {
        rc = m->is_file ? verify_file(m, err) : verify_files(m, err);
    } else if (!rc) {
        rc = take_word(m, err);
    }
    if (!rc) {
        rc = open_own(m, own, err);
    }
    if (!rc && m->keys && own->kind == WW_EVIDENCE_PROVENANCE &&
        strcmp(own->provenance.action, "fusion") == 0) {
        rc = ww_recipe_agrees(m->path, &own->provenance, err);
    }
    if (!rc && m->keys) {
        rc = check_tensors(m, own, err);
    }
    return rc;
}
