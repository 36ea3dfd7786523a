/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a merge: in-toto Statement v1 with SLSA provenance v1 as its predicate.
 * Everything that decides the output's bytes is in it, so that anyone who has the sources
 * can compute the output again. docs/formats/merge-record.md has the members.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "merge/merge_work.h"
#include "util/fail.h"

#define STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define BUILDER_ID "urn:weightward:builder:1"
#define MAX_RECORD_BYTES ((size_t)32 << 20)

static void write_digest(struct ww_jw *w, const uint8_t sha256[WW_SHA256_BYTES])
{
    ww_jw_key(w, "digest");
    ww_jw_object(w);
    ww_jw_khex(w, "sha256", sha256, WW_SHA256_BYTES);
    ww_jw_close(w);
}

static void write_subjects(struct ww_jw *w, const struct ww_record *record)
{
    ww_jw_key(w, "subject");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_kstr(w, "name", record->out_name);
    write_digest(w, record->root);
    ww_jw_close(w);
    for (size_t i = 0; i < record->n_files; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", record->files[i].name);
        write_digest(w, record->files[i].sha256);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

/* Numbers of 64 bits are strings: JSON readers keep 53. */
static void write_number(struct ww_jw *w, const char *key, uint64_t v)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, v);
    ww_jw_kstr(w, key, text);
}

static void write_parameters(struct ww_jw *w, const struct ww_work *work)
{
    ww_jw_key(w, "externalParameters");
    ww_jw_object(w);
    ww_jw_key(w, "recipe");
    ww_jw_strn(w, (const char *)work->text.data, work->text.len);
    ww_jw_kbool(w, "paper", work->options->paper);
    ww_jw_kbool(w, "order_free", work->options->order_free);
    ww_jw_kbool(w, "allow_mixed", work->options->allow_mixed);
    write_number(w, "seed", work->options->seed);
    write_number(w, "shard_bytes", work->options->shard_bytes);
    ww_jw_close(w);
    ww_jw_key(w, "internalParameters");
    ww_jw_object(w);
    ww_jw_khex(w, "plan_sha256", work->plan_sha256, WW_SHA256_BYTES);
    ww_jw_kbool(w, "order_free", work->plan.order_free);
    ww_jw_close(w);
}

/* The digest of a source is that of its listed files' digests, in order. */
static enum ww_err source_digest(const struct ww_work_source *s,
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

static enum ww_err write_source(struct ww_jw *w, const struct ww_work_source *s,
                                struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES] = {0};
    enum ww_err rc = source_digest(s, digest, err);

    ww_jw_object(w);
    ww_jw_kstr(w, "name", s->name);
    write_digest(w, digest);
    ww_jw_key(w, "annotations");
    ww_jw_object(w);
    if (s->has_tree) {
        ww_jw_khex(w, "tensor_tree", s->tree, WW_SHA256_BYTES);
    }
    if (s->unlocked) {
        ww_jw_khex(w, "unlocked", s->lock_id, WW_SHA256_BYTES);
    }
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
    ww_jw_close(w);
    ww_jw_close(w);
    return rc;
}

static enum ww_err write_predicate(struct ww_jw *w, const struct ww_work *work,
                                   const struct ww_record *record, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    ww_jw_key(w, "predicate");
    ww_jw_object(w);
    ww_jw_key(w, "buildDefinition");
    ww_jw_object(w);
    ww_jw_kstr(w, "buildType", WW_MERGE_BUILD_TYPE);
    write_parameters(w, work);
    ww_jw_key(w, "resolvedDependencies");
    ww_jw_array(w);
    for (size_t i = 0; i < work->n_sources && !rc; i++) {
        rc = write_source(w, &work->sources[i], err);
    }
    ww_jw_close(w);
    ww_jw_close(w);
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
    ww_jw_key(w, "byproducts");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_kstr(w, "name", "tensor tree of the output");
    write_digest(w, record->tree);
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
    return rc;
}

enum ww_err ww_record_write(const struct ww_work *work, const struct ww_record *record,
                            struct ww_buf *out, struct ww_error *err)
{
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    ww_buf_init(out, MAX_RECORD_BYTES);
    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "_type", STATEMENT_TYPE);
    write_subjects(&w, record);
    ww_jw_kstr(&w, "predicateType", WW_PROVENANCE_PREDICATE);
    rc = write_predicate(&w, work, record, err);
    ww_jw_close(&w);
    return rc ? rc : ww_jw_end(&w, err);
}

static bool read_number(const struct ww_jnode *node, uint64_t *out)
{
    const char *text = NULL;
    return ww_jstr(node, &text) && ww_parse_u64(text, strlen(text), out);
}

static enum ww_err malformed(struct ww_error *err, const char *what)
{
    return WW_FAIL(err, WW_E_BUNDLE, "record of the merge: %s", what);
}

static enum ww_err read_build(const struct ww_jnode *build, struct ww_record_view *out,
                              struct ww_error *err)
{
    const struct ww_jnode *external = ww_jget(build, "externalParameters");
    const struct ww_jnode *internal = ww_jget(build, "internalParameters");
    const char *type = "";
    const char *plan = "";

    if (!ww_jstr(ww_jget(build, "buildType"), &type) ||
        strcmp(type, WW_MERGE_BUILD_TYPE) != 0) {
        return WW_FAIL(err, WW_E_VERSION,
                       "record of the merge: build type '%s', expected '%s'", type,
                       WW_MERGE_BUILD_TYPE);
    }
    if (!ww_jstr(ww_jget(external, "recipe"), &out->recipe) ||
        !ww_jbool(ww_jget(external, "paper"), &out->paper) ||
        !ww_jbool(ww_jget(external, "allow_mixed"), &out->allow_mixed) ||
        !read_number(ww_jget(external, "seed"), &out->seed) ||
        !read_number(ww_jget(external, "shard_bytes"), &out->shard_bytes)) {
        return malformed(err, "its external parameters are incomplete");
    }
    if (!ww_jstr(ww_jget(internal, "plan_sha256"), &plan) ||
        !ww_unhex(out->plan_sha256, WW_SHA256_BYTES, plan, strlen(plan))) {
        return malformed(err, "it has no digest of the plan");
    }
    /* Records of before had no such member. */
    (void)ww_jbool(ww_jget(external, "order_free"), &out->order_free);
    out->sources = ww_jget(build, "resolvedDependencies");
    return ww_jsize(out->sources) > 0 ? WW_OK : malformed(err, "it names no source");
}

enum ww_err ww_record_read(int dirfd, struct ww_record_view *out, struct ww_error *err)
{
    struct ww_error local = {0};
    const struct ww_jnode *root = NULL;
    const char *type = "";
    struct ww_buf payload;
    bool was_signed = false;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    ww_buf_init(&payload, ww_json_limits_bundle.max_bytes);
    rc = ww_statement_load(dirfd, WW_PROVENANCE_FILE, WW_PROVENANCE_PLAIN_FILE, &payload,
                           &was_signed, &local);
    if (rc == WW_E_NOTFOUND) {
        rc = WW_FAIL(err, WW_E_NOTFOUND,
                     "the folder holds no record of a merge: neither "
                     "'%s' nor '%s'",
                     WW_PROVENANCE_FILE, WW_PROVENANCE_PLAIN_FILE);
    } else if (rc) {
        rc = WW_FAIL(err, rc, "%s", local.text);
    }
    if (!rc) {
        rc = ww_json_parse(payload.data, payload.len, &ww_json_limits_bundle, &out->json,
                           err);
    }
    if (!rc) {
        root = ww_json_root(out->json);
        out->subjects = ww_jget(root, "subject");
        if (!ww_jstr(ww_jget(root, "predicateType"), &type) ||
            strcmp(type, WW_PROVENANCE_PREDICATE) != 0 || ww_jsize(out->subjects) < 2) {
            rc = malformed(err, "it is no statement of provenance");
        }
    }
    if (!rc) {
        rc = read_build(ww_jget(ww_jget(root, "predicate"), "buildDefinition"), out, err);
    }
    ww_buf_release(&payload);
    if (rc) {
        ww_record_release(out);
    }
    return rc;
}

void ww_record_release(struct ww_record_view *view)
{
    ww_json_free(view->json);
    memset(view, 0, sizeof(*view));
}
