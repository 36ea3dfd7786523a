/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy reference for a model folder: written before the folder is signed, so that the
 * signature covers it and nobody can take it out unseen.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "trust/facts.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/guard.h"

#define REFERENCE_MAX_BYTES ((size_t)1 << 20)

static enum ww_err write_need(struct ww_jw *w, const char *path, struct ww_error *err)
{
    struct ww_envelope envelope = {0};
    struct ww_policy policy = {0};
    char version[24];
    enum ww_err rc = ww_signed_read(path, WW_SIGNED_POLICY, &envelope, err);

    if (!rc) {
        rc = ww_policy_read(envelope.payload.data, envelope.payload.len, &policy, err);
    }
    if (!rc) {
        snprintf(version, sizeof(version), "%llu", (unsigned long long)policy.version);
        ww_jw_object(w);
        ww_jw_kstr(w, "id", policy.id);
        ww_jw_kstr(w, "version", version);
        ww_jw_close(w);
    }
    ww_policy_release(&policy);
    ww_envelope_release(&envelope);
    return rc;
}

enum ww_err ww_policy_refer(const char *model, const char *const *policies,
                            size_t n_policies, struct ww_error *err)
{
    struct ww_buf text;
    struct ww_jw w;
    int fd = -1;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, REFERENCE_MAX_BYTES);
    ww_jw_init(&w, &text, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "type", "weightward.policy-reference/1");
    ww_jw_key(&w, "policies");
    ww_jw_array(&w);
    for (size_t i = 0; i < n_policies && !rc; i++) {
        rc = write_need(&w, policies[i], err);
    }
    if (rc) {
        goto out;
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (!rc) {
        rc = ww_dir_open(model, &fd, err);
    }
    if (!rc) {
        rc = ww_file_write_at(fd, WW_POLICY_REFERENCE, text.data, text.len, 0644, false,
                              err);
    }
out:
    if (fd >= 0) {
        close(fd);
    }
    ww_buf_release(&text);
    return rc;
}
