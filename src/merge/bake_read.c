/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of the file that the changed weights would be. A few weights stay open, since
 * readers go through a file from its beginning to its end and passes over one tensor come
 * from several threads; whole rows are made and what is asked for is copied out.
 */
#include <pthread.h>
#include <string.h>

#include "merge/bake_work.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define N_OPEN 4u
#define KEEP_BYTES (UINT64_C(32) << 20)

struct slot {
    struct ww_bake_weight weight;
    uint32_t index; /* of the change; WW_NONE: free */
    unsigned users;
    uint64_t used_at;
};

struct ww_bake {
    struct ww_bake_from from;
    const struct ww_reader **readers; /* own */
    struct ww_bake_group group;
    struct ww_tensor *tensors; /* one per change, in offset order */
    uint64_t size_bytes;
    struct ww_reader reader;
    pthread_mutex_t lock;
    pthread_cond_t freed;
    struct slot slots[N_OPEN];
    uint64_t clock;
};

static void close_slot(struct slot *slot)
{
    if (slot->index != WW_NONE) {
        ww_bake_weight_close(&slot->weight);
    }
    slot->index = WW_NONE;
}

/* The lock is held. Idle weights make room when all together are large. */
static void make_room(struct ww_bake *bake, const struct slot *stays)
{
    uint64_t held = 0;

    for (unsigned i = 0; i < N_OPEN; i++) {
        const struct slot *s = &bake->slots[i];
        held += s->index != WW_NONE ? ww_bake_weight_bytes(&s->weight) : 0;
    }
    for (unsigned i = 0; i < N_OPEN && held > KEEP_BYTES; i++) {
        struct slot *s = &bake->slots[i];
        if (s != stays && s->index != WW_NONE && s->users == 0) {
            held -= ww_bake_weight_bytes(&s->weight);
            close_slot(s);
        }
    }
}

static struct slot *find_slot(struct ww_bake *bake, uint32_t index)
{
    for (unsigned i = 0; i < N_OPEN; i++) {
        if (bake->slots[i].index == index) {
            return &bake->slots[i];
        }
    }
    return NULL;
}

/* A place that nobody uses, the one that was left longest ago; NULL. */
static struct slot *idle_slot(struct ww_bake *bake)
{
    struct slot *best = NULL;

    for (unsigned i = 0; i < N_OPEN; i++) {
        struct slot *s = &bake->slots[i];
        if (s->users == 0 && (!best || s->used_at < best->used_at)) {
            best = s;
        }
    }
    return best;
}

/* The lock is held while a weight is opened: whoever wants another waits shortly. */
static enum ww_err enter(struct ww_bake *bake, uint32_t index, struct slot **out,
                         struct ww_error *err)
{
    struct slot *slot = NULL;
    enum ww_err rc = WW_OK;

    pthread_mutex_lock(&bake->lock);
    for (;;) {
        slot = find_slot(bake, index);
        slot = slot ? slot : idle_slot(bake);
        if (slot) {
            break;
        }
        pthread_cond_wait(&bake->freed, &bake->lock);
    }
    if (slot->index != index) {
        close_slot(slot);
        rc = ww_bake_weight_check(&bake->from, &bake->group.changes[index], &slot->weight,
                                  err);
        if (!rc) {
            rc = ww_bake_weight_open(&slot->weight, err);
        }
        if (rc) {
            ww_bake_weight_close(&slot->weight);
        } else {
            slot->index = index;
            make_room(bake, slot);
        }
    }
    slot->users += !rc;
    slot->used_at = ++bake->clock;
    pthread_mutex_unlock(&bake->lock);
    *out = slot;
    return rc;
}

static void leave(struct ww_bake *bake, struct slot *slot)
{
    pthread_mutex_lock(&bake->lock);
    slot->users--;
    pthread_cond_signal(&bake->freed);
    pthread_mutex_unlock(&bake->lock);
}

/* Bytes [at, at + len) of one changed weight. */
static enum ww_err read_weight(const struct ww_bake_weight *weight, enum ww_dtype dtype,
                               uint64_t at, uint8_t *out, uint64_t len,
                               struct ww_error *err)
{
    const uint64_t row_bytes = weight->n_cols * (ww_dtype_bits(dtype) / 8);
    const uint64_t end = ww_div_up(at + len, row_bytes);
    struct ww_bake_room room = {0};
    enum ww_err rc = ww_bake_room_new(weight, &room, err);

    for (uint64_t row = at / row_bytes; row < end && !rc;) {
        const uint64_t n = ww_min_u64(room.step, end - row);
        const uint64_t skip = at - row * row_bytes;
        const uint64_t take = ww_min_u64(len, n * row_bytes - skip);
        rc = ww_bake_rows(weight, row, n, &room, err);
        if (rc) {
            break;
        }
        ww_from_double(dtype, room.rows, room.bytes, n * weight->n_cols);
        memcpy(out, room.bytes + skip, take);
        out += take;
        at += take;
        len -= take;
        row += n;
    }
    ww_bake_room_release(&room);
    return rc;
}

/* The last tensor that begins at offset or before it. */
static uint32_t tensor_at(const struct ww_bake *bake, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = bake->group.n;

    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (bake->tensors[middle].offset <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum ww_err read_range(void *payload, uint64_t offset, void *out, size_t len,
                              struct ww_error *err)
{
    struct ww_bake *bake = payload;
    uint8_t *to = out;
    enum ww_err rc = WW_OK;

    WW_INVARIANT(offset <= bake->size_bytes && len <= bake->size_bytes - offset);
    while (len > 0 && !rc) {
        const uint32_t i = tensor_at(bake, offset);
        const struct ww_tensor *t = &bake->tensors[i];
        const uint64_t n = ww_min_u64(len, t->offset + t->n_bytes - offset);
        struct slot *slot = NULL;
        rc = enter(bake, i, &slot, err);
        if (!rc) {
            rc = read_weight(&slot->weight, t->dtype, offset - t->offset, to, n, err);
            leave(bake, slot);
        }
        offset += n;
        to += n;
        len -= (size_t)n;
    }
    return rc;
}

static void describe(struct ww_bake *bake, uint32_t i)
{
    struct ww_tensor *t = &bake->tensors[i];

    *t = bake->from.base->tensors[bake->group.changes[i].tensor];
    t->dtype = t->dtype == WW_DTYPE_F64 ? WW_DTYPE_F64 : WW_DTYPE_F32;
    t->offset = bake->size_bytes;
    t->n_bytes = t->n_elements * (ww_dtype_bits(t->dtype) / 8);
    t->file = 0;
    bake->size_bytes += t->n_bytes;
}

static enum ww_err fill(struct ww_bake *bake, struct ww_error *err)
{
    enum ww_err rc = ww_bake_group(&bake->from, &bake->group, err);

    if (rc) {
        return rc;
    }
    bake->tensors = ww_calloc(bake->group.n, sizeof(*bake->tensors));
    if (!bake->tensors) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    for (uint32_t i = 0; i < bake->group.n && !rc; i++) {
        struct ww_bake_weight weight;
        rc = ww_bake_weight_check(&bake->from, &bake->group.changes[i], &weight, err);
        describe(bake, i);
    }
    return rc;
}

enum ww_err ww_bake_open(const struct ww_model *base,
                         const struct ww_reader *const *readers,
                         const struct ww_adapter *adapter, struct ww_bake **out,
                         struct ww_error *err)
{
    struct ww_bake *bake = ww_calloc(1, sizeof(*bake));
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!bake) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    pthread_mutex_init(&bake->lock, NULL);
    pthread_cond_init(&bake->freed, NULL);
    for (unsigned i = 0; i < N_OPEN; i++) {
        bake->slots[i].index = WW_NONE;
    }
    bake->from = (struct ww_bake_from){.base = base, .adapter = adapter};
    bake->reader = (struct ww_reader){.read = read_range, .payload = bake};
    if (readers) {
        bake->readers = ww_calloc(base->n_files, sizeof(*bake->readers));
        if (!bake->readers) {
            rc = WW_FAIL_MEMORY(err, "an adapter");
            goto out;
        }
        memcpy(bake->readers, readers, base->n_files * sizeof(*bake->readers));
        bake->from.readers = bake->readers;
    }
    rc = fill(bake, err);
out:
    if (rc) {
        ww_bake_close(bake);
    } else {
        *out = bake;
    }
    return rc;
}

void ww_bake_close(struct ww_bake *bake)
{
    if (!bake) {
        return;
    }
    for (unsigned i = 0; i < N_OPEN; i++) {
        close_slot(&bake->slots[i]);
    }
    pthread_cond_destroy(&bake->freed);
    pthread_mutex_destroy(&bake->lock);
    ww_bake_group_release(&bake->group);
    ww_free(bake->tensors);
    ww_free(bake->readers);
    ww_free(bake);
}

const struct ww_tensor *ww_bake_tensors(const struct ww_bake *bake, uint32_t *n)
{
    *n = bake->group.n;
    return bake->tensors;
}

const struct ww_tensor *ww_bake_find(const struct ww_bake *bake, uint32_t tensor)
{
    uint32_t low = 0;
    uint32_t high = bake->group.n;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (bake->group.changes[middle].tensor < tensor) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < bake->group.n && bake->group.changes[low].tensor == tensor
               ? &bake->tensors[low]
               : NULL;
}

uint64_t ww_bake_bytes(const struct ww_bake *bake)
{
    return bake->size_bytes;
}

const struct ww_reader *ww_bake_reader(const struct ww_bake *bake)
{
    return &bake->reader;
}

const char *ww_bake_doubt(const struct ww_bake *bake)
{
    return bake->group.doubt;
}
