/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request names its sources by what their weights are, the recipe by its digest and the
 * output by what is promised of it. A nonce makes every request another one, so that an
 * approval is for one occasion as far as people compare them; nobody counts uses.
 */
#include "trust/request.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "crypto/secret.h"
#include "crypto/signkey.h"
#include "trust/document.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "util/utc.h"

#define RECIPE_MAX_BYTES ((size_t)1 << 20)
#define NONCE_BYTES 16
#define MAX_WEIGHT INT64_C(999999000000)

static void write_digest(struct ww_jw *w, const char *key,
                         const uint8_t digest[WW_SHA256_BYTES])
{
    char text[7 + 2 * WW_SHA256_BYTES + 1] = "sha256:";

    ww_hex(text + 7, digest, WW_SHA256_BYTES);
    ww_jw_kstr(w, key, text);
}

static enum ww_err recipe_digest(const char *path, uint8_t out[WW_SHA256_BYTES],
                                 struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, RECIPE_MAX_BYTES);
    rc = ww_file_read(path, &text, err);
    if (!rc) {
        ww_sha256_of(text.data, text.len, out);
    }
    ww_buf_release(&text);
    return rc;
}

/* The share of all sources with these weights; 0 when an earlier one has them too. */
static int64_t share_of(const struct ww_policy_ask *ask,
                        const uint8_t (*roots)[WW_SHA256_BYTES], size_t i)
{
    int64_t sum = 0;

    for (size_t k = 0; k < ask->n_sources; k++) {
        if (memcmp(roots[k], roots[i], WW_SHA256_BYTES) != 0) {
            continue;
        }
        if (k < i) {
            return -1;
        }
        sum += ask->sources[k].weight;
    }
    return sum > MAX_WEIGHT ? MAX_WEIGHT : sum;
}

static void write_sources(struct ww_jw *w, const struct ww_policy_ask *ask,
                          const uint8_t (*roots)[WW_SHA256_BYTES])
{
    ww_jw_key(w, "sources");
    ww_jw_array(w);
    for (size_t i = 0; i < ask->n_sources; i++) {
        const int64_t share = share_of(ask, roots, i);
        char text[WW_DECIMAL_BYTES];
        if (share < 0) {
            continue;
        }
        ww_policy_decimal_text(share, text);
        ww_jw_object(w);
        write_digest(w, "model", roots[i]);
        ww_jw_kstr(w, "weight", text);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_output(struct ww_jw *w, const struct ww_policy_ask *ask)
{
    ww_jw_key(w, "output");
    ww_jw_object(w);
    if (ask->output_name) {
        ww_jw_kstr(w, "name", ask->output_name);
    }
    if (ask->output_license) {
        ww_jw_kstr(w, "license", ask->output_license);
    }
    ww_jw_kbool(w, "locked", ask->output_locked);
    ww_jw_close(w);
}

enum ww_err ww_request_make(const struct ww_policy_ask *ask,
                            const uint8_t (*roots)[WW_SHA256_BYTES], int64_t now,
                            struct ww_buf *out, struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    uint8_t nonce[NONCE_BYTES];
    char nonce_text[2 * NONCE_BYTES + 1];
    char when[WW_UTC_BYTES];
    struct ww_jw w;
    enum ww_err rc = ask->recipe ? recipe_digest(ask->recipe, digest, err) : WW_OK;

    if (rc) {
        return rc;
    }
    ww_random(nonce, sizeof(nonce));
    ww_hex(nonce_text, nonce, sizeof(nonce));
    ww_utc_text(now, when);
    ww_buf_clear(out);
    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "type", "weightward.request/1");
    ww_jw_kstr(&w, "action", ask->action);
    if (ask->method) {
        ww_jw_kstr(&w, "method", ask->method);
    }
    if (ask->recipe) {
        write_digest(&w, "recipe", digest);
    }
    write_sources(&w, ask, roots);
    write_output(&w, ask);
    if (ask->purpose) {
        ww_jw_kstr(&w, "purpose", ask->purpose);
    }
    ww_jw_kstr(&w, "nonce", nonce_text);
    ww_jw_kstr(&w, "time", when);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

static const struct ww_request_source *find_source(const struct ww_request *request,
                                                   const uint8_t root[WW_SHA256_BYTES])
{
    for (size_t i = 0; i < request->n_sources; i++) {
        if (memcmp(request->sources[i].root, root, WW_SHA256_BYTES) == 0) {
            return &request->sources[i];
        }
    }
    return NULL;
}

static const char *sources_differ(const struct ww_request *request,
                                  const struct ww_policy_ask *ask,
                                  const uint8_t (*roots)[WW_SHA256_BYTES])
{
    size_t distinct = 0;

    for (size_t i = 0; i < ask->n_sources; i++) {
        const struct ww_request_source *source = find_source(request, roots[i]);
        const int64_t share = share_of(ask, roots, i);
        if (!source) {
            return "a source that it does not name";
        }
        distinct += share >= 0;
        if (share > source->weight) {
            return "a larger weight";
        }
    }
    return distinct == request->n_sources ? NULL : "fewer sources";
}

enum ww_err ww_request_fits(const struct ww_request *request,
                            const struct ww_policy_ask *ask,
                            const uint8_t (*roots)[WW_SHA256_BYTES], bool *fits,
                            char why[200], struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES] = {0};
    const char *differs = NULL;
    const char *asked = NULL; /* with what the request names instead */
    const char *named = NULL;
    enum ww_err rc = ask->recipe ? recipe_digest(ask->recipe, digest, err) : WW_OK;

    if (rc) {
        return rc;
    }
    if (strcmp(ww_may_name(request->action), ask->action) != 0) {
        differs = "another action";
    } else if (!ww_str_eq(request->method, ask->method)) {
        differs = "another method";
        asked = ask->method;
        named = request->method ? request->method : "none";
    } else if (request->has_recipe != (ask->recipe != NULL) ||
               (ask->recipe && memcmp(digest, request->recipe, sizeof(digest)) != 0)) {
        differs = "another recipe";
    } else if (request->output_name && ask->output_name &&
               strcmp(request->output_name, ask->output_name) != 0) {
        differs = "another output";
        asked = ask->output_name;
        named = request->output_name;
    } else if (request->output_locked && !ask->output_locked) {
        differs = "an output that is not locked";
    } else if (request->output_license &&
               !ww_str_eq(request->output_license, ask->output_license)) {
        differs = "an output under another licence";
    } else {
        differs = sources_differ(request, ask, roots);
    }
    *fits = differs == NULL;
    if (asked) {
        snprintf(why, 200, "%s: '%.60s', the request says %.60s", differs, asked, named);
    } else {
        snprintf(why, 200, "%s", differs ? differs : "");
    }
    return WW_OK;
}

static enum ww_err read_roots(const struct ww_policy_ask *ask,
                              uint8_t (*roots)[WW_SHA256_BYTES], struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < ask->n_sources && !rc; i++) {
        rc = ww_facts_root_of(ask->sources[i].path, roots[i], err);
    }
    return rc;
}

enum ww_err ww_policy_request(const struct ww_policy_ask *ask, struct ww_signkey *key,
                              const char *out, struct ww_error *err)
{
    uint8_t(*roots)[WW_SHA256_BYTES] = ww_calloc(ask->n_sources + 1, sizeof(*roots));
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, WW_ENVELOPE_MAX_PAYLOAD);
    if (!roots) {
        rc = WW_FAIL_MEMORY(err, "a request");
        goto out;
    }
    rc = read_roots(ask, roots, err);
    if (!rc) {
        rc = ww_request_make(ask, (const uint8_t(*)[WW_SHA256_BYTES])roots,
                             (int64_t)time(NULL), &text, err);
    }
    if (!rc) {
        rc = ww_document_write(WW_SIGNED_REQUEST, &text, key, out, err);
    }
out:
    ww_buf_release(&text);
    ww_free(roots);
    return rc;
}

enum ww_err ww_policy_approve(const char *path, struct ww_signkey *key, const char *out,
                              struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    uint8_t digest[WW_SHA256_BYTES];
    char when[WW_UTC_BYTES];
    struct ww_buf text;
    struct ww_jw w;
    enum ww_err rc = ww_signed_read(path, WW_SIGNED_REQUEST, &envelope, err);

    ww_buf_init(&text, WW_ENVELOPE_MAX_PAYLOAD);
    if (!rc) {
        rc = ww_document_check(envelope.payload.data, envelope.payload.len,
                               WW_SIGNED_REQUEST, err);
    }
    if (rc) {
        goto out;
    }
    ww_sha256_of(envelope.payload.data, envelope.payload.len, digest);
    ww_utc_text((int64_t)time(NULL), when);
    ww_jw_init(&w, &text, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "type", "weightward.approval/1");
    write_digest(&w, "request", digest);
    ww_jw_kstr(&w, "time", when);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (!rc) {
        rc = ww_document_write(WW_SIGNED_APPROVAL, &text, key, out, err);
    }
out:
    ww_buf_release(&text);
    ww_envelope_release(&envelope);
    return rc;
}
