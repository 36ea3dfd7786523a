/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Computing a merge again. The recipe and the options come from the record; the plan must
 * have the recorded digest; then the tensors are computed and compared with the bytes
 * that lie in the folder. All of them: every file is compared by its digest, the sources'
 * too. A sample: the chosen tensors by their roots.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/secret.h"
#include "merge/lora_job.h"
#include "merge/merged_folder.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

struct again {
    struct ww_work work;
    struct ww_merge_options options;
    struct ww_merged merged;
    struct ww_merge_plan part; /* the sampled tensors; borrows from work.plan */
    uint32_t *want;            /* per tensor of model: its rank in the sample */
};

static enum ww_err open_record(struct again *a, const char *recipe_path,
                               const char *out_path,
                               const struct ww_merge_options *options,
                               struct ww_merge_report *report, struct ww_error *err)
{
    const struct ww_record_view *record = &a->merged.record;
    enum ww_err rc = ww_merged_open(out_path, options, &a->merged, err);

    if (rc) {
        return rc;
    }
    a->options = *options;
    a->options.paper = record->paper;
    a->options.peer_arithmetic = record->peer_arithmetic;
    a->options.order_free = record->order_free;
    a->options.allow_mixed = record->allow_mixed;
    a->options.seed = record->seed;
    a->options.shard_bytes = record->shard_bytes;
    rc = ww_work_open_record(&a->work, recipe_path, out_path, record->recipe, &a->options,
                             report, err);
    /* What there was to say of the models was said when they were merged. */
    a->work.looked_at = true;
    return rc;
}

static enum ww_err check_plan(const struct again *a, struct ww_error *err)
{
    if (memcmp(a->work.plan_sha256, a->merged.record.plan_sha256, WW_SHA256_BYTES) == 0) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_DIFFERS,
                   "the plan is not the recorded one: a source has other headers or side "
                   "files than it had, or another version of the program made the merge");
}

/* A file among the subjects, of which the first is the folder. */
static const struct ww_jnode *subject_of(const struct ww_record_view *record,
                                         const char *name)
{
    const struct ww_jnode *n = ww_jnext(ww_jfirst(record->subjects));
    const char *s = NULL;

    while (n && !(ww_jstr(ww_jget(n, "name"), &s) && strcmp(s, name) == 0)) {
        n = ww_jnext(n);
    }
    return n;
}

/* Every file as computed, as recorded and as it lies there. */
static enum ww_err compare_files(const struct again *a,
                                 const struct ww_merge_result *result,
                                 struct ww_error *err)
{
    const struct ww_merge_plan *plan = &a->work.plan;
    uint8_t(*found)[WW_SHA256_BYTES] = ww_calloc(plan->n_files, sizeof(*found));
    enum ww_err rc = found ? WW_OK : WW_FAIL_MEMORY(err, "a re-derivation");

    if (!rc) {
        rc = ww_merged_digests(&a->merged, plan, &a->options.run, found, err);
    }
    for (uint32_t f = 0; f < plan->n_files && !rc; f++) {
        const uint8_t *computed = result->output_sha256[f];
        const char *name = plan->files[f].name;
        if (memcmp(computed, found[f], WW_SHA256_BYTES) != 0) {
            rc = WW_FAIL(err, WW_E_DIFFERS,
                         "file '%s' is not what the recipe and the sources give", name);
        } else if (!ww_record_has_digest(subject_of(&a->merged.record, name), computed)) {
            rc = WW_FAIL(err, WW_E_DIFFERS,
                         "file '%s' has another digest than the record says", name);
        }
    }
    ww_free(found);
    return rc;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fabs(b);
}

/* The numbers that a later merge goes on with. */
static enum ww_err compare_state(const struct ww_merge_state *computed,
                                 const struct ww_merge_state *stated,
                                 struct ww_error *err)
{
    return stated->tasks == 0 || (computed->tasks == stated->tasks &&
                                  near(computed->mean_norm, stated->mean_norm) &&
                                  near(computed->scale, stated->scale))
               ? WW_OK
               : WW_FAIL(err, WW_E_DIFFERS,
                         "the record says that a later merge goes on from %.0f models of "
                         "norm %.17g, scaled by %.17g; computed were %.0f, %.17g and "
                         "%.17g",
                         (double)stated->tasks, stated->mean_norm, stated->scale,
                         (double)computed->tasks, computed->mean_norm, computed->scale);
}

static enum ww_err rederive_all(struct again *a, struct ww_error *err)
{
    struct ww_merge_result result = {0};
    enum ww_err rc =
        ww_merge_run(&a->work.plan, NULL, &a->options.run, NULL, &result, err);

    if (!rc) {
        rc = ww_merge_check_views(
            &a->work.plan, (const uint8_t(*)[WW_SHA256_BYTES])result.input_sha256, err);
    }
    if (!rc) {
        rc = ww_work_add_sources(&a->work, a->work.file.last, &a->work.plan, &result,
                                 false, err);
    }
    if (!rc) {
        rc = ww_record_check_sources(&a->merged.record, &a->work, err);
    }
    if (!rc) {
        rc = compare_files(a, &result, err);
    }
    if (!rc) {
        rc = compare_state(result.state, &a->merged.record.state, err);
    }
    if (!rc) {
        a->work.report->tensors_checked = a->work.plan.n_tensors;
        a->work.report->run = result.run;
    }
    ww_merge_result_release(&result);
    return rc;
}

/* Choose n of total: each subset is as likely as any other (Knuth, algorithm S). */
static void choose(uint64_t n, uint32_t total, bool *chosen)
{
    uint64_t left = n;

    for (uint32_t i = 0; i < total; i++) {
        uint64_t r = 0;
        ww_random(&r, sizeof(r));
        chosen[i] = (double)(r >> 11) * 0x1p-53 * (double)(total - i) < (double)left;
        left -= chosen[i];
    }
}

/* The chosen tensors as a plan of one nameless file, and their places in the folder. */
static enum ww_err make_part(struct again *a, uint64_t sample, struct ww_merge_file *file,
                             struct ww_error *err)
{
    const struct ww_merge_plan *plan = &a->work.plan;
    bool *chosen = ww_calloc(plan->n_tensors, sizeof(*chosen));
    struct ww_merge_input *inputs = ww_calloc(plan->n_inputs, sizeof(*inputs));
    uint32_t n = 0;

    a->want = ww_calloc(a->merged.model->n_tensors, sizeof(*a->want));
    a->part = *plan;
    a->part.whole = plan;
    a->part.tensors = ww_calloc(plan->n_tensors, sizeof(*a->part.tensors));
    a->part.inputs = inputs;
    if (!chosen || !inputs || !a->want || !a->part.tensors) {
        ww_free(chosen);
        return WW_FAIL_MEMORY(err, "a re-derivation");
    }
    for (uint32_t i = 0; i < plan->n_inputs; i++) {
        inputs[i] = plan->inputs[i];
        inputs[i].want_sha256 = false;
    }
    for (uint32_t i = 0; i < a->merged.model->n_tensors; i++) {
        a->want[i] = WW_NONE;
    }
    choose(sample, plan->n_tensors, chosen);
    for (uint32_t i = 0; i < plan->n_tensors; i++) {
        if (chosen[i]) {
            a->part.tensors[n++] = plan->tensors[i];
        }
    }
    *file = (struct ww_merge_file){
        .name = "sample", .header = (const uint8_t *)"", .n_tensors = n};
    a->part.n_tensors = n;
    a->part.files = file;
    a->part.n_files = 1;
    ww_free(chosen);
    return WW_OK;
}

static int by_name(const void *x, const void *y)
{
    return strcmp(((const struct ww_merge_tensor *)x)->name,
                  ((const struct ww_merge_tensor *)y)->name);
}

static enum ww_err compare_sample(struct again *a, const struct ww_merge_result *result,
                                  struct ww_error *err)
{
    const uint32_t n = a->part.n_tensors;
    uint8_t(*roots)[WW_SHA256_BYTES] = ww_calloc(n, sizeof(*roots));
    enum ww_err rc = roots ? WW_OK : WW_FAIL_MEMORY(err, "a re-derivation");

    for (uint32_t i = 0; i < n && !rc; i++) {
        const uint32_t t = ww_model_find(a->merged.model, a->part.tensors[i].name);
        if (t == WW_NONE) {
            rc = WW_FAIL(err, WW_E_DIFFERS, "the folder has no tensor '%s'",
                         a->part.tensors[i].name);
        } else {
            a->want[t] = i;
        }
    }
    if (!rc) {
        rc = ww_merge_digest_model(a->merged.model, a->want, NULL, roots, &a->options.run,
                                   err);
    }
    for (uint32_t i = 0; i < n && !rc; i++) {
        if (memcmp(roots[i], result->tensor_root[i], WW_SHA256_BYTES) != 0) {
            rc = WW_FAIL(err, WW_E_DIFFERS,
                         "tensor '%s' is not what the recipe and the sources give",
                         a->part.tensors[i].name);
        }
    }
    ww_free(roots);
    return rc;
}

static enum ww_err rederive_sample(struct again *a, uint64_t sample, struct ww_error *err)
{
    struct ww_merge_result result = {0};
    struct ww_merge_file file;
    enum ww_err rc = make_part(a, sample, &file, err);

    if (!rc) {
        /* Roots depend on the rank by name: both sides count among the chosen. */
        qsort(a->part.tensors, a->part.n_tensors, sizeof(*a->part.tensors), by_name);
        rc = ww_merge_run(&a->part, NULL, &a->options.run, NULL, &result, err);
    }
    if (!rc) {
        rc = compare_sample(a, &result, err);
    }
    if (!rc) {
        a->work.report->tensors_checked = a->part.n_tensors;
        a->work.report->run = result.run;
    }
    ww_merge_result_release(&result);
    ww_free(a->part.tensors);
    ww_free(a->part.inputs);
    return rc;
}

enum ww_err ww_merge_rederive(const char *recipe_path, const char *out_path,
                              uint64_t sample, const struct ww_merge_options *options,
                              struct ww_merge_report *report, struct ww_error *err)
{
    struct again a = {.options = *options};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    if (ww_adapter_is_folder(out_path)) {
        return ww_lora_rederive(recipe_path, out_path, options, report, err);
    }
    rc = open_record(&a, recipe_path, out_path, options, report, err);
    if (!rc) {
        rc = ww_work_prepare(&a.work, out_path, err);
    }
    if (!rc) {
        rc = check_plan(&a, err);
    }
    if (!rc) {
        rc = sample > 0 && sample < a.work.plan.n_tensors
                 ? rederive_sample(&a, sample, err)
                 : rederive_all(&a, err);
    }
    ww_work_close(&a.work);
    ww_merged_close(&a.merged);
    ww_free(a.want);
    return rc;
}
