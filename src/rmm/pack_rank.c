/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking into a tensor takes some passes over it, and no chunk of it can be coded
 * before. So threads look into one tensor each, the ones that come next; factors that
 * were found wait, coded, until their part is written.
 */
#include "rmm/pack_rank.h"

#include <pthread.h>

#include "util/fail.h"
#include "util/num.h"

struct search {
    struct ww_rank_pair pair;
    struct ww_rank_found found;
    uint32_t part; /* of the member */
    enum ww_err rc;
    struct ww_error err;
    pthread_t thread;
    bool started;
};

/* A matrix of the base whose prediction may have a product in it. */
static bool may_have_one(const struct ww_pack_rank_at *at, uint32_t part)
{
    const uint32_t t = at->member->base_tensors[part];
    const struct ww_tensor *base = t == WW_NONE ? NULL : &at->base->tensors[t];

    return base && base->rank == 2 &&
           ww_rank_dtype(at->member->table.parts[part].dtype) &&
           at->member->unmerge.n == 0 && !at->member->rank_sought[part];
}

static void prepare(const struct ww_pack_rank_at *at, uint32_t part, uint64_t offset,
                    struct search *s)
{
    const struct ww_tensor *base = &at->base->tensors[at->member->base_tensors[part]];

    *s = (struct search){.part = part};
    s->pair = (struct ww_rank_pair){.fd = at->member->files[at->file].fd,
                                    .at = offset,
                                    .base = ww_base_from(at->base, base),
                                    .name = at->member->table.files[at->file].path,
                                    .dtype = at->member->table.parts[part].dtype,
                                    .m = (size_t)base->shape[0],
                                    .d = (size_t)base->shape[1]};
    s->pair.most = ww_rank_most(&s->pair);
}

/* The part and those behind it in its file, as many as have room side by side. */
static size_t collect(const struct ww_pack_rank_at *at, struct search *all, size_t most)
{
    const struct ww_pack_table_file *file = &at->member->table.files[at->file];
    uint64_t offset = at->offset;
    uint64_t memory = 0;
    size_t n = 0;

    for (uint32_t p = at->part; p < file->n_parts && n < most; p++) {
        const uint32_t part = file->first_part + p;
        if (may_have_one(at, part)) {
            prepare(at, part, offset, &all[n]);
            memory += ww_rank_memory(&all[n].pair, all[n].pair.most);
            if (n > 0 && memory > WW_RANK_MEMORY) {
                break; /* one at least, which fits */
            }
            at->member->rank_sought[part] = true;
            n += all[n].pair.most > 0;
        }
        offset += at->member->table.parts[part].bytes;
    }
    return n;
}

static void look(struct search *s)
{
    s->rc = ww_rank_find(&s->pair, &s->found, &s->err);
}

static void *work(void *payload)
{
    look(payload);
    return NULL;
}

/* The last one on this thread, and those whose thread does not start. */
static void look_into_all(struct search *all, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++) {
        all[i].started = pthread_create(&all[i].thread, NULL, work, &all[i]) == 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (!all[i].started) {
            look(&all[i]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (all[i].started) {
            pthread_join(all[i].thread, NULL);
        }
    }
}

enum ww_err ww_pack_rank(const struct ww_pack_rank_at *at, struct ww_pack_crew *crew,
                         struct ww_error *err)
{
    const uint32_t part = at->member->table.files[at->file].first_part + at->part;
    struct search all[WW_PACK_MAX_THREADS];
    size_t n = 0;
    enum ww_err rc = WW_OK;

    if (!at->base || !may_have_one(at, part)) {
        return WW_OK;
    }
    n = collect(at, all, crew->n_threads);
    look_into_all(all, n);
    for (size_t i = 0; i < n; i++) {
        if (!rc && all[i].rc) {
            rc = WW_FAIL(err, all[i].rc, "%s", all[i].err.text);
        } else if (!rc && all[i].found.rank.shape.rank > 0) {
            rc = ww_rank_encode(crew->rooms[0], &all[i].found,
                                &at->member->ranks[all[i].part], err);
        } else {
            ww_rank_found_release(&all[i].found);
        }
    }
    return rc;
}
