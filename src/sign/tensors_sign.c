/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing the tensor tree of a folder. A locked folder holds its manifest in the tensor
 * statement; signing it anew must not lose the manifest, nor put it on other weights, so
 * it is taken over only when the statement's root is the one that was just computed.
 */
#include "sign/tensors_sign.h"

#include <string.h>

#include "sign/tensors.h"
#include "util/fail.h"

/* Depth is bounded by the strict scan that the document came through. */
static void write_node(struct ww_jw *w, const struct ww_jnode *node);

static void write_children(struct ww_jw *w, const struct ww_jnode *node)
{
    for (const struct ww_jnode *at = ww_jfirst(node); at; at = ww_jnext(at)) {
        if (ww_jkey(at)) {
            ww_jw_key(w, ww_jkey(at));
        }
        write_node(w, at);
    }
    ww_jw_close(w);
}

static void write_number(struct ww_jw *w, const struct ww_jnode *node)
{
    int64_t integer = 0;
    double number = 0;

    if (ww_ji64(node, &integer)) {
        ww_jw_i64(w, integer);
    } else if (ww_jdouble(node, &number)) {
        ww_jw_double(w, number);
    }
}

static void write_node(struct ww_jw *w, const struct ww_jnode *node)
{
    const char *text = NULL;
    bool truth = false;

    switch (ww_jtype(node)) {
    case WW_J_OBJECT:
        ww_jw_object(w);
        write_children(w, node);
        break;
    case WW_J_ARRAY:
        ww_jw_array(w);
        write_children(w, node);
        break;
    case WW_J_STRING:
        (void)ww_jstr(node, &text);
        ww_jw_str(w, text);
        break;
    case WW_J_NUMBER:
        write_number(w, node);
        break;
    case WW_J_BOOL:
        (void)ww_jbool(node, &truth);
        ww_jw_bool(w, truth);
        break;
    case WW_J_NULL:
        ww_jw_null(w);
        break;
    }
}

/* The statement that lies in the folder now, if any: it is read, not believed. */
static enum ww_err read_present(const struct ww_model *model,
                                struct ww_tensor_statement *out, struct ww_error *err)
{
    struct ww_error local = {0};
    enum ww_err rc = ww_tensors_read_by(model->dirfd, NULL, NULL, out, &local);

    if (rc == WW_E_NOTFOUND) {
        memset(out, 0, sizeof(*out));
        return WW_OK;
    }
    return rc ? WW_FAIL(err, rc, "%s", local.text) : WW_OK;
}

static enum ww_err take_over_lock(const struct ww_tensor_statement *present,
                                  const uint8_t root[WW_SHA256_BYTES],
                                  struct ww_buf *lock, struct ww_error *err)
{
    struct ww_jw w;

    if (!present->lock) {
        return WW_OK;
    }
    if (memcmp(present->model_root, root, WW_SHA256_BYTES) != 0) {
        return WW_FAIL(
            err, WW_E_WRONG_MODEL,
            "weights are not those that the lock manifest in '%s' was made for; "
            "unlock needs the manifest, so it is not signed over",
            WW_ATTESTATIONS_DIR);
    }
    ww_jw_init(&w, lock, 0);
    write_node(&w, present->lock);
    return ww_jw_end(&w, err);
}

enum ww_err ww_tensors_sign(const struct ww_model *model, const char *model_name,
                            const uint8_t (*tensor_root)[WW_SHA256_BYTES],
                            const struct ww_signer *signer, struct ww_buf *bundle,
                            struct ww_error *err)
{
    struct ww_tensor_statement present = {0};
    struct ww_buf payload;
    struct ww_buf lock;
    uint8_t root[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    ww_buf_init(&payload, WW_PAYLOAD_MAX_BYTES);
    ww_buf_init(&lock, WW_PAYLOAD_MAX_BYTES);
    rc = read_present(model, &present, err);
    if (rc) {
        goto out;
    }
    rc = ww_tensors_statement_of(model_name, model, tensor_root, NULL, &payload, root,
                                 err);
    if (rc) {
        goto out;
    }
    rc = take_over_lock(&present, root, &lock, err);
    if (rc) {
        goto out;
    }
    if (present.lock) {
        rc = ww_tensors_statement_of(model_name, model, tensor_root, ww_buf_cstr(&lock),
                                     &payload, root, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_bundle_sign(signer, payload.data, payload.len, bundle, err);
out:
    ww_tensors_release(&present);
    ww_buf_release(&lock);
    ww_buf_release(&payload);
    return rc;
}
