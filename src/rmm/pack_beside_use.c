/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was coded while a merge was computed, for the package of its sources. A file of a
 * source that is not the one that the merge has read, by its times, is read again.
 */
#include <string.h>

#include "rmm/pack_beside.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/package.h"

static enum ww_err copy_inverse(const struct ww_merge_inverse *from,
                                struct ww_merge_inverse *to, struct ww_error *err)
{
    to->of_merged = from->of_merged;
    to->others = ww_calloc(from->n, sizeof(*to->others));
    to->weights = ww_calloc(from->n, sizeof(*to->weights));
    to->trees = ww_calloc(from->n, sizeof(*to->trees));
    if (!to->others || !to->weights || !to->trees) {
        return WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    if (from->n > 0) {
        memcpy((void *)(uintptr_t)to->others, from->others,
               from->n * sizeof(*from->others));
        memcpy(to->weights, from->weights, from->n * sizeof(*from->weights));
        memcpy(to->trees, from->trees, from->n * sizeof(*from->trees));
    }
    to->n = from->n;
    return WW_OK;
}

enum ww_err ww_pack_beside_invert(const struct ww_pack_beside *beside,
                                  struct ww_merge_inverse *out, bool *known,
                                  struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    memset(out, 0, beside->n_wanted * sizeof(*out));
    *known = beside->ended;
    for (size_t m = 0; m < beside->n_wanted && beside->ended && !rc; m++) {
        rc = copy_inverse(&beside->inverses[m], &out[m], err);
    }
    for (size_t m = 0; m < beside->n_wanted && rc; m++) {
        ww_merge_inverse_release(&out[m]);
    }
    return rc;
}

static bool same_sum(const struct ww_unmerge *a, const struct ww_merge_inverse *b)
{
    bool same = a->n == b->n && a->of_base == b->of_merged;

    for (size_t i = 0; i < b->n && same; i++) {
        same = a->others[i].weight == b->weights[i] &&
               memcmp(a->others[i].tree, b->trees[i], WW_SHA256_BYTES) == 0;
    }
    return same;
}

size_t ww_beside_find(const struct ww_pack_beside *beside, const char *path,
                      const struct ww_unmerge *unmerge)
{
    for (size_t m = 0; beside && beside->ended && m < beside->n_wanted; m++) {
        if (strcmp(beside->sources[m], path) == 0) {
            return same_sum(unmerge, &beside->inverses[m]) ? m : SIZE_MAX;
        }
    }
    return SIZE_MAX;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool ww_beside_sha256(const struct ww_pack_beside *beside, size_t source,
                      const char *file, const struct stat *st,
                      uint8_t sha256[WW_SHA256_BYTES])
{
    const struct ww_beside_source *of = &beside->of[source];

    for (uint32_t f = 0; f < of->n_files; f++) {
        if (strcmp(of->files[f].name, file) == 0 && same_file(&of->files[f].st, st)) {
            memcpy(sha256, of->files[f].sha256, WW_SHA256_BYTES);
            return true;
        }
    }
    return false;
}

const struct ww_beside_tensor *ww_beside_tensor(const struct ww_pack_beside *beside,
                                                const struct ww_model *base,
                                                uint32_t tensor)
{
    const struct ww_tensor *of = &base->tensors[tensor];
    /* Both are by file and offset. */
    const struct ww_beside_tensor *t =
        tensor < beside->n_tensors ? &beside->tensors[tensor] : NULL;
    const bool is = t && t->is && atomic_load(&t->missing) == 0 &&
                    strcmp(t->name, of->name) == 0 && t->dtype == of->dtype &&
                    t->n_bytes == of->n_bytes;

    return is ? t : NULL;
}

enum ww_err ww_beside_read(const struct ww_pack_beside *beside,
                           const struct ww_beside_tensor *tensor, size_t source,
                           uint64_t chunk, struct ww_buf *out, struct ww_error *err)
{
    const struct ww_beside_chunk *from =
        &tensor->chunks[chunk * beside->n_wanted + source];
    enum ww_err rc = WW_OK;

    ww_buf_clear(out);
    rc = ww_buf_reserve(out, from->len, err);
    if (!rc) {
        rc = ww_pread_full(beside->fd, out->data, from->len, from->at, beside->package,
                           err);
    }
    out->len = rc ? 0 : from->len;
    return rc;
}
