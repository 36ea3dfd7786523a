/* SPDX-License-Identifier: Apache-2.0 */
#include "model/adapter_lock.h"

#include <unistd.h>

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

enum ww_err ww_adapter_lock_read(int dirfd, const char *name, struct ww_adapter_lock *out,
                                 struct ww_error *err)
{
    struct ww_json *json = NULL;
    struct ww_buf text;
    const char *lock = NULL;
    const char *base = NULL;
    enum ww_err rc = WW_OK;

    *out = (struct ww_adapter_lock){0};
    if (faccessat(dirfd, WW_ADAPTER_LOCK, F_OK, 0) != 0) {
        return WW_OK;
    }
    ww_buf_init(&text, ww_json_limits_small.max_bytes);
    rc = ww_file_read_at(dirfd, WW_ADAPTER_LOCK, WW_LINKS_HUB, &text, err);
    if (!rc) {
        rc = ww_json_parse(text.data, text.len, &ww_json_limits_small, &json, err);
    }
    if (!rc && (!ww_jstr(ww_jget(ww_json_root(json), "lock_id"), &lock) ||
                !ww_jstr(ww_jget(ww_json_root(json), "base"), &base))) {
        rc = WW_FAIL(err, WW_E_MANIFEST,
                     "'" WW_ADAPTER_LOCK "' of '%s' lacks the lock or the base", name);
    }
    if (!rc) {
        out->lock_id = ww_strdup(lock);
        out->base = ww_strdup(base);
        rc = out->lock_id && out->base ? WW_OK
                                       : WW_FAIL_MEMORY(err, "the lock of an adapter");
    }
    if (rc) {
        ww_adapter_lock_release(out);
    }
    ww_json_free(json);
    ww_buf_release(&text);
    return rc;
}
