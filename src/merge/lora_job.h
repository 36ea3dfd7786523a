/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A merge whose sources are adapters and whose result is one. docs/merge-methods.md says
 * what the methods mean here, docs/formats/merge-record.md what the record has.
 */
#ifndef WW_MERGE_LORA_JOB_H
#define WW_MERGE_LORA_JOB_H

#include "merge/lora_pair.h"
#include "merge/merge_work.h"
#include "model/adapter.h"

/** Which merge of pairs: by method and by combine. */
enum ww_lora_way {
    WW_LORA_SUM,
    WW_LORA_KNOTS,
    WW_LORA_CORE,
    WW_LORA_FACTORS, /* from here on by factors: ww_lora_rule_of */
    WW_LORA_FACTORS_TIES,
    WW_LORA_FACTORS_PRUNED,
    WW_LORA_FACTORS_DARE,
    WW_LORA_FACTORS_DARE_TIES,
    WW_LORA_WHOLE_TIES, /* from here on by whole differences */
    WW_LORA_WHOLE_PRUNED,
    WW_LORA_WHOLE_DARE,
    WW_LORA_WHOLE_DARE_TIES
};

/** Do masks by chance, and so seed and places, decide? */
bool ww_lora_by_chance(enum ww_lora_way way);

const struct ww_lora_rule *ww_lora_rule_of(enum ww_lora_way way);

struct ww_lora_input {
    struct ww_adapter *adapter; /* own */
    const char *text;           /* as the recipe names it */
    const struct ww_ynode *parameters;
};

/** A weight that some of the adapters change. */
struct ww_lora_module {
    const char *name;
    bool embedding;
    uint64_t m;
    uint64_t n;
    const struct ww_adapter_entry *
        *a; /* per input, NULL: it does not change the weight */
    const struct ww_adapter_entry **b;
    double t; /* place of its layer */
};

struct ww_lora_job {
    struct ww_work *work;
    const struct ww_recipe *recipe;
    enum ww_lora_way way;
    struct ww_lora_input *inputs;
    uint32_t n_inputs;
    struct ww_lora_module *modules; /* by name */
    uint32_t n_modules;
    struct ww_model *base; /* own; NULL: no adapter has a weight of its to compare */
};

/** Where a recipe of adapters has its inputs. */
static inline const struct ww_recipe_slice *ww_lora_slice(const struct ww_recipe *r)
{
    return &r->modules[0].slices[0];
}

/** By its method and `combine`. WW_E_UNSUPPORTED for what merges no adapters. */
enum ww_err ww_lora_choose_way(struct ww_lora_job *job, struct ww_error *err) WW_MUST_USE;
/** What the opened adapters change: modules by name, with the places of their layers. */
enum ww_err ww_lora_list_modules(struct ww_lora_job *job,
                                 struct ww_error *err) WW_MUST_USE;

/** The weight below the factors of a module, which a sum has no room for: may it be left
 *  out? WW_E_UNSUPPORTED where the base is not named, or has another one. */
enum ww_err ww_lora_leave_copy(struct ww_lora_job *job, const struct ww_lora_input *input,
                               const struct ww_adapter_entry *entry,
                               struct ww_error *err) WW_MUST_USE;

/** Are the models of the recipe adapters? WW_E_RECIPE when some are and some are not. */
enum ww_err ww_lora_wanted(struct ww_work *work, bool *wanted,
                           struct ww_error *err) WW_MUST_USE;

/** Open the adapters and see that they go together. */
enum ww_err ww_lora_open(struct ww_lora_job *job, struct ww_error *err) WW_MUST_USE;
void ww_lora_close(struct ww_lora_job *job);
/** Do all follow one lock, or none? Warns of the first. WW_E_UNSUPPORTED. */
enum ww_err ww_lora_check_locks(struct ww_lora_job *job,
                                struct ww_error *err) WW_MUST_USE;
/** Read the parts of a module, with weights as numbers. */
enum ww_err ww_lora_set_of(const struct ww_lora_job *job,
                           const struct ww_lora_module *module, bool read,
                           struct ww_lora_set *out, struct ww_error *err) WW_MUST_USE;
void ww_lora_set_release(struct ww_lora_set *set);

/** Merge into out_path; NULL: compute and hand the digests to check. */
typedef enum ww_err (*ww_lora_check_fn)(void *payload, const struct ww_plan *plan,
                                        const struct ww_stream_result *result,
                                        struct ww_error *err);
enum ww_err ww_lora_merge(struct ww_work *work, const char *out_path, const char *scratch,
                          ww_lora_check_fn check, void *payload,
                          struct ww_error *err) WW_MUST_USE;
/** The plan as text. */
enum ww_err ww_lora_describe(struct ww_work *work, struct ww_buf *out,
                             struct ww_error *err) WW_MUST_USE;
/** A merged adapter once more, from its record. */
enum ww_err ww_lora_rederive(const char *recipe_path, const char *out_path,
                             const struct ww_merge_options *options,
                             struct ww_merge_report *report,
                             struct ww_error *err) WW_MUST_USE;

#endif
