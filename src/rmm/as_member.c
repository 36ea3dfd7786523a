/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A form is made of an adapter that was restored and whose files have their digests,
 * never of bytes that nobody has checked yet; so it takes a folder for a while.
 */
#include "rmm/as_member.h"

#include <unistd.h>

#include "util/fail.h"
#include "weightward/lock.h"

const char *ww_unpack_form_name(enum ww_unpack_form form)
{
    static const char *const names[] = {"files", "peft", "portable", "gguf", "model"};

    return form < WW_UNPACK_FORMS ? names[form] : "unknown";
}

typedef enum ww_err (*form_fn)(const struct ww_as *as, struct ww_run_report *report,
                               struct ww_error *err);

static const struct form {
    form_fn make;
    bool needs_base;
} forms[WW_UNPACK_FORMS] = {
    [WW_UNPACK_PORTABLE] = {ww_as_portable, false},
    [WW_UNPACK_GGUF] = {ww_as_gguf, true},
    [WW_UNPACK_MODEL] = {ww_as_model, true},
};

enum ww_err ww_as_make(const char *member, enum ww_unpack_form form, struct ww_as *as,
                       struct ww_run_report *report, struct ww_error *err)
{
    const struct form *of = &forms[form];
    struct ww_adapter *adapter = NULL;
    struct ww_error local = {0};
    enum ww_err rc = WW_OK;

    *as->doubt = NULL;
    if (!of->make) {
        return WW_FAIL(err, WW_E_INTERNAL, "form '%s' is not made of an adapter",
                       ww_unpack_form_name(form));
    }
    if (of->needs_base && !as->base) {
        return WW_FAIL(err, WW_E_USAGE, "form '%s' of member '%s' needs the base model",
                       ww_unpack_form_name(form), as->name);
    }
    if (of->needs_base && ww_model_is_locked(as->base)) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "base '%s' is locked, and a form is made of open models; unlock it",
            as->base->path);
    }
    rc = ww_adapter_open_plain(member, &adapter, &local);
    if (rc) {
        rc = WW_FAIL(err, rc, "%s%s", local.text,
                     rc == WW_E_UNSUPPORTED ? "; form 'peft' leaves it as it is" : "");
    }
    if (!rc && faccessat(adapter->dirfd, WW_ADAPTER_LOCK, F_OK, 0) == 0) {
        rc =
            WW_FAIL(err, WW_E_UNSUPPORTED,
                    "member '%s' is an adapter that follows a lock; unpack its files and "
                    "unlock it first",
                    as->name);
    }
    if (!rc) {
        as->adapter = adapter;
        rc = of->make(as, report, err);
        as->adapter = NULL;
    }
    ww_adapter_close(adapter);
    return rc;
}
