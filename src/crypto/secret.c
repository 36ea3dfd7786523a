/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guarded memory by libsodium: the bytes end at a guard page, are locked into memory when
 * the limit allows, and cannot be read while no one has them open, so a stray read or a
 * swapped page does not show a key. Several threads may have one secret open.
 */
#include "crypto/secret.h"

#include <pthread.h>
#include <string.h>

#include <sodium.h>

#include "util/alloc.h"
#include "util/fail.h"

struct ww_secret {
    pthread_mutex_t lock;
    uint8_t *bytes;
    size_t len;
    unsigned n_open;
};

enum ww_err ww_secret_new(size_t len, struct ww_secret **out, struct ww_error *err)
{
    struct ww_secret *secret = NULL;

    *out = NULL;
    if (sodium_init() < 0) {
        return WW_FAIL(err, WW_E_CRYPTO, "libsodium could not be started");
    }
    secret = ww_calloc(1, sizeof(*secret));
    if (secret) {
        secret->bytes = sodium_malloc(len);
    }
    if (!secret || !secret->bytes) {
        ww_free(secret);
        return WW_FAIL_MEMORY(err, "a secret of %zu bytes", len);
    }
    WW_INVARIANT(pthread_mutex_init(&secret->lock, NULL) == 0);
    secret->len = len;
    ww_wipe(secret->bytes, len);
    WW_INVARIANT(sodium_mprotect_noaccess(secret->bytes) == 0);
    *out = secret;
    return WW_OK;
}

void ww_secret_free(struct ww_secret *secret)
{
    if (secret) {
        sodium_free(secret->bytes); /* wipes, also memory without access */
        pthread_mutex_destroy(&secret->lock);
        ww_free(secret);
    }
}

size_t ww_secret_len(const struct ww_secret *secret)
{
    return secret->len;
}

uint8_t *ww_secret_open(struct ww_secret *secret)
{
    pthread_mutex_lock(&secret->lock);
    if (secret->n_open++ == 0) {
        WW_INVARIANT(sodium_mprotect_readwrite(secret->bytes) == 0);
    }
    pthread_mutex_unlock(&secret->lock);
    return secret->bytes;
}

void ww_secret_close(struct ww_secret *secret)
{
    pthread_mutex_lock(&secret->lock);
    WW_INVARIANT(secret->n_open > 0);
    if (--secret->n_open == 0) {
        WW_INVARIANT(sodium_mprotect_noaccess(secret->bytes) == 0);
    }
    pthread_mutex_unlock(&secret->lock);
}

bool ww_secret_equal(struct ww_secret *a, struct ww_secret *b)
{
    bool equal = false;
    if (a->len == b->len) {
        equal = sodium_memcmp(ww_secret_open(a), ww_secret_open(b), a->len) == 0;
        ww_secret_close(a);
        ww_secret_close(b);
    }
    return equal;
}

bool ww_bytes_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

void ww_random(void *out, size_t len)
{
    WW_INVARIANT(sodium_init() >= 0);
    randombytes_buf(out, len);
}
