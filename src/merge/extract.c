/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One weight at a time: the difference in float32, its factors into a nameless file, then
 * a plan that copies them behind a header. Weights pass through in blocks; only matrices
 * whose decomposition takes MATRIX_BYTES or less are held, and they are read once. A
 * weight that is no linear map (gains, embeddings, biases) is carried whole when it
 * changed, because an adapter that answers differently from the model it stands for is
 * worth nothing.
 */
#include "weightward/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "json/json.h"
#include "merge/build.h"
#include "merge/extract_doubts.h"
#include "merge/extract_pair.h"
#include "merge/extract_write.h"
#include "merge/lock_side.h"
#include "merge/lowrank.h"
#include "merge/tied.h"
#include "model/config.h"
#include "model/orientation.h"
#include "model/packed.h"
#include "model/vocab_names.h"
#include "stream/cpus.h"
#include "la/la.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"
#include "util/str.h"

#define DEFAULT_RANK 64
#define MATRIX_BYTES (UINT64_C(96) << 20)

static bool is_embedding(const char *name)
{
    static const char *const words[] = {"embed",          "wte.",
                                        "wpe.",           "shared.weight",
                                        "transformer.w.", "relative_attention_bias"};
    for (size_t i = 0; i < WW_LEN(words); i++) {
        if (strstr(name, words[i])) {
            return true;
        }
    }
    return false;
}

/* Gains of a norm may have a row for each head. */
static bool is_linear(const struct ww_tensor *t)
{
    return t->rank == 2 && t->shape[0] > 1 && t->shape[1] > 1 &&
           ww_str_ends(t->name, ".weight") && !ww_str_ends(t->name, "norm.weight") &&
           !is_embedding(t->name);
}

/* Is it in one of these modules? */
static bool is_in(const struct ww_strlist *modules, const char *name)
{
    const char *dot = strrchr(name, '.');
    const size_t len = dot ? (size_t)(dot - name) : strlen(name);

    for (size_t i = 0; i < modules->n; i++) {
        if (strncmp(modules->items[i], name, len) == 0 && !modules->items[i][len]) {
            return true;
        }
    }
    return false;
}

/* Modules that PEFT can add factors to have a weight and a bias alone. Routers with a
 * correction are none: they are carried whole. Nor is the output of torch's own
 * attention, which reads the weight of that module and does not run it. */
static enum ww_err find_others(const struct ww_model *base, struct ww_strlist *modules,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < base->n_tensors && !rc; t++) {
        const char *name = base->tensors[t].name;
        const char *dot = strrchr(name, '.');
        const bool fused = ww_str_ends(name, ".in_proj_weight");
        if (ww_str_ends(name, ".weight") || ww_str_ends(name, ".bias") ||
            (is_in(modules, name) && !fused)) {
            continue;
        }
        char *module = ww_strndup(name, dot ? (size_t)(dot - name) : strlen(name));
        char *output = fused && module ? ww_asprintf("%s.out_proj", module) : NULL;
        rc = module && (output || !fused) ? ww_strlist_add(modules, module, err)
                                          : WW_FAIL_MEMORY(err, "an adapter");
        if (!rc && fused) {
            rc = ww_strlist_add(modules, output, err);
        }
        ww_free(module);
        ww_free(output);
    }
    return rc;
}

/* Rows of the difference, for a decomposition that reads them. */
static enum ww_err read_rows(void *payload, size_t first, size_t count, double *out,
                             struct ww_error *err)
{
    const struct ww_pair *pair = payload;
    const uint64_t n = pair->base->tensors[pair->t].shape[1];
    float *block = ww_calloc(ww_min_u64(count * n, WW_PAIR_BLOCK) + 1, sizeof(*block));
    enum ww_err rc = block ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");

    for (uint64_t at = 0; at < count * n && !rc; at += WW_PAIR_BLOCK) {
        const uint64_t k = ww_min_u64(WW_PAIR_BLOCK, count * n - at);
        rc = ww_pair_difference(pair, first * n + at, k, block, err);
        for (uint64_t i = 0; i < k && !rc; i++) {
            out[at + i] = (double)block[i];
        }
    }
    ww_free(block);
    return rc;
}

/* Is the matrix held while it is decomposed? By the shape alone: no limit of memory
 * changes a byte. The number of threads does, in BLAS. */
static bool is_held(const struct ww_extracting *x, const struct ww_tensor *t)
{
    return is_linear(t) &&
           t->n_elements * sizeof(float) + ww_lowrank_bytes((size_t)t->shape[0],
                                                            (size_t)t->shape[1],
                                                            (size_t)x->rank, x->energy) <=
               MATRIX_BYTES;
}

/* diff: the difference, NULL where it is read row by row. */
static enum ww_err decompose(const struct ww_extracting *x, const struct ww_pair *pair,
                             const float *diff, double norm, struct ww_lowrank *out,
                             struct ww_error *err)
{
    const struct ww_tensor *t = &pair->base->tensors[pair->t];
    const size_t m = (size_t)t->shape[0];
    const size_t n = (size_t)t->shape[1];
    const size_t rank = (size_t)x->rank;
    const struct ww_lowrank_rows rows = {m, n, norm, read_rows, (void *)(uintptr_t)pair};

    return diff ? ww_lowrank_of(m, n, diff, rank, x->energy, out, err)
                : ww_lowrank_streamed(&rows, rank, x->energy, out, err);
}

static enum ww_err factor(struct ww_extracting *x, const struct ww_pair *pair,
                          const float *diff, double norm, struct ww_error *err)
{
    const struct ww_tensor *t = &pair->base->tensors[pair->t];
    struct ww_extract_report *report = x->report;
    struct ww_lowrank lowrank = {0};
    enum ww_err rc = decompose(x, pair, diff, norm, &lowrank, err);

    if (rc) {
        return rc;
    }
    x->norm += norm;
    x->kept += lowrank.kept * norm;
    report->matrices++;
    report->rank = ww_max_u64(report->rank, lowrank.rank);
    if (!report->worst_name || lowrank.kept < report->worst) {
        ww_free(report->worst_name);
        report->worst = lowrank.kept;
        report->worst_name = ww_strdup(t->name);
        rc = report->worst_name ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");
    }
    x->across = ww_lies_across(x->fan_in_fan_out, t->name);
    if (!rc) {
        rc = ww_extract_put_factors(x, t, &lowrank, err);
    }
    ww_lowrank_release(&lowrank);
    return rc;
}

/* PEFT replaces a tied embedding alone, so that what else reads it would stay what it
 * was: a head is carried too, which PEFT finds by the usual name, and without which a
 * merge could not tell the tie. Where several layers are one module of that name PEFT
 * would ask for all of them, so it is not named. */
static enum ww_err take_tied(struct ww_extracting *x, const struct ww_model *base,
                             const struct ww_tensor *t, uint32_t from,
                             struct ww_error *err)
{
    const bool shared = ww_is_shared_embedding(base, t->name);
    const bool tied = ww_is_embedding(t->name) && ww_tied_embedding(base) != WW_NONE;
    struct ww_tensor head = *t;
    enum ww_err rc = WW_OK;

    if (shared || (tied && !ww_tied_head_is_plain(base))) {
        rc = ww_extract_note(
            x->report, err,
            shared ? "is read by several modules, of which PEFT replaces one; merge "
                     "the adapter with the tie in mind"
                   : "is tied to the head, which PEFT leaves as it was; merge the "
                     "adapter with the tie in mind",
            t->name);
    }
    if (rc || !tied) {
        return rc;
    }
    head.name = WW_HEAD;
    return ww_model_find(base, "lm_head.dense.weight") == WW_NONE
               ? ww_extract_put_whole(x, &head, from, err)
               : ww_extract_put_unnamed(x, &head, from, err);
}

/* A parameter of no module that PEFT could save: of the model itself, or of one whose
 * other parts are modules of their own, as sinks beside projections. Under its own name
 * PEFT loads it all the same. */
static bool stands_alone(const struct ww_model *base, const char *name)
{
    const char *dot = strrchr(name, '.');
    const size_t len = dot ? (size_t)(dot - name) + 1 : 0;

    if (len == 0 || strstr(name, ".parametrizations.")) {
        return true;
    }
    for (uint32_t t = 0; t < base->n_tensors; t++) {
        const char *other = base->tensors[t].name;
        if (strncmp(other, name, len) == 0 && strchr(other + len, '.')) {
            return true;
        }
    }
    return false;
}

static enum ww_err take_whole(struct ww_extracting *x, const struct ww_model *base,
                              const struct ww_tensor *t, uint32_t from,
                              struct ww_error *err)
{
    enum ww_err rc = stands_alone(base, t->name) ? ww_extract_put_unnamed(x, t, from, err)
                                                 : ww_extract_put_whole(x, t, from, err);

    x->report->whole++;
    return rc ? rc : take_tied(x, base, t, from, err);
}

/* How much a weight changed; *diff is what there is to decompose, where it is held. */
static enum ww_err compare(const struct ww_extracting *x, const struct ww_pair *pair,
                           float **diff, bool *changed, double *norm,
                           struct ww_error *err)
{
    const struct ww_tensor *t = &pair->base->tensors[pair->t];
    enum ww_err rc = WW_OK;

    if (!is_held(x, t) || !ww_dtype_is_plain_float(t->dtype)) {
        return ww_pair_compare(pair, changed, norm, err);
    }
    *diff = ww_calloc(t->n_elements + 1, sizeof(**diff));
    rc = *diff ? ww_pair_difference(pair, 0, t->n_elements, *diff, err)
               : WW_FAIL_MEMORY(err, "an adapter");
    if (!rc) {
        ww_pair_measure(*diff, t->n_elements, changed, norm);
    }
    return rc;
}

static enum ww_err take_tensor(struct ww_extracting *x, const struct ww_model *base,
                               const struct ww_model *model, uint32_t t,
                               struct ww_error *err)
{
    const struct ww_tensor *tensor = &base->tensors[t];
    struct ww_pair pair;
    bool changed = false;
    double norm = 0;
    float *diff = NULL;
    enum ww_err rc = ww_pair_open(base, model, t, &pair, err);

    rc = rc ? rc : compare(x, &pair, &diff, &changed, &norm, err);
    if (rc) {
        goto out;
    }
    if (!changed) {
        x->report->unchanged++;
    } else if (!ww_dtype_is_plain_float(tensor->dtype)) {
        x->report->dropped++;
        rc = ww_extract_note(x->report, err, "changed and is left out: whole numbers",
                             tensor->name);
    } else if (is_linear(tensor) && !is_in(&x->others, tensor->name)) {
        rc = factor(x, &pair, diff, norm, err);
    } else if (x->portable) {
        x->report->dropped++;
        rc = ww_extract_note(x->report, err, "changed and is left out: no linear weight",
                             tensor->name);
    } else {
        rc = take_whole(x, base, tensor, pair.other, err);
    }
out:
    ww_free(diff);
    return rc;
}

/* PEFT wants every parameter of a module that is carried whole; places and the like are
 * none. */
static enum ww_err complete_modules(struct ww_extracting *x, const struct ww_model *model,
                                    struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        const struct ww_tensor *tensor = &model->tensors[t];
        if (ww_dtype_is_plain_float(tensor->dtype) && ww_extract_lacks(x, tensor->name)) {
            rc = ww_extract_put_whole(x, tensor, t, err);
        }
    }
    return rc;
}

static enum ww_err take_all(struct ww_extracting *x, const struct ww_model *base,
                            const struct ww_model *model, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (base->n_tensors != model->n_tensors) {
        return WW_FAIL(err, WW_E_TENSOR, "'%s' has %u tensors, '%s' has %u", base->path,
                       base->n_tensors, model->path, model->n_tensors);
    }
    rc = find_others(base, &x->others, err);
    for (uint32_t t = 0; t < base->n_tensors && !rc; t++) {
        const struct ww_run_options *run = x->run;
        if (run->progress &&
            run->progress(run->progress_payload, "extract", t, base->n_tensors) != 0) {
            return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
        }
        rc = take_tensor(x, base, model, t, err);
    }
    if (!rc) {
        rc = complete_modules(x, model, err);
    }
    if (!rc) {
        rc = ww_extract_doubts(x, err);
    }
    if (!rc && x->n_tensors == 0) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED, "'%s' and '%s' do not differ%s", base->path,
                     model->path,
                     x->report->dropped ? " in what a portable adapter can carry" : "");
    }
    return rc;
}

enum ww_err ww_extract_scratch(const char *out_path, int *fd, struct ww_error *err)
{
    char *base = ww_strdup(out_path);
    char *slash = NULL;
    enum ww_err rc = WW_OK;

    if (!base) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    for (size_t n = strlen(base); n > 1 && base[n - 1] == '/'; n--) {
        base[n - 1] = '\0';
    }
    slash = strrchr(base, '/');
    if (slash) {
        slash[slash == base] = '\0';
    }
    *fd = open(slash ? base : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0) {
        const int e = errno;
        rc = WW_FAIL_SYS(err, ww_err_from_errno(e), e,
                         "cannot make an unnamed file in '%s'", slash ? base : ".");
    }
    ww_free(base);
    return rc;
}

static enum ww_err check_options(const struct ww_extract_options *options,
                                 struct ww_error *err)
{
    if (options->energy < 0 || options->energy > 1) {
        return WW_FAIL(err, WW_E_USAGE, "energy %g is not between 0 and 1",
                       options->energy);
    }
    if (options->rank > 4096) {
        return WW_FAIL(err, WW_E_USAGE, "rank %llu is too large, at most 4096",
                       (unsigned long long)options->rank);
    }
    return WW_OK;
}

/* What they differ by would be the locks, of which no adapter is. */
static enum ww_err check_locks(const struct ww_model *base, const struct ww_model *model,
                               struct ww_error *err)
{
    struct ww_lock_side sides[2] = {0};
    enum ww_err rc = ww_lock_side_read(base, base->path, &sides[0], err);

    if (!rc) {
        rc = ww_lock_side_read(model, model->path, &sides[1], err);
    }
    if (!rc) {
        rc = ww_lock_sides_agree(&sides[0], &sides[1], "unlock them first", err);
    }
    ww_lock_side_release(&sides[0]);
    ww_lock_side_release(&sides[1]);
    return rc;
}

static enum ww_err write_out(struct ww_extracting *x, const struct ww_model *base,
                             const char *out_path, const struct ww_signer *signer,
                             struct ww_error *err)
{
    char *quoted = NULL;
    char *card = NULL;
    enum ww_err rc = ww_json_quote(base->name, &quoted, err);

    if (!rc) {
        card = ww_asprintf(
            "---\nbase_model: %s\nbase_model_relation: adapter\nlibrary_name: peft\n"
            "---\n\nThe difference of a model to `%s` as a LoRA adapter, made by "
            "`weightward extract`.\n",
            quoted, base->name);
        rc = card ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");
    }
    if (!rc) {
        x->card = card;
        rc = ww_extract_write(x, base->name, out_path, signer, err);
    }
    ww_free(quoted);
    ww_free(card);
    return rc;
}

enum ww_err ww_extract_adapter(const char *base_path, const char *model_path,
                               const char *out_path,
                               const struct ww_extract_options *options,
                               struct ww_extract_report *report, struct ww_error *err)
{
    struct ww_model *base = NULL;
    struct ww_model *model = NULL;
    struct ww_extracting x = {.report = report,
                              .run = &options->run,
                              .rank = options->rank ? options->rank : DEFAULT_RANK,
                              .energy = options->energy,
                              .portable = options->portable,
                              .fd = -1};
    enum ww_err rc = check_options(options, err);

    *report = (struct ww_extract_report){0};
    if (!rc) {
        rc = ww_path_check_output(base_path, out_path, err);
    }
    if (!rc) {
        rc = ww_path_check_output(model_path, out_path, err);
    }
    if (!rc) {
        rc = ww_model_open(base_path, &base, err);
    }
    if (!rc) {
        rc = ww_model_open(model_path, &model, err);
    }
    if (!rc) {
        rc = check_locks(base, model, err);
    }
    rc = rc ? rc : ww_model_plain(base, base->path, err);
    rc = rc ? rc : ww_model_plain(model, model->path, err);
    if (!rc) {
        rc = ww_extract_scratch(out_path, &x.fd, err);
    }
    if (!rc) {
        x.models[0] = base;
        x.models[1] = model;
        x.fan_in_fan_out = ww_stores_inputs_first(base);
        x.root = ww_module_root(base);
        ww_la_threads(ww_threads_wanted(&options->run));
        rc = take_all(&x, base, model, err);
        ww_la_threads(1);
    }
    if (!rc) {
        rc = ww_model_unchanged(base, err);
    }
    if (!rc) {
        rc = ww_model_unchanged(model, err);
    }
    if (!rc) {
        report->kept = x.norm > 0 ? x.kept / x.norm : 1;
        rc = write_out(&x, base, out_path, options->signer, err);
    }
    ww_extracting_release(&x);
    ww_model_close(base);
    ww_model_close(model);
    return rc;
}

void ww_extract_report_release(struct ww_extract_report *report)
{
    for (size_t i = 0; i < report->n_warnings; i++) {
        ww_free(report->warnings[i]);
    }
    ww_free(report->warnings);
    ww_free(report->worst_name);
    *report = (struct ww_extract_report){0};
}
