/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/lock_side.h"

#include <string.h>

#include "util/fail.h"

#define LOCK_SCHEMA "weightward.lock/1"
#define GROUP_CHARS 32

enum ww_err ww_lock_side_read(const struct ww_model *model, const char *text,
                              struct ww_lock_side *out, struct ww_error *err)
{
    struct ww_error local = {0};
    const struct ww_jnode *lock = NULL;
    const char *schema = "";
    const char *level = "";
    enum ww_err rc = WW_OK;

    *out = (struct ww_lock_side){.text = text};
    rc = ww_tensors_read(model->dirfd, NULL, &out->statement, &local);
    if (rc == WW_E_NOTFOUND) {
        return WW_OK;
    }
    if (rc) {
        return WW_FAIL(err, rc, "model '%s': %s", text, local.text);
    }
    lock = out->statement.lock;
    out->locked = lock != NULL;
    if (!lock) {
        return WW_OK;
    }
    if (!ww_jstr(ww_jget(lock, "schema"), &schema) ||
        (strcmp(schema, LOCK_SCHEMA) != 0 && strcmp(schema, WW_LOCK_SIDE_MERGED) != 0)) {
        return WW_FAIL(err, WW_E_VERSION, "model '%s' has a lock of schema '%s'", text,
                       schema);
    }
    out->merged = strcmp(schema, WW_LOCK_SIDE_MERGED) == 0;
    (void)ww_jstr(ww_jget(lock, "level"), &level);
    out->exact =
        strcmp(level, "exact") == 0 && ww_jbool(ww_jget(lock, "scale"), &out->scale);
    (void)ww_jstr(ww_jget(lock, "group"), &out->group);
    (void)ww_jstr(ww_jget(ww_jget(lock, "descriptor"), "id"), &out->descriptor);
    (void)ww_jstr(ww_jget(ww_jget(lock, "descriptor"), "sha256"),
                  &out->descriptor_sha256);
    return WW_OK;
}

void ww_lock_side_release(struct ww_lock_side *side)
{
    ww_tensors_release(&side->statement);
    *side = (struct ww_lock_side){0};
}

/* It can stand beside another locked model. */
static enum ww_err check_one(const struct ww_lock_side *side, const char *advice,
                             struct ww_error *err)
{
    if (!side->exact) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "model '%s' is not locked at level exact, and only such models "
                       "have sums and differences while locked; %s",
                       side->text, advice);
    }
    if (!side->group || strlen(side->group) != GROUP_CHARS || !side->descriptor ||
        !side->descriptor_sha256) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "the lock of '%s' names no key group: it is one recipient's copy or "
            "of an earlier version; %s",
            side->text, advice);
    }
    return WW_OK;
}

enum ww_err ww_lock_sides_agree(const struct ww_lock_side *first,
                                const struct ww_lock_side *other, const char *advice,
                                struct ww_error *err)
{
    const struct ww_lock_side *locked = other->locked ? other : first;
    const struct ww_lock_side *open = other->locked ? first : other;
    enum ww_err rc = WW_OK;

    if (first->locked != other->locked) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "model '%s' is locked and '%s' is not; %s, or lock both with one "
                       "key",
                       locked->text, open->text, advice);
    }
    if (!first->locked) {
        return WW_OK;
    }
    rc = check_one(first, advice, err);
    if (!rc) {
        rc = check_one(other, advice, err);
    }
    if (rc) {
        return rc;
    }
    if (strcmp(other->group, first->group) != 0) {
        return WW_FAIL(err, WW_E_WRONG_KEY,
                       "models '%s' and '%s' are locked with different keys; %s",
                       first->text, other->text, advice);
    }
    if (other->scale != first->scale) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "model '%s' is locked with factors of two and '%s' without; %s, "
                       "or lock both alike",
                       other->scale ? other->text : first->text,
                       other->scale ? first->text : other->text, advice);
    }
    if (strcmp(other->descriptor_sha256, first->descriptor_sha256) != 0) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "models '%s' and '%s' were locked by different descriptors; %s",
                       first->text, other->text, advice);
    }
    return WW_OK;
}
