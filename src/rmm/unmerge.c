/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The others are named by their tensor trees, so shards do not matter, and are found by
 * them: nobody has to say which folder is which.
 */
#include "rmm/unmerge.h"

#include <math.h>
#include <string.h>

#include "model/convert.h"
#include "model/shape.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define BLOCK 256 /* numbers mixed at a time, on the stack */
#define STEP ((size_t)64 << 10)

static enum ww_err begin(struct ww_unmerge *unmerge, double of_base, size_t n,
                         struct ww_error *err)
{
    *unmerge = (struct ww_unmerge){.of_base = of_base};
    unmerge->models = ww_calloc(n, sizeof(struct ww_model *));
    unmerge->others = ww_calloc(n, sizeof(*unmerge->others));
    return unmerge->models && unmerge->others
               ? WW_OK
               : WW_FAIL_MEMORY(err, "the sources of a merge");
}

enum ww_err ww_unmerge_open(const struct ww_merge_inverse *inverse,
                            struct ww_unmerge *out, struct ww_error *err)
{
    enum ww_err rc = begin(out, inverse->of_merged, inverse->n, err);

    if (!rc && inverse->n > WW_PACK_MAX_OTHERS) {
        rc = WW_FAIL(err, WW_E_LIMIT,
                     "a merge of %zu sources beside the one that is packed, at most %d",
                     inverse->n, WW_PACK_MAX_OTHERS);
    }
    for (size_t i = 0; i < inverse->n && !rc; i++) {
        struct ww_pack_other *other = &out->others[i];
        rc = ww_model_open(inverse->others[i], &out->models[i], err);
        if (rc) {
            break;
        }
        out->n++;
        other->name =
            ww_path_is_bare(out->models[i]->name) ? out->models[i]->name : "source";
        other->weight = inverse->weights[i];
        if (inverse->trees) {
            memcpy(other->tree, inverse->trees[i], WW_SHA256_BYTES);
        } else {
            rc = ww_tree_model_read(out->models[i], other->tree, err);
        }
    }
    if (rc) {
        ww_unmerge_close(out);
    }
    return rc;
}

/* Take the model if the manifest names it and it was not found yet. */
static enum ww_err take(struct ww_unmerge *unmerge, struct ww_model **model, size_t n,
                        struct ww_error *err)
{
    uint8_t tree[WW_SHA256_BYTES];
    enum ww_err rc = ww_tree_model_read(*model, tree, err);

    for (size_t i = 0; i < n && !rc && *model; i++) {
        if (!unmerge->models[i] &&
            memcmp(unmerge->others[i].tree, tree, sizeof(tree)) == 0) {
            unmerge->models[i] = *model;
            *model = NULL;
        }
    }
    return rc;
}

/* Sources with the same weights are each other's, so one of them is enough. */
static enum ww_err take_again(struct ww_unmerge *unmerge, size_t i, struct ww_error *err)
{
    for (size_t k = 0; k < unmerge->n; k++) {
        if (unmerge->models[k] && memcmp(unmerge->others[k].tree, unmerge->others[i].tree,
                                         WW_SHA256_BYTES) == 0) {
            return ww_model_open(unmerge->models[k]->path, &unmerge->models[i], err);
        }
    }
    return WW_OK;
}

enum ww_err ww_unmerge_find(const struct ww_pack_manifest_member *member,
                            const char *const *folders, size_t n, struct ww_unmerge *out,
                            struct ww_error *err)
{
    enum ww_err rc = begin(out, member->of_base, member->n_others, err);

    if (!rc && member->n_others > 0) {
        memcpy(out->others, member->others, member->n_others * sizeof(*out->others));
        out->n = member->n_others;
    }
    for (size_t i = 0; i < n && member->n_others > 0 && !rc; i++) {
        struct ww_model *model = NULL;
        rc = ww_model_open(folders[i], &model, err);
        if (!rc) {
            rc = take(out, &model, out->n, err);
        }
        ww_model_close(model);
    }
    for (size_t i = 0; i < out->n && !rc; i++) {
        rc = out->models[i] ? WW_OK : take_again(out, i, err);
        if (!rc && !out->models[i]) {
            rc =
                WW_FAIL(err, WW_E_UNRELATED,
                        "member '%s' was merged with '%s', and none of the sources given "
                        "is that model; give the one that was merged",
                        member->name, out->others[i].name);
        }
    }
    if (rc) {
        ww_unmerge_close(out);
    }
    return rc;
}

void ww_unmerge_close(struct ww_unmerge *unmerge)
{
    for (size_t i = 0; i < unmerge->n; i++) {
        ww_model_close(unmerge->models[i]);
    }
    ww_free(unmerge->models);
    ww_free(unmerge->others);
    memset(unmerge, 0, sizeof(*unmerge));
}

enum ww_err ww_unmerge_unchanged(const struct ww_unmerge *unmerge, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < unmerge->n && !rc; i++) {
        rc = ww_model_unchanged(unmerge->models[i], err);
    }
    return rc;
}

bool ww_unmerge_tensor(const struct ww_unmerge *unmerge, const struct ww_tensor *base,
                       uint32_t *found)
{
    bool all = unmerge->n > 0 && ww_dtype_is_plain_float(base->dtype);

    for (size_t i = 0; i < unmerge->n && all; i++) {
        const struct ww_model *model = unmerge->models[i];
        found[i] = ww_model_find(model, base->name);
        const struct ww_tensor *t =
            found[i] == WW_NONE ? NULL : &model->tensors[found[i]];
        all = t && t->dtype == base->dtype && ww_same_shape(t, base);
    }
    return all;
}

void ww_unmerge_mix(const struct ww_unmerge *unmerge, enum ww_dtype dtype,
                    const uint8_t *const *rows, uint8_t *out, size_t n)
{
    const size_t width = ww_dtype_bits(dtype) / 8;
    double sum[BLOCK];
    double x[BLOCK];

    for (size_t at = 0; at < n; at += BLOCK * width) {
        const size_t count = (size_t)ww_min_u64(BLOCK, (n - at) / width);
        ww_to_double(dtype, rows[0] + at, sum, count);
        for (size_t k = 0; k < count; k++) {
            sum[k] = unmerge->of_base * sum[k];
        }
        for (size_t i = 0; i < unmerge->n; i++) {
            const double w = unmerge->others[i].weight;
            ww_to_double(dtype, rows[1 + i] + at, x, count);
            for (size_t k = 0; k < count; k++) {
                sum[k] = sum[k] + w * x[k];
            }
        }
        for (size_t k = 0; k < count; k++) {
            sum[k] =
                isnan(sum[k]) ? 0 : sum[k]; /* payloads are not the same everywhere */
        }
        ww_from_double(dtype, sum, out + at, count);
    }
}

enum ww_err ww_unmerge_read(const struct ww_unmerge *unmerge,
                            const struct ww_tensor *base, uint64_t at, uint8_t *bytes,
                            size_t n, struct ww_error *err)
{
    const uint8_t *rows[1 + WW_PACK_MAX_OTHERS];
    uint32_t found[WW_PACK_MAX_OTHERS];
    uint8_t *room = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_unmerge_tensor(unmerge, base, found)) {
        return WW_OK;
    }
    room = ww_calloc(unmerge->n, STEP);
    if (!room) {
        return WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    for (size_t done = 0; done < n && !rc; done += STEP) {
        const size_t len = (size_t)ww_min_u64(STEP, n - done);
        rows[0] = bytes + done;
        for (size_t i = 0; i < unmerge->n && !rc; i++) {
            const struct ww_tensor *t = &unmerge->models[i]->tensors[found[i]];
            const struct ww_weight_file *file = &unmerge->models[i]->files[t->file];
            rows[1 + i] = room + i * STEP;
            rc = ww_pread_full(file->fd, room + i * STEP, len, t->offset + at + done,
                               file->name, err);
        }
        if (!rc) {
            ww_unmerge_mix(unmerge, base->dtype, rows, bytes + done, len);
        }
    }
    ww_free(room);
    return rc;
}
