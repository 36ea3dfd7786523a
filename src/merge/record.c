/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a merge: provenance (evidence/provenance.h) with the recipe in it.
 * Everything that decides the output's bytes is in it, so that anyone who has the sources
 * can compute the output again. docs/formats/merge-record.md has the members.
 */
#include <string.h>

#include "merge/merge_work.h"
#include "util/alloc.h"
#include "util/fail.h"

static void write_external(struct ww_jw *w, const void *payload)
{
    const struct ww_work *work = payload;

    ww_jw_key(w, "recipe");
    ww_jw_strn(w, (const char *)work->text.data, work->text.len);
    ww_jw_kbool(w, "paper", work->options->paper);
    if (work->options->peer_arithmetic) {
        ww_jw_kbool(w, "peer_arithmetic", true);
    }
    ww_jw_kbool(w, "order_free", work->options->order_free);
    ww_jw_kbool(w, "allow_mixed", work->options->allow_mixed);
    ww_jw_kdecimal(w, "seed", work->options->seed);
    ww_jw_kdecimal(w, "shard_bytes", work->options->shard_bytes);
}

static void write_internal(struct ww_jw *w, const void *payload)
{
    const struct ww_work *work = payload;

    ww_jw_khex(w, "plan_sha256", work->plan_sha256, WW_SHA256_BYTES);
    ww_jw_kbool(w, "order_free", work->plan.order_free);
    if (work->report && work->report->method) {
        ww_jw_kstr(w, "method", work->report->method);
    }
    if (work->state && work->state->tasks) {
        ww_jw_key(w, "continual");
        ww_jw_object(w);
        ww_jw_kdecimal(w, "tasks", work->state->tasks);
        ww_jw_kdouble(w, "mean_norm", work->state->mean_norm);
        ww_jw_kdouble(w, "scale", work->state->scale);
        ww_jw_close(w);
    }
}

enum ww_err ww_record_write(const struct ww_work *work, const struct ww_record *record,
                            struct ww_buf *out, struct ww_error *err)
{
    struct ww_provenance_source *sources = ww_calloc(work->n_sources, sizeof(*sources));
    const struct ww_provenance provenance = {.build_type = WW_MERGE_BUILD_TYPE,
                                             .name = record->out_name,
                                             .root = record->root,
                                             .files = record->files,
                                             .n_files = record->n_files,
                                             .tree = record->tree,
                                             .external = write_external,
                                             .internal = write_internal,
                                             .payload = work,
                                             .sources = sources,
                                             .n_sources = work->n_sources};
    enum ww_err rc = WW_OK;

    if (!sources) {
        return WW_FAIL_MEMORY(err, "%zu sources", work->n_sources);
    }
    for (size_t i = 0; i < work->n_sources; i++) {
        const struct ww_work_source *s = &work->sources[i];
        sources[i] =
            (struct ww_provenance_source){.name = s->name,
                                          .files = s->files,
                                          .sizes = s->sizes,
                                          .n_files = s->n_files,
                                          .tree = s->has_tree ? s->tree : NULL,
                                          .lock_id = s->unlocked ? s->lock_id : NULL,
                                          .evidence = s->evidence};
    }
    rc = ww_provenance_write(&provenance, out, err);
    ww_free(sources);
    return rc;
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
    if (!ww_jhex(ww_jget(internal, "plan_sha256"), out->plan_sha256, WW_SHA256_BYTES)) {
        return malformed(err, "it has no digest of the plan");
    }
    const struct ww_jnode *state = ww_jget(internal, "continual");
    (void)ww_jstr(ww_jget(internal, "method"), &out->method);
    if (!read_number(ww_jget(state, "tasks"), &out->state.tasks) ||
        !ww_jdouble(ww_jget(state, "mean_norm"), &out->state.mean_norm) ||
        !ww_jdouble(ww_jget(state, "scale"), &out->state.scale)) {
        out->state.tasks = 0;
    }
    /* Records of before had no such member. */
    (void)ww_jbool(ww_jget(external, "order_free"), &out->order_free);
    (void)ww_jbool(ww_jget(external, "peer_arithmetic"), &out->peer_arithmetic);
    out->sources = ww_jget(build, "resolvedDependencies");
    return ww_jsize(out->sources) > 0 ? WW_OK : malformed(err, "it names no source");
}

enum ww_err ww_record_view_parse(const uint8_t *text, size_t len,
                                 struct ww_record_view *out, struct ww_error *err)
{
    const struct ww_jnode *root = NULL;
    const char *type = "";
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_json_parse(text, len, &ww_json_limits_bundle, &out->json, err);
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
    if (rc) {
        ww_record_release(out);
    }
    return rc;
}

enum ww_err ww_record_read(int dirfd, struct ww_record_view *out, struct ww_error *err)
{
    struct ww_error local = {0};
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
        rc = ww_record_view_parse(payload.data, payload.len, out, err);
    }
    ww_buf_release(&payload);
    return rc;
}

void ww_record_release(struct ww_record_view *view)
{
    ww_json_free(view->json);
    memset(view, 0, sizeof(*view));
}

const struct ww_jnode *ww_record_named(const struct ww_jnode *list, const char *name)
{
    for (const struct ww_jnode *n = ww_jfirst(list); n; n = ww_jnext(n)) {
        const char *s = NULL;
        if (ww_jstr(ww_jget(n, "name"), &s) && strcmp(s, name) == 0) {
            return n;
        }
    }
    return NULL;
}

bool ww_record_has_digest(const struct ww_jnode *node,
                          const uint8_t sha256[WW_SHA256_BYTES])
{
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    const char *stated = NULL;

    ww_hex(hex, sha256, WW_SHA256_BYTES);
    return ww_jstr(ww_jget(ww_jget(node, "digest"), "sha256"), &stated) &&
           strcmp(stated, hex) == 0;
}

enum ww_err ww_record_check_sources(const struct ww_record_view *record,
                                    const struct ww_work *work, struct ww_error *err)
{
    for (size_t i = 0; i < work->n_sources; i++) {
        const struct ww_work_source *s = &work->sources[i];
        const struct ww_jnode *stated = ww_record_named(record->sources, s->name);
        const struct ww_jnode *files = ww_jget(ww_jget(stated, "annotations"), "files");
        for (size_t f = 0; f < s->n_files; f++) {
            if (!ww_record_has_digest(ww_record_named(files, s->files[f].name),
                                      s->files[f].sha256)) {
                return WW_FAIL(
                    err, WW_E_DIFFERS,
                    "source '%s' is not the one that was merged: its file '%s' "
                    "has another digest",
                    s->name, s->files[f].name);
            }
        }
    }
    return WW_OK;
}
