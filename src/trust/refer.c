/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy reference for a model folder: written before the folder is signed, so that the
 * signature covers it and nobody can take it out unseen.
 */
#include <string.h>
#include <unistd.h>

#include "trust/facts.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/guard.h"

#define REFERENCE_MAX_BYTES ((size_t)1 << 20)

static enum ww_err add_need(struct ww_source_facts *facts, const char *path,
                            struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    struct ww_policy policy = {0};
    enum ww_err rc = ww_signed_read(path, WW_SIGNED_POLICY, &envelope, err);

    if (!rc) {
        rc = ww_policy_read(envelope.payload.data, envelope.payload.len, &policy, err);
    }
    if (!rc) {
        rc = ww_facts_need(facts, policy.id, policy.version, false, err);
    }
    ww_policy_release(&policy);
    ww_envelope_release(&envelope);
    return rc;
}

enum ww_err ww_policy_refer(const char *model, const char *const *policies,
                            size_t n_policies, struct ww_error *err)
{
    struct ww_source_facts facts = {0};
    struct ww_buf text;
    int fd = -1;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, REFERENCE_MAX_BYTES);
    for (size_t i = 0; i < n_policies && !rc; i++) {
        rc = add_need(&facts, policies[i], err);
    }
    if (!rc) {
        rc = ww_reference_write(facts.needs, facts.n_needs, &text, err);
    }
    if (!rc) {
        rc = ww_dir_open(model, &fd, err);
    }
    if (!rc) {
        rc = ww_file_write_at(fd, WW_POLICY_REFERENCE, text.data, text.len, 0644, false,
                              err);
    }
    if (fd >= 0) {
        close(fd);
    }
    ww_facts_release(&facts);
    ww_buf_release(&text);
    return rc;
}
