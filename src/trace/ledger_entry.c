/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry as an in-toto statement. Closed at every level: an unknown member is refused,
 * a change of meaning needs another schema. The samples of a model are one base64 text,
 * since a list of numbers would be four times as long.
 */
#include <string.h>

#include "crypto/base64.h"
#include "lock/handout.h"
#include "sign/oms.h"
#include "trace/ledger.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define MAX_SAMPLES (UINT64_C(1) << 22)
#define SEALED_MAX_BYTES ((size_t)16 << 20)

static const char *const kind_names[] = {
#define WW_LEDGER_KIND_NAME(name, text) text,
    WW_LEDGER_KIND_LIST(WW_LEDGER_KIND_NAME)
#undef WW_LEDGER_KIND_NAME
};

static const char *const head_keys[] = {"schema", "seq",  "previous",
                                        "date",   "kind", "public_key"};
static const char *const model_keys[] = {"schema", "seq",   "previous", "date",
                                         "kind",   "files", "tensors",  "probes"};
static const char *const copy_keys[] = {"schema", "seq",       "previous", "date",
                                        "kind",   "recipient", "model",    "lock_id",
                                        "nonce",  "element",   "scale"};
static const char *const file_keys[] = {"path", "size", "sha256"};
static const char *const tensor_keys[] = {"name", "shape"};
static const char *const probe_keys[] = {"coordinates", "samples", "places", "values"};

static const struct {
    const char *const *keys;
    size_t n;
} kind_keys[WW_LEDGER_KINDS] = {
    [WW_LEDGER_HEAD] = {head_keys, WW_LEN(head_keys)},
    [WW_LEDGER_MODEL] = {model_keys, WW_LEN(model_keys)},
    [WW_LEDGER_COPY] = {copy_keys, WW_LEN(copy_keys)},
};

static enum ww_err write_values(struct ww_jw *w, const struct ww_ledger_model *model,
                                struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, SEALED_MAX_BYTES);
    rc = ww_base64_encode(&text, (const uint8_t *)model->values,
                          (size_t)(model->n_coords * model->samples), err);
    if (!rc) {
        ww_jw_kstr(w, "values", ww_buf_cstr(&text));
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err write_model(struct ww_jw *w, const struct ww_ledger_model *model,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    ww_jw_key(w, "files");
    ww_jw_array(w);
    for (size_t i = 0; i < model->n_files; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "path", model->files[i].path);
        ww_jw_ku64(w, "size", model->files[i].size_bytes);
        ww_jw_khex(w, "sha256", model->files[i].sha256, WW_SHA256_BYTES);
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_key(w, "tensors");
    ww_jw_array(w);
    for (size_t i = 0; i < model->n_tensors; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", model->tensors[i].name);
        ww_jw_key(w, "shape");
        ww_jw_array(w);
        for (unsigned a = 0; a < model->tensors[i].rank; a++) {
            ww_jw_u64(w, model->tensors[i].shape[a]);
        }
        ww_jw_close(w);
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_key(w, "probes");
    ww_jw_object(w);
    ww_jw_ku64(w, "coordinates", model->n_coords);
    ww_jw_ku64(w, "samples", model->samples);
    ww_jw_khex(w, "places", model->places, WW_SHA256_BYTES);
    rc = write_values(w, model, err);
    ww_jw_close(w);
    return rc;
}

static void write_copy(struct ww_jw *w, const struct ww_ledger_copy *copy)
{
    ww_jw_kstr(w, "recipient", copy->recipient);
    ww_jw_ku64(w, "model", copy->model);
    ww_jw_khex(w, "lock_id", copy->lock_id, WW_SHA256_BYTES);
    ww_jw_khex(w, "nonce", copy->nonce, WW_HANDOUT_NONCE_BYTES);
    ww_jw_khex(w, "element", copy->element, WW_SHA256_BYTES);
    ww_jw_kbool(w, "scale", copy->scale);
}

enum ww_err ww_ledger_entry_write(const struct ww_ledger_entry *entry, struct ww_buf *out,
                                  struct ww_error *err)
{
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    ww_buf_clear(out);
    ww_jw_init(&w, out, 0);
    ww_statement_begin(&w, entry->name, entry->root, WW_LEDGER_PREDICATE);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "schema", WW_LEDGER_SCHEMA);
    ww_jw_ku64(&w, "seq", entry->seq);
    ww_jw_khex(&w, "previous", entry->previous, WW_SHA256_BYTES);
    ww_jw_kstr(&w, "date", entry->date);
    ww_jw_kstr(&w, "kind", kind_names[entry->kind]);
    if (entry->kind == WW_LEDGER_HEAD) {
        ww_jw_kstr(&w, "public_key", entry->public_key);
    } else if (entry->kind == WW_LEDGER_MODEL) {
        rc = write_model(&w, &entry->model, err);
    } else {
        write_copy(&w, &entry->copy);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    return rc ? rc : ww_jw_end(&w, err);
}

static enum ww_err malformed(const char *member, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_LEDGER, "member '%s' of the entry is missing or malformed",
                   member);
}

static enum ww_err read_hex(const struct ww_jnode *object, const char *key,
                            uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    if (!ww_jhex(ww_jget(object, key), out, WW_SHA256_BYTES)) {
        return malformed(key, err);
    }
    return WW_OK;
}

static enum ww_err read_files(const struct ww_jnode *list, struct ww_ledger_model *out,
                              struct ww_error *err)
{
    size_t i = 0;

    if (ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) == 0) {
        return malformed("files", err);
    }
    out->n_files = ww_jsize(list);
    out->files = ww_calloc(out->n_files, sizeof(*out->files));
    if (!out->files) {
        return WW_FAIL_MEMORY(err, "%zu files", out->n_files);
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at), i++) {
        struct ww_ledger_file *file = &out->files[i];
        enum ww_err rc =
            ww_jonly(at, file_keys, WW_LEN(file_keys), WW_E_LEDGER, "file", err);
        if (!rc && (!ww_jstr(ww_jget(at, "path"), &file->path) ||
                    !ww_path_is_relative(file->path) ||
                    !ww_ju64(ww_jget(at, "size"), &file->size_bytes))) {
            rc = malformed("files", err);
        }
        if (!rc) {
            rc = read_hex(at, "sha256", file->sha256, err);
        }
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

static bool read_shape(const struct ww_jnode *shape, struct ww_ledger_tensor *out)
{
    if (ww_jtype(shape) != WW_J_ARRAY || ww_jsize(shape) > WW_MAX_RANK) {
        return false;
    }
    for (const struct ww_jnode *at = ww_jfirst(shape); at; at = ww_jnext(at)) {
        if (!ww_ju64(at, &out->shape[out->rank++])) {
            return false;
        }
    }
    return true;
}

static enum ww_err read_tensors(const struct ww_jnode *list, struct ww_ledger_model *out,
                                struct ww_error *err)
{
    size_t i = 0;

    if (ww_jtype(list) != WW_J_ARRAY) {
        return malformed("tensors", err);
    }
    out->n_tensors = ww_jsize(list);
    out->tensors = ww_calloc(out->n_tensors, sizeof(*out->tensors));
    if (!out->tensors) {
        return WW_FAIL_MEMORY(err, "%zu tensors", out->n_tensors);
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at), i++) {
        struct ww_ledger_tensor *tensor = &out->tensors[i];
        enum ww_err rc =
            ww_jonly(at, tensor_keys, WW_LEN(tensor_keys), WW_E_LEDGER, "tensor", err);
        if (rc) {
            return rc;
        }
        if (!ww_jstr(ww_jget(at, "name"), &tensor->name) ||
            !read_shape(ww_jget(at, "shape"), tensor)) {
            return malformed("tensors", err);
        }
    }
    return WW_OK;
}

static enum ww_err read_probes(const struct ww_jnode *probes, struct ww_ledger_model *out,
                               struct ww_error *err)
{
    struct ww_buf values;
    const char *text = NULL;
    size_t len = 0;
    enum ww_err rc =
        ww_jonly(probes, probe_keys, WW_LEN(probe_keys), WW_E_LEDGER, "probes", err);

    ww_buf_init(&values, (size_t)MAX_SAMPLES);
    if (rc) {
        goto out;
    }
    if (!ww_ju64(ww_jget(probes, "coordinates"), &out->n_coords) ||
        !ww_ju64(ww_jget(probes, "samples"), &out->samples) ||
        out->n_coords > MAX_SAMPLES || out->samples > MAX_SAMPLES ||
        !ww_jstr(ww_jget(probes, "values"), &text)) {
        rc = malformed("probes", err);
        goto out;
    }
    rc = read_hex(probes, "places", out->places, err);
    if (rc) {
        goto out;
    }
    if (ww_base64_decode(&values, text, strlen(text), NULL) ||
        values.len != out->n_coords * out->samples) {
        rc = malformed("values", err);
        goto out;
    }
    out->values = (int8_t *)ww_buf_take(&values, &len);
out:
    ww_buf_release(&values);
    return rc;
}

static enum ww_err read_model(const struct ww_jnode *node, struct ww_ledger_entry *out,
                              struct ww_error *err)
{
    enum ww_err rc = read_files(ww_jget(node, "files"), &out->model, err);

    if (!rc) {
        rc = read_tensors(ww_jget(node, "tensors"), &out->model, err);
    }
    if (!rc) {
        rc = read_probes(ww_jget(node, "probes"), &out->model, err);
    }
    return rc;
}

static enum ww_err read_copy(const struct ww_jnode *node, struct ww_ledger_entry *out,
                             struct ww_error *err)
{
    struct ww_ledger_copy *copy = &out->copy;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(node, "recipient"), &copy->recipient) ||
        ww_handout_check_name(copy->recipient, NULL)) {
        return malformed("recipient", err);
    }
    if (!ww_ju64(ww_jget(node, "model"), &copy->model) || copy->model >= out->seq) {
        return malformed("model", err);
    }
    if (!ww_jbool(ww_jget(node, "scale"), &copy->scale)) {
        return malformed("scale", err);
    }
    rc = read_hex(node, "lock_id", copy->lock_id, err);
    if (!rc) {
        rc = read_hex(node, "nonce", copy->nonce, err);
    }
    if (!rc) {
        rc = read_hex(node, "element", copy->element, err);
    }
    return rc;
}

static enum ww_err read_kind(const struct ww_jnode *node, enum ww_ledger_kind *out,
                             struct ww_error *err)
{
    const char *kind = NULL;

    if (!ww_jstr(ww_jget(node, "kind"), &kind)) {
        return malformed("kind", err);
    }
    for (size_t k = 0; k < WW_LEN(kind_names); k++) {
        if (strcmp(kind, kind_names[k]) == 0) {
            *out = (enum ww_ledger_kind)k;
            return WW_OK;
        }
    }
    return malformed("kind", err);
}

static enum ww_err read_frame(const struct ww_jnode *node, struct ww_ledger_entry *out,
                              struct ww_error *err)
{
    const char *schema = NULL;
    const char *date = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(node, "schema"), &schema)) {
        return malformed("schema", err);
    }
    if (strcmp(schema, WW_LEDGER_SCHEMA) != 0) {
        return WW_FAIL(err, WW_E_VERSION,
                       "schema is '%s', expected '%s'; use the version "
                       "of weightward that wrote it",
                       schema, WW_LEDGER_SCHEMA);
    }
    rc = read_kind(node, &out->kind, err);
    if (rc) {
        return rc;
    }
    rc = ww_jonly(node, kind_keys[out->kind].keys, kind_keys[out->kind].n, WW_E_LEDGER,
                  "entry", err);
    if (rc) {
        return rc;
    }
    if (!ww_ju64(ww_jget(node, "seq"), &out->seq)) {
        return malformed("seq", err);
    }
    if (!ww_jstr(ww_jget(node, "date"), &date) ||
        strlen(date) != WW_LEDGER_DATE_BYTES - 1 ||
        !ww_text_ok((const uint8_t *)date, strlen(date))) {
        return malformed("date", err);
    }
    memcpy(out->date, date, WW_LEDGER_DATE_BYTES);
    return read_hex(node, "previous", out->previous, err);
}

enum ww_err ww_ledger_entry_read(const uint8_t *payload, size_t len,
                                 struct ww_ledger_entry *out, struct ww_error *err)
{
    struct ww_statement_view view = {0};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_json_parse(payload, len, &ww_json_limits_bundle, &out->json, err);
    if (rc) {
        goto out;
    }
    rc = ww_statement_read(ww_json_root(out->json), WW_LEDGER_PREDICATE, &view, err);
    if (rc) {
        goto out;
    }
    out->name = view.subject_name;
    memcpy(out->root, view.subject_sha256, WW_SHA256_BYTES);
    rc = read_frame(view.predicate, out, err);
    if (rc) {
        goto out;
    }
    if (out->kind == WW_LEDGER_HEAD) {
        if (!ww_jstr(ww_jget(view.predicate, "public_key"), &out->public_key)) {
            rc = malformed("public_key", err);
        }
    } else if (out->kind == WW_LEDGER_MODEL) {
        rc = read_model(view.predicate, out, err);
    } else {
        rc = read_copy(view.predicate, out, err);
    }
out:
    if (rc) {
        ww_ledger_entry_release(out);
    }
    return rc;
}

void ww_ledger_entry_release(struct ww_ledger_entry *entry)
{
    ww_free(entry->model.files);
    ww_free(entry->model.tensors);
    ww_free(entry->model.values);
    ww_json_free(entry->json);
    memset(entry, 0, sizeof(*entry));
}
