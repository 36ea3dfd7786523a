/* SPDX-License-Identifier: Apache-2.0 */
/* The model signature of what was written, with no second read. */
#include <string.h>

#include "sign/statement.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

bool ww_is_evidence(const char *path)
{
    return strcmp(path, WW_SIGNATURE_FILE) == 0 ||
           ww_str_starts(path, WW_ATTESTATIONS_DIR "/");
}

enum ww_err ww_output_resources(const struct ww_plan *plan,
                                const struct ww_stream_result *result,
                                struct ww_resource **out, size_t *n, struct ww_error *err)
{
    struct ww_resource *resources = ww_calloc(plan->n_outputs, sizeof(*resources));

    *out = resources;
    *n = 0;
    if (!resources) {
        return WW_FAIL_MEMORY(err, "a signature");
    }
    for (uint32_t i = 0; i < plan->n_outputs; i++) {
        const char *path = plan->outputs[i].path;
        if (!ww_is_evidence(path) && !ww_oms_leaves_out(path)) {
            resources[*n].name = path;
            memcpy(resources[(*n)++].sha256, result->output_sha256[i], WW_SHA256_BYTES);
        }
    }
    return WW_OK;
}

enum ww_err ww_sign_outputs(const struct ww_signer *signer, const char *name,
                            const struct ww_plan *plan,
                            const struct ww_stream_result *result, struct ww_out *out,
                            char root[2 * WW_SHA256_BYTES + 1], struct ww_error *err)
{
    struct ww_resource *resources = NULL;
    uint8_t root_bytes[WW_SHA256_BYTES];
    struct ww_buf payload;
    struct ww_buf bundle;
    size_t n = 0;
    enum ww_err rc = ww_output_resources(plan, result, &resources, &n, err);

    ww_buf_init(&payload, ww_json_limits_bundle.max_bytes);
    ww_buf_init(&bundle, ww_json_limits_bundle.max_bytes);
    if (rc) {
        goto out;
    }
    rc = ww_oms_statement(name, resources, n, &payload, root_bytes, err);
    if (!rc) {
        rc = ww_bundle_sign(signer, payload.data, payload.len, &bundle, err);
    }
    if (!rc) {
        ww_hex(root, root_bytes, WW_SHA256_BYTES);
        rc = ww_out_add(out, WW_SIGNATURE_FILE, bundle.data, bundle.len, err);
    }
out:
    ww_free(resources);
    ww_buf_release(&payload);
    ww_buf_release(&bundle);
    return rc;
}
