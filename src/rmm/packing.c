/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A package is never changed in place: sections that stay are copied as they are, new
 * ones follow, and the new file takes the old one's name in one step. Dropping a member
 * leaves its section and its key behind in the file that is gone.
 */
#include "rmm/packing.h"

#include <string.h>

#include "evidence/provenance.h"
#include "rmm/pack_beside.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define ID_LABEL "weightward/package/id/v1"

static enum ww_err check_names(const struct ww_packing *p, struct ww_error *err)
{
    for (size_t i = 0; i < p->n_given; i++) {
        const char *name = p->given[i].name;
        bool twice = p->old && ww_pack_manifest_find(&p->old->manifest, name) != SIZE_MAX;
        if (!ww_path_is_bare(name)) {
            return WW_FAIL(err, WW_E_USAGE, "'%s' cannot be the name of a member", name);
        }
        for (size_t k = 0; k < i; k++) {
            twice = twice || strcmp(p->given[k].name, name) == 0;
        }
        if (twice) {
            return WW_FAIL(err, WW_E_USAGE,
                           "there are two members '%s'; each needs a name of its own",
                           name);
        }
    }
    return WW_OK;
}

static enum ww_err check(const struct ww_packing *p, struct ww_error *err)
{
    const size_t n = p->n_given + (p->options->codec != WW_PACK_ALONE) +
                     (p->old ? p->old->manifest.n_members : 0);

    if (p->options->run.resume) {
        return WW_FAIL(err, WW_E_USAGE, "packing cannot be resumed; start anew");
    }
    if (p->options->error != 0 &&
        !(p->options->error >= 1e-4 && p->options->error <= 1)) {
        return WW_FAIL(err, WW_E_USAGE, "an error of %g, expected 0.0001 to 1",
                       p->options->error);
    }
    if (p->options->budget > 0 && p->options->inverses) {
        return WW_FAIL(err, WW_E_USAGE,
                       "sources that come back out of a merge are packed exactly; leave "
                       "the budget out");
    }
    if (p->options->inverses && (!p->options->base || p->options->error != 0)) {
        return WW_FAIL(err, WW_E_USAGE,
                       "sources that come back out of a merge are packed exactly, with "
                       "the merge as their base; leave the error out and name it");
    }
    if (n > WW_PACK_MAX_MEMBERS) {
        return WW_FAIL(err, WW_E_LIMIT, "%zu members, at most %d fit in a package", n,
                       WW_PACK_MAX_MEMBERS);
    }
    if (p->options->signer && p->n_given > WW_PROVENANCE_MAX_SOURCES - 2) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "%zu members at once, at most %d in one signed step: add the "
                       "others afterwards",
                       p->n_given, WW_PROVENANCE_MAX_SOURCES - 2);
    }
    if (p->old && p->old->bundle.len > 0 && !p->options->signer) {
        return WW_FAIL(err, WW_E_USAGE,
                       "package '%s' is signed; name the key that signs its next "
                       "version: --sign KEY",
                       p->path);
    }
    enum ww_err rc = check_names(p, err);
    if (!rc) {
        rc = ww_packing_group_check(p, err);
    }
    if (!rc) {
        rc = ww_packing_chain_check(p, err);
    }
    return rc ? rc : ww_packing_drop_check(p, err);
}

/* Was the member coded while the base was merged? */
static void use_beside(struct ww_packing *p, size_t i)
{
    struct ww_member *member = &p->members[i];

    member->beside_source =
        ww_beside_find(p->options->beside, p->given[i].path, &member->unmerge);
    member->beside = member->beside_source == SIZE_MAX ? NULL : p->options->beside;
}

static enum ww_err open_all(struct ww_packing *p, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    uint64_t total = 0;

    if (p->options->base && p->n_given > 0 && !p->base_lent) {
        rc = ww_model_open(p->options->base, &p->base, err);
    }
    p->members = ww_calloc(p->n_given, sizeof(*p->members));
    if (!rc && !p->members) {
        rc = WW_FAIL_MEMORY(err, "members");
    }
    for (size_t i = 0; i < p->n_given && !rc; i++) {
        rc = ww_member_open(p->given[i].name, p->given[i].path, p->base,
                            p->options->error, &p->members[i], err);
        if (!rc && p->options->inverses) {
            rc = ww_unmerge_open(&p->options->inverses[i], &p->members[i].unmerge, err);
        }
        if (!rc && p->options->inverses) {
            use_beside(p, i);
        }
        total += p->members[i].bytes;
    }
    if (!rc) {
        rc = ww_base_use_init(&p->use, p->base, err);
    }
    if (!rc) {
        rc = ww_pack_crew_new(&p->options->run, &p->crew, err);
    }
    ww_pace_begin(&p->pace, &p->options->run, "pack", total);
    return rc;
}

/* The old package's statements about the base stay, even when no member needs them. */
static enum ww_err begin_manifest(struct ww_packing *p, struct ww_error *err)
{
    struct ww_pack_manifest *m = &p->manifest;
    const struct ww_pack_manifest *old = p->old ? &p->old->manifest : NULL;
    const size_t n = p->n_given + 1 + (old ? old->n_members : 0); /* and a basis */

    m->version = 1;
    m->members = ww_calloc(n, sizeof(*m->members));
    p->parents = ww_calloc(n, sizeof(*p->parents));
    m->tensors = ww_calloc(old ? old->n_tensors : 0, sizeof(*m->tensors));
    m->files = ww_calloc(old ? old->n_files : 0, sizeof(*m->files));
    if (!m->members || !p->parents || !m->tensors || !m->files) {
        return WW_FAIL_MEMORY(err, "a manifest");
    }
    if (!old) {
        return WW_OK;
    }
    m->version = old->version + 1;
    memcpy(m->id, old->id, sizeof(m->id));
    m->has_previous = true;
    memcpy(m->previous, p->old->head.manifest_sha256, sizeof(m->previous));
    m->base_name = old->base_name;
    for (size_t i = 0; i < old->n_tensors; i++) {
        m->tensors[i] = old->tensors[i];
    }
    for (size_t i = 0; i < old->n_files; i++) {
        m->files[i] = old->files[i];
    }
    m->n_tensors = old->n_tensors;
    m->n_files = old->n_files;
    return WW_OK;
}

/* Its key record as it stands. */
static enum ww_err keep_key(struct ww_packing *p, size_t i, struct ww_error *err)
{
    const struct ww_record *record = &p->old->records[i];
    const uint8_t *at = record->bytes;

    return ww_pack_keys_add(&p->keys, at, ww_get_u32le(at - 4), err);
}

static enum ww_err copy_old(struct ww_packing *p, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; p->old && i < p->old->manifest.n_members && !rc; i++) {
        struct ww_pack_manifest_member *entry =
            &p->manifest.members[p->manifest.n_members];
        if (i == p->drop) {
            continue;
        }
        *entry = p->old->manifest.members[i];
        entry->offset = p->made.at;
        p->manifest.n_members++;
        rc = ww_pack_new_copy(&p->made, p->old, i, err);
        if (!rc && entry->sealed) {
            rc = keep_key(p, i, err);
        }
    }
    return rc;
}

/* Of a version: what it is coded against, opened. */
static enum ww_err set_parent(struct ww_packing *p, size_t i,
                              struct ww_pack_manifest_member *entry, struct ww_error *err)
{
    const char *name = p->options->after ? p->options->after[i] : NULL;
    enum ww_err rc = WW_OK;

    name = p->basis_name ? p->basis_name : name;

    if (!name) {
        return WW_OK;
    }
    rc = ww_packing_parent(p, name, &p->members[i].parent, err);
    if (rc) {
        return rc;
    }
    p->members[i].rooms = &p->rooms;
    entry->parent = name;
    entry->depth = p->members[i].parent->view.member->depth + 1;
    if (entry->depth > WW_PACK_MAX_CHAIN) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "member '%s' would be the %uth version in a row, at most %d are "
                       "read one through the other; pack it against the base",
                       p->given[i].name, entry->depth, WW_PACK_MAX_CHAIN);
    }
    return WW_OK;
}

enum ww_err ww_packing_write(struct ww_packing *p, struct ww_member *member,
                             const struct ww_pack_member *given,
                             struct ww_pack_manifest_member *entry, struct ww_error *err)
{
    const size_t at = p->manifest.n_members;
    struct ww_secret *key = NULL;
    struct ww_section_out out = {
        .fd = p->made.fd, .name = p->made.partial, .at = p->made.at};
    enum ww_err rc = WW_OK;

    entry->offset = p->made.at;
    p->manifest.n_members++;
    if (given->n_to > 0) {
        rc = ww_packing_seal(p, given, entry, &key, err);
    }
    out.key = key;
    out.cipher = entry->cipher;
    if (!rc) {
        rc = ww_section_begin(&out, err);
    }
    if (!rc) {
        const struct ww_member_out one = {member, &out, entry};
        rc = ww_members_write(&one, 1, &p->use, p->crew, &p->pace, err);
    }
    ww_pack_new_after(&p->made, out.at);
    if (entry->sealed) {
        memset(entry->coded, 0, sizeof(entry->coded));
    }
    ww_section_out_release(&out);
    if (rc) {
        ww_secret_free(key);
        return rc;
    }
    return ww_packing_keep(p, at, key, err);
}

void ww_packing_entry(const struct ww_packing *p, size_t i,
                      struct ww_pack_manifest_member *entry)
{
    const struct ww_member *member = &p->members[i];

    entry->name = p->given[i].name;
    entry->bounded = p->options->error > 0 || member->loose;
    entry->of_base = member->unmerge.of_base;
    entry->others = member->unmerge.others;
    entry->n_others = member->unmerge.n;
}

static enum ww_err write_member(struct ww_packing *p, size_t i, struct ww_error *err)
{
    struct ww_pack_manifest_member *entry = &p->manifest.members[p->manifest.n_members];
    enum ww_err rc = WW_OK;

    ww_packing_entry(p, i, entry);
    rc = set_parent(p, i, entry, err);
    return rc ? rc : ww_packing_write(p, &p->members[i], &p->given[i], entry, err);
}

static enum ww_err write_members(struct ww_packing *p, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (p->options->inverses && p->n_given > 1) {
        return ww_packing_together(p, err);
    }
    for (size_t i = 0; i < p->n_given && !rc; i++) {
        rc = write_member(p, i, err);
    }
    return rc;
}

/* From what is in the package and nothing else, so that it can be made again. */
static void make_id(struct ww_pack_manifest *m, struct ww_sha256 *sha)
{
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_update(sha, ID_LABEL, sizeof(ID_LABEL));
    for (size_t i = 0; i < m->n_members; i++) {
        ww_sha256_update(sha, m->members[i].name, strlen(m->members[i].name) + 1);
        ww_sha256_update(sha, m->members[i].commitment, WW_SHA256_BYTES);
    }
    ww_sha256_final(sha, digest);
    memcpy(m->id, digest, sizeof(m->id));
}

/* Nothing that comes back of an adapter shows which base it was trained on. */
static enum ww_err name_base(struct ww_packing *p, struct ww_error *err)
{
    bool adapters = false;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < p->n_given; i++) {
        adapters = adapters || p->members[i].adapter;
    }
    if (p->base && adapters && !p->options->inverses) {
        rc = p->measured_base
                 ? ww_base_use_whole_again(&p->use, p->measured_base, &p->pace, err)
                 : ww_base_use_whole(&p->use, &p->pace, err);
    }
    return rc ? rc : ww_base_use_note(&p->use, &p->manifest, err);
}

static enum ww_err finish(struct ww_packing *p, struct ww_error *err)
{
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = name_base(p, err);

    if (!rc && p->base) {
        rc = ww_model_unchanged(p->base, err);
    }
    for (size_t i = 0; i < p->n_given && !rc; i++) {
        rc = ww_unmerge_unchanged(&p->members[i].unmerge, err);
    }
    if (!rc && !p->old) {
        rc = ww_sha256_new(&sha, err);
        if (!rc) {
            make_id(&p->manifest, sha);
        }
        ww_sha256_free(sha);
    }
    if (!rc && p->old) {
        rc = ww_file_unchanged(p->old->fd, &p->old->st, p->path, err);
    }
    if (rc) {
        return rc;
    }
    if (p->measured) {
        return ww_pack_new_measure(&p->made, &p->manifest, p->options->signer != NULL,
                                   &p->keys, p->measured, err);
    }
    p->made.most = p->most;
    return ww_pack_new_finish(&p->made, &p->manifest, p->options->signer, &p->keys,
                              p->old != NULL, err);
}

static void release(struct ww_packing *p)
{
    for (size_t i = 0; p->members && i < p->n_given; i++) {
        if (p->members[i].path) {
            ww_member_close(&p->members[i]);
        }
    }
    ww_free(p->members);
    ww_basis_release(&p->basis);
    for (size_t i = 0; p->parents && i < p->manifest.n_members; i++) {
        ww_parent_close(&p->parents[i]);
    }
    ww_free(p->parents);
    ww_unpack_rooms_release(&p->rooms);
    ww_base_use_release(&p->use);
    ww_pack_crew_free(p->crew);
    if (!p->base_lent) {
        ww_model_close(p->base);
    }
    ww_pack_manifest_release(&p->manifest);
    ww_free(p->basis_name);
    p->basis_name = NULL;
    ww_buf_release(&p->keys);
}

/* Between its name and this another run may have written the next version. */
static enum ww_err open_written(const struct ww_packing *p, const uint8_t sha256[],
                                struct ww_pack_file *out, struct ww_error *err)
{
    enum ww_err rc = ww_pack_open(p->path, out, err);

    if (!rc && memcmp(out->head.manifest_sha256, sha256, WW_SHA256_BYTES) != 0) {
        ww_pack_close(out);
        rc = WW_FAIL(err, WW_E_CHANGED,
                     "another run has written the version after it already");
    }
    return rc;
}

/* sha256: of the manifest that was written. */
static enum ww_err describe(const struct ww_packing *p, const uint8_t sha256[],
                            struct ww_pack_report *report, struct ww_error *err)
{
    const char *missing = "a report of it";
    struct ww_pack_file written;
    enum ww_err rc = open_written(p, sha256, &written, err);

    if (!rc) {
        rc = ww_pack_describe(&written, report, err);
        if (!rc) {
            rc = ww_packing_doubts(p, report, err);
        }
        if (!rc) {
            rc = ww_packing_evidence(p, &written, err);
            missing = "its evidence";
        }
        ww_pack_close(&written);
    }
    if (rc) {
        ww_error_context(err, "package '%s' is there, but not %s", p->path, missing);
    }
    report->run.bytes_read = p->pace.total;
    report->run.bytes_written = report->bytes;
    report->run.seconds = ww_pace_seconds(&p->pace);
    return rc;
}

enum ww_err ww_packing_run(struct ww_packing *p, struct ww_pack_report *report,
                           struct ww_error *err)
{
    enum ww_err rc = check(p, err);

    memset(report, 0, sizeof(*report));
    ww_buf_init(&p->keys, (size_t)WW_PACK_MAX_KEYS);
    ww_unpack_rooms_init(&p->rooms);
    p->made.dirfd = -1;
    p->made.fd = -1;
    if (!rc) {
        rc = open_all(p, err);
    }
    if (!rc) {
        rc = begin_manifest(p, err);
    }
    if (!rc) {
        rc = ww_pack_new_begin(p->path, &p->made, err);
        p->made.folder = p->made.folder || p->options->folder;
    }
    if (!rc) {
        rc = copy_old(p, err);
    }
    if (!rc) {
        rc = ww_packing_group(p, err);
    }
    if (!rc) {
        rc = write_members(p, err);
    }
    if (!rc) {
        rc = finish(p, err);
    }
    uint8_t written[WW_SHA256_BYTES];
    memcpy(written, p->made.manifest_sha256, sizeof(written));
    ww_pack_new_release(&p->made);
    if (!rc && !p->measured) {
        rc = describe(p, written, report, err);
    }
    release(p);
    return rc;
}
