/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyless signing (Sigstore): a certificate that lives ten minutes, and witnesses that
 * the signature was made within them. Everything is judged at the witnessed times, never
 * at the present and never at a time of the certificate's own: the log's promise, signed
 * timestamps, or both, and the chain must have been valid at each of them. All entries
 * and all timestamps must verify; one that does not is a reason to distrust the bundle.
 */
#include "sign/keyless_bundle.h"

#include "crypto/keyless.h"
#include "crypto/tstamp.h"
#include "util/fail.h"
#include "util/str.h"

/* One time for each entry and each timestamp. */
struct times {
    int64_t at[WW_TLOG_MAX_ENTRIES + WW_BUNDLE_MAX_STAMPS];
    size_t n;
};

static bool trusted_at(const struct ww_authority *authority, int64_t at)
{
    return at >= authority->start && at <= authority->end;
}

/* By any of the authorities; the text is that of the first that refused it. */
static enum ww_err check_stamp(const struct ww_buf *stamp, const struct ww_buf *sig,
                               const struct ww_trusted_root *root, int64_t *at,
                               struct ww_error *err)
{
    struct ww_error first = {0};

    for (size_t i = 0; i < root->n_stampers; i++) {
        struct ww_error local = {0};
        enum ww_err rc = ww_tstamp_check(stamp->data, stamp->len, sig->data, sig->len,
                                         root->stampers[i].certs, at, &local);
        if (!rc && trusted_at(&root->stampers[i], *at)) {
            return WW_OK;
        }
        if (!rc) {
            rc = WW_FAIL(&local, WW_E_UNTRUSTED,
                         "timestamp is of a time for which the trusted root does not "
                         "name its authority");
        }
        first = first.code ? first : local;
    }
    return WW_FAIL(err, first.code, "%s", first.text);
}

static enum ww_err add_stamps(struct ww_bundle *bundle,
                              const struct ww_trusted_root *root, struct times *times,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (root->n_stampers == 0) {
        return WW_OK;
    }
    for (size_t i = 0; i < bundle->n_stamps && !rc; i++) {
        rc = check_stamp(&bundle->stamps[i], &bundle->sig, root, &times->at[times->n++],
                         err);
    }
    bundle->stamps_checked = !rc;
    return rc;
}

static int64_t earliest(const struct times *times)
{
    int64_t at = times->n ? times->at[0] : 0;

    for (size_t i = 1; i < times->n; i++) {
        at = times->at[i] < at ? times->at[i] : at;
    }
    return at;
}

enum ww_err ww_stamps_check(struct ww_bundle *bundle, const struct ww_trusted_root *root,
                            int64_t *at_unix, struct ww_error *err)
{
    struct times times = {0};
    enum ww_err rc = add_stamps(bundle, root, &times, err);

    *at_unix = rc ? 0 : earliest(&times);
    bundle->witnessed = *at_unix;
    return rc;
}

static enum ww_err check_holder(const struct ww_bundle *bundle,
                                const struct ww_verifier *verifier, struct ww_error *err)
{
    struct ww_keyless_holder holder;
    enum ww_err rc = ww_keyless_read(bundle->certs, &holder, err);

    if (rc) {
        return rc;
    }
    if (!ww_str_eq(holder.identity, verifier->identity) ||
        !ww_str_eq(holder.provider, verifier->provider)) {
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "signed by '%.150s' according to '%.100s', expected '%.150s' "
                       "according to '%.100s'",
                       holder.identity, holder.provider, verifier->identity,
                       verifier->provider);
    }
    return WW_OK;
}

static enum ww_err check_entries(const struct ww_bundle *bundle,
                                 const struct ww_trusted_root *root, struct times *times,
                                 struct ww_error *err)
{
    const struct ww_tlog_subject subject = {&bundle->payload, &bundle->sig,
                                            &bundle->leaf};
    const int64_t stamped = earliest(times);
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < bundle->n_entries && !rc; i++) {
        int64_t at = 0;
        rc = ww_tlog_bind(&bundle->entries[i], &subject, err);
        if (!rc) {
            rc = ww_tlog_check(&bundle->entries[i], root->tlogs, root->n_tlogs, stamped,
                               &at, err);
        }
        if (!rc && at != 0) {
            times->at[times->n++] = at;
        }
    }
    return rc;
}

/* By any authority that the root names for that time. */
static enum ww_err check_chain_at(const struct ww_bundle *bundle,
                                  const struct ww_trusted_root *root, int64_t at,
                                  struct ww_pubkey **key, struct ww_error *err)
{
    struct ww_error first = {0};

    for (size_t i = 0; i < root->n_issuers; i++) {
        struct ww_error local = {0};
        if (!trusted_at(&root->issuers[i], at)) {
            continue;
        }
        if (ww_keyless_check(bundle->certs, root->issuers[i].certs, at, root->ctlogs,
                             root->n_ctlogs, key, &local) == WW_OK) {
            return WW_OK;
        }
        first = first.code ? first : local;
    }
    return first.code ? WW_FAIL(err, first.code, "%s", first.text)
                      : WW_FAIL(err, WW_E_UNTRUSTED,
                                "trusted root names no certificate authority for the "
                                "time of the signature");
}

static enum ww_err check_chains(const struct ww_bundle *bundle,
                                const struct ww_trusted_root *root,
                                const struct times *times, struct ww_pubkey **leaf_key,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < times->n && !rc; i++) {
        ww_pubkey_free(*leaf_key);
        *leaf_key = NULL;
        rc = check_chain_at(bundle, root, times->at[i], leaf_key, err);
    }
    return rc;
}

enum ww_err ww_keyless_bundle_check(struct ww_bundle *bundle,
                                    const struct ww_verifier *verifier,
                                    struct ww_pubkey **leaf_key, struct ww_error *err)
{
    struct times times = {0};
    enum ww_err rc = WW_OK;

    *leaf_key = NULL;
    if (bundle->n_signatures != 1) {
        return WW_FAIL(err, WW_E_BUNDLE, "envelope holds %zu signatures, expected one",
                       bundle->n_signatures);
    }
    if (bundle->n_entries == 0) {
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "signature without a key and without an entry of a transparency "
                       "log: nothing says when it was made");
    }
    rc = check_holder(bundle, verifier, err);
    if (rc) {
        return rc;
    }
    rc = add_stamps(bundle, verifier->root, &times, err);
    if (rc) {
        return rc;
    }
    rc = check_entries(bundle, verifier->root, &times, err);
    if (rc) {
        return rc;
    }
    if (times.n == 0) {
        return WW_FAIL(err, WW_E_UNTRUSTED,
                       "neither the log nor a trusted timestamp says when the signature "
                       "was made");
    }
    bundle->witnessed = earliest(&times);
    return check_chains(bundle, verifier->root, &times, leaf_key, err);
}
