/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A PEFT adapter folder: adapter_config.json and adapter_model.safetensors.
 *
 * Every tensor of the file is understood or the folder is refused: each becomes an entry
 * with the part it plays and the weight of the base model that it belongs to.
 * Reference: PEFT's checkpoint format, as its 0.18 to 0.21 releases write it.
 */
#ifndef WW_MODEL_ADAPTER_H
#define WW_MODEL_ADAPTER_H

#include "json/json.h"
#include "model/folder.h"
#include "model/st_file.h"
#include "util/buf.h"
#include "weightward/model.h"

#define WW_ADAPTER_CONFIG "adapter_config.json"
#define WW_ADAPTER_PREFIX "base_model.model." /* of PEFT, before the names of modules */
#define WW_ADAPTER_WEIGHTS "adapter_model.safetensors"
#define WW_ADAPTER_LOCK                                                                  \
    "attestations/adapter-lock.json" /* of one that follows a lock                       \
                                      */

enum ww_adapter_part {
    WW_PART_A,           /* [r, in...] */
    WW_PART_B,           /* [out, r...] */
    WW_PART_B_BIAS,      /* [out], added to the output */
    WW_PART_EMBEDDING_A, /* [r, vocabulary] */
    WW_PART_EMBEDDING_B, /* [width, r] */
    WW_PART_MAGNITUDE,   /* [out]: DoRA, arXiv 2402.09353 */
    WW_PART_FULL         /* takes the place of a weight of the base */
};

struct ww_adapter_entry {
    const struct ww_tensor *tensor;
    enum ww_adapter_part part;
    const char *module; /* "model.layers.0.self_attn.q_proj"; of FULL the tensor's name */
};

/** Borrows nothing; freed whole. */
struct ww_adapter {
    char *path;
    int dirfd;
    struct ww_folder folder;
    struct ww_st_file file;
    struct ww_tensor *tensors;        /* in offset order */
    struct ww_adapter_entry *entries; /* one per tensor */
    uint32_t n_tensors;
    uint64_t *times; /* [n_tensors] a tensor's rows by those that are stored, where some
                        are spread (ww_adapter_open_plain); else NULL */
    char **modules;  /* owns the entries' names */
    struct ww_json *config;
    const char *base;                  /* base_model_name_or_path, or NULL */
    const struct ww_jnode *parameters; /* target_parameters, or NULL */
    bool dora;
    bool rslora;
    bool fan_in_fan_out; /* the base stores [in, out] */
    double alpha;
    uint64_t rank;
};

/** WW_E_ADAPTER_FILE for what is malformed, WW_E_UNSUPPORTED for what is no LoRA or has
 *  parts that are not understood, naming them; WW_E_NOTFOUND. */
enum ww_err ww_adapter_open(const char *path, struct ww_adapter **out,
                            struct ww_error *err) WW_MUST_USE;
/** The same, where factors in blocks along a diagonal (use_bdlora) are plain pairs of the
 *  same products: tensors have their zeros, which ww_adapter_bytes and ww_adapter_read
 *  give, and `file` is what is stored. */
enum ww_err ww_adapter_open_plain(const char *path, struct ww_adapter **out,
                                  struct ww_error *err) WW_MUST_USE;
/** The same of text and of a weight file's header, length included, that lie in memory;
 *  its tensors cannot be read through ww_adapter_read. */
enum ww_err ww_adapter_of(const char *name, const struct ww_buf *config,
                          const struct ww_buf *header, uint64_t data_bytes,
                          struct ww_adapter **out, struct ww_error *err) WW_MUST_USE;
void ww_adapter_close(struct ww_adapter *adapter);

/** True when the folder holds an adapter and no model. */
bool ww_adapter_is_folder(const char *path);

/** A folder of weights by their bytes alone: as ww_model_open, and an adapter's folder as
 *  a model of its one weight file. */
enum ww_err ww_weights_open(const char *path, struct ww_model **out,
                            struct ww_error *err) WW_MUST_USE;

/** The factor on B A of a module: alpha / r or alpha / sqrt(r), with the patterns. rank
 *  is the one that its tensors have. Division and square root only. Patterns are regular
 *  expressions, as PEFT takes them, of the module's name, or its weight's where
 *  target_parameters name that; WW_E_UNSUPPORTED for what util/pattern.h does not read.
 */
enum ww_err ww_adapter_scaling(const struct ww_adapter *adapter, const char *module,
                               uint64_t rank, double *scaling,
                               struct ww_error *err) WW_MUST_USE;

/** Elements [first, first + n) of a tensor of the adapter, in its dtype. */
enum ww_err ww_adapter_bytes(const struct ww_adapter *adapter,
                             const struct ww_tensor *tensor, uint64_t first, uint64_t n,
                             uint8_t *out, struct ww_error *err) WW_MUST_USE;

/** A tensor of the adapter as doubles, finite; *out is the caller's to free.
 * WW_E_QUANTISED, WW_E_LIMIT above a gibibyte of doubles, WW_E_NONFINITE. */
enum ww_err ww_adapter_read(const struct ww_adapter *adapter,
                            const struct ww_tensor *tensor, double **out,
                            struct ww_error *err) WW_MUST_USE;

/** The tensor of this name, or one whose name ends in it or in which it ends, at a dot;
 *  *twice when there is another such. WW_NONE. */
uint32_t ww_adapter_find(const struct ww_model *base, const char *name, bool *twice);
/** True when s is end, or ends in it at a dot. */
bool ww_adapter_ends(const char *s, const char *end);

/** The base's tensor that an entry belongs to: the module's weight (of B_BIAS its bias
 *  need not exist), of FULL the tensor itself. Names match whole, or one ends in the
 * other at a dot and only once, or the module's name is known to differ from the file's
 *  (model/adapter_names.h), as that of a tied bias does. WW_E_TENSOR when the base has
 *  none. */
enum ww_err ww_adapter_target(const struct ww_adapter_entry *entry,
                              const struct ww_model *base, uint32_t *tensor,
                              struct ww_error *err) WW_MUST_USE;

#endif
