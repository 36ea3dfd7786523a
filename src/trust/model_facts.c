/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said of a model by files that its signature covers, and of the model by its
 * tensor statement. What it was made of is lineage.c's.
 */
#include "trust/lineage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "model/adapter.h"
#include "policy/words.h"
#include "sign/bundle.h"
#include "sign/oms.h"
#include "sign/tensors.h"
#include "sign/tensors_sign.h"
#include "sign/verify.h"
#include "stream/out.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/guard.h"

#define CARD "README.md"
#define SIDE_MAX_BYTES ((size_t)1 << 20)
#define SOURCE_DIR "attestations/source"

struct reading {
    const struct ww_trust *trust;
    struct ww_source_facts *out;
    int dirfd; /* of the model itself, for side files */
};

/* One model's evidence. */
struct level {
    const struct ww_root_key *key; /* NULL: unsigned, as far as the root goes */
    char signer[WW_HINT_BYTES];
    struct ww_oms oms;
    struct ww_tensor_statement tensors;
    bool is_sealed; /* the tensors cannot be read, and their root is provenance's word */
};

static void release_level(struct level *level)
{
    ww_oms_release(&level->oms);
    ww_tensors_release(&level->tensors);
}

static const char *own(struct reading *r, const char *text, struct ww_error *err)
{
    const struct ww_reading at = {"facts", &r->out->lists, &r->out->n_lists};
    char *copy = ww_strdup(text);

    return ww_read_own(&at, copy, err) == WW_OK ? copy : NULL;
}

/* The signer by the root; a key that may not sign is as good as no signature, but a
 * revoked one is named, so that the decision says so. */
static enum ww_err find_signer(struct reading *r, const struct ww_bundle *bundle,
                               struct level *level, struct ww_model_facts *facts,
                               struct ww_error *err)
{
    struct ww_error local = {0};
    const char *hint = bundle->hint ? bundle->hint : "";
    enum ww_err rc = WW_OK;

    if (ww_root_revokes(&r->trust->root, WW_REVOKED_KEY, hint) &&
        ww_root_key(&r->trust->root, hint)) {
        level->key = ww_root_key(&r->trust->root, hint);
    } else {
        rc = ww_root_may_sign(&r->trust->root, hint, WW_SIGNED_STATEMENT, r->trust->now,
                              &level->key, &local);
    }
    if (rc) {
        ww_facts_missing(
            r->out, bundle->certs ? "it is signed by a certificate, and a root names keys"
                                  : local.text);
        return WW_OK;
    }
    snprintf(level->signer, sizeof(level->signer), "%s", hint);
    facts->signer = own(r, hint, err);
    return facts->signer ? WW_OK : WW_E_NOMEM;
}

static enum ww_err read_signature(struct reading *r, int dirfd, struct level *level,
                                  struct ww_model_facts *facts, struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_bundle bundle = {0};
    struct ww_verifier verifier = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    rc = ww_file_read_at(dirfd, WW_SIGNATURE_FILE, WW_LINKS_REFUSE, &text, &local);
    if (rc == WW_E_NOTFOUND) {
        ww_facts_missing(r->out, "it has no signature 'model.sig'");
        rc = WW_OK;
        goto out;
    }
    if (!rc) {
        rc = ww_bundle_parse(text.data, text.len, &bundle, &local);
    }
    if (rc) {
        rc = WW_FAIL(err, rc, "%s", local.text);
        goto out;
    }
    rc = find_signer(r, &bundle, level, facts, err);
    if (rc || !level->key) {
        goto out;
    }
    rc = ww_verifier_of_key(level->key->key, &verifier, err);
    if (!rc) {
        rc = ww_bundle_check(&bundle, &verifier, NULL, err);
    }
    if (!rc) {
        rc = ww_oms_parse(bundle.payload.data, bundle.payload.len, bundle.is_v02,
                          &level->oms, err);
    }
out:
    ww_verifier_release(&verifier);
    ww_bundle_release(&bundle);
    ww_buf_release(&text);
    return rc;
}

/* A sealed folder has no tensors that anybody could hash; what lies in it has the root
 * that its provenance states. keys NULL: unverified. *found is false when it states none.
 */
static enum ww_err read_sealed(int dirfd, const struct ww_chain_keys *keys,
                               uint8_t root[WW_SHA256_BYTES], bool *found,
                               struct ww_error *err)
{
    struct ww_chain_evidence evidence = {0};
    struct ww_error local = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    *found = false;
    ww_buf_init(&text, WW_ANCESTOR_MAX_BYTES);
    rc = ww_file_read_at(dirfd, WW_PROVENANCE_FILE, WW_LINKS_REFUSE, &text, &local);
    if (!rc) {
        rc = ww_chain_evidence_open(keys, &text, WW_EVIDENCE_PROVENANCE, &evidence,
                                    &local);
    }
    if (rc == WW_E_NOTFOUND || rc == WW_E_UNTRUSTED) {
        rc = WW_OK;
    } else if (rc) {
        rc = WW_FAIL(err, rc, "'" WW_PROVENANCE_FILE "': %s", local.text);
    } else if (strcmp(evidence.provenance.build_type, WW_SEAL_BUILD_TYPE) == 0 &&
               evidence.provenance.n_links == 1 &&
               evidence.provenance.links[0].has_tree) {
        memcpy(root, evidence.provenance.links[0].tree, WW_SHA256_BYTES);
        *found = true;
    }
    ww_chain_evidence_release(&evidence);
    ww_buf_release(&text);
    return rc;
}

/* The statement that takes the place of a missing tensor statement, by the same key. */
static enum ww_err read_sealed_level(int dirfd, struct level *level,
                                     struct ww_model_facts *facts, struct ww_error *err)
{
    struct ww_chain_keys keys = {.what = "did not sign the folder"};
    enum ww_err rc = ww_chain_keys_add(&keys, level->key->key, err);

    if (!rc) {
        rc = read_sealed(dirfd, &keys, facts->root, &level->is_sealed, err);
    }
    ww_chain_keys_release(&keys);
    return rc;
}

/* Signature and tensor statement of one model, both by the same key. */
static enum ww_err read_level(struct reading *r, int dirfd, struct level *level,
                              struct ww_model_facts *facts, struct ww_error *err)
{
    struct ww_error local = {0};
    enum ww_err rc = read_signature(r, dirfd, level, facts, err);

    if (rc || !level->key) {
        return rc;
    }
    rc = ww_tensors_read(dirfd, level->key->key, &level->tensors, &local);
    if (rc == WW_E_NOTFOUND || (!rc && !level->tensors.was_signed)) {
        rc = read_sealed_level(dirfd, level, facts, err);
        if (!rc && !level->is_sealed) {
            ww_facts_missing(r->out, "it has no signed tensor statement; sign it with "
                                     "--tensors, a sealed model before it is sealed");
            facts->signer = NULL;
            level->key = NULL;
        }
        return rc;
    }
    if (rc) {
        return WW_FAIL(err, rc, "%s", local.text);
    }
    memcpy(facts->root, level->tensors.model_root, WW_SHA256_BYTES);
    return WW_OK;
}

static const struct ww_oms_resource *find_resource(const struct ww_oms *oms,
                                                   const char *name)
{
    for (size_t i = 0; i < oms->n_resources; i++) {
        if (strcmp(oms->resources[i].path, name) == 0) {
            return &oms->resources[i];
        }
    }
    return NULL;
}

/* A side file of the model. One that the signature does not list says nothing; one that
 * it lists must be read as it was signed, or its tags could be left out of a decision. */
static enum ww_err read_side(struct reading *r, const struct level *level,
                             const char *name, struct ww_buf *text, bool *covered,
                             struct ww_error *err)
{
    const struct ww_oms_resource *listed = find_resource(&level->oms, name);
    uint8_t digest[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    *covered = listed != NULL;
    if (!listed) {
        return WW_OK;
    }
    if (level->oms.shard_size != 0 || strcmp(level->oms.algorithm, "sha256") != 0) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "'%s' is not signed by its SHA-256, so what it says is not "
                       "known; sign the model with 'weightward sign'",
                       name);
    }
    rc = ww_file_read_at(r->dirfd, name, WW_LINKS_REFUSE, text, err);
    if (rc) {
        return rc;
    }
    ww_sha256_of(text->data, text->len, digest);
    return memcmp(listed->digest, digest, sizeof(digest)) == 0
               ? WW_OK
               : WW_FAIL(err, WW_E_TAMPERED, "'%s' differs from what was signed", name);
}

static enum ww_err read_sides(struct reading *r, const struct level *level,
                              struct ww_model_facts *facts, struct ww_error *err)
{
    struct ww_card_facts card = {0};
    struct ww_buf text;
    bool covered = false;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, SIDE_MAX_BYTES);
    rc = read_side(r, level, CARD, &text, &covered, err);
    if (!rc && covered) {
        rc = ww_card_facts_read(text.data, text.len, r->out, &card, err);
        facts->license = card.license;
        facts->tags = card.tags;
    }
    if (!rc) {
        ww_buf_clear(&text);
        rc = read_side(r, level, WW_POLICY_REFERENCE, &text, &covered, err);
    }
    if (!rc && covered) {
        rc = ww_reference_read(text.data, text.len, r->out, err);
    }
    ww_buf_release(&text);
    return rc;
}

/* The statement's roots against the bytes: a statement of another model by the same
 * signer would verify as well. */
static enum ww_err check_tensors(const char *path, const struct ww_tensor_statement *said,
                                 const struct ww_run_options *run, struct ww_error *err)
{
    struct ww_model *model = NULL;
    uint8_t(*files)[WW_SHA256_BYTES] = NULL;
    uint8_t(*roots)[WW_SHA256_BYTES] = NULL;
    enum ww_err rc = ww_weights_open(path, &model, err);

    if (rc) {
        return rc;
    }
    rc = ww_tensors_match_headers(said, model, err);
    files = ww_calloc(model->n_files, sizeof(*files));
    roots = ww_calloc(model->n_tensors, sizeof(*roots));
    if (!rc && (!files || !roots)) {
        rc = WW_FAIL_MEMORY(err, "digests");
    }
    if (!rc) {
        rc = ww_model_digests(model, files, roots, run, err);
    }
    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        const size_t i = ww_tensors_find(said, model->tensors[t].name);
        if (i == said->n_items ||
            memcmp(said->items[i].root, roots[t], WW_SHA256_BYTES) != 0) {
            rc = WW_FAIL(err, WW_E_TAMPERED,
                         "tensor '%s' of '%s' differs from its signed statement",
                         model->tensors[t].name, path);
        }
    }
    ww_free(files);
    ww_free(roots);
    ww_model_close(model);
    return rc;
}

static enum ww_err verify_bytes(const struct ww_policy_source *source,
                                const struct level *level,
                                const struct ww_run_options *run, struct ww_error *err)
{
    static const char *const journal[] = {WW_OUT_JOURNAL};
    const char *path = source->path;
    const struct ww_verify_options options = {
        .ignore_paths = journal, .n_ignore_paths = source->name != NULL, .run = *run};
    struct ww_verify_report report = {0};
    struct ww_verifier verifier;
    enum ww_err rc = ww_verifier_of_key(level->key->key, &verifier, err);

    if (!rc) {
        rc = ww_verify_folder_by(path, &verifier, &options, &report, err);
    }
    ww_verify_report_release(&report);
    return rc || level->is_sealed ? rc : check_tensors(path, &level->tensors, run, err);
}

enum ww_err ww_facts_read(const struct ww_policy_source *source,
                          const struct ww_trust *trust, const struct ww_run_options *run,
                          struct ww_source_facts *out, struct ww_error *err)
{
    const char *path = source->path;
    struct reading r = {.trust = trust, .out = out, .dirfd = -1};
    struct level level = {0};
    enum ww_err rc = ww_dir_open(path, &r.dirfd, err);

    *out = (struct ww_source_facts){0};
    if (rc) {
        return rc;
    }
    /* What was unpacked to be asked about is not where it will be. */
    out->has_state = !source->name;
    if (out->has_state) {
        rc = ww_facts_folder_state(path, out->state, err);
    }
    if (!rc) {
        rc = read_level(&r, r.dirfd, &level, &out->model, err);
    }
    if (!rc && level.key) {
        out->locked = level.is_sealed || level.tensors.lock != NULL;
        rc = verify_bytes(source, &level, run, err);
        if (!rc) {
            rc = read_sides(&r, &level, &out->model, err);
        }
        if (!rc) {
            rc = ww_lineage_read(trust, r.dirfd, level.oms.root, out, err);
        }
    }
    if (rc) {
        ww_error_context(err, "source '%s'", source->name ? source->name : path);
        ww_facts_release(out);
    }
    release_level(&level);
    close(r.dirfd);
    return rc;
}

void ww_facts_release(struct ww_source_facts *facts)
{
    for (size_t i = 0; i < facts->n_lists; i++) {
        ww_free(facts->lists[i]);
    }
    ww_free(facts->lists);
    ww_free(facts->ancestors);
    ww_free(facts->needs);
    *facts = (struct ww_source_facts){0};
}

enum ww_err ww_facts_asks_for_policy(const char *path, bool *out, struct ww_error *err)
{
    struct stat st;
    int fd = -1;
    enum ww_err rc = ww_dir_open(path, &fd, err);

    *out = false;
    if (rc) {
        return rc;
    }
    *out = fstatat(fd, WW_POLICY_REFERENCE, &st, AT_SYMLINK_NOFOLLOW) == 0;
    rc = *out ? WW_OK : ww_ancestors_ask(fd, out, err);
    close(fd);
    return rc;
}

enum ww_err ww_facts_root_of(const char *path, uint8_t root[WW_SHA256_BYTES],
                             struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_tensor_statement statement = {0};
    bool is_sealed = false;
    int fd = -1;
    enum ww_err rc = ww_dir_open(path, &fd, err);

    if (rc) {
        return rc;
    }
    rc = ww_tensors_read(fd, NULL, &statement, &local);
    if (!rc) {
        memcpy(root, statement.model_root, WW_SHA256_BYTES);
    } else if (rc == WW_E_NOTFOUND &&
               read_sealed(fd, NULL, root, &is_sealed, NULL) == WW_OK && is_sealed) {
        rc = WW_OK;
    } else {
        rc = WW_FAIL(err, rc,
                     "source '%s' has no tensor statement that can be read (%s); sign it "
                     "with --tensors",
                     path, local.text);
    }
    ww_tensors_release(&statement);
    close(fd);
    return rc;
}
