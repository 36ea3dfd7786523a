/* SPDX-License-Identifier: Apache-2.0 */
/* An adapter in the making: its tensors in a nameless file, then the folder. */
#ifndef WW_MERGE_EXTRACT_WRITE_H
#define WW_MERGE_EXTRACT_WRITE_H

#include "merge/lowrank.h"
#include "stream/stream.h"
#include "util/buf.h"
#include "util/str.h"
#include "weightward/extract.h"
#include "weightward/model.h"

struct ww_extracting {
    struct ww_extract_report *report;
    const struct ww_run_options *run;
    const struct ww_model *models[2]; /* base, then model */
    uint64_t rank;
    double energy;
    bool portable;
    bool fan_in_fan_out; /* what the settings say: layers of the base are stored [in, out]
                          */
    bool across;         /* the weight whose factors are put is */
    const char
        *root; /* modules of the base are named ROOT + what the files say; NULL: "" */
    bool embedding; /* factors that are put are of an embedding */
    int fd;         /* the factors, one after the other */
    uint64_t size_bytes;
    struct ww_tensor *tensors; /* names are owned */
    uint32_t *whole; /* of each: the model's tensor that it is, WW_NONE: it is in fd */
    uint32_t n_tensors;
    uint8_t tree[WW_SHA256_BYTES]; /* their tree's root, once they were written */
    struct ww_strlist modules;     /* with factors */
    uint64_t *ranks;               /* of the modules */
    struct ww_strlist saved;       /* modules whose weight is carried whole */
    struct ww_strlist others;      /* modules with more than a weight and a bias */
    bool biases;                   /* some bias is */
    double norm;
    double kept;
    const char *task;            /* task_type, NULL: none */
    const char *card;            /* README.md */
    const struct ww_buf *recipe; /* carried as WW_MERGE_RECIPE_FILE, NULL: none */
    /* What comes behind the files, before the folder appears; out is NULL when nothing is
       written. NULL: nothing. */
    enum ww_err (*finish)(void *payload, struct ww_out *out, const struct ww_plan *plan,
                          const struct ww_stream_result *result, struct ww_error *err);
    void *payload;
};

/* extract_put.c */
/** t: the base's weight. With portable all factors are filled up with zeros to one rank.
 */
enum ww_err ww_extract_put_factors(struct ww_extracting *x, const struct ww_tensor *t,
                                   const struct ww_lowrank *lowrank,
                                   struct ww_error *err) WW_MUST_USE;
/** t: its name and shape; the values are those of tensor `from` of the model, read when
 *  the adapter is written. */
enum ww_err ww_extract_put_whole(struct ww_extracting *x, const struct ww_tensor *t,
                                 uint32_t from, struct ww_error *err) WW_MUST_USE;
/** The same without a word to PEFT, which passes over it. */
enum ww_err ww_extract_put_unnamed(struct ww_extracting *x, const struct ww_tensor *t,
                                   uint32_t from, struct ww_error *err) WW_MUST_USE;
/** The tensor belongs to a module that is carried whole, and is not there yet. */
bool ww_extract_lacks(const struct ww_extracting *x, const char *name);
void ww_extracting_release(struct ww_extracting *x);

/* extract_write.c */
/** adapter_config.json, adapter_model.safetensors, README.md, signature. base: the name
 * of the model that it is for. out_path NULL: all is made and digested, nothing written.
 */
enum ww_err ww_extract_write(struct ww_extracting *x, const char *base,
                             const char *out_path, const struct ww_signer *signer,
                             struct ww_error *err) WW_MUST_USE;

/* extract_record.c */
/** The adapter's tensor statement, plain without a signer; sets x->tree. */
enum ww_err ww_extract_tensors(struct ww_extracting *x,
                               const struct ww_stream_result *result, const char *name,
                               const struct ww_signer *signer, struct ww_out *out,
                               struct ww_error *err) WW_MUST_USE;
/** Signed provenance of the adapter, with its models' evidence. */
enum ww_err ww_extract_record(const struct ww_extracting *x, const struct ww_plan *plan,
                              const struct ww_stream_result *result, const char *name,
                              const struct ww_signer *signer, struct ww_out *out,
                              struct ww_error *err) WW_MUST_USE;

/* extract.c */
/** A nameless file beside out_path. */
enum ww_err ww_extract_scratch(const char *out_path, int *fd,
                               struct ww_error *err) WW_MUST_USE;

#endif
