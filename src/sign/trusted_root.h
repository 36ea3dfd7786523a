/* SPDX-License-Identifier: Apache-2.0 */
/* The pinned root of a Sigstore instance (trusted_root.json): whose word counts, when. */
#ifndef WW_SIGN_TRUSTED_ROOT_H
#define WW_SIGN_TRUSTED_ROOT_H

#include "crypto/logkey.h"
#include "crypto/verify.h"

#define WW_ROOT_MAX_BYTES ((size_t)1 << 20)
#define WW_ROOT_MAX_ITEMS 32 /* of each kind */

/** A certificate authority: its chain, and from when to when it is trusted. */
struct ww_authority {
    struct ww_certs *certs;
    int64_t start;
    int64_t end;
};

struct ww_trusted_root {
    struct ww_log tlogs[WW_ROOT_MAX_ITEMS]; /* of signatures */
    size_t n_tlogs;
    struct ww_log ctlogs[WW_ROOT_MAX_ITEMS]; /* of certificates */
    size_t n_ctlogs;
    struct ww_authority issuers[WW_ROOT_MAX_ITEMS];
    size_t n_issuers;
    struct ww_authority stampers[WW_ROOT_MAX_ITEMS]; /* of timestamps */
    size_t n_stampers;
};

/** WW_E_JSON, WW_E_MALFORMED, WW_E_LIMIT, WW_E_VERSION. */
enum ww_err ww_trusted_root_parse(const uint8_t *text, size_t len,
                                  struct ww_trusted_root **out,
                                  struct ww_error *err) WW_MUST_USE;
enum ww_err ww_trusted_root_load(const char *path, struct ww_trusted_root **out,
                                 struct ww_error *err) WW_MUST_USE;
void ww_trusted_root_free(struct ww_trusted_root *root);

#endif
