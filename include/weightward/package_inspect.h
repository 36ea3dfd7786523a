/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What the members of a package are like: how long their changes are, of what rank, how
 * they lie to each other, and what they would cost within errors. Members are read in
 * memory; nothing is restored to a disk.
 */
#ifndef WEIGHTWARD_PACKAGE_INSPECT_H
#define WEIGHTWARD_PACKAGE_INSPECT_H

#include "weightward/package.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WW_INSPECT_MEMBERS 64
#define WW_INSPECT_SPECTRUM 256

/** A point of a curve of sizes and errors. */
struct ww_inspect_rate {
    double bits;  /* for each number of the factors, or each weight */
    double error; /* |change - what comes back| / |change|, over all that was coded */
};

struct ww_inspect_member {
    char *name;
    bool adapter;
    char *why;        /* NULL: looked into. Else why it was not, in one sentence */
    uint64_t numbers; /* of factors; of weights that the base has as well */
    double length;    /* of its whole change, Euclidean */
    double unchanged; /* models: share of the weights that are the base's */
    double rank_50;   /* singular values that hold 50, 90, 99 % of a matrix' squared */
    double rank_90;   /* length, mean over the matrices */
    double rank_99;
    double rank_errors[3]; /* standard errors of these means, where some of the matrices
                              were looked into; 0 where all were */
    double *spectrum;      /* [n_spectrum] squared singular values, largest first: their
                              share of those of a matrix, mean over the matrices */
    size_t n_spectrum;
    uint64_t matrices;    /* that the spectrum is of, */
    uint64_t of_matrices; /* spread evenly over so many; models: those of up to 1024 rows
                             or columns */
    struct ww_inspect_rate *rates; /* codec own of adapters, dense of models */
    size_t n_rates;
};

/** A weight of the base that members change. */
struct ww_inspect_tensor {
    char *name;
    double *lengths; /* [n_members] of their changes, 0: none */
    double *cosines; /* [n_members * n_members], 0 where one has none */
};

struct ww_pack_inspection {
    char id[33];
    uint64_t version;
    char *base;
    struct ww_inspect_member *members;
    size_t n_members;
    double *cosines; /* [n_members * n_members] of the whole changes; between an adapter
                        and a model, and where nothing is known, NaN */
    struct ww_inspect_tensor *tensors;
    size_t n_tensors;
    struct ww_inspect_rate *rows; /* reversible model merging by the rows of the adapters'
                                     factors (arXiv 2510.14163), p = 1, 2, ... directions:
                                     all adapters together, to compare with */
    size_t n_rows;
    char *no_rows;    /* why there is none, or NULL */
    uint64_t sampled; /* matrices that curves are measured on, at most */
};
WW_API void ww_pack_inspection_release(struct ww_pack_inspection *inspection);

struct ww_pack_inspect_options {
    const char *base;         /* of models; NULL: they are not looked into */
    const char *const *names; /* NULL: all members, at most WW_INSPECT_MEMBERS */
    size_t n_names;
    const struct ww_unsealer *unsealer; /* NULL: plain members only */
    const char *public_key;             /* who must have signed; NULL: anyone or no one */
    struct ww_run_options run;          /* progress alone */
};
/** Members that cannot be opened, or ask for policies, or come back out of a merge, or
 * are adapters that are no sums of products say so in why. WW_E_LIMIT for too many
 * members, WW_E_NOTFOUND, WW_E_UNRELATED for another base. */
WW_API enum ww_err ww_pack_inspect(const char *path,
                                   const struct ww_pack_inspect_options *options,
                                   struct ww_pack_inspection *out,
                                   struct ww_error *err) WW_MUST_USE;

struct ww_pack_rows_options {
    const char *const *names; /* adapters of the package; NULL: all of them */
    size_t n_names;
    size_t directions;                  /* p; 0: as many as bytes allow */
    uint64_t bytes;                     /* of what RMM stores, 16 bits a number */
    const struct ww_unsealer *unsealer; /* NULL: plain members only */
    const char *public_key;             /* who must have signed; NULL: anyone or no one */
    struct ww_run_options run;
};

struct ww_pack_rows_report {
    size_t adapters;
    size_t directions;
    uint64_t bytes;     /* that RMM would store */
    uint64_t raw_bytes; /* of the factors, at 16 bits */
    double error;       /* of all products together */
};

/** To compare with: merge adapters reversibly as published (arXiv 2510.14163) and write
 * what comes back of each as OUT/NAME, a portable adapter in float32. WW_E_UNSUPPORTED
 * when they do not have the same modules, shapes and rank; WW_E_LIMIT when nothing fits.
 */
WW_API enum ww_err ww_pack_rows(const char *path, const char *out_path,
                                const struct ww_pack_rows_options *options,
                                struct ww_pack_rows_report *report,
                                struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
