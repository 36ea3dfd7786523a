/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Merging models by a mergekit recipe into a new folder, with a record that anyone can
 * re-derive.
 *
 * The plan is made before the first byte: every tensor has its sources and its parameters
 * as numbers. The folder appears whole or not at all, the record and the signature are
 * written last. The same recipe, sources and options give the same bytes for any number
 * of threads and, but for methods that go through LAPACK, on any machine.
 */
#ifndef WEIGHTWARD_MERGE_H
#define WEIGHTWARD_MERGE_H

#include "weightward/evidence.h"
#include "weightward/key.h"
#include "weightward/policy.h"
#include "weightward/run.h"
#include "weightward/sign.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The recipe inside a merged folder, byte for byte. */
#define WW_MERGE_RECIPE_FILE "mergekit_config.yml"

/** A lock key for sources; both borrowed. */
struct ww_merge_key {
    struct ww_secret *secret;
    const struct ww_key_binding *binding; /* NULL: bound to nothing */
};

struct ww_merge_watch;

struct ww_merge_options {
    const struct ww_merge_key *unlock; /* [n_unlock]: every locked source must be locked
                                          with one of them; it is read as the open model
                                          and never written as that. None: locked sources
                                          are merged as they are */
    size_t n_unlock;
    const struct ww_merge_key *lock; /* lock what is written, as ww_lock_folder would lock
                                        the merge (level exact); open weights are on no
                                        disk; NULL: the merge is written as it is */
    const struct ww_signer *signer;  /* NULL: record and manifest stay unsigned */
    bool paper;           /* rescaling and trimming as in the papers of DARE and
                             TIES */
    bool peer_arithmetic; /* round after every step as mergekit does, in the
                             dtype of the recipe or else of the tensors */
    bool order_free;      /* nothing may depend on the order of elements: what
                             models locked with one key are merged by */
    bool allow_mixed;     /* tensors that not all models have: merged over those
                             that have them, or dropped; each is a warning */
    bool no_source_trees; /* no roots of the sources' tensor trees; their files'
                             digests are recorded anyway */
    uint32_t n_parts;     /* 0: the merge at once. Else: */
    uint32_t part;        /* compute part 1 .. n_parts into "OUT.part-I-of-N", or
                             0: join the parts, which lie beside OUT */
    bool measure;         /* fill the report's layers */
    const struct ww_merge_watch *watch; /* what makes something of the merge while it is
                                       computed (ww_pack_beside_watch), not with parts or
                                       a lock; borrowed; NULL: nothing does */
    uint64_t seed;                      /* of random masks */
    uint64_t shard_bytes;  /* largest weight file; 0: files as the base has them */
    const char *hub_cache; /* models that are no folders are looked for in this cache of
                              huggingface_hub, by name and revision; NULL: nowhere */
    const char *digest_cache; /* with a signer: file with the digests of sources that have
                              not changed since an earlier merge, signed by the same key;
                              read and rewritten; NULL: every source is hashed */
    /* what the card states; NULL: what the sources' cards agree on */
    const char *license;
    struct ww_run_options run;
};

struct ww_merge_source_report {
    char *name;           /* as the recipe names it */
    char sha256_tree[65]; /* model root of its tensor tree */
};

/** What a merge did in one layer, or in a tensor outside of layers; on a sample. */
struct ww_merge_layer {
    char *name;
    uint64_t elements;
    double *lengths; /* [n_models] of each model's change against the base, of its weights
                        without one; 0: no source */
    double *cosines; /* [n_models * n_models] between them */
    double agreement; /* share of elements whose changes, where not 0, have one sign */
    double changed;   /* share of elements that are not the base's any more */
    double length;    /* of the result's change */
};

struct ww_merge_report {
    struct ww_merge_layer *layers; /* with options.measure */
    size_t n_layers;
    char **models; /* with layers: names, as the recipe has them */
    uint32_t n_models;
    bool has_base; /* with layers: changes are against a base */
    char *method;
    const char *evidence; /* when the method is known to help; static */
    char plan_sha256[65];
    struct ww_merge_source_report *sources;
    size_t n_sources;
    char output_sha256_tree[65];
    char root_sha256[65]; /* OMS root, empty when unsigned */
    char lock_id[65];     /* of the locked output, empty when it is open */
    uint64_t tensors;
    uint64_t cached;          /* weight files whose digests came from the cache */
    uint64_t tensors_checked; /* of a re-derivation; of a part: computed */
    struct ww_run_report run;
    char **warnings;
    size_t n_warnings;
};
WW_API void ww_merge_report_release(struct ww_merge_report *report);

/**
 * Merge by the recipe file into out_path. Model paths that are relative are taken from
 * the current folder, then from the recipe's. WW_E_RECIPE, WW_E_RULE, WW_E_TENSOR,
 * WW_E_SHAPE, WW_E_NONFINITE, WW_E_LIBRARY for methods that decompose where OpenBLAS is
 * absent, and the errors of reading and writing.
 */
WW_API enum ww_err ww_merge_folder(const char *recipe_path, const char *out_path,
                                   const struct ww_merge_options *options,
                                   struct ww_merge_report *report,
                                   struct ww_error *err) WW_MUST_USE;

/** "base+adapter" of a recipe, each by its place among the sources. */
struct ww_merge_added {
    size_t base;
    size_t adapter;
};

/** What a recipe asks of a policy: its models and, when shares are wanted, the largest
 *  share of each in any tensor (in millionths; the whole where it cannot be told), which
 *  takes a plan. */
struct ww_merge_ask {
    char *method;
    struct ww_policy_source *sources;
    size_t n_sources;
    struct ww_merge_added *added; /* adapters that the recipe adds to models */
    size_t n_added;
    const char *base; /* path of the source that is the base and no input of the last
                         recipe; NULL: none */
    bool locked; /* the sources are locked and merged as they are, so the output is */
};
/** *out is the caller's, to be released, and empty on failure. What ww_merge_folder says
 * of recipes, models and plans. */
WW_API enum ww_err ww_merge_ask(const char *recipe_path,
                                const struct ww_merge_options *options, bool shares,
                                struct ww_merge_ask *out,
                                struct ww_error *err) WW_MUST_USE;
WW_API void ww_merge_ask_release(struct ww_merge_ask *ask);

/** Make the plan and write it as text: every tensor, its sources, its parameters. The
 *  caller frees *text with ww_string_free. */
WW_API enum ww_err ww_merge_describe(const char *recipe_path,
                                     const struct ww_merge_options *options,
                                     struct ww_merge_report *report, char **text,
                                     struct ww_error *err) WW_MUST_USE;

/**
 * Compute a merged folder again from its record and the sources, and compare: every
 * tensor, or sample of them chosen at random (0: all). recipe_path may be NULL: the
 * recipe in the folder is used, which must be the recorded one. WW_E_DIFFERS names what
 * is not equal.
 */
WW_API enum ww_err ww_merge_rederive(const char *recipe_path, const char *out_path,
                                     uint64_t sample,
                                     const struct ww_merge_options *options,
                                     struct ww_merge_report *report,
                                     struct ww_error *err) WW_MUST_USE;

/** A source of a merge out of the merge and its other sources, but for roundings:
 *  of_merged * merged + sum of weights[i] * others[i], element by element. */
struct ww_merge_inverse {
    double of_merged;
    size_t n;
    const char **others;  /* [n] folders, borrowed from the caller's list */
    double *weights;      /* [n] */
    uint8_t (*trees)[32]; /* [n] roots of their tensor trees; NULL: not known */
};
WW_API void ww_merge_inverse_release(struct ww_merge_inverse *inverse);

/**
 * How sources[0 .. n_wanted) come out of the merged folder and the others in the list.
 * The folder's record has the recipe and says by tensor tree which source is which; its
 * signature is not looked at. WW_E_UNRELATED when one of the list is no source of it or a
 * source is missing; WW_E_UNSUPPORTED for methods that are no sum whose weights the
 * recipe has, for weights that are not the same in all tensors, and for locked sources.
 */
WW_API enum ww_err ww_merge_invert(const char *merged, const char *const *sources,
                                   size_t n_sources, size_t n_wanted,
                                   const struct ww_run_options *run,
                                   struct ww_merge_inverse *out,
                                   struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
