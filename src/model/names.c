/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing, at most half full. The hash is SipHash-1-3
 * (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) under a key drawn
 * once per table: names come from files of strangers, and with a known hash a header of
 * colliding names would make every lookup walk the whole table. Slots hold no pointers,
 * and a table built at once asks for its slots ahead of use: with 100,000 names nearly
 * every slot is a cache miss, and those waits would be most of the time to open a model.
 */
#include "model/names.h"

#include <string.h>
#include <sys/random.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "weightward/model.h"

#if defined(__GNUC__)
#define WW_PREFETCH(p) __builtin_prefetch((p), 1)
#else
#define WW_PREFETCH(p) ((void)(p))
#endif
#define MIN_SLOTS 16
#define MAX_NAMES ((size_t)1 << 30)
#define AHEAD 16 /* names between asking for a slot and using it */

static inline uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static uint32_t name_hash(const uint64_t key[2], const char *name, size_t len)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575U, key[1] ^ 0x646f72616e646f6dU,
                     key[0] ^ 0x6c7967656e657261U, key[1] ^ 0x7465646279746573U};
    uint8_t tail[8] = {0};
    size_t whole = len & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word = ww_get_u64le((const uint8_t *)name + i);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    memcpy(tail, name + whole, len - whole);
    tail[7] = (uint8_t)len;
    uint64_t last = ww_get_u64le(tail);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    uint64_t h = v[0] ^ v[1] ^ v[2] ^ v[3];
    return (uint32_t)(h ^ h >> 32);
}

static struct ww_name_slot *slot_of(const struct ww_names *names, const char *name,
                                    uint32_t hash)
{
    size_t mask = names->n_slots - 1;
    size_t i = hash & mask;
    for (;;) {
        struct ww_name_slot *slot = &names->slots[i];
        if (slot->place == 0 ||
            (slot->hash == hash && strcmp(names->items[slot->place - 1], name) == 0)) {
            return slot;
        }
        i = (i + 1) & mask;
    }
}

static void draw_key(struct ww_names *names)
{
    /* Without random bytes yet (early boot) the place in memory has to do. */
    if (getrandom(names->key, sizeof(names->key), GRND_NONBLOCK) !=
        (ssize_t)sizeof(names->key)) {
        names->key[0] = (uint64_t)(uintptr_t)names;
        names->key[1] = (uint64_t)(uintptr_t)names->slots;
    }
}

static void move_slots(const struct ww_names *from, struct ww_names *to)
{
    size_t mask = to->n_slots - 1;
    for (size_t i = 0; i < from->n_slots; i++) {
        if (from->slots[i].place == 0) {
            continue;
        }
        size_t at = from->slots[i].hash & mask;
        while (to->slots[at].place != 0) {
            at = (at + 1) & mask;
        }
        to->slots[at] = from->slots[i];
    }
}

/* Room for n names in all. */
static enum ww_err reserve(struct ww_names *names, size_t n, struct ww_error *err)
{
    struct ww_names wide = *names;
    size_t n_slots = names->n_slots ? names->n_slots : MIN_SLOTS;
    if (n > MAX_NAMES) {
        return WW_FAIL(err, WW_E_LIMIT, "table of %zu names, at most %zu are possible", n,
                       MAX_NAMES);
    }
    while (n_slots / 2 < n) {
        n_slots *= 2;
    }
    if (n_slots == names->n_slots) {
        return WW_OK;
    }
    const char **items = ww_realloc_array(names->items, n_slots / 2, sizeof(*items));
    if (!items) {
        return WW_FAIL_MEMORY(err, "a table of %zu names", n);
    }
    names->items = items;
    wide.items = items;
    wide.n_slots = n_slots;
    wide.slots = ww_calloc(n_slots, sizeof(*wide.slots));
    if (!wide.slots) {
        return WW_FAIL_MEMORY(err, "a table of %zu names", n);
    }
    if (names->n_slots == 0) {
        draw_key(&wide);
    }
    move_slots(names, &wide);
    ww_free(names->slots);
    *names = wide;
    return WW_OK;
}

void ww_names_release(struct ww_names *names)
{
    ww_free(names->slots);
    ww_free((void *)names->items);
    memset(names, 0, sizeof(*names));
}

/* There is room. The index that the name had before, or WW_NONE. */
static uint32_t put(struct ww_names *names, const char *name, uint32_t hash)
{
    struct ww_name_slot *slot = slot_of(names, name, hash);
    if (slot->place != 0) {
        return slot->place - 1;
    }
    names->items[names->n++] = name;
    *slot = (struct ww_name_slot){.hash = hash, .place = names->n};
    return WW_NONE;
}

enum ww_err ww_names_add(struct ww_names *names, const char *name, uint32_t *existing,
                         struct ww_error *err)
{
    enum ww_err rc = reserve(names, (size_t)names->n + 1, err);
    if (rc) {
        return rc;
    }
    *existing = put(names, name, name_hash(names->key, name, strlen(name)));
    return WW_OK;
}

static const char *name_at(const void *records, size_t stride, size_t i)
{
    const char *name;
    memcpy(&name, (const char *)records + i * stride, sizeof(name));
    return name;
}

enum ww_err ww_names_build(struct ww_names *names, const void *records, size_t stride,
                           size_t n, uint32_t *twice, struct ww_error *err)
{
    uint32_t hashes[AHEAD];
    memset(names, 0, sizeof(*names));
    *twice = WW_NONE;
    enum ww_err rc = reserve(names, n, err);
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < n + AHEAD; i++) {
        /* Use what was asked for AHEAD rounds ago, then ask for the next. */
        if (i >= AHEAD && put(names, name_at(records, stride, i - AHEAD),
                              hashes[i % AHEAD]) != WW_NONE) {
            *twice = (uint32_t)(i - AHEAD);
            return WW_OK;
        }
        if (i < n) {
            const char *name = name_at(records, stride, i);
            uint32_t hash = name_hash(names->key, name, strlen(name));
            hashes[i % AHEAD] = hash;
            WW_PREFETCH(&names->slots[hash & (names->n_slots - 1)]);
        }
    }
    return WW_OK;
}

uint32_t ww_names_find(const struct ww_names *names, const char *name)
{
    if (names->n_slots == 0) {
        return WW_NONE;
    }
    const struct ww_name_slot *slot =
        slot_of(names, name, name_hash(names->key, name, strlen(name)));
    return slot->place == 0 ? WW_NONE : slot->place - 1;
}
