/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weight files of the output. A merge of whole models keeps the donor's files; slices and
 * a size limit are cut anew. Within a file tensors lie as the reference writer puts them,
 * wider dtypes first and then by name, and the header is byte for byte what it would
 * write.
 */
#include <stdlib.h>
#include <string.h>

#include "json/json.h"
#include "merge/build.h"
#include "model/safetensors.h"
#include "model/st_write.h"
#include "util/alloc.h"
#include "util/fail.h"

#define INDEX_FILE "model.safetensors.index.json"
#define ONE_FILE "model.safetensors"
#define DEFAULT_SHARD_BYTES UINT64_C(5000000000)
#define MAX_INDEX_BYTES ((size_t)256 << 20)

/* As in the reference writer: the larger the rank, the earlier. */
static int by_place(const void *a, const void *b)
{
    const struct ww_build_tensor *x = a;
    const struct ww_build_tensor *y = b;

    if (x->home != y->home) {
        return x->home < y->home ? -1 : 1;
    }
    if (x->tensor.dtype != y->tensor.dtype) {
        return x->tensor.dtype > y->tensor.dtype ? -1 : 1;
    }
    return strcmp(x->tensor.name, y->tensor.name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct ww_build_tensor *)a)->tensor.name,
                  ((const struct ww_build_tensor *)b)->tensor.name);
}

static uint64_t tensor_bytes(const struct ww_merge_tensor *t)
{
    uint64_t n = ww_dtype_bits(t->dtype) / 8;
    for (unsigned a = 0; a < t->rank; a++) {
        n *= t->shape[a];
    }
    return n;
}

/* Give each tensor the number of its file: in name order, a new one when it is full. */
static uint32_t cut_shards(struct ww_build *build, uint64_t limit)
{
    uint64_t used = 0;
    uint32_t n = 0;

    qsort(build->tensors, build->n_tensors, sizeof(*build->tensors), by_name);
    for (size_t i = 0; i < build->n_tensors; i++) {
        const uint64_t bytes = tensor_bytes(&build->tensors[i].tensor);
        if (used > 0 && used + bytes > limit) {
            n++;
            used = 0;
        }
        build->tensors[i].home = n;
        used += bytes;
    }
    return n + 1;
}

/* Files of the donor that get no tensor leave no empty file behind. */
static uint32_t close_gaps(struct ww_build *build)
{
    uint32_t n = 0;
    uint32_t before = WW_NONE;

    for (size_t i = 0; i < build->n_tensors; i++) {
        const uint32_t home = build->tensors[i].home;
        n += i == 0 || home != before;
        before = home;
        build->tensors[i].home = n - 1;
    }
    return n;
}

static enum ww_err make_header(struct ww_build *build, size_t first, size_t n,
                               struct ww_merge_file *file, struct ww_error *err)
{
    struct ww_tensor *tensors = ww_calloc(n, sizeof(*tensors));
    struct ww_buf buf;
    enum ww_err rc = tensors ? WW_OK : ww_build_no_memory(err);

    ww_buf_init(&buf, WW_ST_MAX_HEADER_BYTES);
    for (size_t i = 0; i < n && !rc; i++) {
        const struct ww_merge_tensor *t = &build->tensors[first + i].tensor;
        tensors[i] = (struct ww_tensor){.name = t->name,
                                        .dtype = t->dtype,
                                        .rank = t->rank,
                                        .n_bytes = tensor_bytes(t)};
        memcpy(tensors[i].shape, t->shape, sizeof(t->shape));
    }
    if (!rc) {
        rc = ww_st_header_write(tensors, n, &buf, err);
    }
    if (!rc) {
        size_t len = 0;
        file->header = ww_pool_keep(build->pool, ww_buf_take(&buf, &len));
        file->header_bytes = len;
        rc = file->header ? WW_OK : ww_build_no_memory(err);
    }
    ww_free(tensors);
    ww_buf_release(&buf);
    return rc;
}

static enum ww_err name_file(struct ww_build *build, uint32_t i, uint32_t n,
                             const char **out, struct ww_error *err)
{
    const struct ww_model *donor = build->models[build->donor].model;
    const bool kept =
        !build->sliced && build->options->shard_bytes == 0 && n == donor->n_files;
    char *name = NULL;

    if (kept) {
        name = ww_strdup(donor->files[i].name);
    } else if (n == 1) {
        name = ww_strdup(ONE_FILE);
    } else {
        name = ww_asprintf("model-%05u-of-%05u.safetensors", i + 1, n);
    }
    *out = ww_pool_keep(build->pool, name);
    return *out ? WW_OK : ww_build_no_memory(err);
}

static enum ww_err write_index(struct ww_build *build, struct ww_error *err)
{
    const struct ww_merge_plan *plan = build->plan;
    struct ww_buf buf;
    struct ww_jw w;
    uint64_t total = 0;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < build->n_tensors; i++) {
        total += tensor_bytes(&build->tensors[i].tensor);
    }
    qsort(build->tensors, build->n_tensors, sizeof(*build->tensors), by_name);
    ww_buf_init(&buf, MAX_INDEX_BYTES);
    ww_jw_init(&w, &buf, 2);
    ww_jw_object(&w);
    ww_jw_key(&w, "metadata");
    ww_jw_object(&w);
    ww_jw_ku64(&w, "total_size", total);
    ww_jw_close(&w);
    ww_jw_key(&w, "weight_map");
    ww_jw_object(&w);
    for (size_t i = 0; i < build->n_tensors; i++) {
        ww_jw_kstr(&w, build->tensors[i].tensor.name,
                   plan->files[build->tensors[i].home].name);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (!rc) {
        rc = ww_buf_add(&buf, "\n", 1, err);
    }
    if (!rc) {
        rc = ww_build_add_file(build, INDEX_FILE, buf.data, buf.len, err);
    }
    ww_buf_release(&buf);
    return rc;
}

/* One more file of the plan, without tensors. */
static struct ww_merge_file *append(struct ww_build *build, const char *name)
{
    struct ww_merge_plan *plan = build->plan;
    struct ww_merge_file *files =
        ww_pool_calloc(build->pool, (size_t)plan->n_files + 1, sizeof(*files));
    char *own = ww_pool_keep(build->pool, ww_strdup(name));

    if (!files || !own) {
        return NULL;
    }
    memcpy(files, plan->files, plan->n_files * sizeof(*files));
    files[plan->n_files] = (struct ww_merge_file){
        .name = own, .header = (const uint8_t *)"", .first_tensor = plan->n_tensors};
    plan->files = files;
    return &files[plan->n_files++];
}

enum ww_err ww_build_add_file(struct ww_build *build, const char *name, const void *bytes,
                              size_t len, struct ww_error *err)
{
    struct ww_merge_file *file = append(build, name);
    uint8_t *copy = ww_pool_calloc(build->pool, len, 1);

    if (!file || !copy) {
        return ww_build_no_memory(err);
    }
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    file->header = copy;
    file->header_bytes = len;
    return WW_OK;
}

enum ww_err ww_build_add_copy(struct ww_build *build, const char *name,
                              const struct ww_merge_input *input,
                              const uint8_t sha256[WW_SHA256_BYTES], struct ww_error *err)
{
    uint8_t *own = ww_pool_calloc(build->pool, 1, WW_SHA256_BYTES);
    struct ww_merge_file *file = append(build, name);

    if (!file || !own) {
        return ww_build_no_memory(err);
    }
    memcpy(own, sha256, WW_SHA256_BYTES);
    file->copied_sha256 = own;
    return ww_build_add_input(build, input, &file->copied, err);
}

static enum ww_err take_tensors(struct ww_build *build, struct ww_error *err)
{
    struct ww_merge_plan *plan = build->plan;

    if (build->n_tensors == 0) {
        return WW_FAIL(err, WW_E_TENSOR, "the recipe gives no tensor");
    }
    if (build->n_tensors > WW_ST_MAX_TENSORS) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "the recipe gives %zu tensors, at most %d are written",
                       build->n_tensors, WW_ST_MAX_TENSORS);
    }
    plan->tensors = ww_pool_calloc(build->pool, build->n_tensors, sizeof(*plan->tensors));
    if (!plan->tensors) {
        return ww_build_no_memory(err);
    }
    for (size_t i = 0; i < build->n_tensors; i++) {
        plan->tensors[i] = build->tensors[i].tensor;
    }
    plan->n_tensors = (uint32_t)build->n_tensors;
    return WW_OK;
}

enum ww_err ww_build_files(struct ww_build *build, struct ww_error *err)
{
    struct ww_merge_plan *plan = build->plan;
    const uint64_t limit = build->options->shard_bytes;
    size_t at = 0;
    uint32_t n = 0;
    enum ww_err rc = WW_OK;

    if (build->sliced || limit > 0) {
        n = cut_shards(build, limit ? limit : DEFAULT_SHARD_BYTES);
    }
    qsort(build->tensors, build->n_tensors, sizeof(*build->tensors), by_place);
    n = n ? n : close_gaps(build);
    rc = take_tensors(build, err);
    plan->files = ww_pool_calloc(build->pool, n, sizeof(*plan->files));
    if (!rc && !plan->files) {
        rc = ww_build_no_memory(err);
    }
    for (uint32_t f = 0; f < n && !rc; f++) {
        struct ww_merge_file *file = &plan->files[f];
        const size_t first = at;
        while (at < build->n_tensors && build->tensors[at].home == f) {
            at++;
        }
        file->first_tensor = (uint32_t)first;
        file->n_tensors = (uint32_t)(at - first);
        plan->n_files = f + 1;
        rc = make_header(build, first, at - first, file, err);
        if (!rc) {
            rc = name_file(build, f, n, &file->name, err);
        }
    }
    return !rc && (n > 1 || strcmp(plan->files[0].name, ONE_FILE) != 0)
               ? write_index(build, err)
               : rc;
}
