/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A merge, resolved: every output tensor with its sources and its parameters as numbers.
 * The recipe reader makes it, the engine runs it, the record of a merge is derived from
 * it.
 */
#ifndef WW_MERGE_PLAN_H
#define WW_MERGE_PLAN_H

#include "merge/method.h"
#include "util/buf.h"
#include "util/reader.h"
#include "weightward/run.h"

/** Where one input of an output tensor lies. Exactly one of the two: a tensor of a model,
 *  or bytes made beforehand (an embedding in the order of a new vocabulary, a weight with
 * an adapter added), in a file of their own. */
struct ww_merge_source {
    uint32_t model;  /* into ww_merge_plan.models, for messages and records; WW_NONE */
    uint32_t input;  /* into ww_merge_plan.inputs */
    uint64_t offset; /* of the tensor's first byte in that file */
    enum ww_dtype dtype;  /* as stored */
    const uint32_t *rows; /* NULL, or for each output row the source's row; WW_NONE: a row
                             of zeros. Borrowed from the plan */
    const double
        *params; /* by index of ww_method.params; those of scope SOURCE are set */
};

struct ww_merge_tensor {
    const char *name;
    enum ww_dtype dtype;   /* of the output */
    enum ww_dtype compute; /* what inputs are rounded to first: F32 by default; the
                              arithmetic after it is double: docs/numerics.md */
    unsigned rank;
    uint64_t shape[WW_MAX_RANK];
    const struct ww_method *method;
    struct ww_merge_source *sources; /* in the recipe's order, the base not among them */
    uint32_t n_sources;
    struct ww_merge_source *base;  /* NULL: none */
    struct ww_merge_source *stats; /* imported (method->stats says what), one per source
                                      in its order; NULL without. Gram matrices: input
                                      WW_NONE where there is none */
    const double
        *params;   /* by index of ww_method.params; those of scope TENSOR are set */
    uint64_t seed; /* of random masks, the same for every tensor of a merge */
    bool is_limit; /* copied, as all models have the same (build_copied.c) */
};

struct ww_input_tree; /* stream/stream.h */

struct ww_merge_input {
    const char *name; /* for messages */
    int fd;           /* borrowed */
    uint64_t size_bytes;
    bool want_sha256;                 /* of what fd has */
    bool sha256_known;                /* not wanted, as the result gets it all the same */
    const struct ww_input_tree *tree; /* NULL, or its tensors, for their roots */
    const struct ww_reader
        *reader;            /* NULL, or reads the open file where fd has a locked one */
    const uint8_t *lock_id; /* with it: WW_SHA256_BYTES, decides the bytes; of weights
                               with an adapter added (fd -1) a digest of its headers */
};

/** One output file: header bytes, then its tensors one after the other, in file order. */
struct ww_merge_file {
    const char *name;      /* relative to the output folder */
    const uint8_t *header; /* the safetensors header, or the whole of a small file */
    uint64_t header_bytes;
    uint32_t first_tensor; /* into ww_merge_plan.tensors */
    uint32_t n_tensors;
    const uint8_t *copied_sha256; /* NULL, or the file is an input as it lies there, which
                                     had this digest when the plan was made */
    uint32_t copied;              /* with it: into ww_merge_plan.inputs */
};

struct ww_changes;
struct ww_moved;       /* merge/moved.h */
struct ww_merge_watch; /* merge/watch.h */
struct ww_merge_state; /* merge/earlier.h */

/** Which of the elements that are equal at the cut of a selection by rank are kept. What
 *  a merge writes goes by index; the other two bound what programs do whose sort decides.
 */
enum ww_merge_ties { WW_TIES_BY_INDEX, WW_TIES_KEPT, WW_TIES_DROPPED };

struct ww_merge_plan {
    struct ww_model **models; /* owned, opened */
    uint32_t n_models;
    struct ww_merge_input *inputs;
    uint32_t n_inputs;
    struct ww_merge_tensor *tensors; /* by (file, offset) */
    uint32_t n_tensors;
    struct ww_merge_file *files;
    uint32_t n_files;
    bool paper;      /* semantics of the papers where they differ from mergekit's */
    bool peer;       /* mergekit's arithmetic: merge/peer.h */
    bool order_free; /* nothing goes by the order of elements: ties all kept, masks by
                        content, sums exact */
    enum ww_merge_ties ties; /* of elements that are equal where a rank is cut */
    bool locked;             /* the sources are locked with one key */
    bool inputs_first;       /* linear layers are stored inputs x outputs */
    const struct ww_merge_plan
        *whole; /* the plan that this is a part of, NULL: none. What
            goes by the whole model goes by that one's tensors */
    const struct ww_merge_state *earlier; /* of the first source, an earlier merge by the
                                   same method; NULL: it is a model like others */
    struct ww_changes
        *changes;           /* borrowed: what blocks are noted in, NULL: nobody asks */
    struct ww_moved *moved; /* borrowed: is anything written that the base has not got?
                               NULL: nobody asks */
    const struct ww_merge_watch *watch; /* borrowed: told of each tile; NULL: nobody is */
    void *impl; /* what the recipe reader owns: strings, parameters, row maps */
};

/** Exactly n bytes of an input, open. */
enum ww_err ww_merge_input_read(const struct ww_merge_plan *plan, uint32_t input,
                                void *out, size_t n, uint64_t offset,
                                struct ww_error *err) WW_MUST_USE;

/** Evidence of a merge per tensor, for reports; all summed in a fixed order. */
struct ww_merge_result {
    uint8_t (*output_sha256)[32]; /* [n_files] */
    uint8_t (*input_sha256)[32];  /* [n_inputs], of those wanted */
    uint8_t (*tensor_root)[32];   /* [n_tensors], tensor tree of the output */
    struct ww_merge_state *state; /* own: for a merge that goes on from this one; NULL */
    struct ww_run_report run;
};

struct ww_out; /* stream/stream.h: the output folder */

/** Where a merge goes. */
struct ww_merge_into {
    const char *path;
    uint64_t extra_bytes; /* kept free for small files */
    bool keep;            /* what an interrupted run has written */
};

/**
 * Run the plan into path.partial and leave the folder open in *out, for the caller to add
 * small files and to commit; into NULL: compute and digest, write nothing (what a
 * re-derivation does; out may be NULL). Same bytes for any
 * number of threads and any memory limit. WW_E_NONFINITE names the tensor when a NaN or
 * infinity goes in or comes out; WW_E_RECIPE a parameter that makes no sense for it.
 * Failed: *out is NULL, and OUT.partial is gone, but for an interrupted run with `keep`.
 */
enum ww_err ww_merge_run(const struct ww_merge_plan *plan,
                         const struct ww_merge_into *into,
                         const struct ww_run_options *options, struct ww_out **out,
                         struct ww_merge_result *result,
                         struct ww_error *err) WW_MUST_USE;
/** Does the plan hold together: shapes, methods, parameters, sources inside their files?
 *  ww_merge_run begins with it. */
enum ww_err ww_merge_check(const struct ww_merge_plan *plan,
                           struct ww_error *err) WW_MUST_USE;
/** After a run: were inputs that are copied what they were when the plan was made?
 *  WW_E_CHANGED. */
enum ww_err ww_merge_check_copied(const struct ww_merge_plan *plan,
                                  const uint8_t (*input_sha256)[32],
                                  struct ww_error *err) WW_MUST_USE;
void ww_merge_result_release(struct ww_merge_result *result);

#endif
