/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Merge lineage from weights: in which shares a suspect was made of which candidates.
 *
 * A share is the coefficient of a source's task vector: S - base = sum of share x (source
 * - base). What comes out supports a lineage or does not support it; it never proves one.
 */
#ifndef WEIGHTWARD_LINEAGE_H
#define WEIGHTWARD_LINEAGE_H

#include "weightward/evidence.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Candidates and controls together: 99 controls reach a p-value of 0.01. */
#define WW_LINEAGE_MAX_SOURCES 126
#define WW_LINEAGE_MAX_CANDIDATES 62

struct ww_decompose_options {
    const char *base;              /* model folder that all descend from */
    const char *const *candidates; /* possible sources; at least one */
    size_t n_candidates;
    const char *const *controls; /* descendants of the base that are no source */
    size_t n_controls;
    uint64_t seed; /* of the bootstrap and the halves */
    bool halves;   /* fit on half of the tensors, drawn by the seed, replay the others */
    const char *plan; /* signed plan that the run must be (WW_E_DIFFERS), checked before
                         the suspect is opened; NULL: exploratory */
    const char *plan_key; /* SPKI PEM path of the key that signed it */
    struct ww_run_options run;
};

/** Sign what a run will be: base, candidates and controls by the roots of their tensor
 *  trees, the seed and the thresholds, into a new file. plan of the options is not looked
 *  at. WW_E_EXISTS. */
WW_API enum ww_err ww_lineage_plan(const struct ww_decompose_options *options,
                                   const struct ww_signer *signer, const char *path,
                                   struct ww_error *err) WW_MUST_USE;

struct ww_lineage_source {
    char *name;       /* path as given */
    double share;     /* below 0: its task vector was taken away */
    double low, high; /* 95 %: tensors drawn anew, never narrower than 1.96 errors,
                         nor than 0.002 when something came after the merge */
    double error;     /* standard error by rounding and noise alone */
    double n_eff;     /* elements that carry the share */
    double recipe;    /* shortest decimal that the share allows; 0 when not included */
    double p_value;   /* rank among the controls, Holm over candidates; -1: no controls */
    bool included; /* the interval lies above WW_LINEAGE_LEAST, or below its negative */
    double kept;   /* which part of its elements was kept, where elements were dropped
                      and each is a sum over some of the sources; -1: not told */
    double heads;  /* share in attentions that a dense lock mixed, with its interval; 0
                      without such a lock */
    double heads_low, heads_high;
    double statistic; /* share over standard error, with controls */
    double *reached;  /* [n_controls] the same of each control in its place; NULL: none */
    bool alike; /* as the base or another candidate: the sums cannot tell it from that */
    char *note; /* why it was left out of the fit, or why the bits of a recipe decide
                   about it where a share does not; or NULL */
};
/** A share below is not told from none. */
#define WW_LINEAGE_LEAST 0.02
/** So many of the elements that moved are sums over some of the sources when nothing
 * shows that another one is missing. */
#define WW_LINEAGE_PARTS 0.95
/** Where more of a difference is unexplained, a source may be missing. */
#define WW_LINEAGE_ELSEWHERE 0.05
/** Where more is, and no controls are given, a sibling that no candidate went into has as
 * much in common with one. */
#define WW_LINEAGE_MOSTLY 0.5

struct ww_lineage_layer {
    char *name;     /* "layer 3", or "outside of layers" */
    double *shares; /* [n_sources] */
    uint64_t elements;
};

/** Standard deviations that no statistic of independent noise reaches, and the share of a
 * further source that may at most hide in what is called noise. */
#define WW_LINEAGE_NO_NOISE 4.0
#define WW_LINEAGE_HIDES 0.1
/** What a noisy copy of a source has to have reached. */
#define WW_LINEAGE_COPIES 6.0

/** One class of tensors in one layer. */
struct ww_lineage_class {
    uint32_t layer;    /* UINT32_MAX: outside of layers */
    const char *name;  /* static: "attention", "feed-forward", "norms", "other" */
    double *shares;    /* [n_sources]; NULL: too few elements moved far enough */
    uint64_t elements; /* that did */
};

/** What the replay leaves of a tensor; of one of a million elements or more a quarter is
 *  replayed. */
struct ww_lineage_tensor {
    char *name;
    uint32_t layer; /* UINT32_MAX: outside of layers */
    uint64_t elements;
    double unexplained; /* of its difference from the base, as of the whole; -1: it does
                           not differ */
    double replay;      /* as of the whole; -1: the blend moves none of it */
};

/** Where a layer of the suspect lies in the base and its descendants. */
struct ww_lineage_place {
    uint32_t of_layer; /* of theirs; UINT32_MAX: it is like none */
    double cosine; /* mean over its matrices, with that layer of the base; -1: no layer
                      was looked for, all lie in their own places */
    const char *model; /* path as given: has the same first weights of each tensor; NULL:
                          none has */
};

/** A matrix whose difference from the blend is of few directions. */
struct ww_lineage_rank {
    char *name;
    uint32_t rank; /* singular values that rounding alone does not reach */
    uint32_t most; /* ranks above are not called low */
    double part;   /* share of the difference's energy in them */
};

#define WW_LINEAGE_MAX_WORDS 16

/** T1, a common root of suspect and base: feed-forward rows that are each other's nearest
 *  neighbour at the same place. The bound on the chance of so many holds for models
 * trained from independent initialisations whose hidden units nobody sorted. */
struct ww_lineage_root {
    uint64_t layers; /* 0: there are no such rows to compare */
    uint64_t rows;
    uint64_t fixed_points;
    double log10_p; /* of the bound; at most 0 */
};

struct ww_decompose_report {
    struct ww_lineage_source *sources; /* as given */
    size_t n_sources;
    struct ww_lineage_layer *layers;
    size_t n_layers;
    struct ww_lineage_class *classes; /* of each layer in turn, those that it has */
    size_t n_classes;
    struct ww_lineage_tensor *each; /* that were replayed, in the suspect's order */
    size_t n_each;
    struct ww_lineage_place *places; /* of the suspect's layers in order, when they are
                                        not all in their own places or several models' */
    size_t n_places;
    struct ww_lineage_rank
        *ranks; /* when what sources leave over is low-rank, else none */
    size_t n_ranks;
    size_t n_controls;
    struct ww_lineage_root root; /* of suspect and base */
    uint64_t tensors;            /* compared */
    uint64_t strangers;          /* not compared, as they point elsewhere than the base's,
                                    or were rounded to the steps that its values lie on:
                                    nothing is said of what went into these */
    uint64_t tensors_fit;        /* of those: fitted on */
    uint64_t elements;           /* compared */
    uint64_t heads;     /* products of heads that were compared for a dense lock */
    uint64_t used;      /* elements that moved far enough to carry a share */
    bool confirmatory;  /* it was the run of a plan signed beforehand */
    bool varies;        /* shares differ between tensors; they are means over those */
    double noise;       /* beyond rounding: standard deviation per element */
    double r2;          /* of the difference from the base, where it was replayed */
    double r2_ceiling;  /* what rounding of the exact blend would leave */
    double unexplained; /* 1 - r2 / r2_ceiling, not below 0 */
    bool incomplete;    /* more is unexplained than may be, by no method either, as
                           docs/lineage.md has it (WW_LINEAGE_ELSEWHERE in general):
                           sources that are included may be relatives of one not given */
    uint64_t still;     /* places that no included source can have moved, that would have
                           shown another one, and did not move: so that what is unexplained
                           is how elements were selected; 0: not asked, or not so */
    bool has_noise;     /* what is unexplained was held against noise, since the answer
                           would have been incomplete, or is for what lies outside of
                           cells; then the next five are told */
    bool noise_like; /* nothing shows that it is more than independent noise, a copy of a
                        source with noise in place of the source would have shown, and
                        hides is WW_LINEAGE_HIDES and a third of the least included
                        share at most; incomplete is false then */
    double score;    /* the largest statistic, in standard deviations of such noise:
                        none reaches WW_LINEAGE_NO_NOISE */
    double structured; /* part of the difference that is unexplained and lies in
                          directions, as many as the widest candidate has; where that is
                          not told from none, the most that it may be */
    double hides;  /* a further source that is as wide as the widest candidate and as long
                      as the shortest, and went in whole, would have shown from this share
                      on */
    double copies; /* what score a candidate would have that is a source and noise of its
                      own, if that noise were all that is left: the least of them */
    double unseen; /* of weights that were rounded after the merge: a source may stand
                      for a relative that was not given where that leaves less of the
                      difference than this; 0: they were not, or it is incomplete */
    double replay; /* share of moved elements whose bits the blend by the recipe
                      numbers gives, computed in double and rounded once */
    double kept;   /* share of moved elements where the suspect left the base */
    double kept_most;   /* the same of the rounded blend */
    double pruned;      /* share of weights that are zero where the base's are not; they
                           are left out of all sums */
    char *disguise;     /* what the suspect was before it was compared: "a GGUF file of
                           Q4_K, decoded"; NULL: what it is */
    const char *method; /* static: a merge method, or "blend", "none", "unclear" */
    const char *not_excluded[WW_LINEAGE_MAX_WORDS]; /* static, ends with NULL */
    bool gradient;       /* numbers of the recipe run over the layers */
    char *recipe;        /* mergekit YAML that gives most bits of a sample; or NULL */
    bool nearest;        /* it is no more than that: too few bits to take it for the
                            suspect's, and the method is told without it */
    double method_match; /* which share of them */
    double parts; /* where elements may have been dropped: part of those that moved that
                     is a sum over some of the included sources, or has one in the cell of
                     its value, less what chance would explain; -1: not told */
    bool has_keep_rates; /* elements were dropped, and no recipe tells how */
    /* Share not left at the base, by rank of each element's longest task vector: a
       twentieth of the elements each, short ones first. */
    double keep_rates[20];
    char **warnings;
    size_t n_warnings;
    struct ww_run_report run;
};
WW_API void ww_decompose_report_release(struct ww_decompose_report *report);

/**
 * Compare the suspect with a base and candidates tensor by tensor, in two readings of all
 * files. The suspect may be a model folder, a GGUF file or a folder that holds one, a
 * folder with eight-bit weights or MXFP4, an adapter of the base, or a lock of it;
 * docs/lineage.md tells what is undone. The other models are folders; eight-bit weights
 * and MXFP4 of theirs are read decoded. The same numbers for any thread count.
 * WW_E_UNRELATED when they have no tensor of one shape in common; WW_E_GGUF;
 * WW_E_NONFINITE; WW_E_QUANTISED for packed weights, and where rounding to the base's own
 * steps hid what changed; WW_E_LIMIT for too many sources. WW_OK also when no candidate
 * is included.
 */
WW_API enum ww_err ww_lineage_decompose(const char *suspect,
                                        const struct ww_decompose_options *options,
                                        struct ww_decompose_report *report,
                                        struct ww_error *err) WW_MUST_USE;

/** A recipe is supported by this match, when every control misses so many times the bits.
 */
#define WW_REPLAY_SUPPORTED 0.99
#define WW_REPLAY_TIMES_WORSE 10

/** Match of a recipe that names other sources. */
struct ww_replay_control {
    char *source;  /* as the recipe names it */
    char *path;    /* its folder; NULL: it is none, as with an adapter on top */
    char *control; /* what took its place, NULL: nothing */
    double match;
};

struct ww_replay_kind {
    const char *name;    /* static */
    const char *summary; /* static, one line */
    double match;
};

/** Where a model lies that a recipe or a card names. */
struct ww_lineage_name {
    const char *name; /* as written there */
    const char *path;
};

struct ww_replay_options {
    const char *recipe; /* mergekit YAML; NULL: inferred from what follows */
    const struct ww_lineage_name
        *names; /* of the recipe's models, those that lie elsewhere */
    size_t n_names;
    const char *base;              /* as in struct ww_decompose_options, */
    const char *const *candidates; /* without a recipe */
    size_t n_candidates;
    const char *const *controls; /* descendants of the base that are no source */
    size_t n_controls;
    uint64_t seed;    /* of the halves, the bootstrap and random masks */
    const char *plan; /* as in struct ww_decompose_options, without a recipe */
    const char *plan_key;
    struct ww_run_options run;
};

struct ww_replay_report {
    char *recipe; /* text; NULL: no recipe could be inferred */
    char *method;
    bool confirmatory;            /* it was the run of a plan signed beforehand */
    bool inferred;                /* then only tensors count that were not fitted on, */
    bool nearest;                 /* and it may be no more than the nearest recipe, as in
                                     struct ww_decompose_report */
    const char *arithmetic;       /* that gives most bits; static */
    double match;                 /* share of moved elements with the suspect's bits */
    double low, high;             /* 95 %: tensors drawn anew */
    double ceiling;               /* what the same numbers share with the merge engine's
                                     bits when they are computed in float32 */
    struct ww_replay_kind *kinds; /* of arithmetic that were tried */
    size_t n_kinds;
    struct ww_replay_control *controls;
    size_t n_controls;
    char *base;       /* folder of the recipe's; NULL: it has none */
    bool drawn;       /* masks by chance take part: another program's bits are others */
    char *apart;      /* how the suspect differs from what such masks leave when they are
                         drawn anew, one sentence; NULL: it does not, or none are */
    bool supports;    /* match >= 0.99, and every control misses ten times as many bits */
    uint64_t tensors; /* replayed */
    uint64_t tensors_fit; /* of the suspect, not replayed */
    uint64_t moved;       /* elements whose inputs differ, less those */
    uint64_t undecided;   /* that equal values at a cut decide: a sort may keep either */
    char **warnings;
    size_t n_warnings;
    struct ww_run_report run;
};
WW_API void ww_replay_report_release(struct ww_replay_report *report);

/**
 * Compute a recipe again and compare bits, against the recipe with each source left out
 * and with each control in its place. WW_E_RECIPE and what reading refuses;
 * WW_E_UNRELATED when the recipe makes no tensor that the suspect has. WW_OK whatever the
 * match is.
 */
WW_API enum ww_err ww_lineage_replay(const char *suspect,
                                     const struct ww_replay_options *options,
                                     struct ww_replay_report *report,
                                     struct ww_error *err) WW_MUST_USE;

enum ww_lineage_agreement { WW_LINEAGE_UNTOLD, WW_LINEAGE_AGREES, WW_LINEAGE_DISAGREES };

struct ww_verify_lineage_options {
    const struct ww_lineage_name *names; /* where the declared models lie */
    size_t n_names;
    const char *base;              /* of a card's models; NULL: a recipe says */
    const char *const *candidates; /* models that should not be in it */
    size_t n_candidates;
    uint64_t seed;
    struct ww_run_options run;
};

#define WW_DECLARED_NOWHERE SIZE_MAX
struct ww_declared_source {
    char *name;
    bool found;    /* its folder is known */
    bool compared; /* the weights say whether they support it, */
    bool observed; /* and do */
    size_t at;     /* among the sources of decompose; WW_DECLARED_NOWHERE: it has none */
    double share;  /* there; 0 with a recipe that was replayed */
};

struct ww_verify_lineage_report {
    enum ww_lineage_agreement agreement;
    const char *declared_by;             /* static: the file that says it; NULL: none */
    char *why;                           /* one sentence */
    struct ww_declared_source *declared; /* less the base */
    size_t n_declared;
    char **undeclared; /* candidates that the weights support */
    size_t n_undeclared;
    bool has_replay;
    struct ww_replay_report replay;
    bool has_decompose;
    struct ww_decompose_report decompose;
};
WW_API void ww_verify_lineage_report_release(struct ww_verify_lineage_report *report);

/**
 * What the folder declares (mergekit_config.yml, else base_model of README.md) against
 * its weights. A model that is not here, a layout that cannot be compared: UNTOLD.
 * WW_E_USAGE, WW_E_NOTFOUND and the like of the suspect and the sources that are given.
 */
WW_API enum ww_err ww_lineage_verify(const char *suspect,
                                     const struct ww_verify_lineage_options *options,
                                     struct ww_verify_lineage_report *report,
                                     struct ww_error *err) WW_MUST_USE;

/** Since when a model's bytes are known to have existed, and by whom. */
struct ww_commitment {
    char *name;           /* path as given */
    const char *role;     /* static: "suspect", "base", "candidate", "control" */
    char sha256_tree[65]; /* root of its tensor tree; "" of what is no model folder */
    bool is_signed;       /* it has a model signature */
    bool holds; /* every file under it matches, and a signer who is trusted made it */
    char signer[256];          /* when it holds */
    char signature_sha256[65]; /* of the signature file */
    int64_t at_unix; /* earliest time that a log or timestamp authority under the trusted
                        root signed for it; 0: none, the signature has no time */
    char *why;       /* why it does not hold, or has no time; or NULL */
};

enum ww_priority {
    WW_PRIORITY_UNTOLD,  /* one of both has no time that a third party signed */
    WW_PRIORITY_OLDER,   /* the source's commitment is older than the suspect's */
    WW_PRIORITY_YOUNGER, /* or not older */
};

struct ww_lineage_report_options {
    struct ww_decompose_options compare; /* what is compared, with the plan */
    bool replay;                         /* infer a recipe and replay it too */
    struct ww_chain_options trust; /* whose signatures of models count; may be empty */
    const char *out; /* where it will be written: WW_E_EXISTS before anything is read; or
                        NULL */
};

struct ww_lineage_report {
    struct ww_commitment *models; /* suspect, base, candidates, controls */
    size_t n_models;
    enum ww_priority *priority; /* [decompose.n_sources] */
    struct ww_decompose_report decompose;
    bool has_replay;
    struct ww_replay_report replay;
    char plan_sha256[65]; /* of the signed plan; "" without one */
    uint64_t seed;
    int64_t made_unix;    /* by this machine's clock */
    char *command;        /* that repeats it, words quoted for a shell */
    char *replay_command; /* NULL without a replay */
};
WW_API void ww_lineage_report_release(struct ww_lineage_report *report);

/** Decompose, replay if asked, and look up which model was committed to first. Errors of
 *  both; a signature that does not hold is a finding and no error. WW_E_USAGE before
 *  anything is read for a path that is not UTF-8, which no report can quote. */
WW_API enum ww_err ww_lineage_report(const char *suspect,
                                     const struct ww_lineage_report_options *options,
                                     struct ww_lineage_report *report,
                                     struct ww_error *err) WW_MUST_USE;

#define WW_LINEAGE_PAGE "report.html"
#define WW_LINEAGE_JSON "report.json"

/** Write both texts into a new folder, with signer (or NULL) under one model signature
 * that ww_verify_folder checks. WW_E_EXISTS; nothing stays behind a failure. */
WW_API enum ww_err ww_lineage_report_write(const char *path, const char *page,
                                           const char *json,
                                           const struct ww_signer *signer,
                                           struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
