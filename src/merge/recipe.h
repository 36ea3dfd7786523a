/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Merge recipes: the YAML of mergekit 0.1.5, read strictly into a form with fewer cases.
 *
 * models, slices and modules all become modules of slices of inputs; every model has one
 * index; parameters stay as they were written, because what they yield depends on tensor
 * and layer. A file with several documents holds several recipes, which may name each
 * other's results. docs/formats/merge-record.md lists what is read and where it is
 * stricter than the peer.
 */
#ifndef WW_MERGE_RECIPE_H
#define WW_MERGE_RECIPE_H

#include "merge/method.h"
#include "util/buf.h"
#include "util/str.h"
#include "yaml/yaml.h"

/** A model as a recipe names it: PATH[@REVISION][+ADAPTER[@REVISION]]. */
struct ww_recipe_model {
    char *text; /* as written, or put together from a map */
    char *path;
    char *revision; /* NULL */
    char *adapter;  /* NULL */
    char *adapter_revision;
    uint32_t recipe;    /* the recipe of this file whose result it is, or WW_NONE */
    bool is_statistics; /* no model but what a method imports beside one */
    size_t line;
};

struct ww_recipe_input {
    uint32_t model;
    uint32_t statistics; /* model that holds them, WW_NONE */
    bool has_range;      /* outside of slices the plan asks for all layers */
    uint64_t first_layer;
    uint64_t end_layer;
    const struct ww_ynode *parameters; /* NULL */
    size_t line;
};

struct ww_recipe_slice {
    struct ww_recipe_input *inputs;
    uint32_t n_inputs;
    uint32_t base;                     /* model, or WW_NONE: the recipe's */
    const struct ww_ynode *parameters; /* NULL */
    size_t line;
};

struct ww_recipe_module {
    const char *name; /* NULL: the whole model */
    struct ww_recipe_slice *slices;
    uint32_t n_slices;
    bool is_sliced; /* false: one slice of whole models */
    const struct ww_ynode *parameters;
};

enum ww_token_kind {
    WW_TOKEN_DEFAULT, /* as if it were not listed, but in the vocabulary */
    WW_TOKEN_MODEL,   /* the row of this model for the same token */
    WW_TOKEN_OTHER,   /* the row of this model for another token */
    WW_TOKEN_ZERO
};
struct ww_recipe_token {
    const char *token;
    enum ww_token_kind kind;
    uint32_t model;
    const char *other; /* NULL: by other_id */
    uint64_t other_id;
    bool force;
    size_t line;
};

enum ww_vocab_source {
    WW_VOCAB_DONOR, /* nothing said: the donor's tokenizer, tables as they are */
    WW_VOCAB_UNION,
    WW_VOCAB_BASE,
    WW_VOCAB_MODEL
};
struct ww_recipe_vocab {
    enum ww_vocab_source source;
    uint32_t model; /* MODEL */
    struct ww_recipe_token *tokens;
    uint32_t n_tokens;
    uint64_t pad_to_multiple_of; /* 0: not said */
    size_t line;
};

/** adapter: how adapters are put together, of a recipe whose models are adapters. */
struct ww_recipe_adapter {
    bool given;
    bool factors;  /* combine: A and B apart, else the differences */
    bool whole;    /* combine: the differences multiplied out */
    bool by_count; /* sign: frequency */
    uint64_t rank; /* 0: whatever comes out */
    double energy; /* 0: no matter */
    size_t line;
};

struct ww_recipe {
    const char *name; /* of one among several, NULL */
    const struct ww_method *method;
    struct ww_recipe_model *models; /* in the order in which they are first named; a base
                                       that is no input comes last */
    uint32_t n_models;
    uint32_t base; /* WW_NONE */
    struct ww_recipe_module *modules;
    uint32_t n_modules;
    bool has_dtype;
    enum ww_dtype dtype;
    bool has_out_dtype;
    enum ww_dtype out_dtype;
    struct ww_recipe_vocab vocab;
    const char *chat_template; /* NULL */
    struct ww_recipe_adapter adapter;
    const struct ww_ynode *parameters;
    struct ww_strlist warnings;
    const struct ww_ynode *root;
};

struct ww_recipe_file {
    struct ww_yaml *yaml;
    char *label; /* "recipe 'x.yml'" */
    struct ww_recipe *recipes;
    uint32_t n_recipes;
    uint32_t *order; /* each recipe behind those whose results it takes */
    uint32_t last;   /* the recipe that makes the output */
};

/** Read a whole file. Everything that can be wrong without looking at a model is refused
 *  here, with its line. name is the path, for messages. WW_E_YAML, WW_E_RECIPE,
 * WW_E_RULE, WW_E_LIMIT. */
enum ww_err ww_recipe_parse(const uint8_t *text, size_t len, const char *name,
                            struct ww_recipe_file *out, struct ww_error *err) WW_MUST_USE;
void ww_recipe_release(struct ww_recipe_file *file);

/** Index of the model that a node names, added when it is new. */
enum ww_err ww_recipe_model_of(struct ww_recipe *recipe, const struct ww_ynode *node,
                               uint32_t *out, struct ww_error *err) WW_MUST_USE;

/** models, slices or modules, and base_model. */
enum ww_err ww_recipe_read_inputs(struct ww_recipe *recipe,
                                  struct ww_error *err) WW_MUST_USE;
/** adapter. */
enum ww_err ww_recipe_read_adapter(struct ww_recipe *recipe,
                                   struct ww_error *err) WW_MUST_USE;
/** Has every slice the base and the number of models that the method takes? */
enum ww_err ww_recipe_check_bases(const struct ww_recipe *recipe,
                                  struct ww_error *err) WW_MUST_USE;
/** Marks the models that are statistics; whether they stand where the method wants some.
 *  Inputs and vocabulary are read before. */
enum ww_err ww_recipe_read_statistics(struct ww_recipe *recipe,
                                      struct ww_error *err) WW_MUST_USE;
/** tokenizer_source and tokenizer. */
enum ww_err ww_recipe_read_vocab(struct ww_recipe *recipe,
                                 struct ww_error *err) WW_MUST_USE;

/** Which recipes take which others' results: fills model->recipe, order and last. */
enum ww_err ww_recipe_graph(struct ww_recipe_file *file,
                            struct ww_error *err) WW_MUST_USE;

/** The base of a slice: its own or the recipe's. */
uint32_t ww_recipe_base(const struct ww_recipe *recipe,
                        const struct ww_recipe_slice *slice);

/** What an output is that has no number but the base's, as a warning ends: the base, or
 *  with slices or another vocabulary only made of it. */
const char *ww_recipe_of_base(const struct ww_recipe *recipe);

#endif
