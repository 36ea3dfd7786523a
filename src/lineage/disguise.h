/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a suspect looks like without its disguise: quantised weights as numbers with the
 * step that each was rounded to, an adapter on its base, a lock undone. Whoever compares
 * models sees names, shapes and doubles, and need not know what the suspect was.
 */
#ifndef WW_LINEAGE_DISGUISE_H
#define WW_LINEAGE_DISGUISE_H

#include "lineage/depths.h"
#include "util/str.h"
#include "weightward/model.h"
#include "weightward/run.h"

/** Two numbers of each element: its value, finite, and the step of its block (0 where the
 *  dtype's grid is the only rounding, WW_STEP_LOST where nothing of it is left); or, of
 *  cells, between which two it was before it was rounded to its block, infinite where
 * that has an end. */
struct ww_disguise_pair {
    bool cells;
    double *first;
    double *second;
};

struct ww_attack_view;

struct ww_disguise {
    struct ww_model *model;     /* under the base's names; owned */
    const struct ww_model *raw; /* as it is stored, where model is made of it and a lock
                                   was undone; NULL: model's files are */
    const struct ww_model *stored; /* safetensors whose numbers read decodes, before
                                      anything else was undone; NULL: none. Borrowed */
    char *undone;                  /* one sentence; NULL: there was no disguise */
    struct ww_depths depths;       /* where its layers lie in the base */
    /* Elements [first, first + n) of a tensor of model. NULL: the model's files hold
     * them. From any thread, from many at once. */
    enum ww_err (*read)(void *payload, uint32_t tensor, uint64_t first, size_t n,
                        const struct ww_disguise_pair *out, struct ww_error *err);
    bool heads; /* with read: model's files hold heads as it gives them */
    /* The lock that was undone last, and the model whose layout it is in, tensors as in
     * model; borrowed from payload. NULL: none, or something else was undone after it. */
    const struct ww_attack_view *lock;
    const struct ww_model *locked;
    bool folded;   /* gains of its norms are in what reads them; the sources' are not */
    bool exact;    /* what is read was not rounded beyond the dtype's grid: an adapter */
    bool cells;    /* read tells them; else half a step to either side, roughly */
    bool searched; /* scales of blocks were searched for, which leaves other noise than
                      steps say; cells tell then */
    double shows;  /* without cells: from which unexplained part on something else shows,
                      where rounding leaves little; 0: as of any suspect */
    double off;    /* by which shares may be off beyond what errors of a fit say */
    /* Which tensors were mixed by dense matrices, so that their weights say nothing one
     * by one; NULL: none. */
    bool (*dense)(const void *payload, uint32_t tensor);
    enum ww_err (*unchanged)(void *payload, struct ww_error *err);
    void (*free)(void *payload);
    void *payload;
};

/** Open a suspect whatever it is: a model folder, a GGUF file or a folder with one, a
 * folder with eight-bit weights, an adapter of the base, a lock of the base. base is open
 * and outlives the disguise. Tensors that are not read are named in notes. run, here and
 * below: who hears of progress while a lock or a rotation is looked for; NULL: nobody.
 * WW_E_CANCELLED. */
enum ww_err ww_disguise_open(const char *path, const struct ww_model *base,
                             const struct ww_run_options *run, struct ww_disguise *out,
                             struct ww_strlist *notes, struct ww_error *err) WW_MUST_USE;
/** The same of what needs no base: GGUF, eight-bit weights and MXFP4; anything else is a
 * model as it is, with read NULL, packed weights too. */
enum ww_err ww_disguise_decoded(const char *path, struct ww_disguise *out,
                                struct ww_strlist *notes,
                                struct ww_error *err) WW_MUST_USE;
void ww_disguise_release(struct ww_disguise *disguise);
/** The same but for the model, which stays, with nothing undone any more. */
void ww_disguise_leave(struct ww_disguise *disguise);
/** What read gives, of a disguise that has it: values with their steps, each of n. */
enum ww_err ww_disguise_values(const struct ww_disguise *disguise, uint32_t tensor,
                               uint64_t first, size_t n, double *values, double *steps,
                               struct ww_error *err) WW_MUST_USE;
/** The ends of their cells, of a disguise that tells them. */
enum ww_err ww_disguise_cells(const struct ww_disguise *disguise, uint32_t tensor,
                              uint64_t first, size_t n, double *low, double *high,
                              struct ww_error *err) WW_MUST_USE;
/** WW_E_CHANGED when a file moved since it was opened. */
enum ww_err ww_disguise_unchanged(const struct ww_disguise *disguise,
                                  struct ww_error *err) WW_MUST_USE;

/* The kinds, each in a file of its own. */
enum ww_err ww_disguise_gguf(const char *path, struct ww_disguise *out,
                             struct ww_strlist *notes, struct ww_error *err) WW_MUST_USE;
/** WW_E_QUANTISED for weights of four bits or fewer that a safetensors file holds packed:
 *  two and more to an integer. */
enum ww_err ww_disguise_unpacked(const struct ww_model *model,
                                 struct ww_error *err) WW_MUST_USE;
/** Takes the model over when it has eight-bit weights or MXFP4, and only then: *took. */
enum ww_err ww_disguise_quantised(struct ww_model *model, struct ww_disguise *out,
                                  bool *took, struct ww_strlist *notes,
                                  struct ww_error *err) WW_MUST_USE;
enum ww_err ww_disguise_adapter(const char *path, const struct ww_model *base,
                                struct ww_disguise *out,
                                struct ww_error *err) WW_MUST_USE;
/** Undoes a lock of the base, when the model looks like one: *took. noisy: the weights
 *  were rounded in blocks. The payload is a ww_attack_view. */
enum ww_err ww_disguise_locked(struct ww_model *model, const struct ww_model *base,
                               bool noisy, const struct ww_run_options *run,
                               struct ww_disguise *out, bool *took,
                               struct ww_error *err) WW_MUST_USE;

/** Of a lock that was undone last: what was added to the weights after it is told as
 * steps of rounding that are as long as the lock's factors made it, where these show,
 * beside the steps that the weights have. */
enum ww_err ww_disguise_loud(const struct ww_model *base,
                             const struct ww_run_options *run, struct ww_disguise *out,
                             struct ww_error *err) WW_MUST_USE;

/** Does the beginning of some matrix point elsewhere than the base's of its name? Layers
 *  that depths (may be NULL) finds like none are passed over. */
enum ww_err ww_disguise_looks_locked(const struct ww_model *model,
                                     const struct ww_model *base,
                                     const struct ww_depths *depths, bool *odd,
                                     struct ww_error *err) WW_MUST_USE;

/** Were gains moved into matrices or out of them, or is the stream of another length? Of
 *  a model as it is read, a lock undone. Gains that were only changed are not. */
enum ww_err ww_disguise_gains_moved(struct ww_model *model, const struct ww_model *base,
                                    bool *moved, struct ww_error *err) WW_MUST_USE;

/** Of the floats that out holds: gains that were moved into matrices or out of them, a
 *  stream of another length, and a lock beside that, when it looks like one: *took.
 *  noisy: they were rounded in blocks. */
enum ww_err ww_disguise_folded(const struct ww_model *base, bool noisy,
                               const struct ww_run_options *run, struct ww_disguise *out,
                               bool *took, struct ww_error *err) WW_MUST_USE;

/** The same, or a lock alone. */
enum ww_err ww_disguise_lock_or_gains(const struct ww_model *base, bool noisy,
                                      const struct ww_run_options *run,
                                      struct ww_disguise *out, bool *took,
                                      struct ww_error *err) WW_MUST_USE;

/** Of the floats that out holds, which are the first of models, suspect, base,
 *  sources: turns a rotated residual stream back, if it has one. out is as it was else.
 */
enum ww_err ww_disguise_rotated(struct ww_model *const *models, unsigned n_models,
                                const struct ww_run_options *run, struct ww_disguise *out,
                                struct ww_error *err) WW_MUST_USE;

/** Of the suspect that out reads, the first of models, whatever was undone so far:
 *  multiplies neurons back that were scaled by any factors against each other. out is as
 *  it was where there are none. */
enum ww_err ww_disguise_scaled(struct ww_model *const *models, unsigned n_models,
                               struct ww_disguise *out, struct ww_error *err) WW_MUST_USE;

/** Tensors that are the base's in another wrapper, as those of a text model inside of one
 *  of images and text, get the base's names, when most of those in common are so, and
 *  that is told in notes. */
enum ww_err ww_disguise_renamed(struct ww_model *model, const struct ww_model *base,
                                struct ww_strlist *notes,
                                struct ww_error *err) WW_MUST_USE;

/** Of the plain model that out holds, and keeps on failure: layers in other places, a
 * lock undone, or both, which only the base can tell; also of another architecture's
 * names for the same matrices. The model that out holds may be another one then. */
enum ww_err ww_disguise_moved(const struct ww_model *base,
                              const struct ww_run_options *run, struct ww_disguise *out,
                              struct ww_error *err) WW_MUST_USE;

/** Of weights that out decodes: layers in other places, which out tells then, or else
 *  undoes a lock of the base and folds gains that were moved, when they look like that;
 *  out is the decoded and unlocked suspect then, and stays as it is else. Folded, its
 *  model has files as well, which hold the weights. */
enum ww_err ww_disguise_under(const struct ww_model *base,
                              const struct ww_run_options *run, struct ww_disguise *out,
                              struct ww_error *err) WW_MUST_USE;

#endif
