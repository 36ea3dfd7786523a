/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing a folder after OMS 1.0, section 6: list, hash, state, sign. What would make the
 * result unusable is found before anything is hashed: an existing signature, a link, a
 * file that has no portable name. The signature is written last, whole or not at all, so
 * a run that dies leaves nothing that verifies.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/signkey.h"
#include "model/adapter.h"
#include "sign/bundle.h"
#include "sign/cache.h"
#include "sign/digests.h"
#include "sign/oms.h"
#include "sign/target.h"
#include "sign/tensors_sign.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

struct job {
    const struct ww_signer *signer;
    const struct ww_sign_options *options;
    struct ww_target target;
    struct ww_ignore ignore;
    struct ww_listing listing;
    struct ww_resource *resources; /* one per file to sign, names borrowed */
    size_t n;
    struct ww_model *model; /* with options->tensors */
    struct ww_buf tensors;  /* the bundle of the tensor statement */
    bool tensors_kept;      /* it lies in the folder as it is */
    struct ww_cache_run cache;
    uint64_t bytes;
};

static void release(struct job *job)
{
    ww_model_close(job->model);
    ww_cache_run_release(&job->cache);
    ww_buf_release(&job->tensors);
    ww_free(job->resources);
    ww_listing_release(&job->listing);
    ww_ignore_release(&job->ignore);
    ww_target_release(&job->target);
}

static enum ww_err place_signature(struct job *job, struct ww_error *err)
{
    if (job->options->signature) {
        return ww_target_place_signature(&job->target, job->options->signature, err);
    }
    job->target.signature = ww_strdup(WW_SIGNATURE_FILE);
    return job->target.signature ? WW_OK : WW_FAIL_MEMORY(err, "a path");
}

static enum ww_err refuse_existing(const struct job *job, int dirfd, const char *path,
                                   struct ww_error *err)
{
    struct stat st;

    if (job->options->replace || fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_EXISTS, "'%s' exists; remove it, or give --replace", path);
}

/* Inside it would be signed, and change with every signature. */
static enum ww_err place_cache(const struct job *job, struct ww_error *err)
{
    struct ww_target probe = {
        .given = job->target.given, .real = job->target.real, .dirfd = job->target.dirfd};
    enum ww_err rc = WW_OK;

    if (!job->options->cache) {
        return WW_OK;
    }
    rc = ww_target_place_signature(&probe, job->options->cache, err);
    if (!rc && probe.signature) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "digest cache '%s' lies in the model; put it outside",
                     job->options->cache);
    }
    ww_free(probe.signature);
    return rc;
}

static enum ww_err open_target(struct job *job, const char *path, struct ww_error *err)
{
    enum ww_err rc = ww_target_open(path, &job->target, err);
    if (rc) {
        return rc;
    }
    if (job->target.file) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "'%s' is a file; readers disagree about the name of a lone file, so "
            "sign its folder",
            path);
    }
    rc = place_signature(job, err);
    if (rc) {
        return rc;
    }
    rc = place_cache(job, err);
    if (rc) {
        return rc;
    }
    if (job->options->signature) {
        rc = refuse_existing(job, AT_FDCWD, job->options->signature, err);
    } else {
        rc = refuse_existing(job, job->target.dirfd, WW_SIGNATURE_FILE, err);
    }
    if (rc || !job->options->tensors) {
        return rc;
    }
    return refuse_existing(job, job->target.dirfd, WW_TENSORS_FILE, err);
}

static enum ww_err collect_ignored(struct job *job, struct ww_error *err)
{
    const struct ww_sign_options *options = job->options;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < options->n_ignore_paths && !rc; i++) {
        if (strpbrk(options->ignore_paths[i], "*?[")) {
            return WW_FAIL(err, WW_E_USAGE,
                           "path to ignore '%s' looks like a pattern; the format knows "
                           "exact paths only",
                           options->ignore_paths[i]);
        }
        rc = ww_ignore_add_option(&job->ignore, job->target.given, job->target.real,
                                  options->ignore_paths[i], err);
    }
    ww_ignore_ready(&job->ignore);
    return rc;
}

/* The list that the walk obeys: what will be stated, and what a killed run left. */
static enum ww_err list_files(struct job *job, struct ww_error *err)
{
    struct ww_ignore skip = {0};
    char *partial = NULL;
    enum ww_err rc = ww_ignore_add_defaults(&skip, err);

    for (size_t i = 0; i < job->ignore.paths.n && !rc; i++) {
        rc = ww_ignore_add(&skip, job->ignore.paths.items[i], err);
    }
    if (!rc) {
        rc = ww_ignore_add(&skip, WW_ATTESTATIONS_DIR, err);
    }
    if (!rc && job->target.signature) {
        rc = ww_ignore_add(&skip, job->target.signature, err);
        partial = ww_asprintf("%s.partial", job->target.signature);
        if (!rc && !partial) {
            rc = WW_FAIL_MEMORY(err, "a path");
        }
        if (!rc) {
            rc = ww_ignore_add(&skip, partial, err);
        }
    }
    ww_ignore_ready(&skip);
    if (!rc) {
        rc = ww_listing_read(&job->target, &skip, &job->listing, err);
    }
    ww_free(partial);
    ww_ignore_release(&skip);
    return rc;
}

static enum ww_err choose_files(struct job *job, struct ww_error *err)
{
    job->resources = ww_calloc(job->listing.n, sizeof(*job->resources));
    if (!job->resources) {
        return WW_FAIL_MEMORY(err, "%zu files", job->listing.n);
    }
    for (size_t i = 0; i < job->listing.n; i++) {
        const struct ww_listed *item = &job->listing.items[i];
        if (item->is_ignored) {
            continue;
        }
        if (!S_ISREG(item->type)) {
            return WW_FAIL(
                err, WW_E_PATH,
                "'%s' is a %s, and only regular files can be signed; sign a real "
                "copy of the model, not a cache of links",
                item->path, ww_type_name(item->type));
        }
        job->resources[job->n++].name = item->path;
    }
    if (job->n == 0) {
        return WW_FAIL(err, WW_E_MALFORMED, "folder '%s' holds no file to sign",
                       job->target.given);
    }
    return WW_OK;
}

static int compare_name(const void *key, const void *item)
{
    return strcmp(key, ((const struct ww_resource *)item)->name);
}

/* Weight files get their digest from the pass over the tensors; true marks them. */
static enum ww_err hash_tensors(struct job *job, bool *is_done, struct ww_error *err)
{
    uint8_t(*files)[WW_SHA256_BYTES] = NULL;
    uint8_t(*roots)[WW_SHA256_BYTES] = NULL;
    enum ww_err rc = ww_weights_open(job->target.real, &job->model, err);
    if (rc) {
        return rc;
    }
    files = ww_calloc(job->model->n_files, sizeof(*files));
    roots = ww_calloc(job->model->n_tensors, sizeof(*roots));
    if (!files || !roots) {
        rc = WW_FAIL_MEMORY(err, "digests");
        goto out;
    }
    rc = ww_model_digests(job->model, files, roots, &job->options->run, err);
    if (rc) {
        goto out;
    }
    for (uint32_t i = 0; i < job->model->n_files; i++) {
        struct ww_resource *hit = bsearch(job->model->files[i].name, job->resources,
                                          job->n, sizeof(*job->resources), compare_name);
        if (hit) {
            memcpy(hit->sha256, files[i], sizeof(hit->sha256));
            job->bytes +=
                is_done[hit - job->resources] ? 0 : job->model->files[i].size_bytes;
            is_done[hit - job->resources] = true;
        }
    }
    rc = ww_tensors_sign(job->model, ww_target_name(&job->target), roots, job->signer,
                         &job->tensors, err);
out:
    ww_free(files);
    ww_free(roots);
    return rc;
}

static enum ww_err hash_rest(struct job *job, const bool *is_done, struct ww_error *err)
{
    struct ww_file_digest *files = ww_calloc(job->n, sizeof(*files));
    size_t n = 0;
    enum ww_err rc = WW_OK;

    if (!files) {
        return WW_FAIL_MEMORY(err, "%zu files", job->n);
    }
    for (size_t i = 0; i < job->n; i++) {
        files[n].path = job->resources[i].name;
        n += !is_done[i];
    }
    rc = ww_digest_files(job->target.dirfd, files, n, "sha256", "sign",
                         &job->options->run, err);
    for (size_t i = 0, k = 0; i < job->n && !rc; i++) {
        if (!is_done[i]) {
            memcpy(job->resources[i].sha256, files[k].digest, WW_SHA256_BYTES);
            job->bytes += files[k++].size_bytes;
        }
    }
    ww_free(files);
    return rc;
}

/* The cache knows every weight file, and the statement that lies here went with them. */
static enum ww_err keep_tensors(struct job *job, const bool *is_done,
                                struct ww_error *err)
{
    struct ww_model *model = NULL;
    uint8_t digest[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    if (!job->cache.old.has_tensors || job->signer->certificate ||
        ww_file_read_at(job->target.dirfd, WW_TENSORS_FILE, WW_LINKS_REFUSE,
                        &job->tensors, NULL) != WW_OK) {
        return WW_OK;
    }
    ww_sha256_of(job->tensors.data, job->tensors.len, digest);
    if (memcmp(digest, job->cache.old.tensors, sizeof(digest)) != 0) {
        return WW_OK;
    }
    rc = ww_weights_open(job->target.real, &model, err);
    job->tensors_kept = !rc;
    for (uint32_t i = 0; !rc && i < model->n_files; i++) {
        const struct ww_resource *hit = bsearch(model->files[i].name, job->resources,
                                                job->n, sizeof(*hit), compare_name);
        job->tensors_kept = job->tensors_kept && hit && is_done[hit - job->resources];
    }
    ww_model_close(model);
    return rc;
}

static enum ww_err ask_cache(struct job *job, bool *is_done, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!job->options->cache) {
        return WW_OK;
    }
    job->cache.path = job->options->cache;
    job->cache.key = job->signer->key;
    job->cache.dirfd = job->target.dirfd;
    job->cache.files = job->resources;
    job->cache.n = job->n;
    rc = ww_cache_begin(&job->cache, is_done, err);
    if (!rc && job->options->tensors) {
        rc = keep_tensors(job, is_done, err);
    }
    job->bytes += job->cache.bytes;
    return rc;
}

static enum ww_err hash_files(struct job *job, struct ww_error *err)
{
    bool *is_done = ww_calloc(job->n, sizeof(*is_done));
    enum ww_err rc = WW_OK;

    if (!is_done) {
        return WW_FAIL_MEMORY(err, "%zu files", job->n);
    }
    rc = ask_cache(job, is_done, err);
    if (!rc && job->options->tensors && !job->tensors_kept) {
        rc = hash_tensors(job, is_done, err);
    }
    if (!rc) {
        rc = hash_rest(job, is_done, err);
    }
    ww_free(is_done);
    return rc;
}

static enum ww_err write_tensors(const struct job *job, struct ww_error *err)
{
    int dirfd = job->target.dirfd;
    enum ww_err rc = ww_mkdirs_at(dirfd, WW_ATTESTATIONS_DIR, err);
    if (rc) {
        return rc;
    }
    rc = ww_file_write_at(dirfd, WW_TENSORS_FILE, job->tensors.data, job->tensors.len,
                          0644, job->options->replace, err);
    if (rc) {
        return rc;
    }
    /* The signed statement takes the place of the plain one. */
    if (unlinkat(dirfd, WW_TENSORS_PLAIN_FILE, 0) != 0 && errno != ENOENT) {
        int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot remove '%s'",
                           WW_TENSORS_PLAIN_FILE);
    }
    return WW_OK;
}

static enum ww_err write_signature(const struct job *job, const struct ww_buf *bundle,
                                   struct ww_error *err)
{
    const struct ww_sign_options *options = job->options;

    if (options->signature) {
        return ww_file_write(options->signature, bundle->data, bundle->len, 0644,
                             options->replace, err);
    }
    return ww_file_write_at(job->target.dirfd, WW_SIGNATURE_FILE, bundle->data,
                            bundle->len, 0644, options->replace, err);
}

static enum ww_err fill_report(const struct job *job, const uint8_t root[WW_SHA256_BYTES],
                               struct ww_sign_report *report, struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    enum ww_err rc = ww_signkey_public(job->signer->key, &key, err);
    if (rc) {
        return rc;
    }
    rc = ww_pubkey_hint(key, report->hint, err);
    ww_pubkey_free(key);
    report->files = job->n;
    report->bytes = job->bytes;
    report->cached = job->cache.hits;
    ww_hex(report->root_sha256, root, WW_SHA256_BYTES);
    return rc;
}

static enum ww_err state_and_sign(struct job *job, struct ww_sign_report *report,
                                  struct ww_error *err)
{
    struct ww_buf payload;
    struct ww_buf bundle;
    uint8_t root[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, WW_PAYLOAD_MAX_BYTES);
    ww_buf_init(&bundle, WW_BUNDLE_MAX_BYTES);
    const struct ww_oms_ignored ignored = {
        .signature = job->target.signature,
        .paths = (const char *const *)job->ignore.paths.items,
        .n = job->ignore.paths.n};
    rc = ww_oms_write(ww_target_name(&job->target), job->resources, job->n, &ignored,
                      &payload, root, err);
    if (rc) {
        goto out;
    }
    rc = ww_bundle_sign(job->signer, payload.data, payload.len, &bundle, err);
    if (rc) {
        goto out;
    }
    rc = fill_report(job, root, report, err);
    if (rc) {
        goto out;
    }
    if (job->options->tensors && !job->tensors_kept) {
        rc = write_tensors(job, err);
        if (rc) {
            goto out;
        }
    }
    rc = write_signature(job, &bundle, err);
    if (rc || !job->options->cache) {
        goto out;
    }
    rc = ww_cache_end(&job->cache, job->options->tensors ? &job->tensors : NULL,
                      ww_target_name(&job->target), root, err);
out:
    ww_buf_release(&bundle);
    ww_buf_release(&payload);
    return rc;
}

static enum ww_err run(struct job *job, const char *path, struct ww_sign_report *report,
                       struct ww_error *err)
{
    enum ww_err rc = open_target(job, path, err);
    if (rc) {
        return rc;
    }
    rc = collect_ignored(job, err);
    if (rc) {
        return rc;
    }
    rc = list_files(job, err);
    if (rc) {
        return rc;
    }
    rc = choose_files(job, err);
    if (rc) {
        return rc;
    }
    rc = hash_files(job, err);
    if (rc) {
        return rc;
    }
    return state_and_sign(job, report, err);
}

enum ww_err ww_sign_folder(const char *path, const struct ww_signer *signer,
                           const struct ww_sign_options *options,
                           struct ww_sign_report *report, struct ww_error *err)
{
    struct job job = {.signer = signer, .options = options, .target = {.dirfd = -1}};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    if (!signer || !signer->key) {
        return WW_FAIL(err, WW_E_USAGE, "signing needs a key");
    }
    ww_buf_init(&job.tensors, WW_BUNDLE_MAX_BYTES);
    rc = run(&job, path, report, err);
    release(&job);
    return rc;
}
