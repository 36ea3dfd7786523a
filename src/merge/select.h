/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Exact rank selection in bounded memory: which elements of a tensor are the r largest.
 *
 * Values are compared by keys, bit patterns that sort like the numbers: 32 bits of the
 * value rounded to float, or 64 of the double. A radix histogram over the top 16 bits,
 * then one over the next 16 within the bucket of each cut, give the key at the cut and
 * how many equal ones lie above it; one more pass counts those by tile. Few elements take
 * digits of 8 bits. Counts are whole numbers, so neither threads nor tiles matter.
 */
#ifndef WW_MERGE_SELECT_H
#define WW_MERGE_SELECT_H

#include "merge/kernel.h"

/** Above the cut are the `rank` first elements in descending order, equal ones by index.
 */
struct ww_cut {
    uint32_t vector; /* which of the values */
    uint64_t rank;
    bool all_ties;   /* elements equal to the last one above are above as well */
    bool no_ties;    /* elements equal to the first one below are below as well */
    uint64_t prefix; /* of the key, as far as it is known */
    uint64_t larger; /* elements with a larger prefix */
    uint64_t equal;  /* with this one */
    uint64_t key;    /* the result: keys above it, and `take` equal ones */
    uint64_t take;
    bool done;
    uint64_t
        *before; /* [n_tiles + 1] of equal ones before a tile; NULL when not needed */
};

struct ww_select {
    struct ww_cut *cuts;
    uint32_t n_cuts;
    uint64_t n; /* elements of each vector */
    unsigned bits;
    unsigned digit_bits; /* of a histogram: 16, of few elements 8 */
    unsigned level;      /* of the next histogram */
    bool counting;       /* the next pass counts ties by tile */
    uint64_t *sums;      /* [n_cuts][1 << digit_bits] */
    uint64_t *zeros;     /* [n_cuts]: keys of the value 0, counted in the first pass */
};

/** Keys of magnitudes. wide: of doubles, else of floats. */
uint64_t ww_key_magnitude(double v, bool wide);
void ww_key_magnitudes(const double *x, size_t n, bool wide, uint64_t *keys);
void ww_key_magnitudes32(const double *x, size_t n, uint32_t *keys);
/** How many of them are this key? */
uint32_t ww_keys_equal(const uint64_t *keys, size_t n, uint64_t key);
/** For values of both signs. */
uint64_t ww_key_signed(double v);
double ww_key_signed_value(uint64_t key);
/** The same of doubles, 64 bits. */
uint64_t ww_key_signed_wide(double v);
double ww_key_signed_wide_value(uint64_t key);

/** n_cuts cuts over vectors of n elements; the caller fills cuts[].vector, rank and the
 *  rule for ties. wide: keys of 64 bits. Sets job->acc_bytes. */
enum ww_err ww_select_init(struct ww_select *s, struct ww_merge_job *job, uint32_t n_cuts,
                           uint64_t n, bool wide, struct ww_error *err) WW_MUST_USE;
void ww_select_release(struct ww_select *s);
/** What a tile of its first pass takes. */
size_t ww_select_acc_bytes(const struct ww_select *s);

/** Is the cut one that needs no key: nothing or everything above? Then it is done. n: of
 * the vector. */
void ww_cut_ends(struct ww_cut *cut, uint64_t n);
/** prefix is the whole key, larger and equal are counted: key and take. */
void ww_cut_settle(struct ww_cut *cut);
/** Are some of the equal ones above and some below? */
bool ww_cut_splits(const struct ww_cut *cut);

/** A pass: keys of one vector of a block; every vector with a cut is given once. */
void ww_select_scan(const struct ww_select *s, uint32_t vector, const uint64_t *keys,
                    size_t n, void *acc);
void ww_select_fold(struct ww_select *s, uint64_t tile, const void *acc);
/** Ranks may be set until the first call. *again: one more pass. */
enum ww_err ww_select_scanned(struct ww_select *s, struct ww_merge_job *job, bool *again,
                              struct ww_error *err) WW_MUST_USE;

/** above[i] = 1 where element i of the block lies above the cut. seen: zero at the start
 *  of a tile, kept between its blocks. */
void ww_select_above(const struct ww_cut *cut, uint64_t tile, const uint64_t *keys,
                     size_t n, uint64_t *seen, uint8_t *above);
/** The same for one cut, or two that follow each other, by values: above the first and
 *  not above the second one (infinite without it) are magnitudes from range[0] up to
 *  below range[1]. False, and nothing is done, where equal ones of the block lie on both
 *  sides. Keys are of floats, x is finite: a NaN or infinity is in no range. seen: of
 * each cut. */
bool ww_select_range(const struct ww_cut *cuts, uint32_t n_cuts, uint64_t tile,
                     const double *x, size_t n, uint64_t *seen, double range[2]);
/** The range alone, before anybody counted: count[c] says that seen[c] has to grow by how
 *  many elements of the block have the key of cut c. */
bool ww_select_bounds(const struct ww_cut *cuts, uint32_t n_cuts, uint64_t tile, size_t n,
                      const uint64_t *seen, double range[2], bool count[2]);
/** The smallest magnitude with this key of floats, or a larger one. */
double ww_key_least(uint64_t key);
/** The same as ww_select_above by magnitudes of values rounded to float; keys: room for n
 *  of them. */
void ww_select_above_float(const struct ww_cut *cut, uint64_t tile, const double *x,
                           size_t n, uint64_t *keys, uint64_t *seen, uint8_t *above);

#endif
