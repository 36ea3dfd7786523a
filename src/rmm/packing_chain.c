/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions while a package is written. A parent is read back from the package that is
 * being made, so that it is what a reader will have, also when it is within an error or
 * was sealed a moment ago. Whoever opens a version must open its parent for that, so each
 * of its recipients has to be one of the parent's: being allowed one thing never quietly
 * gives another.
 */
#include <string.h>

#include "crypto/recipient.h"
#include "rmm/packing.h"
#include "util/alloc.h"
#include "util/fail.h"

/* What a child may name: a member that stays, or one that is given before it. */
struct named {
    const struct ww_pack_manifest_member *old; /* NULL: */
    const struct ww_record *record;            /* of a sealed old one */
    const struct ww_pack_member *given;
};

static bool find(const struct ww_packing *p, size_t child, struct named *out)
{
    const char *name = p->options->after[child];
    const size_t old = p->old ? ww_pack_manifest_find(&p->old->manifest, name) : SIZE_MAX;

    memset(out, 0, sizeof(*out));
    if (old != SIZE_MAX && old != p->drop) {
        out->old = &p->old->manifest.members[old];
        out->record = out->old->sealed ? &p->old->records[old] : NULL;
        return true;
    }
    for (size_t i = 0; i < child; i++) {
        if (strcmp(p->given[i].name, name) == 0) {
            out->given = &p->given[i];
            return true;
        }
    }
    return false;
}

/* to NULL: it is for everyone. */
static enum ww_err not_among(const char *child, const char *parent, bool basis,
                             const char *to, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_DENIED,
                   "member '%s' is %s '%s', which %s%s%s may not open, and cannot be "
                   "read without it; seal '%s' for them first, or pack '%s' for itself",
                   child, basis ? "coded by" : "a version of", parent, to ? "'" : "",
                   to ? to : "everyone", to ? "'" : "", parent, child);
}

static bool is_among(const struct ww_record *record,
                     const uint8_t (*keys)[WW_X25519_BYTES], size_t n_keys,
                     const uint8_t key[WW_X25519_BYTES])
{
    uint8_t id[WW_RECORD_ID_BYTES];
    bool found = false;

    ww_recipient_id(key, id);
    for (size_t i = 0; record && i < record->n_stanzas; i++) {
        found = found || memcmp(ww_record_recipient(record, i), id, sizeof(id)) == 0;
    }
    for (size_t i = 0; i < n_keys; i++) {
        found = found || memcmp(keys[i], key, WW_X25519_BYTES) == 0;
    }
    return found;
}

static enum ww_err check_recipients(const struct ww_pack_member *child,
                                    const char *parent, const struct named *of,
                                    struct ww_error *err)
{
    const bool sealed = of->old ? of->old->sealed : of->given->n_to > 0;
    const size_t n_given = of->given ? of->given->n_to : 0;
    uint8_t(*keys)[WW_X25519_BYTES] = NULL;
    uint8_t(*theirs)[WW_X25519_BYTES] = NULL;
    enum ww_err rc = WW_OK;

    if (!sealed) {
        return WW_OK;
    }
    if (child->n_to == 0) {
        return not_among(child->name, parent, false, NULL, err);
    }
    rc = ww_recipients_load(child->to, child->n_to, &keys, err);
    if (!rc && n_given > 0) {
        rc = ww_recipients_load(of->given->to, n_given, &theirs, err);
    }
    for (size_t i = 0; i < child->n_to && !rc; i++) {
        if (!is_among(of->record, (const uint8_t(*)[WW_X25519_BYTES])theirs, n_given,
                      keys[i])) {
            rc = not_among(child->name, parent, false, child->to[i], err);
        }
    }
    ww_free(keys);
    ww_free(theirs);
    return rc;
}

enum ww_err ww_packing_chain_check(const struct ww_packing *p, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; p->options->after && i < p->n_given && !rc; i++) {
        const char *name = p->options->after[i];
        struct named of;
        if (!name) {
            continue;
        }
        if (p->options->inverses) {
            return WW_FAIL(err, WW_E_USAGE,
                           "a source of a merge cannot be a version of another member");
        }
        if (!find(p, i, &of)) {
            return WW_FAIL(err, WW_E_NOTFOUND,
                           "member '%s' cannot be a version of '%s', which is not in the "
                           "package and not given before it",
                           p->given[i].name, name);
        }
        if (of.old && of.old->basis) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "'%s' is what adapters share and no member that '%s' could be "
                           "a version of",
                           name, p->given[i].name);
        }
        if (of.old && of.old->n_others > 0) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "member '%s' comes back out of a merge, so '%s' cannot be a "
                           "version of it",
                           name, p->given[i].name);
        }
        rc = check_recipients(&p->given[i], name, &of, err);
    }
    return rc;
}

enum ww_err ww_packing_drop_check(const struct ww_packing *p, struct ww_error *err)
{
    const struct ww_pack_manifest *m = p->old ? &p->old->manifest : NULL;

    for (size_t i = 0; m && p->drop != WW_PACK_KEEP_ALL && i < m->n_members; i++) {
        if (m->members[i].parent &&
            strcmp(m->members[i].parent, m->members[p->drop].name) == 0) {
            return WW_FAIL(err, WW_E_USAGE,
                           "member '%s' is %s '%s' and would be lost with it; "
                           "drop it first",
                           m->members[i].name,
                           m->members[p->drop].basis ? "coded by" : "a version of",
                           m->members[p->drop].name);
        }
    }
    return WW_OK;
}

static enum ww_err open_parent(struct ww_packing *p, size_t at, struct ww_secret *key,
                               struct ww_error *err)
{
    const struct ww_pack_manifest_member *m = &p->manifest.members[at];
    const struct ww_parent *above = NULL;
    enum ww_err rc = WW_OK;

    if (m->parent) {
        rc = ww_packing_parent(p, m->parent, &above, err);
    }
    if (rc) {
        ww_secret_free(key);
        return rc;
    }
    return ww_parent_open(p->made.fd, m->offset, m, key, p->base, above, &p->parents[at],
                          err);
}

/* With another base an old parent would come out as something else. */
static enum ww_err check_base(struct ww_packing *p, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (p->base && !p->base_checked) {
        rc = ww_base_use_check(p->base, &p->old->manifest, err);
        p->base_checked = !rc;
    }
    return rc;
}

enum ww_err ww_packing_parent(struct ww_packing *p, const char *name,
                              const struct ww_parent **out, struct ww_error *err)
{
    const size_t at = ww_pack_manifest_find(&p->manifest, name);
    const size_t old = p->old ? ww_pack_manifest_find(&p->old->manifest, name) : SIZE_MAX;
    struct ww_secret *key = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!p->parents[at].view.member) {
        rc = check_base(p, err);
        if (!rc && old != SIZE_MAX) {
            /* Its versions would be coded against what is not what it says. */
            rc = ww_pack_check_section(p->old, &p->old->manifest.members[old], err);
        }
        if (!rc && p->manifest.members[at].sealed) {
            rc = ww_pack_view_key(&p->manifest.members[at], &p->old->records[old],
                                  p->options->unsealer, &key, err);
        }
        if (!rc) {
            rc = open_parent(p, at, key, err);
        }
    }
    if (!rc) {
        *out = &p->parents[at];
    }
    return rc;
}

enum ww_err ww_packing_keep(struct ww_packing *p, size_t at, struct ww_secret *key,
                            struct ww_error *err)
{
    const char *name = p->manifest.members[at].name;
    bool needed = p->manifest.members[at].basis;

    for (size_t i = 0; p->options->after && i < p->n_given; i++) {
        needed =
            needed || (p->options->after[i] && strcmp(p->options->after[i], name) == 0);
    }
    if (needed) {
        return open_parent(p, at, key, err);
    }
    ww_secret_free(key);
    return WW_OK;
}

enum ww_err ww_packing_share_check(const struct ww_pack_file *f, size_t member,
                                   const uint8_t (*add)[WW_X25519_BYTES], size_t n_add,
                                   const char *const *to, struct ww_error *err)
{
    const struct ww_pack_manifest_member *m = &f->manifest.members[member];
    const size_t at = m->parent ? ww_pack_manifest_find(&f->manifest, m->parent) : 0;

    for (size_t i = 0; m->parent && f->manifest.members[at].sealed && i < n_add; i++) {
        if (!is_among(&f->records[at], NULL, 0, add[i])) {
            return not_among(m->name, m->parent, f->manifest.members[at].basis, to[i],
                             err);
        }
    }
    return WW_OK;
}
