/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Making a plan from a recipe. What the parts share: the opened models with the layers
 * their tensors' names tell of, and the growing plan.
 *
 * Architectures are not asked: a tensor belongs to a layer when its name has a number
 * behind a word such as "layers", and everything else stands before or behind the layers.
 * Only what a model lacks, by the descriptor of its architecture, is refused.
 */
#ifndef WW_MERGE_BUILD_H
#define WW_MERGE_BUILD_H

#include "lock/unlock_view.h"
#include "merge/bake.h"
#include "merge/plan.h"
#include "merge/pool.h"
#include "merge/recipe.h"
#include "weightward/merge.h"

/** Where a tensor's name puts it. */
struct ww_layer_place {
    uint32_t stack; /* WW_NONE: in no layer */
    uint64_t layer;
    size_t rest; /* offset in the name behind the number */
};

struct ww_layer_stack {
    char *prefix; /* "model.layers." */
    uint64_t n_layers;
};

struct ww_build_model {
    struct ww_model *model; /* owned by the plan */
    const char *text;       /* as the recipe names it */
    uint32_t first_input;
    const struct ww_bake *bake;    /* with an adapter added; NULL: none */
    uint32_t bake_input;           /* with it: the changed weights */
    struct ww_layer_place *places; /* per tensor */
    struct ww_layer_stack *stacks;
    uint32_t n_stacks;
    uint32_t main;  /* the stack that config.json counts, or the only one; WW_NONE */
    uint32_t embed; /* tensor of the token embedding, WW_NONE */
    bool ties;      /* no head of its own: the embedding is the head */
};

/** An adapter that is added to a model. */
struct ww_plan_adapter {
    struct ww_adapter *adapter; /* own; NULL: the model has none */
    struct ww_bake *bake;       /* own */
    uint32_t input;             /* the adapter's weights, for their digest */
};

/** Roots of a model's tensors, taken while the model is merged. */
struct ww_plan_roots {
    uint32_t *order;                   /* tensors by name; NULL: not wanted */
    uint8_t (*roots)[WW_SHA256_BYTES]; /* per tensor; set when the plan was run */
};

/** Root of a model's tensor tree from them. */
enum ww_err ww_plan_roots_fold(const struct ww_plan_roots *from, uint32_t n,
                               uint8_t tree[WW_SHA256_BYTES],
                               struct ww_error *err) WW_MUST_USE;

struct ww_known_model; /* merge/source_digests.h */

/** What a plan owns: ww_merge_plan.impl. */
struct ww_plan_impl {
    struct ww_pool pool;
    bool *lent; /* per model: somebody else's, and stays open */
    int *fds;   /* of tables made beforehand */
    size_t n_fds;
    const char *lock_json;         /* the lock that the output is under, NULL: none */
    struct ww_unlock_view **views; /* per model: read as open, NULL: it is. Own */
    uint32_t n_views;
    struct ww_plan_adapter *adapters; /* per model; NULL: none has one */
    uint32_t n_adapters;
    struct ww_plan_roots *roots;      /* per model; NULL: no root is wanted */
    struct ww_known_model *known;     /* per model; NULL: no digest cache was asked */
    struct ww_merge_earlier *earlier; /* own; NULL: the merge begins anew */
};

/** One output tensor before it has a place in a file. */
struct ww_build_tensor {
    struct ww_merge_tensor tensor;
    uint32_t home; /* file of the donor that it comes from, WW_NONE */
    uint32_t base; /* model that its slice calls the base, whatever the method; WW_NONE */
};

enum ww_build_about { WW_NOTE_DROPPED, WW_NOTE_LACKING };
struct ww_build_note {
    enum ww_build_about about;
    const char *first;   /* name of the first of these tensors */
    const char *pattern; /* the same with * for numbers */
    const char *model;
    uint32_t n;
};

/* The lock that the sources share, while plan->locked. Strings are in the pool. */
struct ww_build_lock {
    const char *group;
    const char *descriptor;
    const char *descriptor_sha256;
    bool scale; /* with powers of two */
};

/** Models that somebody has open, and looks at the weights of a plan of. */
struct ww_open_models {
    struct ww_model *const *models;
    uint32_t n;
    const struct ww_model *like; /* its tensors that only has ([n_tensors]) are planned,
                                    by their names; NULL: all are */
    const bool *only;
};

/** A recipe, and what it is about. */
struct ww_recipe_use {
    const struct ww_recipe *recipe;
    const void *text; /* of its file */
    size_t len;
    const char *const *paths;    /* per model, its folder */
    const char *const *adapters; /* per model, the folder of the adapter that is added to
                                    it, or NULL; NULL for none at all */
    bool decodes; /* eight-bit weights are taken for the floats they stand for: of plans
                     that are looked at alone */
    struct ww_open_models open; /* decoded, and taken where they are at one of the paths:
                                   of plans whose weights alone are looked at */
};

struct ww_build {
    const struct ww_recipe_use *use;
    const struct ww_recipe *recipe; /* use->recipe */
    const struct ww_merge_options *options;
    struct ww_merge_plan *plan;
    struct ww_pool *pool;
    struct ww_strlist *warnings;   /* NULL: nobody hears them */
    struct ww_build_model *models; /* as recipe->models */
    uint32_t donor;                /* names, files, config and tokenizer come from it */
    struct ww_build_tensor *tensors;
    size_t n_tensors;
    size_t capacity;
    struct ww_build_note *notes; /* in the pool */
    uint32_t n_notes;
    bool sliced;
    uint64_t n_layers;    /* of the output, when sliced */
    uint32_t *layer_from; /* per output layer of a sliced merge: the donor-like model's
                             layer that its per-layer settings come from */
    bool sees;            /* modules: are those of a model with a tower for images */
    bool unties;          /* the output has a head although the donor has none */
    bool grows;           /* the vocabulary is not the donor's */
    uint64_t vocab_size;
    const char *tokenizer_json; /* NULL: the donor's files as they are */
    size_t tokenizer_json_len;
    struct ww_build_lock lock;
};

enum ww_err ww_build_no_memory(struct ww_error *err);
/** Append a warning. */
enum ww_err ww_build_warn(struct ww_build *build, struct ww_error *err, const char *fmt,
                          ...) WW_MUST_USE WW_PRINTF(3, 4);

/** Read the places of all tensors. */
enum ww_err ww_build_layers(struct ww_build_model *model, struct ww_pool *pool,
                            struct ww_error *err) WW_MUST_USE;
/** Does a tensor without a layer stand before the layers (embeddings)? */
bool ww_build_is_before(const char *name);

/** Open every model; fills build->models, plan->models, plan->inputs, build->donor. */
enum ww_err ww_build_models(struct ww_build *build, struct ww_error *err) WW_MUST_USE;

/** Were the files, with the digests of a run, those of the manifests and records that the
 *  plan went by? */
enum ww_err ww_merge_check_views(const struct ww_merge_plan *plan,
                                 const uint8_t (*input_sha256)[WW_SHA256_BYTES],
                                 struct ww_error *err) WW_MUST_USE;

/** A locked model (text: for messages) read as the open one, by whichever key fits.
 *  WW_E_WRONG_KEY. */
enum ww_err ww_unlock_by_keys(struct ww_model *model, const char *text,
                              const struct ww_merge_options *options,
                              struct ww_unlock_view **out,
                              struct ww_error *err) WW_MUST_USE;

/** What locks on the sources allow; sets plan->order_free and plan->locked. With keys
 * locked models are opened. */
enum ww_err ww_build_locks(struct ww_build *build, struct ww_error *err) WW_MUST_USE;
/** What the output's statement says of its lock, if it is under one. Files are there. */
enum ww_err ww_build_lock_text(struct ww_build *build, struct ww_error *err) WW_MUST_USE;

#define WW_HEAD "lm_head.weight"
/** A head that config.json ties to the embedding and that differs from it: WW_E_TENSOR.
 */
enum ww_err ww_build_heads(const struct ww_build *build,
                           struct ww_error *err) WW_MUST_USE;

/** Adapters that the recipe adds to models, which are open by now. Another base is
 *  WW_E_TENSOR or WW_E_SHAPE, one of another name WW_E_WRONG_MODEL. */
enum ww_err ww_build_adapters(struct ww_build *build, struct ww_error *err) WW_MUST_USE;

/** modules: by tensor names. Are there several, and is every tensor in one of them?
 *  WW_E_UNSUPPORTED, WW_E_RECIPE. */
enum ww_err ww_build_modules(struct ww_build *build, struct ww_error *err) WW_MUST_USE;
/** The recipe's module that a tensor belongs to; WW_NONE. */
uint32_t ww_build_module_of(const struct ww_build *build, const char *name);
/** A gradient's t for a tensor of a projector that counts layers of its own, as mergekit
 *  does; false: it is in none of those. */
bool ww_build_projector_t(const struct ww_build *build, const char *name, double *t);

/** Warnings of numbers that are allowed and were hardly meant. Tensors are there. */
enum ww_err ww_build_doubt_numbers(struct ww_build *build,
                                   struct ww_error *err) WW_MUST_USE;
/** Part of it: values that no tensor gets. */
enum ww_err ww_build_doubt_filters(struct ww_build *build,
                                   struct ww_error *err) WW_MUST_USE;
/** All output tensors, with sources and parameters. */
enum ww_err ww_build_tensors(struct ww_build *build, struct ww_error *err) WW_MUST_USE;

/** One tensor's sources and parameters. A seat is an input of the slice. */
struct ww_build_seat {
    uint32_t model;
    const struct ww_ynode *parameters;
    uint64_t first_layer;
    uint32_t tensor;     /* of the model, for the tensor at hand; WW_NONE: it has none */
    uint32_t statistics; /* model that holds what is imported beside it, WW_NONE */
    bool is_base;
};
struct ww_build_slot {
    const char *name; /* of the output */
    double t;
    const struct ww_recipe_slice *slice;
    const struct ww_recipe_module *module;
    struct ww_build_seat *seats;
    uint32_t n_seats;
    uint32_t home;
};
enum ww_err ww_build_add(struct ww_build *build, const struct ww_build_slot *slot,
                         struct ww_error *err) WW_MUST_USE;
/** Make t a copy of one source, whatever the method is. */
enum ww_err ww_build_copy(struct ww_build *build, struct ww_merge_tensor *t,
                          struct ww_merge_source *source,
                          struct ww_error *err) WW_MUST_USE;
/** The same for a tensor of one element, sources filled, that is infinite in a model: a
 *  limit. WW_E_NONFINITE where models have different ones. */
enum ww_err ww_build_limit(struct ww_build *build, const struct ww_build_slot *slot,
                           struct ww_merge_tensor *t, struct ww_error *err) WW_MUST_USE;

/** The tensor that the slot names, with what each seat has under that name. */
enum ww_err ww_build_add_named(struct ww_build *build, struct ww_build_slot *slot,
                               struct ww_error *err) WW_MUST_USE;
/** The head of the slot's seats, where the model that lists the tensors (lead) has none
 * of its own and the output needs one; whether config.json may still say that it is tied.
 */
enum ww_err ww_build_add_head(struct ww_build *build, struct ww_build_slot *slot,
                              const struct ww_build_model *lead,
                              struct ww_error *err) WW_MUST_USE;

/** Tensors of a slot's models, or of a slice's, that have no place in the output: with
 *  --allow-mixed dropped, and that is said; else WW_E_TENSOR. */
enum ww_err ww_build_rest_of_models(struct ww_build *build,
                                    const struct ww_build_slot *slot,
                                    struct ww_error *err) WW_MUST_USE;
enum ww_err ww_build_rest_of_slice(struct ww_build *build,
                                   const struct ww_recipe_module *module, uint32_t slice,
                                   struct ww_error *err) WW_MUST_USE;
/** What is said of tensors is said once for all that differ in their numbers only:
 *  noted, then told as warnings. */
enum ww_err ww_build_note(struct ww_build *build, enum ww_build_about about,
                          const char *tensor, const char *model,
                          struct ww_error *err) WW_MUST_USE;
enum ww_err ww_build_tell(struct ww_build *build, struct ww_error *err) WW_MUST_USE;

/** One more input of the plan, behind those of the models. */
enum ww_err ww_build_add_input(struct ww_build *build, const struct ww_merge_input *input,
                               uint32_t *index, struct ww_error *err) WW_MUST_USE;
/** The plan closes fd; closed at once when memory is out. */
enum ww_err ww_build_own_fd(struct ww_build *build, int fd,
                            struct ww_error *err) WW_MUST_USE;

/** Rows of the vocabulary's tables. */
enum ww_err ww_build_vocab(struct ww_build *build, struct ww_error *err) WW_MUST_USE;

/** Weight files, their headers and the index; fills plan->tensors and plan->files. */
enum ww_err ww_build_files(struct ww_build *build, struct ww_error *err) WW_MUST_USE;

/** Layers that config.json counts, or names do where it counts none: those behind them
 *  predict further tokens. The model has one stack. */
uint64_t ww_build_count_layers(const struct ww_build_model *m);
/** Slices: is every layer of the kind (names and shapes) that its place asks for, as far
 *  as the model itself tells? WW_E_UNSUPPORTED; with allow_mixed a warning. */
enum ww_err ww_build_kinds(struct ww_build *build, struct ww_error *err) WW_MUST_USE;
/** Slices: the output with its config.json beside the models that its layers come from,
 *  where the architecture is known. A layer that is of another kind in its new place is
 *  a warning; WW_E_UNSUPPORTED where the output is no model then (with allow_mixed a
 *  warning). Tensors are in the plan. */
enum ww_err ww_build_stacked(struct ww_build *build, const struct ww_buf *config,
                             struct ww_error *err) WW_MUST_USE;

/** Largest file that goes along beside the weights. */
#define WW_BUILD_MAX_SIDE ((size_t)256 << 20)
bool ww_build_has_side(const struct ww_model *model, const char *path);
/** What lies in the folders that modules.json of the model names. Weights there that not
 *  all models have alike: WW_E_UNSUPPORTED; with allow_mixed a warning. */
enum ww_err ww_build_modules_json(struct ww_build *build, const struct ww_model *from,
                                  struct ww_error *err) WW_MUST_USE;
/** config.json, tokenizer, README.md and the recipe behind the weight files. */
enum ww_err ww_build_sides(struct ww_build *build, struct ww_error *err) WW_MUST_USE;
/** Append a small file to the plan; bytes belong to the pool. */
enum ww_err ww_build_add_file(struct ww_build *build, const char *name, const void *bytes,
                              size_t len, struct ww_error *err) WW_MUST_USE;
/** Append a file that is an input, whose digest is sha256, as it lies there. */
enum ww_err ww_build_add_copy(struct ww_build *build, const char *name,
                              const struct ww_merge_input *input,
                              const uint8_t sha256[WW_SHA256_BYTES],
                              struct ww_error *err) WW_MUST_USE;

/** The whole: a plan of one recipe of a file. warnings: NULL where nobody hears them;
 *  nothing is looked for then that only warns. */
enum ww_err ww_merge_plan_make(const struct ww_recipe_use *use,
                               const struct ww_merge_options *options,
                               struct ww_strlist *warnings, struct ww_merge_plan *out,
                               struct ww_error *err) WW_MUST_USE;
void ww_merge_plan_release(struct ww_merge_plan *plan);

#endif
