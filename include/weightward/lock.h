/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Locks: exact symmetry transforms of a model's weights, derived from 32 secret bytes.
 *
 * The locked model answers as before; its coordinates no longer match those of its
 * siblings, so default merging tools fail on it, evidently. A lock is no encryption: an
 * informed party who holds the base or a sibling can undo it (docs/threat-model.md).
 */
#ifndef WEIGHTWARD_LOCK_H
#define WEIGHTWARD_LOCK_H

#include "weightward/layout.h"
#include "weightward/run.h"
#include "weightward/sign.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WW_HANDOUT_NONCE_BYTES 32

/** A copy for one recipient: it gets an element of its own, derived from the lock key,
 * the name and the nonce, which must be random and used once. */
struct ww_handout {
    const char *name; /* 1 to 200 bytes of UTF-8, no control characters */
    uint8_t nonce[WW_HANDOUT_NONCE_BYTES];
};

/** What a lock wrote, told just before the folder gets its name. Borrowed for the call.
 */
struct ww_lock_facts {
    const struct ww_layout *layout;     /* of the source */
    const uint8_t (*source_sha256)[32]; /* of each weight file of the source */
    const uint8_t *lock_id;             /* 32 bytes */
    const uint8_t *tensor_root;         /* 32 bytes, of the locked model */
    bool scale;                         /* powers of two are in it */
};
/** An error keeps the folder from appearing. */
typedef enum ww_err (*ww_lock_facts_fn)(void *payload, const struct ww_lock_facts *facts,
                                        struct ww_error *err);

/** How far an attack by a related model undoes the lock. */
struct ww_lock_attack {
    bool measured;
    char mode[16];
    bool has_task;          /* the source differs from the anchor; then: */
    double recovered;       /* share of the task vector, 1: all of it */
    double identical;       /* share of bytes that are the source's */
    double distance_before; /* to the anchor, as shares of its norm */
    double distance_after;
    double seconds;
};
/** Attack the locked folder, which has its weights and its final name to come, with the
 *  source as the truth. An error ends the lock. */
typedef enum ww_err (*ww_lock_measure_fn)(void *payload, const char *locked,
                                          const char *source, struct ww_lock_attack *out,
                                          struct ww_error *err);

struct ww_lock_options {
    ww_lock_measure_fn measure; /* may be NULL: not measured; lock only. See
                                   ww_attack_measure */
    void *measure_payload;
    struct ww_secret *secret;             /* 32 bytes: ww_lockkey_load_bound */
    const struct ww_key_binding *binding; /* what the key is bound to; NULL: nothing */
    const struct ww_handout *handout; /* NULL: every model under this key moves alike */
    ww_lock_facts_fn before_commit;   /* may be NULL; lock only */
    void *before_commit_payload;
    const struct ww_signer *signer; /* NULL: the manifest stays unsigned */
    bool scale;                     /* powers of two too; while locked such models merge
                                       by weighted sums alone */
    bool scale_if_room;             /* the same, but a model with F16 tensors is locked
                                       without, and a warning says so: what the command
                                       does when nothing is said */
    bool dense;                     /* level dense: heads are mixed by matrices as well */
    double condition;               /* with it: 0 for orthogonal matrices, or the largest
                                       condition number of them, above 1, at most 4 */
    bool weights_only;              /* unlock only: files beside the weights that are lost
                                       or other ones now are left out, with warnings;
                                       never what asks for policies */
    struct ww_layout_options layout;
    struct ww_run_options run;
};

/** What moved in one block; words from a fixed list: "residual", "kv-groups",
 *  "query-heads", "qk-signed-permutation", "qk-quarter-turns", "qk-signs",
 *  "vo-signed-permutation", "neurons", "neuron-signs", "experts", "scales"; at level
 * dense also "qk-dense", "qk-phases", "vo-dense". */
struct ww_block_moves {
    char *name;
    char **moved;
    size_t n_moved;
    char *reason; /* why something that others move stays, or NULL */
};

struct ww_check_report {
    double max_relative_error; /* legal transform: largest over blocks and parts */
    double min_illegal_error;  /* inspect --check: smallest effect of an illegal one */
    uint32_t blocks;           /* blocks checked */
    uint64_t linears;          /* linear maps probed on the real weights */
};

/** Level dense: what was mixed, and what that costs. Weights are rounded once more, so
 * the model's output changes by about as much as by its own rounding. */
struct ww_dense_report {
    bool used;
    double condition;        /* as in the options */
    uint64_t weights;        /* numbers that were mixed */
    double bits_per_weight;  /* of the residual that restores them */
    uint64_t residual_bytes; /* the sealed file */
    double projection_error; /* largest relative change of a projection's output */
    double output_change;    /* the same of a block's, when blocks_run is not 0 */
    uint32_t blocks_run;     /* blocks that were run whole for that */
};

struct ww_lock_report {
    struct ww_block_moves *blocks;
    size_t n_blocks;
    struct ww_check_report check;
    struct ww_lock_attack attack;
    struct ww_dense_report dense;
    uint64_t tensors_changed;
    uint64_t tensors_total;
    char lock_id[65];
    char recipient[201];  /* whom the copy is for; empty: nobody's own */
    char tensor_root[65]; /* of what was written */
    char root_sha256[65]; /* OMS root, empty when unsigned */
    struct ww_run_report run;
    char **warnings;
    size_t n_warnings;
};
WW_API void ww_lock_report_release(struct ww_lock_report *report);

/**
 * Lock a model folder into a new folder. Everything is planned and refused before the
 * first byte; every block is checked on the real weights before anything is signed; the
 * folder appears whole or not at all. WW_E_EXISTS, WW_E_NOSPACE; WW_E_ARCH, WW_E_TENSOR,
 * WW_E_SHAPE, WW_E_CONFIG and WW_E_QUANTISED for a model that cannot be locked,
 * WW_E_UNSUPPORTED for one that is locked or not at this level, WW_E_NONFINITE,
 * WW_E_CHECK_FAILED, WW_E_KEY for a key that is bound to something else, WW_E_CANCELLED.
 */
WW_API enum ww_err ww_lock_folder(const char *path, const char *out_path,
                                  const struct ww_lock_options *options,
                                  struct ww_lock_report *report,
                                  struct ww_error *err) WW_MUST_USE;

/**
 * Restore the source folder byte for byte, as the manifest's digests say.
 * WW_E_WRONG_KEY, WW_E_WRONG_MODEL, WW_E_DAMAGED are the three ways in which key,
 * manifest and weights can fail to belong together. signer may stay NULL. With
 * weights_only the folder holds what is proven by its digest, and maybe no config.json.
 */
WW_API enum ww_err ww_unlock_folder(const char *path, const char *out_path,
                                    const struct ww_lock_options *options,
                                    struct ww_lock_report *report,
                                    struct ww_error *err) WW_MUST_USE;

/**
 * Carry a LoRA adapter (a PEFT folder) made for the unlocked base over to the locked one,
 * or back with inverse, exactly: B' A' on the locked weight is what B A was on the
 * original. base: the locked model, whose manifest says how it was locked. Carried back,
 * the adapter's file is the original byte for byte, as the record in it says. In the
 * report tensors and run are filled. DoRA is refused where powers of two are in the lock.
 * WW_E_ADAPTER_FILE, WW_E_UNSUPPORTED, WW_E_TENSOR, WW_E_SHAPE, WW_E_WRONG_KEY,
 * WW_E_WRONG_MODEL, WW_E_DAMAGED.
 */
WW_API enum ww_err ww_lock_adapter(const char *adapter, const char *base,
                                   const char *out_path, bool inverse,
                                   const struct ww_lock_options *options,
                                   struct ww_lock_report *report,
                                   struct ww_error *err) WW_MUST_USE;

/** What a key for this folder is bound to: the model of a plain folder, whose weights are
 *  read once, or of a locked one model and lock as its manifest states them. Any purpose.
 *  WW_E_MANIFEST for a lock manifest that cannot be read, else as ww_model_open. */
WW_API enum ww_err ww_lock_binding_of(const char *path, const struct ww_run_options *run,
                                      struct ww_key_binding *binding,
                                      struct ww_error *err) WW_MUST_USE;

/** True when the folder carries a lock manifest (signed or not). */
WW_API bool ww_model_is_locked(const struct ww_model *model);

/**
 * Check a resolved model: each block's reference forward on the real weights, before and
 * after a random legal transform (must agree within 1e-5) and an illegal one (must differ
 * by more than 1e-3). WW_E_CHECK_FAILED names the block.
 */
WW_API enum ww_err ww_check_layout(const struct ww_layout *layout,
                                   const struct ww_run_options *run,
                                   struct ww_check_report *report,
                                   struct ww_error *err) WW_MUST_USE;

/** What a lock would move, without a key: fills blocks (as in the report above), which
 *  the caller frees with ww_block_moves_free. WW_E_NOMEM, WW_E_LIMIT. */
WW_API enum ww_err ww_lock_moves(const struct ww_layout *layout, bool scale,
                                 struct ww_block_moves **blocks, size_t *n_blocks,
                                 struct ww_error *err) WW_MUST_USE;
WW_API void ww_block_moves_free(struct ww_block_moves *blocks, size_t n_blocks);

#ifdef __cplusplus
}
#endif
#endif
