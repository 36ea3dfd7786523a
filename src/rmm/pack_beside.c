/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which merges are coded while they are computed: sums of models that lie there as they
 * are. Of anything else nothing is coded here, and whoever packs it reads it again. A sum
 * that cannot be solved for all that is wanted is not begun.
 */
#include "rmm/pack_beside.h"

#include <string.h>
#include <unistd.h>

#include "merge/extract_write.h"
#include "merge/sum.h"
#include "stream/cpus.h"
#include "stream/stream.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"
#include "weightward/package.h"

#define ROOM_BYTES ((uint64_t)28 << 20) /* working memory, a chunk and its prediction */

static bool same_path(const char *a, const char *b)
{
    size_t n = strlen(a);
    size_t m = strlen(b);

    while (n > 1 && a[n - 1] == '/') {
        n--;
    }
    while (m > 1 && b[m - 1] == '/') {
        m--;
    }
    return n == m && memcmp(a, b, n) == 0;
}

/* Every source is one model of the plan, and every model one source. */
static bool place_sources(struct ww_pack_beside *b, const struct ww_merge_plan *plan)
{
    bool all = plan->n_models == b->n_sources;

    for (size_t i = 0; i < b->n_sources && all; i++) {
        b->of[i].model = WW_NONE;
        for (uint32_t m = 0; m < plan->n_models; m++) {
            if (same_path(plan->models[m]->path, b->sources[i])) {
                all = all && b->of[i].model == WW_NONE;
                b->of[i].model = m;
            }
        }
        all = all && b->of[i].model != WW_NONE;
    }
    return all;
}

/* Their files are the inputs, as they lie there. */
static bool lie_there(const struct ww_merge_plan *plan)
{
    bool all = !plan->whole;

    for (uint32_t i = 0; i < plan->n_inputs && all; i++) {
        all = !plan->inputs[i].reader;
    }
    return all;
}

/* Of no others: the manifest can say that of the base as it is alone. */
static bool has_others(const struct ww_pack_beside *b)
{
    for (size_t m = 0; m < b->n_wanted; m++) {
        if (b->inverses[m].n == 0) {
            return false;
        }
    }
    return true;
}

/* The weights, and by them the order in which others are added up. */
static enum ww_err solve(struct ww_pack_beside *b, const struct ww_merge_plan *plan,
                         struct ww_error *err)
{
    uint32_t *place = ww_calloc(b->n_sources, sizeof(*place));
    uint8_t(*trees)[WW_SHA256_BYTES] = ww_calloc(b->n_sources, sizeof(*trees));
    struct ww_merge_sum sum = {0};
    enum ww_err rc =
        place && trees ? WW_OK : WW_FAIL_MEMORY(err, "the sources of a merge");

    for (size_t i = 0; i < b->n_sources && !rc; i++) {
        place[i] = b->of[i].model;
    }
    if (!rc) {
        rc = ww_merge_sum_find(plan, "the merge", &sum, err);
    }
    const struct ww_merge_sum_sources from = {"the merge", b->sources, b->n_sources,
                                              place,
                                              (const uint8_t(*)[WW_SHA256_BYTES])trees};
    for (size_t m = 0; m < b->n_wanted && !rc; m++) {
        rc = ww_merge_sum_solve(&sum, &from, m, &b->inverses[m], err);
    }
    ww_merge_sum_release(&sum);
    ww_free(place);
    ww_free(trees);
    return rc;
}

static enum ww_err set_mixes(struct ww_pack_beside *b, struct ww_error *err)
{
    for (size_t m = 0; m < b->n_wanted; m++) {
        const struct ww_merge_inverse *inverse = &b->inverses[m];
        struct ww_unmerge *mix = &b->mixes[m];
        mix->of_base = inverse->of_merged;
        mix->others = ww_calloc(inverse->n, sizeof(*mix->others));
        if (!mix->others) {
            return WW_FAIL_MEMORY(err, "the sources of a merge");
        }
        for (size_t i = 0; i < inverse->n; i++) {
            mix->others[i].weight = inverse->weights[i];
            for (uint32_t s = 0; s < b->n_sources; s++) {
                if (b->sources[s] == inverse->others[i]) {
                    b->rows[m][i] = s;
                }
            }
        }
        mix->n = inverse->n;
    }
    return WW_OK;
}

/* Does a source have this tensor as the merge has it, and is it what goes in? */
static bool goes_in(const struct ww_merge_plan *plan, const struct ww_merge_tensor *t,
                    uint32_t model)
{
    const struct ww_model *from = plan->models[model];
    const uint32_t found = ww_model_find(from, t->name);
    uint32_t first = 0;

    if (found == WW_NONE) {
        return false;
    }
    const struct ww_tensor *tensor = &from->tensors[found];
    for (uint32_t m = 0; m < model; m++) {
        first += plan->models[m]->n_files;
    }
    const uint32_t input = first + tensor->file;
    bool is = tensor->dtype == t->dtype && tensor->rank == t->rank &&
              memcmp(tensor->shape, t->shape, t->rank * sizeof(*t->shape)) == 0 &&
              plan->inputs[input].fd >= 0 && !plan->inputs[input].reader &&
              (plan->inputs[input].want_sha256 || plan->inputs[input].sha256_known);
    bool there = false;
    for (uint32_t s = 0; s < t->n_sources + (t->base != NULL); s++) {
        const struct ww_merge_source *source =
            s < t->n_sources ? &t->sources[s] : t->base;
        if (source->model == model) {
            is = is && !source->rows && source->input == input &&
                 source->offset == tensor->offset && source->dtype == t->dtype;
            there = true;
        }
    }
    return is && there;
}

static enum ww_err add_tensor(struct ww_pack_beside *b, const struct ww_merge_plan *plan,
                              uint32_t index, struct ww_error *err)
{
    const struct ww_merge_tensor *from = &plan->tensors[index];
    struct ww_beside_tensor *t = &b->tensors[index];
    uint64_t n = ww_dtype_bits(from->dtype) / 8;

    for (unsigned a = 0; a < from->rank; a++) {
        n *= from->shape[a];
    }
    t->is = ww_dtype_is_plain_float(from->dtype) && n > 0;
    for (size_t i = 0; i < b->n_sources && t->is; i++) {
        t->is = goes_in(plan, from, b->of[i].model);
    }
    if (!t->is) {
        return WW_OK;
    }
    t->dtype = from->dtype;
    t->n_bytes = n;
    t->n_chunks = (uint32_t)ww_div_up(n, WW_CHUNK_BYTES);
    t->name = ww_strdup(from->name);
    t->chunks = ww_calloc(t->n_chunks * b->n_wanted, sizeof(*t->chunks));
    atomic_store(&t->missing, (unsigned)(t->n_chunks * b->n_wanted));
    return t->name && t->chunks ? WW_OK : WW_FAIL_MEMORY(err, "the sources of a merge");
}

static enum ww_err make_rooms(struct ww_pack_beside *b, struct ww_error *err)
{
    const uint64_t open = ww_beside_open_bytes(b);
    const uint64_t for_rooms = b->memory / 2;
    enum ww_err rc = WW_OK;

    b->n_rooms = (unsigned)ww_min_u64(
        ww_max_u64(1, ww_min_u64(b->n_threads, for_rooms / ROOM_BYTES)),
        WW_BESIDE_MOST_ROOMS);
    b->most_open = (unsigned)ww_min_u64(b->n_threads + 1U,
                                        (b->memory - b->n_rooms * ROOM_BYTES) / open);
    for (unsigned i = 0; i < b->n_rooms && !rc; i++) {
        struct ww_beside_room *room = &b->rooms[i];
        ww_buf_init(&room->coded, WW_CHUNK_MAX_CODED);
        room->bytes = ww_alloc_pages(WW_CHUNK_BYTES);
        room->prediction = ww_alloc_pages(WW_CHUNK_BYTES);
        rc = room->bytes && room->prediction ? ww_chunk_room_new(&room->room, err)
                                             : WW_FAIL_MEMORY(err, "coding");
        if (!rc) {
            ww_chunk_room_adapt(room->room);
        }
    }
    return rc;
}

/* The files of a source as they are before they are read. */
static enum ww_err note_files(struct ww_beside_source *to,
                              const struct ww_merge_plan *plan, struct ww_error *err)
{
    const struct ww_model *model = plan->models[to->model];

    to->files = ww_calloc(model->n_files, sizeof(*to->files));
    if (!to->files) {
        return WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    for (uint32_t f = 0; f < model->n_files; f++) {
        struct ww_beside_file *file = &to->files[f];
        to->n_files = f + 1;
        file->name = ww_strdup(model->files[f].name);
        if (!file->name) {
            return WW_FAIL_MEMORY(err, "the sources of a merge");
        }
        if (fstat(model->files[f].fd, &file->st) != 0) {
            return WW_FAIL(err, WW_E_CHANGED, "file '%s' cannot be examined", file->name);
        }
    }
    return WW_OK;
}

static void set_digests(struct ww_beside_source *to, const struct ww_merge_plan *plan,
                        const struct ww_merge_result *result)
{
    uint32_t input = 0;

    for (uint32_t m = 0; m < to->model; m++) {
        input += plan->models[m]->n_files;
    }
    for (uint32_t f = 0; f < to->n_files; f++) {
        memcpy(to->files[f].sha256, result->input_sha256[input + f], WW_SHA256_BYTES);
    }
}

/* What fails here fails when the merge is there, too. */
static enum ww_err check(const struct ww_merge_plan *plan, struct ww_error *err)
{
    struct ww_merge_sum sum = {0};
    enum ww_err rc = WW_OK;

    if (plan->locked) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "the merge is of locked models, and nothing comes back out of "
                       "those; unlock them first");
    }
    rc = ww_merge_sum_find(plan, "the merge", &sum, err);
    ww_merge_sum_release(&sum);
    return rc;
}

static enum ww_err begin(void *payload, const struct ww_merge_plan *plan,
                         struct ww_error *err)
{
    struct ww_pack_beside *b = payload;
    enum ww_err rc = check(plan, err);

    if (rc || b->n_wanted == 0 || !place_sources(b, plan)) {
        return rc;
    }
    rc = solve(b, plan, err);
    if (rc || !has_others(b) || !lie_there(plan) ||
        b->n_wanted > WW_BESIDE_MOST_MEMBERS ||
        b->memory < ROOM_BYTES + ww_beside_open_bytes(b)) {
        return rc;
    }
    rc = set_mixes(b, err);
    for (size_t i = 0; i < b->n_sources && !rc; i++) {
        rc = note_files(&b->of[i], plan, err);
    }
    b->n_tensors = plan->n_tensors;
    b->tensors = ww_calloc(plan->n_tensors, sizeof(*b->tensors));
    if (!rc && !b->tensors) {
        rc = WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    for (uint32_t t = 0; t < plan->n_tensors && !rc; t++) {
        rc = add_tensor(b, plan, t, err);
    }
    if (!rc) {
        rc = make_rooms(b, err);
    }
    if (!rc) {
        rc = ww_extract_scratch(b->package, &b->fd, err);
    }
    b->is = !rc;
    return rc;
}

/* Who packs it by the record finds a source by its tree, so trees tell them apart. */
static bool trees_differ(const struct ww_pack_beside *b)
{
    const uint8_t none[WW_SHA256_BYTES] = {0};
    bool all = true;

    for (size_t i = 0; i < b->n_sources; i++) {
        all = all && memcmp(b->of[i].tree, none, sizeof(none)) != 0;
        for (size_t k = 0; k < i; k++) {
            all = all && memcmp(b->of[i].tree, b->of[k].tree, sizeof(none)) != 0;
        }
    }
    return all;
}

static void set_trees(struct ww_pack_beside *b)
{
    for (size_t m = 0; m < b->n_wanted; m++) {
        for (size_t i = 0; i < b->inverses[m].n; i++) {
            memcpy(b->inverses[m].trees[i], b->of[b->rows[m][i]].tree, WW_SHA256_BYTES);
        }
    }
}

static void free_open(struct ww_pack_beside *b)
{
    while (b->open) {
        struct ww_beside_open *next = b->open->next;
        ww_free(b->open->bytes);
        ww_free(b->open);
        b->open = next;
    }
}

static void free_rooms(struct ww_pack_beside *b)
{
    for (unsigned i = 0; i < b->n_rooms; i++) {
        ww_chunk_room_free(b->rooms[i].room);
        ww_buf_release(&b->rooms[i].coded);
        ww_free(b->rooms[i].bytes);
        ww_free(b->rooms[i].prediction);
    }
    b->n_rooms = 0;
}

static enum ww_err end(void *payload, const struct ww_merge_plan *plan,
                       const struct ww_merge_result *result,
                       const uint8_t (*trees)[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_pack_beside *b = payload;
    (void)err;

    if (!b->is) {
        return WW_OK;
    }
    for (size_t i = 0; i < b->n_sources; i++) {
        memcpy(b->of[i].tree, trees[b->of[i].model], WW_SHA256_BYTES);
        set_digests(&b->of[i], plan, result);
    }
    for (uint32_t t = 0; t < b->n_tensors; t++) {
        memcpy(b->tensors[t].root, result->tensor_root[t], WW_SHA256_BYTES);
    }
    free_open(b);
    free_rooms(b);
    b->ended = trees_differ(b);
    if (b->ended) {
        set_trees(b);
    }
    return WW_OK;
}

enum ww_err ww_pack_beside_new(const char *package, const char *const *sources,
                               size_t n_sources, size_t n_wanted,
                               const struct ww_run_options *run,
                               struct ww_pack_beside **out, struct ww_error *err)
{
    struct ww_pack_beside *b = ww_calloc(1, sizeof(*b));

    *out = NULL;
    if (!b) {
        return WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    b->watch = (struct ww_merge_watch){begin, ww_beside_tile, end, b};
    b->package = package;
    b->sources = sources;
    b->n_sources = n_sources;
    b->n_wanted = ww_min_u64(n_wanted, n_sources);
    b->n_threads = ww_threads_wanted(run);
    b->memory = run->memory_bytes ? run->memory_bytes : WW_DEFAULT_MEMORY;
    b->fd = -1;
    b->inverses = ww_calloc(b->n_wanted, sizeof(*b->inverses));
    b->mixes = ww_calloc(b->n_wanted, sizeof(*b->mixes));
    b->rows = ww_calloc(b->n_wanted, sizeof(*b->rows));
    b->of = ww_calloc(n_sources, sizeof(*b->of));
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->given, NULL);
    if (!b->inverses || !b->mixes || !b->rows || !b->of) {
        ww_pack_beside_free(b);
        return WW_FAIL_MEMORY(err, "the sources of a merge");
    }
    *out = b;
    return WW_OK;
}

const struct ww_merge_watch *ww_pack_beside_watch(const struct ww_pack_beside *beside)
{
    return &beside->watch;
}

static void free_source(struct ww_beside_source *source)
{
    for (uint32_t f = 0; f < source->n_files; f++) {
        ww_free(source->files[f].name);
    }
    ww_free(source->files);
}

void ww_pack_beside_free(struct ww_pack_beside *b)
{
    if (!b) {
        return;
    }
    free_open(b);
    free_rooms(b);
    for (size_t m = 0; b->inverses && m < b->n_wanted; m++) {
        ww_merge_inverse_release(&b->inverses[m]);
    }
    for (size_t m = 0; b->mixes && m < b->n_wanted; m++) {
        ww_free(b->mixes[m].others);
    }
    for (size_t i = 0; b->of && i < b->n_sources; i++) {
        free_source(&b->of[i]);
    }
    for (uint32_t t = 0; b->tensors && t < b->n_tensors; t++) {
        ww_free((void *)(uintptr_t)b->tensors[t].name);
        ww_free(b->tensors[t].chunks);
    }
    ww_free(b->tensors);
    ww_free(b->of);
    ww_free(b->rows);
    ww_free(b->mixes);
    ww_free(b->inverses);
    if (b->fd >= 0) {
        close(b->fd);
    }
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->given);
    ww_free(b);
}
