/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members that share numbers. Whoever opens one of them reads the basis, which tells of
 * all of them; so all have the same recipients, and the basis has those.
 */
#include <string.h>

#include "crypto/recipient.h"
#include "merge/extract_write.h"
#include "rmm/asking.h"
#include "rmm/packing.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define NAME "basis"

enum ww_err ww_packing_group_check(const struct ww_packing *p, struct ww_error *err)
{
    const struct ww_pack_options *o = p->options;

    if (o->codec >= WW_PACK_CODECS) {
        return WW_FAIL(err, WW_E_USAGE, "codec %d is not known", (int)o->codec);
    }
    if (o->codec == WW_PACK_ALONE || p->n_given == 0) {
        return WW_OK;
    }
    if (o->inverses || (o->error != 0 && (o->codec == WW_PACK_ROWS || o->residual))) {
        return WW_FAIL(err, WW_E_USAGE,
                       "adapters that share rows come back as near as the number of "
                       "directions lets them; leave the error and the merge out");
    }
    if ((o->directions == 0) == (o->budget == 0)) {
        return WW_FAIL(err, WW_E_USAGE,
                       "say how many directions adapters share, or a budget for them");
    }
    if (o->codec == WW_PACK_CORE && (o->budget > 0 || (o->error == 0 && !o->residual))) {
        return WW_FAIL(err, WW_E_USAGE,
                       "say how close adapters come back that share a core, by an error "
                       "or exactly, and how many directions they share");
    }
    for (size_t i = 0; o->after && i < p->n_given; i++) {
        if (o->after[i]) {
            return WW_FAIL(
                err, WW_E_USAGE,
                "member '%s' cannot share numbers with others and be a version "
                "of '%s'",
                p->given[i].name, o->after[i]);
        }
    }
    return WW_OK;
}

static bool has(const uint8_t (*keys)[WW_X25519_BYTES], size_t n,
                const uint8_t key[WW_X25519_BYTES])
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(keys[i], key, WW_X25519_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

static enum ww_err same_recipients(const struct ww_pack_member *a,
                                   const struct ww_pack_member *b, struct ww_error *err)
{
    uint8_t(*of_a)[WW_X25519_BYTES] = NULL;
    uint8_t(*of_b)[WW_X25519_BYTES] = NULL;
    bool same = (a->n_to == 0) == (b->n_to == 0);
    enum ww_err rc = WW_OK;

    if (a->n_to > 0 && b->n_to > 0) {
        rc = ww_recipients_load(a->to, a->n_to, &of_a, err);
        if (!rc) {
            rc = ww_recipients_load(b->to, b->n_to, &of_b, err);
        }
        for (size_t i = 0; i < a->n_to && !rc; i++) {
            same = same && has((const uint8_t(*)[WW_X25519_BYTES])of_b, b->n_to, of_a[i]);
        }
        for (size_t i = 0; i < b->n_to && !rc; i++) {
            same = same && has((const uint8_t(*)[WW_X25519_BYTES])of_a, a->n_to, of_b[i]);
        }
    }
    ww_free(of_a);
    ww_free(of_b);
    if (rc || same) {
        return rc;
    }
    return WW_FAIL(err, WW_E_DENIED,
                   "members '%s' and '%s' have other recipients, and what adapters share "
                   "tells each of them about all; seal them for the same ones, or pack "
                   "each for itself",
                   a->name, b->name);
}

static bool is_taken(const struct ww_packing *p, const char *name)
{
    for (size_t i = 0; i < p->n_given; i++) {
        if (strcmp(p->given[i].name, name) == 0) {
            return true;
        }
    }
    return ww_pack_manifest_find(&p->manifest, name) != SIZE_MAX;
}

/* "basis", "basis-2", ...: the first that nobody has. */
static enum ww_err make_name(struct ww_packing *p, struct ww_error *err)
{
    p->basis_name = ww_strdup(NAME);
    for (unsigned i = 2; p->basis_name && is_taken(p, p->basis_name); i++) {
        ww_free(p->basis_name);
        p->basis_name = ww_asprintf(NAME "-%u", i);
    }
    return p->basis_name ? WW_OK : WW_FAIL_MEMORY(err, "what adapters share");
}

static enum ww_shared_codec codec_of(const struct ww_packing *p)
{
    return p->options->codec == WW_PACK_CORE ? WW_SHARED_CORE : WW_SHARED_ROWS;
}

static enum ww_err make(struct ww_packing *p, struct ww_error *err)
{
    const struct ww_basis_options how = {
        .codec = codec_of(p),
        .directions = p->options->directions,
        .loose = codec_of(p) == WW_SHARED_ROWS && !p->options->residual,
        .balanced = p->options->error > 0,
    };
    int scratch = -1;
    enum ww_err rc = ww_extract_scratch(p->path, &scratch, err);

    if (!rc) {
        rc = ww_basis_make(p->members, p->n_given, p->basis_name, &how, scratch,
                           &p->basis, err);
    }
    return rc ? rc
              : ww_basis_inherit(p->members, p->n_given, p->path, &p->basis.member, err);
}

enum ww_err ww_packing_group(struct ww_packing *p, struct ww_error *err)
{
    struct ww_pack_manifest_member *entry = &p->manifest.members[p->manifest.n_members];
    enum ww_err rc = WW_OK;

    if (p->options->codec == WW_PACK_ALONE || p->n_given == 0) {
        return WW_OK;
    }
    for (size_t i = 1; i < p->n_given && !rc; i++) {
        rc = same_recipients(&p->given[0], &p->given[i], err);
    }
    if (!rc) {
        rc = make_name(p, err);
    }
    if (!rc) {
        rc = make(p, err);
    }
    if (rc) {
        return rc;
    }
    p->pace.total += p->basis.member.bytes;
    entry->name = p->basis_name;
    entry->basis = true;
    entry->codec = codec_of(p);
    entry->directions = p->basis.directions;
    return ww_packing_write(p, &p->basis.member, &p->given[0], entry, err);
}
