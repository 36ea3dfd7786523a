/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan fixes models by the roots of their tensor trees, the seed, and the thresholds of
 * this program, in a signed statement. Closed at every level: an unknown member is
 * refused, a change of meaning needs another schema.
 */
#include "lineage/prereg.h"

#include <string.h>
#include <time.h>

#include "crypto/verify.h"
#include "merge/merge_work.h"
#include "sign/bundle.h"
#include "sign/oms.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/utc.h"

#define PREDICATE "urn:weightward:predicate:lineage-plan:1"
#define SCHEMA "weightward.lineage-plan/1"
#define MAX_PLAN ((size_t)1 << 20)

static const char *const plan_keys[] = {"schema",   "date", "base",      "candidates",
                                        "controls", "seed", "thresholds"};
static const char *const model_keys[] = {"name", "sha256_tree"};

static const struct {
    const char *name;
    double value;
} thresholds[] = {
    {"included", WW_LINEAGE_LEAST},
    {"supported", WW_REPLAY_SUPPORTED},
    {"times_worse", WW_REPLAY_TIMES_WORSE},
};
#define N_THRESHOLDS (sizeof(thresholds) / sizeof(thresholds[0]))

enum ww_err ww_prereg_digest(const char *path, const struct ww_run_options *run,
                             uint8_t root[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_model *model = NULL;
    struct ww_sha256 *h = NULL;
    uint8_t(*roots)[WW_SHA256_BYTES] = NULL;
    enum ww_err rc = ww_model_open(path, &model, err);

    if (rc) {
        return rc;
    }
    roots = ww_calloc(model->n_tensors + (size_t)1, sizeof(*roots));
    rc = roots ? ww_merge_digest_model(model, NULL, NULL, roots, run, err)
               : WW_FAIL_MEMORY(err, "a plan");
    if (!rc) {
        rc = ww_sha256_new(&h, err);
    }
    if (!rc) {
        ww_tree_fold(h, roots, model->n_tensors, root);
    }
    ww_sha256_free(h);
    ww_free(roots);
    ww_model_close(model);
    return rc;
}

static enum ww_err write_model(struct ww_jw *w, const char *path,
                               const struct ww_run_options *run, struct ww_error *err)
{
    uint8_t root[WW_SHA256_BYTES] = {0};
    char *name = NULL;
    enum ww_err rc = ww_prereg_digest(path, run, root, err);

    if (!rc) {
        rc = ww_path_last(path, &name, err);
    }
    ww_jw_object(w);
    ww_jw_kstr(w, "name", name);
    ww_jw_khex(w, "sha256_tree", root, WW_SHA256_BYTES);
    ww_jw_close(w);
    ww_free(name);
    return rc;
}

static enum ww_err write_list(struct ww_jw *w, const char *key, const char *const *paths,
                              size_t n, const struct ww_run_options *run,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    ww_jw_key(w, key);
    ww_jw_array(w);
    for (size_t i = 0; i < n && !rc; i++) {
        rc = write_model(w, paths[i], run, err);
    }
    ww_jw_close(w);
    return rc;
}

static enum ww_err write_payload(const struct ww_prereg_run *run, struct ww_buf *out,
                                 struct ww_error *err)
{
    uint8_t root[WW_SHA256_BYTES] = {0};
    char when[WW_UTC_BYTES];
    struct ww_jw w;
    enum ww_err rc = ww_prereg_digest(run->base, run->run, root, err);

    if (rc) {
        return rc;
    }
    ww_utc_text((int64_t)time(NULL), when);
    ww_jw_init(&w, out, 0);
    ww_statement_begin(&w, "lineage plan", root, PREDICATE);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "schema", SCHEMA);
    ww_jw_kstr(&w, "date", when);
    ww_jw_key(&w, "base");
    rc = write_model(&w, run->base, run->run, err);
    if (!rc) {
        rc = write_list(&w, "candidates", run->candidates, run->n_candidates, run->run,
                        err);
    }
    if (!rc) {
        rc = write_list(&w, "controls", run->controls, run->n_controls, run->run, err);
    }
    ww_jw_ku64(&w, "seed", run->seed);
    ww_jw_key(&w, "thresholds");
    ww_jw_object(&w);
    for (size_t i = 0; i < N_THRESHOLDS; i++) {
        ww_jw_kdouble(&w, thresholds[i].name, thresholds[i].value);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    ww_jw_close(&w);
    return rc ? rc : ww_jw_end(&w, err);
}

enum ww_err ww_lineage_plan(const struct ww_decompose_options *options,
                            const struct ww_signer *signer, const char *path,
                            struct ww_error *err)
{
    const struct ww_prereg_run run = {options->base,         options->candidates,
                                      options->n_candidates, options->controls,
                                      options->n_controls,   options->seed,
                                      &options->run};
    struct ww_buf payload;
    struct ww_buf bundle;
    enum ww_err rc = ww_path_check_new(path, err);

    ww_buf_init(&payload, MAX_PLAN);
    ww_buf_init(&bundle, 2 * MAX_PLAN);
    if (!rc) {
        rc = write_payload(&run, &payload, err);
    }
    if (!rc) {
        rc = ww_bundle_sign(signer, payload.data, payload.len, &bundle, err);
    }
    if (!rc) {
        rc = ww_file_write(path, bundle.data, bundle.len, 0644, false, err);
    }
    ww_buf_release(&payload);
    ww_buf_release(&bundle);
    return rc;
}

static enum ww_err malformed(const char *path, const char *member, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_JSON, "plan '%s': member '%s' is missing or malformed", path,
                   member);
}

struct planned {
    const char *name;
    uint8_t root[WW_SHA256_BYTES];
};

static enum ww_err read_model(const char *plan, const struct ww_jnode *node,
                              struct planned *out, struct ww_error *err)
{
    const enum ww_err rc = ww_jonly(node, model_keys, 2, WW_E_JSON, "model", err);

    return rc ? rc
           : ww_jstr(ww_jget(node, "name"), &out->name) &&
                   ww_jhex(ww_jget(node, "sha256_tree"), out->root, WW_SHA256_BYTES)
               ? WW_OK
               : malformed(plan, "sha256_tree", err);
}

static enum ww_err read_list(const char *plan, const struct ww_jnode *list,
                             const char *what, size_t n, struct ww_error *err)
{
    struct planned one;
    enum ww_err rc = WW_OK;

    if (!list || ww_jtype(list) != WW_J_ARRAY) {
        return malformed(plan, what, err);
    }
    if (ww_jsize(list) != n) {
        return WW_FAIL(err, WW_E_DIFFERS,
                       "plan '%s' has %zu %s, %zu are given; give what was planned, or "
                       "sign another plan",
                       plan, ww_jsize(list), what, n);
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at && !rc; at = ww_jnext(at)) {
        rc = read_model(plan, at, &one, err);
    }
    return rc;
}

static enum ww_err check_thresholds(const char *plan, const struct ww_jnode *node,
                                    struct ww_error *err)
{
    for (size_t i = 0; i < N_THRESHOLDS; i++) {
        double value = 0;
        if (!ww_jdouble(ww_jget(node, thresholds[i].name), &value)) {
            return malformed(plan, "thresholds", err);
        }
        if (value < thresholds[i].value || value > thresholds[i].value) {
            return WW_FAIL(err, WW_E_VERSION,
                           "plan '%s' has threshold '%s' at %g, this version has %g; use "
                           "the version that made the plan",
                           plan, thresholds[i].name, value, thresholds[i].value);
        }
    }
    return ww_jsize(node) == N_THRESHOLDS ? WW_OK : malformed(plan, "thresholds", err);
}

/* All of it, before a model is opened. */
static enum ww_err read_predicate(const char *plan, const struct ww_jnode *node,
                                  const struct ww_prereg_run *run, struct ww_error *err)
{
    const char *schema = NULL;
    const char *date = NULL;
    struct planned base;
    uint64_t seed = 0;
    enum ww_err rc = ww_jonly(node, plan_keys, sizeof(plan_keys) / sizeof(plan_keys[0]),
                              WW_E_JSON, "plan", err);

    if (!rc &&
        (!ww_jstr(ww_jget(node, "schema"), &schema) || strcmp(schema, SCHEMA) != 0)) {
        rc = WW_FAIL(err, WW_E_VERSION, "plan '%s' is of schema '%.60s', expected '%s'",
                     plan, schema ? schema : "", SCHEMA);
    }
    if (!rc && !ww_jstr(ww_jget(node, "date"), &date)) {
        rc = malformed(plan, "date", err);
    }
    if (!rc && !ww_ju64(ww_jget(node, "seed"), &seed)) {
        rc = malformed(plan, "seed", err);
    }
    if (!rc && seed != run->seed) {
        rc = WW_FAIL(err, WW_E_DIFFERS, "plan '%s' has seed %llu, the run has %llu", plan,
                     (unsigned long long)seed, (unsigned long long)run->seed);
    }
    rc = rc ? rc : check_thresholds(plan, ww_jget(node, "thresholds"), err);
    rc = rc ? rc : read_model(plan, ww_jget(node, "base"), &base, err);
    rc = rc ? rc
            : read_list(plan, ww_jget(node, "candidates"), "candidates",
                        run->n_candidates, err);
    return rc ? rc
              : read_list(plan, ww_jget(node, "controls"), "controls", run->n_controls,
                          err);
}

enum ww_err ww_prereg_read(const char *plan, const uint8_t *payload, size_t len,
                           const struct ww_prereg_run *run, struct ww_json **json,
                           const struct ww_jnode **predicate, struct ww_error *err)
{
    struct ww_statement_view view = {0};
    enum ww_err rc = ww_json_parse(payload, len, &ww_json_limits_small, json, err);

    if (!rc) {
        rc = ww_statement_read(ww_json_root(*json), PREDICATE, &view, err);
    }
    if (!rc) {
        rc = read_predicate(plan, view.predicate, run, err);
    }
    *predicate = view.predicate;
    return rc;
}

static enum ww_err check_model(const char *plan, const struct ww_jnode *node,
                               const char *path, const struct ww_prereg_run *run,
                               struct ww_error *err)
{
    struct planned planned;
    uint8_t root[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    enum ww_err rc = read_model(plan, node, &planned, err);

    if (!rc) {
        rc = ww_prereg_digest(path, run->run, root, err);
    }
    if (!rc && memcmp(root, planned.root, WW_SHA256_BYTES) != 0) {
        ww_hex(hex, planned.root, WW_SHA256_BYTES);
        rc = WW_FAIL(err, WW_E_DIFFERS,
                     "'%s' is not the model that plan '%s' has in this place, '%s' with "
                     "tensors %.16s...; give what was planned, or sign another plan",
                     path, plan, planned.name, hex);
    }
    return rc;
}

static enum ww_err check_models(const char *plan, const struct ww_jnode *node,
                                const struct ww_prereg_run *run, struct ww_error *err)
{
    const struct ww_jnode *candidates = ww_jget(node, "candidates");
    const struct ww_jnode *controls = ww_jget(node, "controls");
    enum ww_err rc = check_model(plan, ww_jget(node, "base"), run->base, run, err);

    for (size_t i = 0; i < run->n_candidates && !rc; i++) {
        rc = check_model(plan, ww_jat(candidates, i), run->candidates[i], run, err);
    }
    for (size_t i = 0; i < run->n_controls && !rc; i++) {
        rc = check_model(plan, ww_jat(controls, i), run->controls[i], run, err);
    }
    return rc;
}

/* The signature first: nothing inside is read before it holds. */
static enum ww_err open_plan(const char *path, const char *public_key,
                             struct ww_bundle *bundle, struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    struct ww_verifier verifier;
    struct ww_buf text;
    enum ww_err rc = ww_pubkey_load(public_key, &key, err);

    ww_buf_init(&text, 2 * MAX_PLAN);
    if (!rc) {
        rc = ww_file_read(path, &text, err);
    }
    if (!rc) {
        rc = ww_verifier_of_key(key, &verifier, err);
    }
    if (!rc) {
        rc = ww_bundle_parse(text.data, text.len, bundle, err);
    }
    if (!rc) {
        rc = ww_bundle_check(bundle, &verifier, NULL, err);
        if (rc) {
            ww_bundle_release(bundle);
        }
    }
    if (rc) {
        ww_error_context(err, "plan '%s'", path);
    }
    ww_buf_release(&text);
    ww_pubkey_free(key);
    return rc;
}

enum ww_err ww_prereg_check(const char *plan, const char *public_key,
                            const struct ww_prereg_run *run, struct ww_error *err)
{
    struct ww_bundle bundle;
    struct ww_json *json = NULL;
    const struct ww_jnode *predicate = NULL;
    enum ww_err rc = WW_OK;

    if (!public_key) {
        return WW_FAIL(err, WW_E_USAGE,
                       "plan '%s' is given without the public key that signed it", plan);
    }
    rc = open_plan(plan, public_key, &bundle, err);
    if (rc) {
        return rc;
    }
    rc = ww_prereg_read(plan, bundle.payload.data, bundle.payload.len, run, &json,
                        &predicate, err);
    if (!rc) {
        rc = check_models(plan, predicate, run, err);
    }
    ww_json_free(json);
    ww_bundle_release(&bundle);
    return rc;
}
