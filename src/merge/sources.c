/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a record says of a source: digests of the files that were used and the root of its
 * tensor tree, both hashed while the source was merged. What joins parts reads no source,
 * so there it is read once more for the tree, and both readings must agree.
 */
#include <string.h>

#include "merge/merge_work.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define MAX_SIDE_BYTES ((size_t)256 << 20)

struct copy_plan {
    struct ww_plan plan;
    struct ww_piece *pieces;
    struct ww_piece_source *sources;
    const struct ww_reader **readers;
};

static void release(struct copy_plan *p)
{
    ww_free(p->plan.inputs);
    ww_free(p->plan.outputs);
    ww_free(p->plan.tree);
    ww_free(p->pieces);
    ww_free(p->sources);
    ww_free(p->readers);
}

static enum ww_err allocate(const struct ww_model *model, struct copy_plan *p,
                            struct ww_error *err)
{
    const size_t n_pieces = (size_t)model->n_files + model->n_tensors;

    p->plan.title = "sources";
    p->plan.n_inputs = p->plan.n_outputs = model->n_files;
    p->plan.inputs = ww_calloc(model->n_files, sizeof(*p->plan.inputs));
    p->plan.outputs = ww_calloc(model->n_files, sizeof(*p->plan.outputs));
    p->plan.tree = ww_calloc(model->n_tensors, sizeof(*p->plan.tree));
    p->pieces = ww_calloc(n_pieces, sizeof(*p->pieces));
    p->sources = ww_calloc(n_pieces, sizeof(*p->sources));
    p->readers = ww_calloc(model->n_files, sizeof(*p->readers));
    p->plan.readers = p->readers;
    if (!p->plan.inputs || !p->plan.outputs || !p->plan.tree || !p->pieces ||
        !p->sources || !p->readers) {
        return WW_FAIL_MEMORY(err, "%zu tensors", n_pieces);
    }
    return WW_OK;
}

static void add_piece(struct copy_plan *p, size_t at, uint32_t file, uint64_t offset,
                      uint64_t n_bytes, uint32_t tree_index)
{
    p->sources[at] = (struct ww_piece_source){.input = file, .offset = offset};
    p->pieces[at] = (struct ww_piece){.kind = WW_PIECE_COPY,
                                      .n_bytes = n_bytes,
                                      .n_sources = 1,
                                      .sources = &p->sources[at],
                                      .tree_index = tree_index};
}

/* Outputs are the weight files less the tensors that nobody wants. Nothing is written. */
static void describe(const struct ww_model *model, const uint32_t *rank,
                     struct copy_plan *p)
{
    size_t at = 0;

    for (uint32_t f = 0; f < model->n_files; f++) {
        const struct ww_weight_file *file = &model->files[f];
        struct ww_output *output = &p->plan.outputs[f];
        p->plan.inputs[f] =
            (struct ww_input){file->name, file->fd, file->size_bytes, false};
        p->readers[f] = file->reader;
        output->path = file->name;
        output->pieces = &p->pieces[at];
        output->size_bytes = file->header_bytes;
        output->n_pieces = 1;
        add_piece(p, at++, f, 0, file->header_bytes, WW_NONE);
        for (uint32_t k = 0; k < file->n_tensors; k++) {
            const uint32_t t = file->first_tensor + k;
            if (rank[t] == WW_NONE) {
                continue;
            }
            p->plan.tree[p->plan.n_tree] =
                (struct ww_tree_slot){&model->tensors[t], rank[t]};
            add_piece(p, at++, f, model->tensors[t].offset, model->tensors[t].n_bytes,
                      p->plan.n_tree++);
            output->size_bytes += model->tensors[t].n_bytes;
            output->n_pieces++;
        }
    }
}

enum ww_err ww_merge_digest_model(const struct ww_model *model, const uint32_t *want,
                                  uint8_t (*file_sha256)[WW_SHA256_BYTES],
                                  uint8_t (*tensor_root)[WW_SHA256_BYTES],
                                  const struct ww_run_options *run, struct ww_error *err)
{
    struct copy_plan p = {0};
    struct ww_stream_result result = {0};
    uint32_t *order = NULL;
    uint32_t *rank = NULL;
    enum ww_err rc = allocate(model, &p, err);

    if (!rc) {
        rc = ww_tree_order(model, &order, &rank, err);
    }
    if (rc) {
        goto out;
    }
    describe(model, want ? want : rank, &p);
    rc = ww_stream_run(&p.plan, NULL, run, &result, err);
    if (rc) {
        goto out;
    }
    if (file_sha256) {
        memcpy(file_sha256, result.output_sha256, model->n_files * sizeof(*file_sha256));
    }
    for (uint32_t k = 0; k < p.plan.n_tree; k++) {
        memcpy(tensor_root[p.plan.tree[k].rank], result.tensor_root[k], WW_SHA256_BYTES);
    }
    rc = ww_model_unchanged(model, err);
out:
    ww_stream_result_release(&result);
    release(&p);
    ww_free(order);
    ww_free(rank);
    return rc;
}

static enum ww_err digest_tree(const struct ww_work *work, const struct ww_model *model,
                               struct ww_work_source *out, struct ww_error *err)
{
    uint8_t(*roots)[WW_SHA256_BYTES] = ww_calloc(model->n_tensors, sizeof(*roots));
    uint8_t(*files)[WW_SHA256_BYTES] = ww_calloc(model->n_files, sizeof(*files));
    struct ww_sha256 *h = NULL;
    enum ww_err rc = WW_OK;

    if (!roots || !files) {
        rc = WW_FAIL_MEMORY(err, "the digests of a source");
        goto out;
    }
    rc = ww_merge_digest_model(model, NULL, files, roots, &work->options->run, err);
    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        if (memcmp(files[f], out->files[f].sha256, WW_SHA256_BYTES) != 0) {
            rc = WW_FAIL(err, WW_E_CHANGED, "file '%s' of '%s' changed during the merge",
                         model->files[f].name, out->name);
        }
    }
    if (!rc) {
        rc = ww_sha256_new(&h, err);
    }
    if (!rc) {
        ww_tree_fold(h, roots, model->n_tensors, out->tree);
        ww_sha256_free(h);
        out->has_tree = true;
    }
out:
    ww_free(roots);
    ww_free(files);
    return rc;
}

/* Files beside the weights that a merge may have read. */
static bool is_used(const char *path)
{
    static const char *const used[] = {"config.json", "tokenizer.json",
                                       "tokenizer_config.json", "generation_config.json",
                                       "README.md"};
    for (size_t i = 0; i < WW_LEN(used); i++) {
        if (strcmp(path, used[i]) == 0) {
            return true;
        }
    }
    return false;
}

static enum ww_err add_side(struct ww_work *work, int dirfd, const char *path,
                            struct ww_work_source *out, struct ww_error *err)
{
    struct ww_buf buf;
    char *name = ww_pool_keep(&work->pool, ww_strdup(path));
    enum ww_err rc = WW_OK;

    ww_buf_init(&buf, MAX_SIDE_BYTES);
    if (!name) {
        return WW_FAIL_MEMORY(err, "the digests of a source");
    }
    rc = ww_file_read_at(dirfd, path, WW_LINKS_HUB, &buf, err);
    if (!rc) {
        out->files[out->n_files].name = name;
        ww_sha256_of(buf.data, buf.len, out->files[out->n_files].sha256);
        out->sizes[out->n_files++] = buf.len;
    }
    ww_buf_release(&buf);
    return rc;
}

/* Takes the name; room for so many files. */
static enum ww_err start_source(struct ww_work *work, char *name, size_t n_files,
                                struct ww_work_source *out, struct ww_error *err)
{
    out->name = ww_pool_keep(&work->pool, name);
    out->files = ww_pool_calloc(&work->pool, n_files, sizeof(*out->files));
    out->sizes = ww_pool_calloc(&work->pool, n_files, sizeof(*out->sizes));
    return out->name && out->files && out->sizes
               ? WW_OK
               : WW_FAIL_MEMORY(err, "the digests of a source");
}

static enum ww_err describe_source(struct ww_work *work, const char *text,
                                   const struct ww_model *model,
                                   const uint8_t (*sha256)[WW_SHA256_BYTES],
                                   struct ww_work_source *out, struct ww_error *err)
{
    enum ww_err rc = start_source(work, ww_strdup(text),
                                  (size_t)model->n_files + model->n_side, out, err);

    if (rc) {
        return rc;
    }
    for (uint32_t f = 0; f < model->n_files; f++) {
        char *name = ww_pool_keep(&work->pool, ww_strdup(model->files[f].name));
        if (!name) {
            return WW_FAIL_MEMORY(err, "the digests of a source");
        }
        out->files[out->n_files].name = name;
        memcpy(out->files[out->n_files].sha256, sha256[f], WW_SHA256_BYTES);
        out->sizes[out->n_files++] = model->files[f].size_bytes;
    }
    for (uint32_t i = 0; i < model->n_side && !rc; i++) {
        if (is_used(model->side[i].path)) {
            rc = add_side(work, model->dirfd, model->side[i].path, out, err);
        }
    }
    return rc ? rc
              : ww_ancestors_gather(&work->ancestors, model->dirfd, &out->evidence, err);
}

/* "path@revision" */
static bool is_named(const char *text, const struct ww_recipe_model *m)
{
    const size_t n = strlen(m->path);

    if (strncmp(text, m->path, n) != 0) {
        return false;
    }
    return m->revision ? text[n] == '@' && strcmp(text + n + 1, m->revision) == 0
                       : text[n] == '\0';
}

bool ww_work_knows(const struct ww_work *work, const struct ww_recipe_model *m)
{
    for (size_t i = 0; i < work->n_sources; i++) {
        if (is_named(work->sources[i].name, m)) {
            return true;
        }
    }
    return false;
}

static bool is_known(const struct ww_work *work, const char *text)
{
    for (size_t i = 0; i < work->n_sources; i++) {
        if (strcmp(work->sources[i].name, text) == 0) {
            return true;
        }
    }
    return false;
}

/* Room for one more; NULL with the error set. */
static struct ww_work_source *add_source(struct ww_work *work, struct ww_error *err)
{
    struct ww_work_source *sources =
        ww_pool_calloc(&work->pool, work->n_sources + 1, sizeof(*sources));

    if (!sources) {
        (void)WW_FAIL_MEMORY(err, "the digests of a source");
        return NULL;
    }
    if (work->n_sources > 0) {
        memcpy(sources, work->sources, work->n_sources * sizeof(*sources));
    }
    work->sources = sources;
    return &sources[work->n_sources++];
}

/* A source of its own, of two files. */
enum ww_err ww_work_add_adapter(struct ww_work *work, const char *text,
                                const struct ww_adapter *adapter,
                                const uint8_t sha256[WW_SHA256_BYTES],
                                struct ww_error *err)
{
    struct ww_work_source *source = NULL;
    enum ww_err rc = WW_OK;

    if (is_known(work, text)) {
        return WW_OK;
    }
    source = add_source(work, err);
    if (!source) {
        return WW_E_NOMEM;
    }
    rc = start_source(work, ww_strdup(text), 2, source, err);
    if (rc) {
        return rc;
    }
    source->files[0].name = WW_ADAPTER_WEIGHTS;
    memcpy(source->files[0].sha256, sha256, WW_SHA256_BYTES);
    source->sizes[0] = (uint64_t)adapter->file.st.st_size;
    source->n_files = 1;
    rc = add_side(work, adapter->dirfd, WW_ADAPTER_CONFIG, source, err);
    return rc ? rc
              : ww_ancestors_gather(&work->ancestors, adapter->dirfd, &source->evidence,
                                    err);
}

/* "path@revision" without the adapter, or the adapter alone. */
static enum ww_err name_part(struct ww_work *work, const char *path, const char *revision,
                             const char **out, struct ww_error *err)
{
    *out = ww_pool_keep(&work->pool, ww_asprintf("%s%s%s", path, revision ? "@" : "",
                                                 revision ? revision : ""));
    return *out ? WW_OK : WW_FAIL_MEMORY(err, "the digests of a source");
}

/* Roots that were taken during the merge; their folding overwrites the copy. */
enum ww_err ww_plan_roots_fold(const struct ww_plan_roots *from, uint32_t n,
                               uint8_t tree[WW_SHA256_BYTES], struct ww_error *err)
{
    uint8_t(*by_name)[WW_SHA256_BYTES] = ww_calloc(n, sizeof(*by_name));
    struct ww_sha256 *h = NULL;
    enum ww_err rc =
        by_name ? ww_sha256_new(&h, err) : WW_FAIL_MEMORY(err, "the digests of a source");

    for (uint32_t k = 0; k < n && !rc; k++) {
        memcpy(by_name[k], from->roots[from->order[k]], WW_SHA256_BYTES);
    }
    if (!rc) {
        ww_tree_fold(h, by_name, n, tree);
    }
    ww_sha256_free(h);
    ww_free(by_name);
    return rc;
}

static enum ww_err add_tree(const struct ww_work *work, const struct ww_merge_plan *plan,
                            uint32_t i, struct ww_work_source *out, struct ww_error *err)
{
    const struct ww_plan_impl *impl = plan->impl;
    const uint8_t *known = ww_source_digests_tree(plan, i);

    if (known) {
        memcpy(out->tree, known, WW_SHA256_BYTES);
        out->has_tree = true;
        return WW_OK;
    }
    if (!impl->roots || !impl->roots[i].order) {
        return digest_tree(work, plan->models[i], out, err);
    }
    out->has_tree = true;
    return ww_plan_roots_fold(&impl->roots[i], plan->models[i]->n_tensors, out->tree,
                              err);
}

static enum ww_err add_model(struct ww_work *work, const struct ww_recipe_model *m,
                             const struct ww_merge_plan *plan, uint32_t i, uint32_t first,
                             const struct ww_merge_result *result, bool with_trees,
                             struct ww_error *err)
{
    const struct ww_model *model = plan->models[i];
    struct ww_work_source *source = NULL;
    const char *name = NULL;
    enum ww_err rc = name_part(work, m->path, m->revision, &name, err);

    if (rc || m->recipe != WW_NONE || is_known(work, name)) {
        return rc;
    }
    source = add_source(work, err);
    if (!source) {
        return WW_E_NOMEM;
    }
    rc = describe_source(work, name, model,
                         (const uint8_t(*)[WW_SHA256_BYTES])result->input_sha256 + first,
                         source, err);
    if (plan->inputs[first].lock_id) {
        memcpy(source->lock_id, plan->inputs[first].lock_id, WW_SHA256_BYTES);
        source->unlocked = true;
    }
    if (!rc && with_trees) {
        rc = add_tree(work, plan, i, source, err);
    }
    return rc ? rc
              : ww_source_digests_keep(
                    &work->digests, plan, i,
                    (const uint8_t(*)[WW_SHA256_BYTES])result->input_sha256 + first,
                    source->has_tree ? source->tree : NULL, err);
}

enum ww_err ww_work_add_sources(struct ww_work *work, uint32_t recipe,
                                const struct ww_merge_plan *plan,
                                const struct ww_merge_result *result, bool with_trees,
                                struct ww_error *err)
{
    const struct ww_recipe *r = &work->file.recipes[recipe];
    const struct ww_plan_impl *impl = plan->impl;
    uint32_t first = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < plan->n_models && !rc; i++) {
        const struct ww_recipe_model *m = &r->models[i];
        const char *name = NULL;
        rc = add_model(work, m, plan, i, first, result, with_trees, err);
        first += plan->models[i]->n_files;
        if (!rc && m->adapter) {
            rc = name_part(work, m->adapter, m->adapter_revision, &name, err);
        }
        if (!rc && m->adapter) {
            rc = ww_work_add_adapter(work, name, impl->adapters[i].adapter,
                                     result->input_sha256[impl->adapters[i].input], err);
        }
    }
    return rc;
}
