/* SPDX-License-Identifier: Apache-2.0 */
/* Folded integers without tables, for chunks of few numbers: docs/formats/chunk.md, form
 * adaptive. */
#ifndef WW_RMM_CHUNK_ADAPTIVE_H
#define WW_RMM_CHUNK_ADAPTIVE_H

#include "codec/adaptive.h"

/* More numbers than this are left to tables, which are faster and cost them little. */
#define WW_ADAPTIVE_MOST ((size_t)1 << 16)

/* The mode of a chunk: the first always, and which contexts its numbers have. */
#define WW_ADAPTIVE_IS 1u
#define WW_ADAPTIVE_ACTIVE 2u /* beside others: how large the numbers before were */
#define WW_ADAPTIVE_ONE 4u    /* not those of the form */
#define WW_ADAPTIVE_NEAR 8u   /* not those of the form but the hints, see rank.h */
#define WW_ADAPTIVE_SCALED                                                               \
    16u /* those of the form are sizes: twice the bits of a typical                      \
           number of theirs */

#define WW_ADAPTIVE_AGAIN 32u /* of texts: what came before comes again */

#define WW_TEXT_LENGTHS 16u
#define WW_ADAPTIVE_SIZES 34u /* bits of a folded number, and some */
#define WW_ADAPTIVE_SETS 64u  /* contexts, and for each how active it is */

/* How often a number has more bits, and what the two below the highest are. */
struct ww_adaptive_set {
    struct ww_bit more[WW_ADAPTIVE_SIZES];
    struct ww_bit below[WW_ADAPTIVE_SIZES][3];
    struct ww_bit sign;
};

/** Is it so much shorter that the time is worth it, of which it takes some tens of times
 *  more? */
static inline bool ww_adaptive_pays(size_t len, size_t with_tables)
{
    return len + with_tables / 64 < with_tables;
}

struct ww_adaptive {
    struct ww_adaptive_set sets[WW_ADAPTIVE_SETS];
    uint32_t energy; /* of the numbers before: see chunk_adaptive.c */
    bool active;
    bool scaled;
};

void ww_adaptive_begin(struct ww_adaptive *a, unsigned mode);
/** n folded numbers, of contexts below 16, or below 64 where they are scaled; NULL: all
 *  of one. */
void ww_adaptive_put(struct ww_adaptive *a, struct ww_bits_out *out,
                     const uint32_t *folded, const uint8_t *contexts, size_t n);
/** Numbers of more than n_bits make the message one that no encoder wrote. */
void ww_adaptive_get(struct ww_adaptive *a, struct ww_bits_in *in,
                     const uint8_t *contexts, unsigned n_bits, uint32_t *folded,
                     size_t n);

/** Bytes by the byte before, and where the four before stood together already by what
 *  came then. */
struct ww_text {
    struct ww_bit bytes[256][256];
    struct ww_bit again[WW_TEXT_LENGTHS];
    uint32_t last[WW_ADAPTIVE_MOST]; /* behind four bytes, by their hash; 0: never */
};
/** A chunk of form adaptive; at most WW_ADAPTIVE_MOST bytes. work: of any content.
 *  Decoding begins behind the form. */
enum ww_err ww_chunk_text_encode(struct ww_text *work, const uint8_t *bytes, size_t n,
                                 struct ww_buf *out, struct ww_error *err) WW_MUST_USE;
bool ww_chunk_text_decode(struct ww_text *work, unsigned mode, const uint8_t *coded,
                          size_t len, uint8_t *out, size_t n) WW_MUST_USE;

#endif
