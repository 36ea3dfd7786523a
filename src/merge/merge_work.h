/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A merge from a recipe file, as its parts share it: the recipes, where their models lie,
 * the plan of the last recipe, and what the record will say of the sources.
 */
#ifndef WW_MERGE_MERGE_WORK_H
#define WW_MERGE_MERGE_WORK_H

#include "evidence/ancestors.h"
#include "merge/build.h"
#include "merge/earlier.h"
#include "merge/source_digests.h"
#include "sign/statement.h"
#include "stream/stream.h"

/** A model that was merged, for the record. */
struct ww_work_source {
    const char *name;          /* as the recipe names it */
    struct ww_resource *files; /* weights, then config.json and the tokenizer */
    uint64_t *sizes;
    size_t n_files;
    uint8_t tree[WW_SHA256_BYTES];
    bool has_tree;
    uint8_t lock_id[WW_SHA256_BYTES];
    bool unlocked; /* it was read as the open model, of that lock */
    struct ww_source_evidence evidence;
};

struct ww_work {
    const struct ww_merge_options *options;
    struct ww_merge_report *report;
    struct ww_buf text; /* the recipe file */
    char *recipe_dir;
    bool of_record; /* the recipe is that of a record, in the folder recipe_dir */
    struct ww_recipe_file file;
    bool looked_at; /* plans are looked at, and nobody hears of warnings */
    bool decodes;   /* eight-bit weights are taken for the floats they stand for */
    struct ww_open_models open; /* with both: need not be opened again */
    struct ww_strlist warnings;
    struct ww_pool pool;
    char *steps; /* folder of intermediate results, NULL until there is one */
    struct ww_merge_plan plan;            /* of the last recipe */
    uint8_t plan_sha256[WW_SHA256_BYTES]; /* over the plans of all recipes */
    struct ww_work_source *sources;
    size_t n_sources;
    struct ww_source_digests digests; /* of sources, from earlier merges */
    struct ww_ancestors ancestors;    /* evidence that the sources carry */
    const struct ww_merge_state
        *state; /* that the merge ends with, NULL: none is known */
};

/** A recipe as its file has it. */
struct ww_recipe_text {
    const void *bytes;
    size_t len;
    const char *name; /* for messages */
    const char *dir;  /* where relative models are looked for second */
};

/** Read and parse. */
enum ww_err ww_work_open(struct ww_work *work, const struct ww_recipe_text *text,
                         const struct ww_merge_options *options,
                         struct ww_merge_report *report,
                         struct ww_error *err) WW_MUST_USE;
enum ww_err ww_work_open_file(struct ww_work *work, const char *path,
                              const struct ww_merge_options *options,
                              struct ww_merge_report *report,
                              struct ww_error *err) WW_MUST_USE;
/** The recipe in the record of OUT, or the file at recipe_path (may be NULL), which must
 *  be the same: WW_E_DIFFERS. */
enum ww_err ww_work_open_record(struct ww_work *work, const char *recipe_path,
                                const char *out_path, const char *recorded,
                                const struct ww_merge_options *options,
                                struct ww_merge_report *report,
                                struct ww_error *err) WW_MUST_USE;
/** Warnings and the plan's numbers go to the report, also after a failure. */
void ww_work_close(struct ww_work *work);

/** Where a model of a recipe lies; *out lives as long as the work. WW_E_NOTFOUND. */
enum ww_err ww_work_find_model(struct ww_work *work, const struct ww_recipe_model *m,
                               const char **out, struct ww_error *err) WW_MUST_USE;

/** The plan of one recipe; results of others must lie in work->steps. */
enum ww_err ww_work_plan(struct ww_work *work, uint32_t recipe, struct ww_merge_plan *out,
                         struct ww_error *err) WW_MUST_USE;

/** Run all recipes before the last into "OUT.steps" (out_path with that ending), then
 * plan the last into work->plan. Fills plan_sha256 and the sources met on the way. */
enum ww_err ww_work_prepare(struct ww_work *work, const char *out_path,
                            struct ww_error *err) WW_MUST_USE;

/** A plan's models have been read: they must be what they were; digests that were known
 *  before go into the result. */
enum ww_err ww_work_sources_read(struct ww_work *work, const struct ww_merge_plan *plan,
                                 struct ww_merge_result *result,
                                 struct ww_error *err) WW_MUST_USE;

/** Make "OUT.steps" unless it is made already; gone when the work is closed. What a
 * killed run left of it is removed with --resume. */
enum ww_err ww_work_make_steps(struct ww_work *work, const char *out_path,
                               struct ww_error *err) WW_MUST_USE;

/** The folder of a model or of an adapter ("what", for the message) that m names by path.
 */
enum ww_err ww_work_find_folder(struct ww_work *work, const struct ww_recipe_model *m,
                                const char *path, const char *what, const char **out,
                                struct ww_error *err) WW_MUST_USE;
/** Add an adapter to the sources, unless one of that name is there. */
enum ww_err ww_work_add_adapter(struct ww_work *work, const char *text,
                                const struct ww_adapter *adapter,
                                const uint8_t sha256[WW_SHA256_BYTES],
                                struct ww_error *err) WW_MUST_USE;
/** Have the tree roots of the plan's models taken while it runs: of those that
 *  ww_work_add_sources will add. Without it they are read once more for that. */
enum ww_err ww_work_want_trees(struct ww_work *work, uint32_t recipe,
                               struct ww_merge_plan *plan,
                               struct ww_error *err) WW_MUST_USE;
/** Is a model among the sources already? */
bool ww_work_knows(const struct ww_work *work, const struct ww_recipe_model *m);
/** Add the models of a plan that was run to the sources. */
enum ww_err ww_work_add_sources(struct ww_work *work, uint32_t recipe,
                                const struct ww_merge_plan *plan,
                                const struct ww_merge_result *result, bool with_trees,
                                struct ww_error *err) WW_MUST_USE;

/** SHA-256 over what decides the bytes of a plan's output. */
enum ww_err ww_merge_plan_digest(const struct ww_merge_plan *plan,
                                 uint8_t out[WW_SHA256_BYTES],
                                 struct ww_error *err) WW_MUST_USE;

/** Digests of the tensors of a model, read once: files may be NULL. want: NULL, or for
 *  each tensor its rank among the wanted ones, WW_NONE: skipped. */
enum ww_err ww_merge_digest_model(const struct ww_model *model, const uint32_t *want,
                                  uint8_t (*file_sha256)[WW_SHA256_BYTES],
                                  uint8_t (*tensor_root)[WW_SHA256_BYTES],
                                  const struct ww_run_options *run,
                                  struct ww_error *err) WW_MUST_USE;

/** The record's statement. root: the output's OMS root; files: all its files. */
struct ww_record {
    const char *out_name;
    const struct ww_resource *files;
    size_t n_files;
    const uint8_t *root;
    const uint8_t *tree;
};
enum ww_err ww_record_write(const struct ww_work *work, const struct ww_record *record,
                            struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

/** A record read back. */
struct ww_record_view {
    struct ww_json *json;
    const char *recipe;
    bool paper;
    bool peer_arithmetic;
    bool order_free;
    bool allow_mixed;
    uint64_t seed;
    uint64_t shard_bytes;
    uint8_t plan_sha256[WW_SHA256_BYTES];
    const char *method; /* NULL: not said */
    struct ww_merge_state state;
    const struct ww_jnode *subjects; /* [{name, digest: {sha256}}] */
    const struct ww_jnode *sources;
};
/** From the statement's text, and of a folder; WW_E_BUNDLE, WW_E_VERSION. */
enum ww_err ww_record_view_parse(const uint8_t *text, size_t len,
                                 struct ww_record_view *out,
                                 struct ww_error *err) WW_MUST_USE;
enum ww_err ww_record_read(int dirfd, struct ww_record_view *out,
                           struct ww_error *err) WW_MUST_USE;
void ww_record_release(struct ww_record_view *view);
/** The member of a list that has this name, or NULL; does it state this digest? */
const struct ww_jnode *ww_record_named(const struct ww_jnode *list, const char *name);
bool ww_record_has_digest(const struct ww_jnode *node,
                          const uint8_t sha256[WW_SHA256_BYTES]);
/** WW_E_DIFFERS unless every file of every source is the recorded one. */
enum ww_err ww_record_check_sources(const struct ww_record_view *record,
                                    const struct ww_work *work,
                                    struct ww_error *err) WW_MUST_USE;

#endif
