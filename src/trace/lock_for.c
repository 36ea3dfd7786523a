/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locking a copy for one recipient. The ledger is opened, checked and held first, so that
 * a name that has a copy is refused before the first byte; the entry goes to the disk
 * just before the folder gets its name. A crash between the two leaves an entry without a
 * folder, which harms nobody; the other order could leave a copy that nobody can trace.
 */
#include <string.h>

#include "lock/handout.h"
#include "sign/tensors_sign.h"
#include "stream/tree.h"
#include "trace/fingerprint.h"
#include "util/alloc.h"
#include "util/fail.h"

struct hand_out {
    const struct ww_ledger_options *ledger_options;
    const struct ww_lock_options *options; /* those of the lock, with hook and handout */
    struct ww_handout handout;
    struct ww_ledger ledger;
};

static bool same_files(const struct ww_ledger_model *model, const struct ww_model *source,
                       const uint8_t (*sha256)[WW_SHA256_BYTES])
{
    bool same = model->n_files == source->n_files;

    for (uint32_t f = 0; f < source->n_files && same; f++) {
        same = strcmp(model->files[f].path, source->files[f].name) == 0 &&
               model->files[f].size_bytes == source->files[f].size_bytes &&
               memcmp(model->files[f].sha256, sha256[f], WW_SHA256_BYTES) == 0;
    }
    return same;
}

/* One more read of the source, for its first copy only. */
static enum ww_err tensor_root(const struct hand_out *run, const struct ww_model *source,
                               const uint8_t (*want)[WW_SHA256_BYTES],
                               uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    const size_t n = source->n_tensors;
    uint8_t(*files)[WW_SHA256_BYTES] = ww_calloc(source->n_files, sizeof(*files));
    uint8_t(*roots)[WW_SHA256_BYTES] = ww_calloc(n, sizeof(*roots));
    uint8_t(*by_name)[WW_SHA256_BYTES] = ww_calloc(n, sizeof(*by_name));
    struct ww_sha256 *sha = NULL;
    uint32_t *order = NULL;
    uint32_t *rank = NULL;
    enum ww_err rc = WW_OK;

    if (!files || !roots || !by_name) {
        rc = WW_FAIL_MEMORY(err, "%zu digests", n);
        goto out;
    }
    rc = ww_model_digests(source, files, roots, &run->options->run, err);
    if (!rc && memcmp(files, want, source->n_files * sizeof(*files)) != 0) {
        rc = WW_FAIL(err, WW_E_CHANGED, "model '%s' changed while it was locked",
                     source->path);
    }
    if (!rc) {
        rc = ww_tree_order(source, &order, &rank, err);
    }
    if (!rc) {
        rc = ww_sha256_new(&sha, err);
    }
    if (rc) {
        goto out;
    }
    for (size_t k = 0; k < n; k++) {
        memcpy(by_name[k], roots[order[k]], WW_SHA256_BYTES);
    }
    ww_tree_fold(sha, by_name, n, root);
out:
    ww_sha256_free(sha);
    ww_free(order);
    ww_free(rank);
    ww_free(by_name);
    ww_free(roots);
    ww_free(files);
    return rc;
}

static enum ww_err list_files(const struct ww_lock_facts *facts,
                              struct ww_ledger_model *out, struct ww_error *err)
{
    const struct ww_model *source = facts->layout->model;

    out->files = ww_calloc(source->n_files, sizeof(*out->files));
    if (!out->files) {
        return WW_FAIL_MEMORY(err, "%u files", source->n_files);
    }
    out->n_files = source->n_files;
    for (uint32_t f = 0; f < source->n_files; f++) {
        out->files[f].path = source->files[f].name;
        out->files[f].size_bytes = source->files[f].size_bytes;
        memcpy(out->files[f].sha256, facts->source_sha256[f], WW_SHA256_BYTES);
    }
    return WW_OK;
}

/* seq of the source's entry, which is written when it is the first copy. */
static enum ww_err enter_model(struct hand_out *run, const struct ww_lock_facts *facts,
                               uint64_t *seq, struct ww_error *err)
{
    const struct ww_model *source = facts->layout->model;
    struct ww_ledger_entry entry = {.kind = WW_LEDGER_MODEL, .name = source->name};
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < run->ledger.n; i++) {
        const struct ww_ledger_entry *old = &run->ledger.entries[i];
        if (old->kind == WW_LEDGER_MODEL &&
            same_files(&old->model, source, facts->source_sha256)) {
            *seq = old->seq;
            return WW_OK;
        }
    }
    rc = tensor_root(run, source, facts->source_sha256, entry.root, err);
    if (!rc) {
        rc = list_files(facts, &entry.model, err);
    }
    if (!rc) {
        rc = ww_fingerprint_make(facts->layout, &entry.model, err);
    }
    if (!rc) {
        rc = ww_ledger_append(&run->ledger, run->options->signer,
                              run->ledger_options->now_unix, &entry, err);
    }
    *seq = entry.seq;
    ww_ledger_entry_release(&entry);
    return rc;
}

static enum ww_err enter_copy(void *payload, const struct ww_lock_facts *facts,
                              struct ww_error *err)
{
    struct hand_out *run = payload;
    struct ww_ledger_entry entry = {.kind = WW_LEDGER_COPY,
                                    .name = facts->layout->model->name};
    struct ww_ledger_copy *copy = &entry.copy;
    enum ww_err rc = enter_model(run, facts, &copy->model, err);

    if (!rc) {
        rc = ww_handout_element(run->options->secret, &run->handout, facts->lock_id,
                                copy->element, err);
    }
    if (rc) {
        return rc;
    }
    memcpy(entry.root, facts->tensor_root, WW_SHA256_BYTES);
    memcpy(copy->lock_id, facts->lock_id, WW_SHA256_BYTES);
    memcpy(copy->nonce, run->handout.nonce, sizeof(copy->nonce));
    copy->recipient = run->handout.name;
    copy->scale = facts->scale;
    return ww_ledger_append(&run->ledger, run->options->signer,
                            run->ledger_options->now_unix, &entry, err);
}

static enum ww_err open_ledger(struct hand_out *run, struct ww_error *err)
{
    const struct ww_ledger_options *options = run->ledger_options;
    const struct ww_ledger_entry *twin = NULL;
    enum ww_err rc = ww_ledger_open(options->path, run->options->signer, options->mend,
                                    options->now_unix, &run->ledger, err);

    if (rc) {
        return rc;
    }
    twin = ww_ledger_find(&run->ledger, options->recipient);
    if (twin) {
        return WW_FAIL(err, WW_E_EXISTS,
                       "recipient '%s' has a copy in ledger '%s' already (entry %llu); "
                       "choose another name",
                       options->recipient, options->path, (unsigned long long)twin->seq);
    }
    return WW_OK;
}

enum ww_err ww_lock_for(const char *path, const char *out_path,
                        const struct ww_ledger_options *ledger,
                        const struct ww_lock_options *options,
                        struct ww_lock_report *report, struct ww_error *err)
{
    struct ww_lock_options own = *options;
    struct hand_out run = {.ledger_options = ledger,
                           .options = &own,
                           .handout = {.name = ledger->recipient},
                           .ledger = {.fd = -1}};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    if (!options->signer) {
        return WW_FAIL(err, WW_E_USAGE,
                       "a copy for a recipient is entered in a signed ledger: a signing "
                       "key is needed");
    }
    rc = ww_handout_check_name(ledger->recipient, err);
    if (!rc) {
        rc = open_ledger(&run, err);
    }
    if (!rc) {
        ww_random(run.handout.nonce, sizeof(run.handout.nonce));
        own.handout = &run.handout;
        own.before_commit = enter_copy;
        own.before_commit_payload = &run;
        rc = ww_lock_folder(path, out_path, &own, report, err);
    }
    ww_ledger_close(&run.ledger);
    return rc;
}
