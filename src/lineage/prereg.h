/* SPDX-License-Identifier: Apache-2.0 */
/* What will be looked at, signed before it is looked at. */
#ifndef WW_LINEAGE_PREREG_H
#define WW_LINEAGE_PREREG_H

#include "crypto/hash.h"
#include "json/json.h"
#include "weightward/lineage.h"

/** What a run was started with. */
struct ww_prereg_run {
    const char *base;
    const char *const *candidates;
    size_t n_candidates;
    const char *const *controls;
    size_t n_controls;
    uint64_t seed;
    const struct ww_run_options *run;
};

/** Is it what the signed plan says? Opens and digests every model of the run.
 *  WW_E_DIFFERS; the errors of signatures. */
enum ww_err ww_prereg_check(const char *plan, const char *public_key,
                            const struct ww_prereg_run *run,
                            struct ww_error *err) WW_MUST_USE;

/** What was signed, read before a model is opened: all members are there and well formed,
 *  and seed and numbers of models are the run's. *json is the caller's in every case, and
 *  has *predicate. plan is for texts. WW_E_JSON, WW_E_VERSION, WW_E_DIFFERS. */
enum ww_err ww_prereg_read(const char *plan, const uint8_t *payload, size_t len,
                           const struct ww_prereg_run *run, struct ww_json **json,
                           const struct ww_jnode **predicate,
                           struct ww_error *err) WW_MUST_USE;

/** The root of a folder's tensor tree, which signatures and records of merges state too.
 */
enum ww_err ww_prereg_digest(const char *path, const struct ww_run_options *run,
                             uint8_t root[WW_SHA256_BYTES],
                             struct ww_error *err) WW_MUST_USE;

#endif
