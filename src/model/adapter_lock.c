/* SPDX-License-Identifier: Apache-2.0 */
#include "model/adapter_lock.h"

#include <string.h>

#include "json/json.h"
#include "model/adapter.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

void ww_adapter_lock_release(struct ww_adapter_lock *lock)
{
    ww_free(lock->lock_id);
    ww_free(lock->base);
    *lock = (struct ww_adapter_lock){0};
}

static enum ww_err keep_hex(const struct ww_jnode *root, const char *key,
                            const char *name, char **out, struct ww_error *err)
{
    const char *text = NULL;
    uint8_t bytes[WW_SHA256_BYTES];

    if (!ww_jhex(ww_jget(root, key), bytes, sizeof(bytes)) ||
        !ww_jstr(ww_jget(root, key), &text)) {
        return WW_FAIL(err, WW_E_MANIFEST,
                       "'" WW_ADAPTER_LOCK "' of '%s': member '%s' is missing or "
                       "malformed",
                       name, key);
    }
    *out = ww_strdup(text);
    return *out ? WW_OK : WW_FAIL_MEMORY(err, "the lock of an adapter");
}

static enum ww_err read_members(const struct ww_jnode *root, const char *name,
                                struct ww_adapter_lock *out, struct ww_error *err)
{
    const char *schema = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(root, "schema"), &schema) ||
        strcmp(schema, WW_ADAPTER_LOCK_SCHEMA) != 0) {
        return WW_FAIL(err, WW_E_VERSION,
                       "'" WW_ADAPTER_LOCK "' of '%s' is not a " WW_ADAPTER_LOCK_SCHEMA
                       " record",
                       name);
    }
    rc = keep_hex(root, "lock_id", name, &out->lock_id, err);
    rc = rc ? rc : keep_hex(root, "base", name, &out->base, err);
    if (!rc && !ww_jhex(ww_jget(ww_jget(root, "source"), "sha256"), out->source_sha256,
                        WW_SHA256_BYTES)) {
        rc =
            WW_FAIL(err, WW_E_MANIFEST,
                    "'" WW_ADAPTER_LOCK "' of '%s' lacks the digest of its source", name);
    }
    return rc;
}

enum ww_err ww_adapter_lock_parse(const uint8_t *text, size_t len, const char *name,
                                  struct ww_adapter_lock *out, struct ww_error *err)
{
    struct ww_json *json = NULL;
    enum ww_err rc = ww_json_parse(text, len, &ww_json_limits_small, &json, err);

    *out = (struct ww_adapter_lock){0};
    if (!rc) {
        rc = read_members(ww_json_root(json), name, out, err);
    }
    if (rc) {
        ww_adapter_lock_release(out);
    }
    ww_json_free(json);
    return rc;
}

enum ww_err ww_adapter_lock_read(int dirfd, const char *name, struct ww_adapter_lock *out,
                                 struct ww_error *err)
{
    struct ww_error why = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    *out = (struct ww_adapter_lock){0};
    ww_buf_init(&text, ww_json_limits_small.max_bytes);
    rc = ww_file_read_at(dirfd, WW_ADAPTER_LOCK, WW_LINKS_HUB, &text, &why);
    if (!rc) {
        rc = ww_adapter_lock_parse(text.data, text.len, name, out, err);
    } else if (rc == WW_E_NOTFOUND) {
        rc = WW_OK;
    } else {
        rc = WW_FAIL(err, rc, "%s", why.text);
    }
    ww_buf_release(&text);
    return rc;
}
