/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever holds a suspect can make up a source that fits it, so a finding counts only
 * against models that are known to be older. A signature says who committed to the bytes,
 * and only a log (Rekor) or a timestamp authority (RFC 3161) says when: the signer's own
 * clock is not asked.
 */
#include "lineage/priority.h"

#include <string.h>
#include <unistd.h>

#include "lineage/prereg.h"
#include "sign/keyless_bundle.h"
#include "sign/oms.h"
#include "sign/verify.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static enum ww_err say(struct ww_commitment *c, const char *why, struct ww_error *err)
{
    ww_free(c->why);
    c->why = ww_strdup(why);
    return c->why ? WW_OK : WW_FAIL_MEMORY(err, "the evidence of priority");
}

/* Of a folder model.sig, of a lone file FILE.sig beside it. */
static enum ww_err read_signature(const char *path, struct ww_buf *text,
                                  struct ww_error *err)
{
    struct ww_error local = {0};
    char *file = NULL;
    int dirfd = -1;
    enum ww_err rc = ww_dir_open(path, &dirfd, &local);

    if (!rc) {
        rc = ww_file_read_at(dirfd, WW_SIGNATURE_FILE, WW_LINKS_REFUSE, text, err);
        close(dirfd);
        return rc;
    }
    file = ww_asprintf("%s.sig", path);
    rc = file ? ww_file_read(file, text, err)
              : WW_FAIL_MEMORY(err, "the evidence of priority");
    ww_free(file);
    return rc;
}

/* All files, under the signature whose time was read: both have one root. */
static enum ww_err check_files(const struct ww_priority_ask *ask,
                               const struct ww_verifier *verifier,
                               const struct ww_bundle *bundle,
                               const struct ww_commitment *c, struct ww_error *err)
{
    const struct ww_verify_options options = {.run = *ask->run};
    struct ww_verify_report report = {0};
    struct ww_oms oms = {0};
    char root[WW_HEX_BYTES(WW_SHA256_BYTES)];
    enum ww_err rc = ww_oms_parse(bundle->payload.data, bundle->payload.len,
                                  bundle->is_v02, &oms, err);

    if (!rc) {
        ww_hex(root, oms.root, sizeof(oms.root));
        rc = ww_verify_folder_by(c->name, verifier, &options, &report, err);
    }
    if (!rc && strcmp(root, report.root_sha256) != 0) {
        rc = WW_FAIL(err, WW_E_CHANGED, "signature of '%s' changed while it was read",
                     c->name);
    }
    ww_verify_report_release(&report);
    ww_oms_release(&oms);
    return rc;
}

/* A failure here is about the time alone. */
static enum ww_err find_time(const struct ww_priority_ask *ask, struct ww_bundle *bundle,
                             struct ww_commitment *c, struct ww_error *err)
{
    struct ww_error local = {0};

    c->at_unix = bundle->witnessed;
    if (c->at_unix || !ask->root) {
        return c->at_unix ? WW_OK
                          : say(c, "no trusted root was given, so no time counts", err);
    }
    if (ww_stamps_check(bundle, ask->root, &c->at_unix, &local)) {
        return say(c, local.text, err);
    }
    return c->at_unix ? WW_OK
                      : say(c,
                            "no log and no timestamp authority of the trusted root "
                            "signed a time for it",
                            err);
}

static enum ww_err check(const struct ww_priority_ask *ask, const struct ww_buf *text,
                         struct ww_bundle *bundle, struct ww_commitment *c,
                         struct ww_error *err)
{
    const struct ww_verifier *verifier = NULL;
    enum ww_err rc = ww_bundle_parse(text->data, text->len, bundle, err);

    if (!rc) {
        rc = ww_chain_keys_find(ask->keys, bundle, &verifier, err);
    }
    if (!rc) {
        rc = ww_bundle_check(bundle, verifier, c->signer, err);
    }
    return rc ? rc : check_files(ask, verifier, bundle, c, err);
}

static enum ww_err look_at_signature(const struct ww_priority_ask *ask,
                                     struct ww_commitment *c, struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    struct ww_error local = {0};
    struct ww_bundle bundle = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    rc = read_signature(c->name, &text, &local);
    if (!rc) {
        c->is_signed = true;
        ww_sha256_of(text.data, text.len, digest);
        ww_hex(c->signature_sha256, digest, sizeof(digest));
        rc = check(ask, &text, &bundle, c, &local);
        c->holds = !rc;
    }
    if (rc == WW_E_NOMEM || rc == WW_E_CANCELLED) {
        rc = WW_FAIL(err, rc, "%s", local.text);
    } else if (rc) {
        c->signer[0] = '\0';
        rc = say(c, c->is_signed ? local.text : "it has no signature", err);
    } else {
        rc = find_time(ask, &bundle, c, err);
    }
    ww_bundle_release(&bundle);
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_commitment_find(const struct ww_priority_ask *ask,
                               struct ww_commitment *out, struct ww_error *err)
{
    uint8_t root[WW_SHA256_BYTES];
    struct ww_error local = {0};
    enum ww_err rc = ww_prereg_digest(out->name, ask->run, root, &local);

    if (!rc) {
        ww_hex(out->sha256_tree, root, sizeof(root));
    } else if (rc == WW_E_NOMEM || rc == WW_E_CANCELLED) {
        return WW_FAIL(err, rc, "%s", local.text);
    }
    return look_at_signature(ask, out, err);
}

enum ww_priority ww_priority_of(const struct ww_commitment *source,
                                const struct ww_commitment *suspect)
{
    if (!source->holds || !suspect->holds || !source->at_unix || !suspect->at_unix) {
        return WW_PRIORITY_UNTOLD;
    }
    return source->at_unix < suspect->at_unix ? WW_PRIORITY_OLDER : WW_PRIORITY_YOUNGER;
}
