/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache as a file. It is authenticated by a signature and not by a secret of its own,
 * so that keys in tokens work alike and the cache needs no second key to be kept. A cache
 * that somebody else signed is an error: it was planted, or the key was changed, and in
 * both cases a person should know.
 */
#include "sign/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/signkey.h"
#include "sign/bundle.h"
#include "sign/oms.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define MAX_ENTRIES ((size_t)1 << 18) /* what fits a bundle */

static const char *const predicate_keys[] = {"files", "tensors"};
static const char *const file_keys[] = {"state", "sha256"};

static int by_state(const void *a, const void *b)
{
    return strcmp(((const struct ww_cache_entry *)a)->state,
                  ((const struct ww_cache_entry *)b)->state);
}

void ww_cache_release(struct ww_cache *cache)
{
    ww_free(cache->entries);
    memset(cache, 0, sizeof(*cache));
}

enum ww_err ww_cache_add(struct ww_cache *cache, const char *state,
                         const uint8_t sha256[WW_SHA256_BYTES], struct ww_error *err)
{
    if (strlen(state) >= WW_FILE_STATE_BYTES || cache->n == MAX_ENTRIES) {
        return WW_FAIL(err, WW_E_LIMIT, "digest cache holds at most %zu files",
                       MAX_ENTRIES);
    }
    if (cache->n == cache->capacity) {
        size_t capacity = cache->capacity ? 2 * cache->capacity : 64;
        struct ww_cache_entry *entries =
            ww_realloc_array(cache->entries, capacity, sizeof(*entries));
        if (!entries) {
            return WW_FAIL_MEMORY(err, "%zu digests", capacity);
        }
        cache->entries = entries;
        cache->capacity = capacity;
    }
    memset(&cache->entries[cache->n], 0, sizeof(cache->entries[0]));
    memcpy(cache->entries[cache->n].state, state, strlen(state));
    memcpy(cache->entries[cache->n++].sha256, sha256, WW_SHA256_BYTES);
    return WW_OK;
}

const uint8_t *ww_cache_find(const struct ww_cache *cache, const char *state)
{
    struct ww_cache_entry wanted = {0};
    const struct ww_cache_entry *hit = NULL;

    snprintf(wanted.state, sizeof(wanted.state), "%s", state);
    if (cache->n > 0) {
        hit = bsearch(&wanted, cache->entries, cache->n, sizeof(wanted), by_state);
    }
    return hit ? hit->sha256 : NULL;
}

static enum ww_err read_files(const struct ww_jnode *list, struct ww_cache *out,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (!list || ww_jtype(list) != WW_J_ARRAY) {
        return WW_FAIL(err, WW_E_BUNDLE, "digest cache has no list 'files'");
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at && !rc; at = ww_jnext(at)) {
        const char *state = NULL;
        uint8_t digest[WW_SHA256_BYTES];
        rc = ww_jonly(at, file_keys, WW_LEN(file_keys), WW_E_BUNDLE, "file", err);
        if (rc) {
            break;
        }
        if (!ww_jstr(ww_jget(at, "state"), &state) ||
            !ww_jhex(ww_jget(at, "sha256"), digest, sizeof(digest))) {
            return WW_FAIL(err, WW_E_BUNDLE, "file %zu of the digest cache is malformed",
                           out->n + 1);
        }
        rc = ww_cache_add(out, state, digest, err);
    }
    return rc;
}

static enum ww_err read_predicate(const struct ww_jnode *node, struct ww_cache *out,
                                  struct ww_error *err)
{
    const struct ww_jnode *tensors = ww_jget(node, "tensors");
    enum ww_err rc = ww_jonly(node, predicate_keys, WW_LEN(predicate_keys), WW_E_BUNDLE,
                              "predicate", err);
    if (rc) {
        return rc;
    }
    if (tensors) {
        out->has_tensors = ww_jhex(tensors, out->tensors, WW_SHA256_BYTES);
        if (!out->has_tensors) {
            return WW_FAIL(err, WW_E_BUNDLE,
                           "'tensors' of the digest cache is no digest");
        }
    }
    rc = read_files(ww_jget(node, "files"), out, err);
    if (!rc && out->n > 0) {
        qsort(out->entries, out->n, sizeof(*out->entries), by_state);
    }
    return rc;
}

static enum ww_err read_cache(const struct ww_buf *text, struct ww_signkey *key,
                              struct ww_cache *out, struct ww_error *err)
{
    struct ww_bundle bundle = {0};
    struct ww_verifier verifier = {0};
    struct ww_pubkey *pub = NULL;
    struct ww_json *json = NULL;
    struct ww_statement_view view;
    enum ww_err rc = ww_signkey_public(key, &pub, err);

    if (rc) {
        goto out;
    }
    rc = ww_verifier_of_key(pub, &verifier, err);
    if (rc) {
        goto out;
    }
    rc = ww_bundle_parse(text->data, text->len, &bundle, err);
    if (rc) {
        goto out;
    }
    rc = ww_bundle_check(&bundle, &verifier, NULL, err);
    if (rc) {
        goto out;
    }
    rc = ww_json_parse(bundle.payload.data, bundle.payload.len, &ww_json_limits_bundle,
                       &json, err);
    if (rc) {
        goto out;
    }
    rc = ww_statement_read(ww_json_root(json), WW_CACHE_PREDICATE, &view, err);
    if (rc) {
        goto out;
    }
    rc = read_predicate(view.predicate, out, err);
out:
    ww_json_free(json);
    ww_bundle_release(&bundle);
    ww_verifier_release(&verifier);
    ww_pubkey_free(pub);
    return rc;
}

enum ww_err ww_cache_load(const char *path, struct ww_signkey *key, struct ww_cache *out,
                          struct ww_error *err)
{
    struct ww_buf text;
    struct ww_error local = {0};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    rc = ww_file_read(path, &text, &local);
    if (rc == WW_E_NOTFOUND) {
        rc = WW_OK;
        goto out;
    }
    if (rc) {
        rc = WW_FAIL(err, rc, "%s", local.text);
        goto out;
    }
    rc = read_cache(&text, key, out, err);
    if (rc) {
        ww_error_context(err, "digest cache '%s' (remove it to hash everything anew)",
                         path);
        ww_cache_release(out);
    }
out:
    ww_buf_release(&text);
    return rc;
}

static enum ww_err write_payload(const struct ww_cache *cache, const char *model_name,
                                 const uint8_t root[WW_SHA256_BYTES], struct ww_buf *out,
                                 struct ww_error *err)
{
    struct ww_jw w;

    ww_jw_init(&w, out, 0);
    ww_statement_begin(&w, model_name, root, WW_CACHE_PREDICATE);
    ww_jw_object(&w);
    ww_jw_key(&w, "files");
    ww_jw_array(&w);
    for (size_t i = 0; i < cache->n; i++) {
        ww_jw_object(&w);
        ww_jw_kstr(&w, "state", cache->entries[i].state);
        ww_jw_khex(&w, "sha256", cache->entries[i].sha256, WW_SHA256_BYTES);
        ww_jw_close(&w);
    }
    ww_jw_close(&w);
    if (cache->has_tensors) {
        ww_jw_khex(&w, "tensors", cache->tensors, WW_SHA256_BYTES);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

enum ww_err ww_cache_save(struct ww_cache *cache, const char *path,
                          struct ww_signkey *key, const char *model_name,
                          const uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    const struct ww_signer signer = {.key = key};
    struct ww_buf payload;
    struct ww_buf bundle;
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, WW_PAYLOAD_MAX_BYTES);
    ww_buf_init(&bundle, WW_BUNDLE_MAX_BYTES);
    rc = write_payload(cache, model_name, root, &payload, err);
    if (rc) {
        goto out;
    }
    rc = ww_bundle_sign(&signer, payload.data, payload.len, &bundle, err);
    if (rc) {
        goto out;
    }
    rc = ww_file_write(path, bundle.data, bundle.len, 0600, true, err);
out:
    ww_buf_release(&bundle);
    ww_buf_release(&payload);
    return rc;
}
