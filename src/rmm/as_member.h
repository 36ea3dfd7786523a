/* SPDX-License-Identifier: Apache-2.0 */
/* An adapter of a package in forms that others read. */
#ifndef WW_RMM_AS_MEMBER_H
#define WW_RMM_AS_MEMBER_H

#include "model/adapter.h"
#include "weightward/package.h"

/** A member that was restored, and where its other form goes. */
struct ww_as {
    const struct ww_adapter *adapter;
    const struct ww_model *base; /* NULL: not named */
    const char *name;            /* of the member, for texts */
    const char *out_path;
    const struct ww_run_options *run;
    const char **doubt; /* set to what the form does not say; NULL: nothing */
};

/** The member's bytes are there and have their digests: make a form of them. member: the
 *  folder where it was restored; as->adapter is opened from it for the call, all else is
 *  the caller's. *as->doubt: NULL, or what to know of the form, the rest of a sentence
 *  that the adapter begins; static. */
enum ww_err ww_as_make(const char *member, enum ww_unpack_form form, struct ww_as *as,
                       struct ww_run_report *report, struct ww_error *err) WW_MUST_USE;

/* The forms. */
enum ww_err ww_as_portable(const struct ww_as *as, struct ww_run_report *report,
                           struct ww_error *err) WW_MUST_USE;
enum ww_err ww_as_gguf(const struct ww_as *as, struct ww_run_report *report,
                       struct ww_error *err) WW_MUST_USE;
enum ww_err ww_as_model(const struct ww_as *as, struct ww_run_report *report,
                        struct ww_error *err) WW_MUST_USE;

#endif
