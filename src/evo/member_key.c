/* SPDX-License-Identifier: Apache-2.0 */
#include "evo/member_key.h"

#include <pthread.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

struct ww_member_key {
    const char *file;
    pthread_mutex_t lock;
    struct ww_secret *secret; /* NULL: not read yet */
};

enum ww_err ww_member_key_new(const char *file, struct ww_member_key **out,
                              struct ww_error *err)
{
    struct ww_member_key *key = ww_calloc(1, sizeof(*key));

    *out = NULL;
    if (!key) {
        return WW_FAIL_MEMORY(err, "a key");
    }
    if (pthread_mutex_init(&key->lock, NULL) != 0) {
        ww_free(key);
        return WW_FAIL_MEMORY(err, "a key's lock");
    }
    key->file = file;
    *out = key;
    return WW_OK;
}

void ww_member_key_free(struct ww_member_key *key)
{
    if (key) {
        ww_secret_free(key->secret);
        (void)pthread_mutex_destroy(&key->lock);
        ww_free(key);
    }
}

/* The lock is held. */
static enum ww_err read_once(struct ww_member_key *key, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!key->secret) {
        rc = ww_passphrase_from_file(key->file, &key->secret, err);
    }
    if (rc == WW_E_PASSPHRASE) {
        ww_error_clear(err);
        return WW_FAIL(err, rc,
                       "key_file '%s' is empty, expected the key in its first line",
                       key->file);
    }
    return rc;
}

enum ww_err ww_member_key_copy(struct ww_member_key *key, struct ww_secret **out,
                               struct ww_error *err)
{
    struct ww_secret *copy = NULL;

    *out = NULL;
    pthread_mutex_lock(&key->lock);
    enum ww_err rc = read_once(key, err);
    if (!rc) {
        rc = ww_secret_new(ww_secret_len(key->secret), &copy, err);
    }
    if (!rc) {
        memcpy(ww_secret_open(copy), ww_secret_open(key->secret), ww_secret_len(copy));
        ww_secret_close(key->secret);
        ww_secret_close(copy);
        *out = copy;
    }
    pthread_mutex_unlock(&key->lock);
    return rc;
}
