/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing provenance: everything that decides a model's bytes and nothing else. No path
 * and no time enters, so that making the model again gives the same statement.
 */
#include <string.h>

#include "evidence/provenance.h"
#include "sign/oms.h"
#include "util/fail.h"
#include "util/str.h"

#define BUILDER_ID "urn:weightward:builder:1"
#define MAX_BYTES ((size_t)32 << 20)

/* Digests say what is meant; a folder whose name no reader takes is "model" here as it is
 * in its signature. */
static const char *name_of(const char *name)
{
    return name[0] && ww_text_ok((const uint8_t *)name, strlen(name)) ? name : "model";
}

static void write_digest(struct ww_jw *w, const uint8_t sha256[WW_SHA256_BYTES])
{
    ww_jw_key(w, "digest");
    ww_jw_object(w);
    ww_jw_khex(w, "sha256", sha256, WW_SHA256_BYTES);
    ww_jw_close(w);
}

static void write_subjects(struct ww_jw *w, const struct ww_provenance *p)
{
    ww_jw_key(w, "subject");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_kstr(w, "name", name_of(p->name));
    write_digest(w, p->root);
    ww_jw_close(w);
    for (size_t i = 0; i < p->n_files; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", p->files[i].name);
        write_digest(w, p->files[i].sha256);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_parameters(struct ww_jw *w, const struct ww_provenance *p)
{
    ww_jw_key(w, "externalParameters");
    ww_jw_object(w);
    p->external(w, p->payload);
    ww_jw_close(w);
    if (p->internal) {
        ww_jw_key(w, "internalParameters");
        ww_jw_object(w);
        p->internal(w, p->payload);
        ww_jw_close(w);
    }
}

/* The digest of a source is that of its listed files' digests, in order. */
static enum ww_err source_digest(const struct ww_provenance_source *s,
                                 uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);

    for (size_t i = 0; i < s->n_files && !rc; i++) {
        ww_sha256_update(h, s->files[i].sha256, WW_SHA256_BYTES);
    }
    if (!rc) {
        ww_sha256_final(h, out);
        ww_sha256_free(h);
    }
    return rc;
}

static void write_files(struct ww_jw *w, const struct ww_provenance_source *s)
{
    ww_jw_key(w, "files");
    ww_jw_array(w);
    for (size_t i = 0; i < s->n_files; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", s->files[i].name);
        write_digest(w, s->files[i].sha256);
        ww_jw_ku64(w, "bytes", s->sizes[i]);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static enum ww_err write_source(struct ww_jw *w, const struct ww_provenance_source *s,
                                struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES] = {0};
    enum ww_err rc = source_digest(s, digest, err);

    ww_jw_object(w);
    ww_jw_kstr(w, "name", name_of(s->name));
    write_digest(w, digest);
    ww_jw_key(w, "annotations");
    ww_jw_object(w);
    if (s->tree) {
        ww_jw_khex(w, "tensor_tree", s->tree, WW_SHA256_BYTES);
    }
    if (s->lock_id) {
        ww_jw_khex(w, "unlocked", s->lock_id, WW_SHA256_BYTES);
    }
    if (s->evidence.is_locked && !s->lock_id) {
        ww_jw_khex(w, "locked", s->evidence.lock_id, WW_SHA256_BYTES);
    }
    if (s->evidence.license[0]) {
        ww_jw_kstr(w, "license", s->evidence.license);
    }
    if (s->evidence.kind != WW_EVIDENCE_NONE) {
        ww_jw_khex(
            w, s->evidence.kind == WW_EVIDENCE_PROVENANCE ? "provenance" : "signature",
            s->evidence.sha256, WW_SHA256_BYTES);
    }
    if (s->evidence.has_decision) {
        ww_jw_khex(w, "decision", s->evidence.decision, WW_SHA256_BYTES);
    }
    write_files(w, s);
    ww_jw_close(w);
    ww_jw_close(w);
    return rc;
}

static void write_run(struct ww_jw *w, const struct ww_provenance *p)
{
    ww_jw_key(w, "runDetails");
    ww_jw_object(w);
    ww_jw_key(w, "builder");
    ww_jw_object(w);
    ww_jw_kstr(w, "id", BUILDER_ID);
    ww_jw_key(w, "version");
    ww_jw_object(w);
    ww_jw_kstr(w, "weightward", WW_VERSION);
    ww_jw_close(w);
    ww_jw_close(w);
    if (p->tree) {
        ww_jw_key(w, "byproducts");
        ww_jw_array(w);
        ww_jw_object(w);
        ww_jw_kstr(w, "name", "tensor tree of the output");
        write_digest(w, p->tree);
        ww_jw_close(w);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

enum ww_err ww_provenance_write(const struct ww_provenance *p, struct ww_buf *out,
                                struct ww_error *err)
{
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    ww_buf_init(out, MAX_BYTES);
    if (p->n_sources > WW_PROVENANCE_MAX_SOURCES) {
        return WW_FAIL(err, WW_E_LIMIT, "%zu sources, provenance holds at most %d",
                       p->n_sources, WW_PROVENANCE_MAX_SOURCES);
    }
    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "_type", WW_STATEMENT_TYPE);
    write_subjects(&w, p);
    ww_jw_kstr(&w, "predicateType", WW_PROVENANCE_PREDICATE);
    ww_jw_key(&w, "predicate");
    ww_jw_object(&w);
    ww_jw_key(&w, "buildDefinition");
    ww_jw_object(&w);
    ww_jw_kstr(&w, "buildType", p->build_type);
    write_parameters(&w, p);
    ww_jw_key(&w, "resolvedDependencies");
    ww_jw_array(&w);
    for (size_t i = 0; i < p->n_sources && !rc; i++) {
        rc = write_source(&w, &p->sources[i], err);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    write_run(&w, p);
    ww_jw_close(&w);
    ww_jw_close(&w);
    return rc ? rc : ww_jw_end(&w, err);
}
