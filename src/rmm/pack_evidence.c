/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a signed package was made of: the base, the members that were added and, of a
 * package that was changed, the version before, of which the sections were copied as they
 * are. So a version names the statement of the one before, and a dropped member stays in
 * the history. Of a sealed member there is its commitment and nothing else: a digest of
 * its files would let anyone test a guess, which the package itself does not.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "evidence/beside.h"
#include "evidence/chain.h"
#include "rmm/packing.h"
#include "sign/digests.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define COMMITMENT "commitment of a sealed member"

/* A source in the making: its lists are its own. */
struct material {
    char *name; /* NULL: borrowed by the source */
    struct ww_resource *files;
    uint64_t *sizes;
    size_t n;
    uint8_t tree[WW_SHA256_BYTES];
};

struct making {
    const struct ww_packing *p;
    const struct ww_pack_file *made;
    struct ww_ancestors ancestors;
    struct material *materials;
    struct ww_provenance_source *sources;
    size_t n;
};

static enum ww_err begin(struct material *m, size_t room, struct ww_error *err)
{
    m->files = ww_calloc(room, sizeof(*m->files));
    m->sizes = ww_calloc(room, sizeof(*m->sizes));
    return m->files && m->sizes ? WW_OK
                                : WW_FAIL_MEMORY(err, "the evidence of a package");
}

static void add_file(struct material *m, const char *name,
                     const uint8_t sha256[WW_SHA256_BYTES], uint64_t bytes)
{
    m->files[m->n].name = name;
    memcpy(m->files[m->n].sha256, sha256, WW_SHA256_BYTES);
    m->sizes[m->n++] = bytes;
}

/* The lists are in the material; evidence and tree follow, where the source has them. */
static enum ww_err end(struct making *x, const char *name, int dirfd,
                       struct ww_error *err)
{
    struct material *m = &x->materials[x->n];
    struct ww_provenance_source *s = &x->sources[x->n++];
    enum ww_err rc = WW_OK;

    *s = (struct ww_provenance_source){
        .name = name, .files = m->files, .sizes = m->sizes, .n_files = m->n};
    if (dirfd < 0) {
        return WW_OK;
    }
    rc = ww_ancestors_gather(&x->ancestors, dirfd, &s->evidence, err);
    if (!rc && ww_ancestors_tree(&x->ancestors, &s->evidence, m->files, m->n, m->tree)) {
        s->tree = m->tree;
    }
    return rc;
}

/* Weight files as they are, and the side files that members have unchanged. */
static enum ww_err add_base(struct making *x, struct ww_error *err)
{
    const struct ww_model *base = x->p->base;
    struct material *m = &x->materials[x->n];
    struct ww_file_digest *weights = ww_calloc(base->n_files, sizeof(*weights));
    enum ww_err rc = weights ? begin(m, (size_t)base->n_files + base->n_side, err)
                             : WW_FAIL_MEMORY(err, "the evidence of a package");

    for (uint32_t i = 0; i < base->n_files && !rc; i++) {
        weights[i].path = base->files[i].name;
    }
    if (!rc) {
        rc = ww_digest_files(base->dirfd, weights, base->n_files, "sha256", "base",
                             &x->p->options->run, err);
    }
    for (uint32_t i = 0; i < base->n_files && !rc; i++) {
        add_file(m, weights[i].path, weights[i].digest, weights[i].size_bytes);
    }
    for (uint32_t i = 0; i < base->n_side && !rc; i++) {
        const struct ww_base_file *f = &x->p->use.files[i];
        if (f->path && !ww_is_evidence(f->path) && !ww_oms_leaves_out(f->path)) {
            add_file(m, f->path, f->sha256, f->size_bytes);
        }
    }
    ww_free(weights);
    return rc ? rc : end(x, base->name, base->dirfd, err);
}

static size_t kept(const struct ww_packing *p)
{
    return p->old->manifest.n_members - (p->drop != WW_PACK_KEEP_ALL);
}

/* The version before: what was taken of it are sections. Its evidence may be missing, or
 * after a crash be that of a still older one, in which members of it would have no
 * origin.
 */
static enum ww_err add_old(struct making *x, struct ww_error *err)
{
    const struct ww_packing *p = x->p;
    const struct ww_pack_manifest *old = &p->old->manifest;
    struct material *m = &x->materials[x->n];
    bool is_file = false;
    int dirfd = -1;
    enum ww_err rc = begin(m, old->n_members + 1, err);

    m->name = ww_asprintf("%s version %" PRIu64, ww_path_base(p->path), old->version);
    if (!rc && !m->name) {
        rc = WW_FAIL_MEMORY(err, "the evidence of a package");
    }
    for (size_t i = 0; i < old->n_members && !rc; i++) {
        if (i != p->drop) {
            add_file(m, old->members[i].name, old->members[i].sha256,
                     old->members[i].bytes);
        }
    }
    if (!rc && ww_evidence_dir(p->path, &is_file, &dirfd, NULL) != WW_OK) {
        dirfd = -1;
    }
    if (!rc) {
        const bool fits =
            dirfd >= 0 && ww_evidence_speaks_of(dirfd, p->old->head.manifest_sha256);
        rc = end(x, m->name, fits ? dirfd : -1, err);
    }
    if (dirfd >= 0) {
        close(dirfd);
    }
    return rc;
}

/* What was read of a member that comes back changed: its table knows what comes back. */
static enum ww_err hash_member(const struct making *x, const struct ww_member *member,
                               struct ww_file_digest **out, struct ww_error *err)
{
    const uint32_t n = member->table.n_files;
    struct ww_file_digest *digests = ww_calloc(n, sizeof(*digests));

    *out = digests;
    if (!digests) {
        return WW_FAIL_MEMORY(err, "the evidence of a package");
    }
    for (uint32_t i = 0; i < n; i++) {
        digests[i].path = member->table.files[i].path;
    }
    return ww_digest_files(member->dirfd, digests, n, "sha256", "member",
                           &x->p->options->run, err);
}

static enum ww_err add_open(struct making *x, const struct ww_member *member,
                            struct ww_error *err)
{
    struct material *m = &x->materials[x->n];
    struct ww_file_digest *digests = NULL;
    enum ww_err rc = begin(m, member->table.n_files, err);

    if (!rc && (member->error > 0 || member->loose)) {
        rc = hash_member(x, member, &digests, err);
    }
    for (uint32_t i = 0; i < member->table.n_files && !rc; i++) {
        const struct ww_pack_table_file *f = &member->table.files[i];
        if (!ww_is_evidence(f->path) && !ww_oms_leaves_out(f->path)) {
            add_file(m, f->path, digests ? digests[i].digest : f->sha256, f->size_bytes);
        }
    }
    ww_free(digests);
    return rc ? rc : end(x, member->name, member->dirfd, err);
}

static enum ww_err add_sealed(struct making *x,
                              const struct ww_pack_manifest_member *entry,
                              struct ww_error *err)
{
    struct material *m = &x->materials[x->n];
    enum ww_err rc = begin(m, 1, err);

    if (!rc) {
        add_file(m, COMMITMENT, entry->commitment, entry->files_bytes);
        rc = end(x, entry->name, -1, err);
    }
    return rc;
}

static enum ww_err collect(struct making *x, struct ww_error *err)
{
    const struct ww_packing *p = x->p;
    const size_t room = p->n_given + 2;
    enum ww_err rc = WW_OK;

    x->materials = ww_calloc(room, sizeof(*x->materials));
    x->sources = ww_calloc(room, sizeof(*x->sources));
    if (!x->materials || !x->sources) {
        return WW_FAIL_MEMORY(err, "the evidence of a package");
    }
    if (p->base) {
        rc = add_base(x, err);
    }
    if (!rc && p->old && kept(p) > 0) {
        rc = add_old(x, err);
    }
    for (size_t i = 0; i < p->n_given && !rc; i++) {
        const size_t at = ww_pack_manifest_find(&p->manifest, p->given[i].name);
        const struct ww_pack_manifest_member *entry = &p->manifest.members[at];
        rc = entry->sealed ? add_sealed(x, entry, err) : add_open(x, &p->members[i], err);
    }
    return rc;
}

/* What was asked for, or where nobody said how close, how close the farthest came. */
static double error_of(const struct ww_packing *p)
{
    double error = p->options->error;

    for (size_t i = 0; i < p->n_given; i++) {
        const size_t at = ww_pack_manifest_find(&p->manifest, p->given[i].name);
        const double one = p->members[i].loose ? p->manifest.members[at].error : 0;
        error = one > error ? one : error;
    }
    return error;
}

static void write_external(struct ww_jw *w, const void *payload)
{
    const struct making *x = payload;
    const struct ww_packing *p = x->p;

    ww_jw_kstr(w, "step", p->n_given == 0 ? "drop" : p->old ? "add" : "pack");
    if (p->n_given == 0) {
        ww_jw_kstr(w, "dropped", p->old->manifest.members[p->drop].name);
    } else {
        const bool loose = p->options->codec == WW_PACK_ROWS && !p->options->residual;
        ww_jw_kstr(w, "mode", p->options->error > 0 || loose ? "bounded" : "exact");
        ww_jw_kdouble(w, "error", error_of(p));
    }
    ww_jw_kdecimal(w, "version", x->made->manifest.version);
}

static void write_internal(struct ww_jw *w, const void *payload)
{
    const struct making *x = payload;

    ww_jw_khex(w, "id", x->made->manifest.id, WW_PACK_ID_BYTES);
}

static enum ww_err put(struct making *x, struct ww_error *err)
{
    const struct ww_pack_manifest *m = &x->made->manifest;
    struct ww_resource *sections = ww_calloc(m->n_members, sizeof(*sections));
    const struct ww_provenance provenance = {.build_type = WW_PACK_BUILD_TYPE,
                                             .name = ww_path_base(x->p->path),
                                             .root = x->made->head.manifest_sha256,
                                             .files = sections,
                                             .n_files = m->n_members,
                                             .external = write_external,
                                             .internal = write_internal,
                                             .payload = x,
                                             .sources = x->sources,
                                             .n_sources = x->n};
    enum ww_err rc = sections ? WW_OK : WW_FAIL_MEMORY(err, "the evidence of a package");

    for (size_t i = 0; i < m->n_members && !rc; i++) {
        sections[i].name = m->members[i].name;
        memcpy(sections[i].sha256, m->members[i].sha256, WW_SHA256_BYTES);
    }
    if (!rc) {
        rc = ww_evidence_beside(x->p->path, &provenance, &x->ancestors,
                                x->p->options->signer, err);
    }
    ww_free(sections);
    return rc;
}

enum ww_err ww_packing_evidence(const struct ww_packing *p,
                                const struct ww_pack_file *made, struct ww_error *err)
{
    struct making x = {.p = p, .made = made};
    enum ww_err rc = WW_OK;

    if (!p->options->signer || made->manifest.n_members == 0) {
        return WW_OK;
    }
    rc = collect(&x, err);
    if (!rc) {
        rc = put(&x, err);
    }
    for (size_t i = 0; x.materials && i < p->n_given + 2; i++) {
        ww_free(x.materials[i].name);
        ww_free(x.materials[i].files);
        ww_free(x.materials[i].sizes);
    }
    ww_free(x.materials);
    ww_free(x.sources);
    ww_ancestors_release(&x.ancestors);
    return rc;
}
