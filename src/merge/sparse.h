/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the methods of the task arithmetic family keep while a tensor is merged. Internal
 * to k_family.c, which opens them, sparse_select.c, which looks at the tensor and
 * selects, and sparse_out.c, which writes it.
 */
#ifndef WW_MERGE_SPARSE_H
#define WW_MERGE_SPARSE_H

#include "merge/bracket.h"
#include "merge/kernel.h"
#include "merge/rowrank.h"
#include "merge/select.h"
#include "merge/tilesum.h"

#define WW_SPARSE_NO_CUT UINT32_MAX

enum ww_sparse_keep { WW_KEEP_TOP, WW_KEEP_MIDDLE, WW_KEEP_RANDOM, WW_KEEP_RANKED };

struct ww_sparse_source {
    double weight;
    double density;
    double extra; /* gamma, or epsilon */
    double factor;
    uint32_t *last;   /* by rank in a row, own; NULL: see ww_row_odds */
    uint32_t top;     /* cut: kept are those above, */
    uint32_t outlier; /* but not those above this one */
};

struct ww_sparse {
    enum ww_sparse_keep keep;
    bool elect;
    bool normalize;
    double lambda;
    double divisor;
    bool wide;
    bool partial; /* some density is neither 0 nor 1 */
    bool summing; /* the pass at hand takes sums of magnitudes */
    bool rescale;
    uint64_t key; /* of masks */
    struct ww_sparse_source *sources;
    double *weights; /* of the sources */
    struct ww_select select;
    struct ww_bracket *bracket; /* finds its cuts, NULL: it does so itself */
    struct ww_magsum *sums;     /* [2 n_sources]: all, kept */
    uint8_t *kept; /* [n_sources][kept_bytes]: what the pass of sums selected */
    size_t kept_bytes;
};

/* A block's room, cut from its scratch. */
struct ww_sparse_room {
    uint64_t *keys;
    uint64_t *hashes;
    double *numbers;
    uint8_t *rows; /* WW_ROW_KEEP_SCRATCH of a block */
    uint32_t *draws;
    uint8_t *keep;
    uint8_t *outlier;
};

size_t ww_sparse_room_bytes(const struct ww_merge_job *job);
struct ww_sparse_room ww_sparse_room(const struct ww_merge_job *job, void *scratch);

/** Are elements drawn for by what they hold, and not by where they lie? */
bool ww_sparse_by_content(const struct ww_merge_job *job);
struct ww_row_odds ww_sparse_odds(const struct ww_merge_job *job,
                                  const struct ww_sparse_source *s);
/** The bits of what is kept of a source in a block. */
uint8_t *ww_sparse_kept_bits(const struct ww_sparse *f, const struct ww_merge_block *b,
                             uint32_t source);
/** r->keep for one source of a block. */
void ww_sparse_select(const struct ww_merge_job *job, const struct ww_merge_block *b,
                      uint32_t source, const struct ww_sparse_room *r);

/** The pass of sums: acc is [2 n_sources] sums, of what goes and of what is kept. Where
 *  blocks are whole bytes of bits, and these are few, the selection is remembered. */
enum ww_err ww_sparse_start_sums(struct ww_merge_job *job,
                                 struct ww_error *err) WW_MUST_USE;

/* Operations of the methods. */
void ww_sparse_scan(const struct ww_merge_job *job, unsigned pass,
                    const struct ww_merge_block *b, void *acc);
bool ww_sparse_scan_stored(const struct ww_merge_job *job, unsigned pass,
                           const struct ww_merge_block *b, const uint8_t *const *x,
                           const uint8_t *base, void *acc);
void ww_sparse_fold(struct ww_merge_job *job, unsigned pass, uint64_t tile,
                    const void *acc);
enum ww_err ww_sparse_scanned(struct ww_merge_job *job, unsigned pass, bool *again,
                              struct ww_error *err) WW_MUST_USE;
enum ww_err ww_sparse_block(const struct ww_merge_job *job,
                            const struct ww_merge_block *b,
                            struct ww_error *err) WW_MUST_USE;
bool ww_sparse_block_stored(const struct ww_merge_job *job,
                            const struct ww_merge_block *b, const uint8_t *const *x,
                            const uint8_t *base, uint8_t *out);

#endif
