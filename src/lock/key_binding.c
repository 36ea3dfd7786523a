/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model's id is a digest over its weight files alone: a README may change. It is known
 * before a lock by reading the weights once, and at unlocking from the manifest, which is
 * authentic by then. What a binding stops is a mistake of who holds the key, and the use
 * of a key outside of what it was handed out for by this program; the 32 bytes themselves
 * know nothing of it.
 */
#include "lock/key_binding.h"

#include <stdio.h>
#include <string.h>

#include "lock/lock_paths.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define ID_LABEL "weightward/model-id/v1"
#define UNNAMED "a model without a name"

static const uint8_t zeros[WW_SHA256_BYTES];

static void add_file(struct ww_sha256 *sha, const char *name, uint64_t size_bytes,
                     const uint8_t *sha256)
{
    ww_sha256_u64le(sha, strlen(name));
    ww_sha256_update(sha, name, strlen(name));
    ww_sha256_u64le(sha, size_bytes);
    ww_sha256_update(sha, sha256, WW_SHA256_BYTES);
}

static enum ww_err begin_id(struct ww_sha256 **sha, struct ww_error *err)
{
    enum ww_err rc = ww_sha256_new(sha, err);
    if (!rc) {
        ww_sha256_update(*sha, ID_LABEL, sizeof(ID_LABEL));
    }
    return rc;
}

static enum ww_err id_of_model(const struct ww_model *model,
                               const struct ww_run_options *run, uint8_t *id,
                               struct ww_error *err)
{
    struct ww_hash_job *jobs = ww_calloc(model->n_files, sizeof(*jobs));
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = jobs ? begin_id(&sha, err) : WW_FAIL_MEMORY(err, "digests");

    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        const struct ww_weight_file *file = &model->files[f];
        jobs[f] = (struct ww_hash_job){file->fd, file->name, file->size_bytes, {0}};
    }
    if (!rc) {
        rc = ww_hash_files(jobs, model->n_files, "sha256", "model id", run, err);
    }
    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        add_file(sha, jobs[f].name, jobs[f].size_bytes, jobs[f].digest);
    }
    if (!rc) {
        ww_sha256_final(sha, id);
    }
    ww_sha256_free(sha);
    ww_free(jobs);
    return rc;
}

static enum ww_err id_of_manifest(const struct ww_manifest *m, uint8_t *id,
                                  struct ww_error *err)
{
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = begin_id(&sha, err);

    for (size_t i = 0; i < m->n_locked && !rc; i++) {
        for (size_t j = 0; j < m->n_source; j++) {
            const struct ww_lock_file *file = &m->source[j];
            if (strcmp(file->path, m->locked[i].path) == 0) {
                add_file(sha, file->path, file->size_bytes, file->sha256);
            }
        }
    }
    if (!rc) {
        ww_sha256_final(sha, id);
    }
    ww_sha256_free(sha);
    return rc;
}

static enum ww_err malformed(struct ww_error *err)
{
    return WW_FAIL(err, WW_E_MANIFEST, "lock manifest without the files of the source");
}

static bool read_entry(const struct ww_jnode *entry, struct ww_lock_file *out)
{
    return ww_jstr(ww_jget(entry, "path"), &out->path) &&
           ww_ju64(ww_jget(entry, "size"), &out->size_bytes) &&
           ww_jhex(ww_jget(entry, "sha256"), out->sha256, sizeof(out->sha256));
}

static enum ww_err read_list(const struct ww_jnode *list, struct ww_lock_file **out,
                             size_t *n, struct ww_error *err)
{
    *out = ww_calloc(ww_jsize(list), sizeof(**out));
    if (!*out) {
        return WW_FAIL_MEMORY(err, "a list of files");
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at)) {
        if (!read_entry(at, &(*out)[(*n)++])) {
            return malformed(err);
        }
    }
    return WW_OK;
}

/* Without the key, so unverified: a key that is bound to a lie opens nothing. */
static enum ww_err binding_of_lock(const struct ww_jnode *lock,
                                   struct ww_key_binding *out, struct ww_error *err)
{
    const struct ww_jnode *source = ww_jget(lock, "source");
    struct ww_manifest m = {0};
    const char *name = NULL;
    enum ww_err rc = read_list(ww_jget(source, "files"), &m.source, &m.n_source, err);

    if (!rc) {
        rc = read_list(ww_jget(lock, "locked"), &m.locked, &m.n_locked, err);
    }
    if (!rc && (!ww_jhex(ww_jget(lock, "lock_id"), out->lock_id, sizeof(out->lock_id)) ||
                !ww_jstr(ww_jget(source, "name"), &name))) {
        rc = malformed(err);
    }
    if (!rc) {
        (void)snprintf(out->model_name, sizeof(out->model_name), "%s", name);
        rc = id_of_manifest(&m, out->model_id, err);
    }
    ww_free(m.source);
    ww_free(m.locked);
    return rc;
}

/* A name that was cut inside of a character is cut before it. */
static void clean_name(char *name)
{
    size_t len = strlen(name);
    while (len > 0 && !ww_text_ok((const uint8_t *)name, len)) {
        name[--len] = '\0';
    }
    memset(name + len, 0, WW_BOUND_NAME_BYTES - len);
}

enum ww_err ww_lock_binding_of(const char *path, const struct ww_run_options *run,
                               struct ww_key_binding *binding, struct ww_error *err)
{
    struct ww_tensor_statement statement = {0};
    struct ww_model *model = NULL;
    bool found = false;
    enum ww_err rc = ww_model_open(path, &model, err);

    memset(binding, 0, sizeof(*binding));
    if (!rc) {
        rc = ww_lock_statement(model, &statement, &found, err);
    }
    if (!rc && statement.lock) {
        rc = binding_of_lock(statement.lock, binding, err);
    } else if (!rc) {
        (void)snprintf(binding->model_name, sizeof(binding->model_name), "%s",
                       model->name);
        rc = id_of_model(model, run, binding->model_id, err);
    }
    clean_name(binding->model_name);
    ww_tensors_release(&statement);
    ww_model_close(model);
    return rc;
}

static const char *name_of(const struct ww_key_binding *binding)
{
    return binding->model_name[0] ? binding->model_name : UNNAMED;
}

static bool is_set(const uint8_t *id)
{
    return memcmp(id, zeros, WW_SHA256_BYTES) != 0;
}

enum ww_err ww_binding_allows_lock(const struct ww_key_binding *binding,
                                   const struct ww_model *model,
                                   const struct ww_run_options *run, struct ww_error *err)
{
    uint8_t id[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    if (!binding) {
        return WW_OK;
    }
    if (binding->purpose == WW_PURPOSE_UNLOCK) {
        return WW_FAIL(err, WW_E_KEY,
                       "the key is bound to unlocking; it may not lock '%s'",
                       model->name);
    }
    if (is_set(binding->lock_id)) {
        return WW_FAIL(err, WW_E_KEY,
                       "the key is bound to one lock of '%s', which there is already; it "
                       "may not lock '%s'",
                       name_of(binding), model->name);
    }
    if (is_set(binding->model_id)) {
        rc = id_of_model(model, run, id, err);
        if (!rc && memcmp(id, binding->model_id, sizeof(id)) != 0) {
            rc =
                WW_FAIL(err, WW_E_KEY,
                        "the key is bound to the model '%s', and the weights of '%s' are "
                        "others",
                        name_of(binding), model->name);
        }
    }
    return rc;
}

enum ww_err ww_binding_allows_unlock(const struct ww_key_binding *binding,
                                     const struct ww_manifest *m, struct ww_error *err)
{
    uint8_t id[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    if (!binding) {
        return WW_OK;
    }
    if (binding->purpose == WW_PURPOSE_LOCK) {
        return WW_FAIL(
            err, WW_E_KEY,
            "the key is bound to locking; it may not be used on the lock of '%s'",
            m->source_name);
    }
    if (is_set(binding->lock_id) &&
        memcmp(binding->lock_id, m->lock_id, WW_SHA256_BYTES) != 0) {
        return WW_FAIL(err, WW_E_KEY,
                       "the key is bound to another lock (of '%s') than this one of '%s'",
                       name_of(binding), m->source_name);
    }
    if (is_set(binding->model_id)) {
        rc = id_of_manifest(m, id, err);
        if (!rc && memcmp(id, binding->model_id, sizeof(id)) != 0) {
            rc = WW_FAIL(err, WW_E_KEY,
                         "the key is bound to the model '%s', and this lock is of '%s'",
                         name_of(binding), m->source_name);
        }
    }
    return rc;
}
