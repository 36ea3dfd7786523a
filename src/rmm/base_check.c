/* SPDX-License-Identifier: Apache-2.0 */
/* Asked when a restored file is not what it should be: is it the base? */
#include <string.h>
#include <unistd.h>

#include "rmm/base_use.h"
#include "stream/stream.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

struct check {
    const struct ww_model *base;
    uint32_t *order;
    uint32_t *rank;
    struct ww_tree_tensor *tree;
    uint8_t *room;
};

enum ww_err ww_base_use_other(const char *what, const char *name, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_UNRELATED,
                   "%s '%s' of the base is not the one that the package was made with; "
                   "give the same base",
                   what, name);
}

/* What the root covers, but nobody else compares with what the manifest says. */
static bool is_like(const struct ww_tensor *is, const struct ww_base_tensor *want)
{
    return is->dtype == want->dtype && is->rank == want->rank &&
           memcmp(is->shape, want->shape, is->rank * sizeof(*is->shape)) == 0;
}

static enum ww_err check_tensor(const struct check *c, const struct ww_base_tensor *want,
                                struct ww_error *err)
{
    const uint32_t t = ww_model_find(c->base, want->name);
    uint8_t root[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    if (t == WW_NONE || !is_like(&c->base->tensors[t], want)) {
        return ww_base_use_other("tensor", want->name, err);
    }
    rc = ww_tree_tensor_read(c->tree, c->base, t, c->rank[t], c->room, root, err);
    if (!rc && memcmp(root, want->root, WW_SHA256_BYTES) != 0) {
        rc = ww_base_use_other("tensor", want->name, err);
    }
    return rc;
}

static enum ww_err check_file(const struct ww_model *base,
                              const struct ww_base_file *want, struct ww_error *err)
{
    struct ww_hash_job job = {.fd = -1, .name = want->path};
    struct stat st;
    enum ww_err rc =
        ww_file_open_at(base->dirfd, want->path, WW_LINKS_HUB, &job.fd, &st, NULL);

    if (rc || (uint64_t)st.st_size != want->size_bytes) {
        rc = ww_base_use_other("file", want->path, err);
        goto out;
    }
    job.size_bytes = want->size_bytes;
    rc = ww_hash_files(&job, 1, "sha256", "check", NULL, err);
    if (!rc && memcmp(job.digest, want->sha256, WW_SHA256_BYTES) != 0) {
        rc = ww_base_use_other("file", want->path, err);
    }
out:
    if (job.fd >= 0) {
        close(job.fd);
    }
    return rc;
}

static void check_end(struct check *c)
{
    ww_tree_tensor_free(c->tree);
    ww_free(c->room);
    ww_free(c->order);
    ww_free(c->rank);
}

static enum ww_err check_begin(struct check *c, const struct ww_model *base,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *c = (struct check){.base = base};
    rc = ww_tree_order(base, &c->order, &c->rank, err);
    if (!rc) {
        rc = ww_tree_tensor_new(&c->tree, err);
    }
    c->room = ww_calloc(1, WW_TREE_CHUNK);
    if (!rc && !c->room) {
        rc = WW_FAIL_MEMORY(err, "checking the base");
    }
    return rc;
}

enum ww_err ww_base_use_check_tensors(const struct ww_model *base,
                                      const struct ww_pack_manifest *m,
                                      struct ww_error *err)
{
    struct check c;
    enum ww_err rc = check_begin(&c, base, err);

    for (size_t i = 0; i < m->n_tensors && !rc; i++) {
        rc = check_tensor(&c, &m->tensors[i], err);
    }
    check_end(&c);
    return rc;
}

enum ww_err ww_base_use_check(const struct ww_model *base,
                              const struct ww_pack_manifest *m, struct ww_error *err)
{
    enum ww_err rc = ww_base_use_check_tensors(base, m, err);

    for (size_t i = 0; i < m->n_files && !rc; i++) {
        rc = check_file(base, &m->files[i], err);
    }
    return rc;
}

enum ww_err ww_base_use_check_tensor(const struct ww_model *base,
                                     const struct ww_pack_manifest *m, const char *name,
                                     struct ww_error *err)
{
    struct check c;
    bool found = false;
    enum ww_err rc = check_begin(&c, base, err);

    for (size_t i = 0; i < m->n_tensors && !rc; i++) {
        if (strcmp(m->tensors[i].name, name) == 0) {
            found = true;
            rc = check_tensor(&c, &m->tensors[i], err);
        }
    }
    if (!rc && !found) {
        rc = WW_FAIL(err, WW_E_MALFORMED,
                     "the manifest does not say which tensor '%s' of the base it means",
                     name);
    }
    check_end(&c);
    return rc;
}
