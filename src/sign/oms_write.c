/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing an OMS 1.0 statement. Resources are ordered by code point over the whole name,
 * as the specification says; the Python client orders by path component, which gives
 * another root for the same files, and both clients verify what is listed.
 *
 * The folder for attestations is always in ignore_paths, whether it exists or not:
 * evidence that is added later must not break the signature.
 */
#include "sign/oms.h"

#include <stdlib.h>
#include <string.h>

#include "sign/ignore.h"
#include "util/fail.h"

static int compare_name(const void *a, const void *b)
{
    const struct ww_resource *x = a;
    const struct ww_resource *y = b;

    return strcmp(x->name, y->name); /* byte order of UTF-8 is code point order */
}

static enum ww_err compute_root(const struct ww_resource *resources, size_t n,
                                uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);
    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < n; i++) {
        ww_sha256_update(h, resources[i].sha256, WW_SHA256_BYTES);
    }
    ww_sha256_final(h, root);
    ww_sha256_free(h);
    return WW_OK;
}

static enum ww_err collect_ignored(const struct ww_oms_ignored *ignored,
                                   struct ww_ignore *out, struct ww_error *err)
{
    enum ww_err rc = ww_ignore_add_defaults(out, err);

    for (size_t i = 0; i < ignored->n && !rc; i++) {
        rc = ww_ignore_add(out, ignored->paths[i], err);
    }
    if (!rc) {
        rc = ww_ignore_add(out, WW_ATTESTATIONS_DIR, err);
    }
    if (!rc && ignored->signature) {
        rc = ww_ignore_add(out, ignored->signature, err);
    }
    ww_ignore_ready(out);
    return rc;
}

static void write_predicate(struct ww_jw *w, const struct ww_resource *resources,
                            size_t n, const struct ww_ignore *ignore)
{
    ww_jw_object(w);
    ww_jw_key(w, "resources");
    ww_jw_array(w);
    for (size_t i = 0; i < n; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", resources[i].name);
        ww_jw_khex(w, "digest", resources[i].sha256, WW_SHA256_BYTES);
        ww_jw_kstr(w, "algorithm", "sha256");
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_key(w, "serialization");
    ww_jw_object(w);
    ww_jw_kstr(w, "method", "files");
    ww_jw_kstr(w, "hash_type", "sha256");
    ww_jw_kbool(w, "allow_symlinks", false);
    ww_jw_key(w, "ignore_paths");
    ww_jw_array(w);
    for (size_t i = 0; i < ignore->paths.n; i++) {
        ww_jw_str(w, ignore->paths.items[i]);
    }
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
}

enum ww_err ww_oms_write(const char *model_name, struct ww_resource *resources, size_t n,
                         const struct ww_oms_ignored *ignored, struct ww_buf *payload,
                         uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_ignore ignore = {0};
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    if (n == 0) {
        rc = WW_FAIL(err, WW_E_MALFORMED, "model '%s' has no file to sign", model_name);
        goto out;
    }
    qsort(resources, n, sizeof(*resources), compare_name);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(resources[i - 1].name, resources[i].name) == 0) {
            rc = WW_FAIL(err, WW_E_USAGE, "file '%s' is listed twice", resources[i].name);
            goto out;
        }
    }
    rc = collect_ignored(ignored, &ignore, err);
    if (rc) {
        goto out;
    }
    rc = compute_root(resources, n, root, err);
    if (rc) {
        goto out;
    }
    ww_buf_clear(payload);
    ww_jw_init(&w, payload, 0);
    ww_statement_begin(&w, model_name, root, WW_OMS_PREDICATE);
    write_predicate(&w, resources, n, &ignore);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
out:
    ww_ignore_release(&ignore);
    return rc;
}

enum ww_err ww_oms_statement(const char *model_name, struct ww_resource *resources,
                             size_t n, struct ww_buf *payload,
                             uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    const struct ww_oms_ignored ignored = {.signature = WW_SIGNATURE_FILE};

    return ww_oms_write(model_name, resources, n, &ignored, payload, root, err);
}
