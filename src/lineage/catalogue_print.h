/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The print of a model: what a catalogue keeps of it, and what a suspect is compared by.
 *
 * The sketch covers the body: matrices inside layers. Embeddings change their shape with
 * the vocabulary, and norm gains near 1 would outweigh small models' weights.
 */
#ifndef WW_LINEAGE_CATALOGUE_PRINT_H
#define WW_LINEAGE_CATALOGUE_PRINT_H

#include "crypto/hash.h"
#include "lineage/catalogue_sketch.h"
#include "lineage/disguise.h"
#include "weightward/model.h"
#include "weightward/run.h"

#define WW_PRINT_ANCHORS 256
#define WW_PRINT_GRAM (WW_PRINT_ANCHORS * (WW_PRINT_ANCHORS + 1) / 2)

struct ww_print_tensor {
    const char *name; /* canonical; borrowed from the model */
    uint32_t index;   /* into the model's tensors */
    uint32_t layer;   /* WW_NONE: outside of layers */
    uint64_t rows;
    uint8_t sha256[WW_SHA256_BYTES]; /* of the bytes; of those sampled in a sample */
    uint8_t root[WW_SHA256_BYTES];   /* in the tensor tree */
    uint64_t *row_hashes;            /* [n_row_hashes]: of all rows, or those sampled */
    uint64_t n_row_hashes;
};

struct ww_print {
    struct ww_print_tensor *tensors; /* in bytewise order of the files' names */
    uint32_t n_tensors;
    bool sampled;
    bool decoded; /* of a quantised suspect: no spectra; digest and tensors are those of
                     its bytes, where it is of safetensors, and there are none else */
    uint32_t
        n_decoded; /* of a model to be catalogued: tensors whose floats it is made of */
    double body;   /* elements that the sketch covers */
    double noise;  /* squared length of what quantising added to it */
    uint8_t
        digest[WW_SHA256_BYTES]; /* root of the tensor tree; of a sample, of its hashes */
    uint8_t family[WW_SHA256_BYTES]; /* of the body's names and shapes */
    float *coarse;                   /* [WW_SKETCH_COARSE] */
    float *fine;                     /* [WW_SKETCH_FINE], or NULL */
    float *gram;    /* [WW_PRINT_GRAM], or NULL: no embedding of 256 rows */
    float *spectra; /* [n_spectra], or NULL: a sample, or no head that could be mixed */
    float *chance;  /* [n_spectra], or NULL: the same of drawn weights */
    size_t n_spectra;
    uint64_t n_elements;
    uint64_t bytes_read;
};

struct ww_print_options {
    bool sample;
    bool bytes; /* digest and hashes alone: nothing is made of the values */
    bool fine;
    struct ww_run_options run;
};

/** Read a model once. The same print for any thread count. WW_E_NONFINITE. */
enum ww_err ww_print_make(const struct ww_model *model,
                          const struct ww_print_options *options, struct ww_print *out,
                          struct ww_error *err) WW_MUST_USE;
void ww_print_release(struct ww_print *print);

/** Tensors by their names, with what the headers say of them. */
enum ww_err ww_print_list(const struct ww_model *model, struct ww_print *out,
                          struct ww_error *err) WW_MUST_USE;
/** The family, and the elements of the body, of tensors that are listed. */
enum ww_err ww_print_family(const struct ww_model *model, struct ww_print *out,
                            struct ww_error *err) WW_MUST_USE;
/** Sums of m buckets as to floats, neighbours added up. */
enum ww_err ww_print_narrow(const double *sum, size_t m, size_t to, float **out,
                            struct ww_error *err) WW_MUST_USE;

/** Rows of a sample: blocks of 16 rows, one in 64, drawn by the name; tensors of at most
 *  64 KiB whole. */
#define WW_SAMPLE_BLOCK 16
#define WW_SAMPLE_WHOLE 65536
bool ww_sample_takes(uint64_t key, uint64_t block);

/** Layer of a tensor's name, WW_NONE when there is no number in it; *inside (may be NULL)
 *  is what follows the number. */
uint32_t ww_layer_of(const char *name, const char **inside);

/** Rank 2 and more, inside a layer, of a plain float. */
bool ww_print_is_body(const struct ww_tensor *tensor);

/** Products of the rows of an embedding that stand for 256 tokens; *out stays NULL when
 * the model has none. decoded: what reads its tensors, NULL: its files do. */
enum ww_err ww_anchor_gram(const struct ww_model *model,
                           const struct ww_disguise *decoded, float **out,
                           struct ww_error *err) WW_MUST_USE;
/** Correlation of two Grams' cosines off the diagonal; -1 to 1. */
double ww_anchor_likeness(const float *a, const float *b);

#endif
