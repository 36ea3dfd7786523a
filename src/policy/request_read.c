/* SPDX-License-Identifier: Apache-2.0 */
/* A request is signed like everything else: what is asked for cannot change after the
 * approvals were given, because they name the digest of these bytes. */
#include <stdlib.h>
#include <string.h>

#include "policy/words.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define TYPE "weightward.request/1"
#define APPROVAL_TYPE "weightward.approval/1"
#define MAX_SOURCES 64

static enum ww_err read_source(const struct ww_reading *at, const struct ww_jnode *node,
                               struct ww_request *out, struct ww_error *err)
{
    static const char *const members[] = {"model", "weight"};
    struct ww_request_source *to = &out->sources[out->n_sources];
    const char *model = NULL;
    const char *weight = NULL;
    enum ww_err rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, at->what, err);

    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "model"), &model) || !ww_str_starts(model, "sha256:") ||
        !ww_unhex(to->root, WW_SHA256_BYTES, model + 7, strlen(model + 7))) {
        return WW_FAIL(err, WW_E_POLICY, "%s: a source's 'model' must be sha256:ROOT",
                       at->what);
    }
    for (size_t i = 0; i < out->n_sources; i++) {
        if (memcmp(out->sources[i].root, to->root, WW_SHA256_BYTES) == 0) {
            return WW_FAIL(err, WW_E_POLICY, "%s: source '%s' is named twice", at->what,
                           model);
        }
    }
    to->weight = 1000000;
    if (ww_jget(node, "weight") && (!ww_jstr(ww_jget(node, "weight"), &weight) ||
                                    !ww_policy_decimal(weight, &to->weight))) {
        return WW_FAIL(
            err, WW_E_POLICY,
            "%s: a source's 'weight' must be decimal text with at most six places",
            at->what);
    }
    out->n_sources++;
    return WW_OK;
}

static enum ww_err read_sources(const struct ww_reading *at, const struct ww_jnode *list,
                                struct ww_request *out, struct ww_error *err)
{
    const size_t n = ww_jsize(list);
    enum ww_err rc = WW_OK;

    if (ww_jtype(list) != WW_J_ARRAY || n == 0 || n > MAX_SOURCES) {
        return WW_FAIL(err, WW_E_POLICY, "%s: 'sources' must be a list of 1 to %d",
                       at->what, MAX_SOURCES);
    }
    out->sources = ww_calloc(n, sizeof(*out->sources));
    if (!out->sources) {
        return WW_FAIL_MEMORY(err, "a request");
    }
    for (const struct ww_jnode *node = ww_jfirst(list); node && !rc;
         node = ww_jnext(node)) {
        rc = read_source(at, node, out, err);
    }
    return rc;
}

static enum ww_err read_output(const struct ww_reading *at, const struct ww_jnode *node,
                               struct ww_request *out, struct ww_error *err)
{
    static const char *const members[] = {"name", "license", "locked"};
    enum ww_err rc = WW_OK;

    if (!node) {
        return WW_OK;
    }
    rc = ww_jonly(node, members, WW_LEN(members), WW_E_POLICY, at->what, err);
    if (!rc) {
        rc = ww_read_name(at, node, "name", true, &out->output_name, err);
    }
    if (!rc) {
        rc = ww_read_name(at, node, "license", true, &out->output_license, err);
    }
    if (!rc && ww_jget(node, "locked") &&
        !ww_jbool(ww_jget(node, "locked"), &out->output_locked)) {
        rc = WW_FAIL(err, WW_E_POLICY, "%s: 'locked' must be true or false", at->what);
    }
    return rc;
}

static enum ww_err read_request(struct ww_request *out, struct ww_error *err)
{
    static const char *const members[] = {"type",    "action",  "method",
                                          "recipe",  "sources", "output",
                                          "purpose", "nonce",   "time"};
    const struct ww_jnode *root = ww_json_root(out->json);
    const struct ww_reading at = {.what = "request"};
    const char *action = NULL;
    const char *recipe = NULL;
    enum ww_err rc =
        ww_jonly(root, members, WW_LEN(members), WW_E_POLICY, "request", err);

    if (!rc) {
        rc = ww_read_name(&at, root, "action", false, &action, err);
    }
    if (!rc && !ww_may_parse(action, &out->action)) {
        rc = WW_FAIL(err, WW_E_POLICY, "request: " WW_MAY_UNKNOWN, action);
    }
    if (!rc) {
        rc = ww_read_name(&at, root, "method", true, &out->method, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, root, "recipe", true, &recipe, err);
    }
    if (!rc && recipe &&
        (!ww_str_starts(recipe, "sha256:") ||
         !ww_unhex(out->recipe, WW_SHA256_BYTES, recipe + 7, strlen(recipe + 7)))) {
        rc = WW_FAIL(err, WW_E_POLICY, "request: 'recipe' must be sha256:DIGEST");
    }
    out->has_recipe = recipe != NULL;
    if (!rc) {
        rc = ww_read_name(&at, root, "purpose", true, &out->purpose, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, root, "nonce", false, &out->nonce, err);
    }
    if (!rc) {
        rc = ww_read_time(&at, root, "time", false, &out->time, err);
    }
    if (!rc) {
        rc = read_output(&at, ww_jget(root, "output"), out, err);
    }
    if (!rc) {
        rc = read_sources(&at, ww_jget(root, "sources"), out, err);
    }
    return rc;
}

enum ww_err ww_request_read(const uint8_t *payload, size_t len, struct ww_request *out,
                            struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_request){0};
    rc = ww_read_document(payload, len, TYPE, &out->json, err);
    if (!rc) {
        ww_sha256_of(payload, len, out->digest);
        rc = read_request(out, err);
    }
    if (rc) {
        ww_request_release(out);
    }
    return rc;
}

enum ww_err ww_approval_read(const uint8_t *payload, size_t len,
                             uint8_t request[WW_SHA256_BYTES], int64_t *time,
                             struct ww_error *err)
{
    static const char *const members[] = {"type", "request", "time", "about"};
    const struct ww_reading at = {.what = "approval"};
    struct ww_json *json = NULL;
    const char *digest = NULL;
    const char *about = NULL;
    enum ww_err rc = ww_read_document(payload, len, APPROVAL_TYPE, &json, err);

    if (!rc) {
        rc = ww_jonly(ww_json_root(json), members, WW_LEN(members), WW_E_POLICY,
                      "approval", err);
    }
    if (!rc) {
        rc = ww_read_name(&at, ww_json_root(json), "request", false, &digest, err);
    }
    if (!rc && (!ww_str_starts(digest, "sha256:") ||
                !ww_unhex(request, WW_SHA256_BYTES, digest + 7, strlen(digest + 7)))) {
        rc = WW_FAIL(err, WW_E_POLICY, "approval: 'request' must be sha256:DIGEST");
    }
    if (!rc) {
        rc = ww_read_time(&at, ww_json_root(json), "time", false, time, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, ww_json_root(json), "about", true, &about, err);
    }
    ww_json_free(json);
    return rc;
}

void ww_request_release(struct ww_request *request)
{
    ww_free(request->sources);
    ww_json_free(request->json);
    *request = (struct ww_request){0};
}
