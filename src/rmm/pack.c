/* SPDX-License-Identifier: Apache-2.0 */
/* The doors: new packages, and changes to one that is there. */
#include <string.h>

#include "crypto/lockkey.h"
#include "crypto/recipient.h"
#include "rmm/pack_budget.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

/* A package inside of what it holds would be a file of it from then on. */
static enum ww_err check_place(const char *path, const struct ww_pack_member *members,
                               size_t n, const char *base, struct ww_error *err)
{
    enum ww_err rc = ww_path_check_new(path, err);

    for (size_t i = 0; i < n && !rc; i++) {
        rc = ww_path_check_outside(members[i].path, path, err);
    }
    return rc || !base ? rc : ww_path_check_outside(base, path, err);
}

enum ww_err ww_pack_create(const char *path, const struct ww_pack_member *members,
                           size_t n, const struct ww_pack_options *options,
                           struct ww_pack_report *report, struct ww_error *err)
{
    struct ww_packing p = {.path = path,
                           .given = members,
                           .n_given = n,
                           .options = options,
                           .drop = WW_PACK_KEEP_ALL};
    enum ww_err rc = check_place(path, members, n, options->base, err);

    memset(report, 0, sizeof(*report));
    if (!rc && n == 0) {
        rc = WW_FAIL(err, WW_E_USAGE, "a package needs a member: name one as NAME=PATH");
    }
    if (rc) {
        return rc;
    }
    return options->budget > 0 ? ww_packing_within(&p, report, err)
                               : ww_packing_run(&p, report, err);
}

enum ww_err ww_pack_add(const char *path, const struct ww_pack_member *members, size_t n,
                        const struct ww_pack_options *options,
                        struct ww_pack_report *report, struct ww_error *err)
{
    struct ww_pack_file old;
    struct ww_packing p = {.path = path,
                           .given = members,
                           .n_given = n,
                           .options = options,
                           .old = &old,
                           .drop = WW_PACK_KEEP_ALL};
    enum ww_err rc = ww_pack_open(path, &old, err);

    memset(report, 0, sizeof(*report));
    if (!rc) {
        rc = options->budget > 0 ? ww_packing_within(&p, report, err)
                                 : ww_packing_run(&p, report, err);
        ww_pack_close(&old);
    }
    return rc;
}

enum ww_err ww_pack_drop(const char *path, const char *name,
                         const struct ww_pack_options *options,
                         struct ww_pack_report *report, struct ww_error *err)
{
    struct ww_pack_file old;
    struct ww_packing p = {.path = path, .options = options, .old = &old};
    enum ww_err rc = ww_pack_open(path, &old, err);

    memset(report, 0, sizeof(*report));
    if (rc) {
        return rc;
    }
    rc = ww_pack_member_find(&old, name, &p.drop, err);
    if (!rc) {
        rc = ww_packing_run(&p, report, err);
    }
    ww_pack_close(&old);
    return rc;
}

/* The record of one member anew, all others as they are. */
static enum ww_err change_key(const struct ww_pack_file *f, size_t member,
                              const uint8_t (*add)[WW_X25519_BYTES], size_t n_add,
                              const struct ww_unsealer *unsealer, struct ww_buf *keys,
                              struct ww_error *err)
{
    const struct ww_record *record = &f->records[member];
    const struct ww_record_change change = {.add = add, .n_add = n_add};
    struct ww_record_key key = {NULL, NULL};
    struct ww_secret *made = NULL;
    enum ww_err rc = ww_record_key_load(record, unsealer, &key, err);

    if (!rc) {
        rc = ww_record_change_recipients(record, &key, &change, &made, err);
    }
    if (!rc) {
        rc = ww_pack_keys_add(keys, ww_secret_open(made), ww_secret_len(made), err);
        ww_secret_close(made);
    }
    ww_secret_free(made);
    ww_secret_free(key.recipient);
    return rc;
}

static enum ww_err change_keys(const struct ww_pack_file *f, size_t member,
                               const uint8_t (*add)[WW_X25519_BYTES], size_t n_add,
                               const struct ww_unsealer *unsealer, struct ww_buf *keys,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < f->manifest.n_members && !rc; i++) {
        const uint8_t *at = f->records[i].bytes;
        if (i == member) {
            rc = change_key(f, i, add, n_add, unsealer, keys, err);
        } else if (f->manifest.members[i].sealed) {
            rc = ww_pack_keys_add(keys, at, ww_get_u32le(at - 4), err);
        }
    }
    return rc;
}

enum ww_err ww_pack_share(const char *path, const char *name, const char *const *to,
                          size_t n_to, const struct ww_unsealer *unsealer,
                          struct ww_error *err)
{
    struct ww_pack_file f;
    struct ww_pack_new made = {.dirfd = -1, .fd = -1};
    uint8_t(*add)[WW_X25519_BYTES] = NULL;
    struct ww_buf keys;
    size_t member = 0;
    enum ww_err rc = ww_pack_open(path, &f, err);

    ww_buf_init(&keys, (size_t)WW_PACK_MAX_KEYS);
    if (rc) {
        return rc;
    }
    rc = ww_pack_member_find(&f, name, &member, err);
    if (!rc && !f.manifest.members[member].sealed) {
        rc = WW_FAIL(err, WW_E_USAGE, "member '%s' is not sealed: anyone can read it",
                     name);
    }
    if (!rc) {
        rc = ww_recipients_load(to, n_to, &add, err);
    }
    if (!rc) {
        rc = ww_packing_share_check(&f, member, (const uint8_t(*)[WW_X25519_BYTES])add,
                                    n_to, to, err);
    }
    if (!rc) {
        rc = change_keys(&f, member, (const uint8_t(*)[WW_X25519_BYTES])add, n_to,
                         unsealer, &keys, err);
    }
    if (!rc) {
        rc = ww_pack_new_begin(path, &made, err);
    }
    if (!rc) {
        rc = ww_pack_new_with_keys(&made, &f, &keys, err);
    }
    ww_pack_new_release(&made);
    ww_buf_release(&keys);
    ww_free(add);
    ww_pack_close(&f);
    return rc;
}

enum ww_err ww_pack_list(const char *path, struct ww_pack_report *report,
                         struct ww_error *err)
{
    struct ww_pack_file f;
    enum ww_err rc = ww_pack_open(path, &f, err);

    memset(report, 0, sizeof(*report));
    if (!rc) {
        rc = ww_pack_describe(&f, report, err);
        ww_pack_close(&f);
    }
    return rc;
}
