/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A catalogue of models: prints of their weights in an SQLite file or on a PostgreSQL
 * server, and the search for the models that went into a suspect.
 *
 * A print is a few hundred kilobytes whatever the model's size: hashes of tensors and
 * rows, a linear sketch, products of embedding rows, spectra of heads.
 * docs/formats/catalogue.md has it.
 */
#ifndef WEIGHTWARD_CATALOGUE_H
#define WEIGHTWARD_CATALOGUE_H

#include "weightward/run.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ww_index_options {
    bool sample; /* read one row block in 64; a catalogue is sampled or whole, never both
                  */
    bool fine;   /* keep a sketch of 131,072 buckets beside that of 4,096 */
    bool root;   /* these models are roots that others descend from */
    struct ww_run_options run;
};

struct ww_index_entry {
    char *name;
    char *known_as; /* the name that the same weights have already, or NULL */
    char *note;     /* how it was read, where weights are no floats; NULL: as they are,
                       or not read */
    bool added;
};

struct ww_index_report {
    struct ww_index_entry *entries; /* as given */
    size_t n_entries;
    uint64_t n_models; /* in the catalogue now */
    struct ww_run_report run;
};
WW_API void ww_index_report_release(struct ww_index_report *report);

/**
 * Add models to a catalogue, made when it is not there; each is a folder, or NAME=FOLDER.
 * Eight-bit weights and MXFP4 are taken for the floats that they stand for.
 * One transaction a model: what was added before an error stays. Weights that are known
 * are left out, unread when path, sizes and times are those of then. where is a path or
 * a postgresql:// URI without a password. WW_E_EXISTS for other weights under a known
 * name; WW_E_USAGE for a sample in a whole catalogue; WW_E_VERSION, WW_E_MALFORMED,
 * WW_E_NONFINITE, WW_E_NOSPACE, WW_E_IO.
 */
WW_API enum ww_err ww_catalogue_index(const char *where, const char *const *models,
                                      size_t n, const struct ww_index_options *options,
                                      struct ww_index_report *report,
                                      struct ww_error *err) WW_MUST_USE;

struct ww_find_options {
    const char *root; /* name in the catalogue of what all descend from; NULL: found */
    bool no_confirm;  /* do not compare with the files of what was found */
    struct ww_run_options run;
};

struct ww_find_match {
    char *name;
    const char *kind; /* static: "identical", "source", "layers"; "similar": as much
                         as a sibling that is no source may be */
    double share;     /* coefficient of the task vector; -1: kind has none */
    double low, high; /* 95 %, when confirmed on the files; else -1 */
    double cosine;    /* with what the others leave unexplained; 0: kind has none */
    bool confirmed;   /* the files were compared */
    char *evidence;   /* one sentence */
};

/** A layer of the suspect that is another model's, bit for bit. */
struct ww_find_layer {
    uint32_t layer;
    char *name;
    uint32_t of;      /* the layer there */
    uint32_t tensors; /* equal, of tensors_all */
    uint32_t tensors_all;
};

/** A tensor of the suspect whose rows are another tensor's, wherever they stand there. */
struct ww_find_rows {
    char *tensor;
    char *name; /* of the model */
    char *of;   /* of the tensor there */
    uint64_t shared;
    uint64_t rows;    /* of the suspect's tensor */
    uint64_t rows_of; /* of the other */
};

struct ww_find_report {
    char *root; /* NULL: nothing in the catalogue is related */
    char *root_evidence;
    char *disguise;      /* how the suspect's weights were stored; NULL: as they are */
    double root_anchors; /* likeness of embedding anchors, -1 to 1; 0 without */
    struct ww_find_match *matches;
    size_t n_matches;
    struct ww_find_layer *layers; /* that are not the root's own in that place */
    size_t n_layers;
    struct ww_find_rows *row_parts; /* tensors that the root does not have */
    size_t n_row_parts;
    uint32_t tensors;      /* of the suspect */
    uint32_t frozen;       /* equal to the root's, bit for bit */
    uint64_t rows_shared;  /* rows of changed matrices that the root has too */
    uint64_t rows;         /* of changed matrices */
    uint64_t n_models;     /* in the catalogue */
    uint64_t n_family;     /* of the suspect's shape */
    double threshold;      /* cosine that a source must reach */
    bool refined;          /* shares are from fine sketches */
    double unexplained;    /* of the difference from the root; -1: none */
    bool incomplete;       /* the files say that something else went in */
    bool by_files;         /* that is from comparing files, not from sketches */
    double search_seconds; /* without reading suspect and files */
    char **warnings;
    size_t n_warnings;
    struct ww_run_report run;
};
WW_API void ww_find_report_release(struct ww_find_report *report);

/** Chance that a search names any model that is no source, when siblings' differences
 *  from the root are not alike; the threshold follows from it and the family's size. */
#define WW_FIND_FALSE_ALARM 1e-3

/** Search a suspect's print; the suspect is a model folder, a GGUF file, a folder with
 * one, or one with eight-bit weights. WW_OK also when nothing is found. WW_E_NOTFOUND for
 * a missing catalogue or a root that is not in it; else as above. */
WW_API enum ww_err ww_catalogue_find(const char *where, const char *suspect,
                                     const struct ww_find_options *options,
                                     struct ww_find_report *report,
                                     struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
