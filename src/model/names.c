/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing, at most half full. The hash is SipHash-1-3
 * (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012) under a key drawn
 * once per table: names come from files of strangers, and with a known hash a header of
 * colliding names would make every lookup walk the whole table.
 */
#include "model/names.h"

#include <string.h>
#include <sys/random.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "weightward/model.h"

#define MIN_SLOTS 16
#define MAX_NAMES ((size_t)1 << 30)

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
    while (names->slots[i].name &&
           (names->slots[i].hash != hash || strcmp(names->slots[i].name, name) != 0)) {
        i = (i + 1) & mask;
    }
    return &names->slots[i];
}

static enum ww_err names_resize(struct ww_names *names, size_t n_slots,
                                struct ww_error *err)
{
    struct ww_names wide = *names;
    wide.n_slots = n_slots;
    wide.slots = ww_calloc(n_slots, sizeof(*wide.slots));
    if (!wide.slots) {
        return WW_FAIL(err, WW_E_NOMEM, "table of %zu names: out of memory", n_slots / 2);
    }
    for (size_t i = 0; i < names->n_slots; i++) {
        if (names->slots[i].name) {
            *slot_of(&wide, names->slots[i].name, names->slots[i].hash) = names->slots[i];
        }
    }
    ww_free(names->slots);
    *names = wide;
    return WW_OK;
}

enum ww_err ww_names_init(struct ww_names *names, size_t expected, struct ww_error *err)
{
    size_t n_slots = MIN_SLOTS;
    memset(names, 0, sizeof(*names));
    if (expected > MAX_NAMES) {
        return WW_FAIL(err, WW_E_LIMIT, "table of %zu names: at most %zu are possible",
                       expected, MAX_NAMES);
    }
    while (n_slots / 2 < expected) {
        n_slots *= 2;
    }
    /* Without random bytes yet (early boot) the place in memory has to do. */
    if (getrandom(names->key, sizeof(names->key), GRND_NONBLOCK) !=
        (ssize_t)sizeof(names->key)) {
        names->key[0] = (uint64_t)(uintptr_t)names;
        names->key[1] = (uint64_t)(uintptr_t)&n_slots;
    }
    return names_resize(names, n_slots, err);
}

void ww_names_release(struct ww_names *names)
{
    ww_free(names->slots);
    memset(names, 0, sizeof(*names));
}

enum ww_err ww_names_add(struct ww_names *names, const char *name, uint32_t index,
                         uint32_t *existing, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    if (names->n_slots == 0) {
        rc = ww_names_init(names, 0, err);
    } else if (names->n >= names->n_slots / 2) {
        rc = names->n < MAX_NAMES
                 ? names_resize(names, names->n_slots * 2, err)
                 : WW_FAIL(err, WW_E_LIMIT, "name table: too many names");
    }
    if (rc) {
        return rc;
    }
    uint32_t hash = name_hash(names->key, name, strlen(name));
    struct ww_name_slot *slot = slot_of(names, name, hash);
    if (slot->name) {
        *existing = slot->index;
        return WW_OK;
    }
    *slot = (struct ww_name_slot){.name = name, .hash = hash, .index = index};
    names->n++;
    *existing = WW_NONE;
    return WW_OK;
}

uint32_t ww_names_find(const struct ww_names *names, const char *name)
{
    if (names->n_slots == 0) {
        return WW_NONE;
    }
    const struct ww_name_slot *slot =
        slot_of(names, name, name_hash(names->key, name, strlen(name)));
    return slot->name ? slot->index : WW_NONE;
}
