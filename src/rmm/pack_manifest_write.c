/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "crypto/aead.h"
#include "rmm/manifest.h"
#include "rmm/shared.h"
#include "util/alloc.h"

static void write_tensor(struct ww_jw *w, const struct ww_base_tensor *t)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", t->name);
    ww_jw_kstr(w, "dtype", ww_dtype_name(t->dtype));
    ww_jw_key(w, "shape");
    ww_jw_array(w);
    for (unsigned a = 0; a < t->rank; a++) {
        ww_jw_u64(w, t->shape[a]);
    }
    ww_jw_close(w);
    ww_jw_khex(w, "root", t->root, WW_SHA256_BYTES);
    ww_jw_close(w);
}

static void write_base(struct ww_jw *w, const struct ww_pack_manifest *m)
{
    ww_jw_key(w, "base");
    if (!m->base_name) {
        ww_jw_null(w);
        return;
    }
    ww_jw_object(w);
    ww_jw_kstr(w, "name", m->base_name);
    ww_jw_key(w, "tensors");
    ww_jw_array(w);
    for (size_t i = 0; i < m->n_tensors; i++) {
        write_tensor(w, &m->tensors[i]);
    }
    ww_jw_close(w);
    ww_jw_key(w, "files");
    ww_jw_array(w);
    for (size_t i = 0; i < m->n_files; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "path", m->files[i].path);
        ww_jw_ku64(w, "size", m->files[i].size_bytes);
        ww_jw_khex(w, "sha256", m->files[i].sha256, WW_SHA256_BYTES);
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_close(w);
}

static void write_unmerge(struct ww_jw *w, const struct ww_pack_manifest_member *m)
{
    ww_jw_key(w, "unmerge");
    ww_jw_object(w);
    ww_jw_kdouble(w, "merged", m->of_base);
    ww_jw_key(w, "sources");
    ww_jw_array(w);
    for (size_t i = 0; i < m->n_others; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", m->others[i].name);
        ww_jw_kdouble(w, "weight", m->others[i].weight);
        ww_jw_khex(w, "tensor_tree", m->others[i].tree, WW_SHA256_BYTES);
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_close(w);
}

static void write_member(struct ww_jw *w, const struct ww_pack_manifest *manifest,
                         const struct ww_pack_manifest_member *m)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", m->name);
    ww_jw_kstr(w, "kind", m->basis ? "basis" : m->adapter ? "adapter" : "model");
    if (m->basis) {
        ww_jw_kstr(w, "codec", ww_shared_codec_name(m->codec));
        ww_jw_ku64(w, "directions", m->directions);
    }
    ww_jw_kstr(w, "mode", m->bounded ? "bounded" : "exact");
    ww_jw_kdouble(w, "error", m->error);
    ww_jw_ku64(w, "offset", m->offset);
    ww_jw_ku64(w, "bytes", m->bytes);
    ww_jw_khex(w, "sha256", m->sha256, WW_SHA256_BYTES);
    ww_jw_ku64(w, "files", m->n_files);
    ww_jw_ku64(w, "files_bytes", m->files_bytes);
    ww_jw_khex(w, "commitment", m->commitment, WW_SHA256_BYTES);
    if (m->n_others > 0) {
        write_unmerge(w, m);
    }
    if (m->parent) {
        ww_jw_kstr(w, "parent", m->parent);
        ww_jw_kstr(w, "leak", ww_pack_manifest_leak(manifest, m));
    }
    if (m->sealed) {
        ww_jw_kstr(w, "cipher", ww_aead_name(m->cipher));
        ww_jw_khex(w, "key_id", m->key_id, WW_RECORD_ID_BYTES);
    } else {
        ww_jw_key(w, "coded");
        ww_jw_object(w);
        for (unsigned f = 0; f < WW_PACK_FORMS; f++) {
            if (f < WW_PACK_FEW || m->coded[f] > 0) {
                ww_jw_ku64(w, ww_pack_form_name((enum ww_pack_form)f), m->coded[f]);
            }
        }
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

enum ww_err ww_pack_manifest_write(const struct ww_pack_manifest *m, struct ww_buf *out,
                                   struct ww_error *err)
{
    struct ww_jw w;

    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "schema", WW_PACK_SCHEMA);
    ww_jw_kstr(&w, "tool", "weightward " WW_VERSION);
    ww_jw_khex(&w, "id", m->id, WW_PACK_ID_BYTES);
    ww_jw_ku64(&w, "version", m->version);
    if (m->has_previous) {
        ww_jw_khex(&w, "previous", m->previous, WW_SHA256_BYTES);
    } else {
        ww_jw_key(&w, "previous");
        ww_jw_null(&w);
    }
    write_base(&w, m);
    ww_jw_key(&w, "members");
    ww_jw_array(&w);
    for (size_t i = 0; i < m->n_members; i++) {
        write_member(&w, m, &m->members[i]);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

void ww_pack_manifest_release(struct ww_pack_manifest *m)
{
    ww_free(m->tensors);
    ww_free(m->files);
    ww_free(m->members);
    ww_free(m->others);
    ww_json_free(m->json);
    memset(m, 0, sizeof(*m));
}

const char *ww_pack_manifest_leak(const struct ww_pack_manifest *m,
                                  const struct ww_pack_manifest_member *member)
{
    const size_t at = ww_pack_manifest_find(m, member->parent);

    return at != SIZE_MAX && m->members[at].basis ? "shared" : "parent";
}

size_t ww_pack_manifest_find(const struct ww_pack_manifest *m, const char *name)
{
    for (size_t i = 0; i < m->n_members; i++) {
        if (strcmp(m->members[i].name, name) == 0) {
            return i;
        }
    }
    return SIZE_MAX;
}
