/* SPDX-License-Identifier: Apache-2.0 */
/**
 * CountSketch of a model's weights (Charikar, Chen, Farach-Colton 2002): bucket and sign
 * of an element come from a fixed hash of its tensor's name and its index. The sketch is
 * linear, so sketch(S) - sketch(B) is the sketch of S - B and a base can be subtracted
 * later; products of sketches estimate products of models with a noise of 1 / sqrt(m).
 *
 *   key    = mix(first 8 bytes of SHA-256(name), little-endian, ^ WW_SKETCH_SEED)
 *   h(e)   = 32 bits of mix(key + e / 2): the low half for even e, the high half for odd
 *   sign   = bit 0 of h; bucket = the 17 highest bits of h
 *
 * The coarse sketch is the fine one with 32 neighbouring buckets added up.
 */
#ifndef WW_LINEAGE_CATALOGUE_SKETCH_H
#define WW_LINEAGE_CATALOGUE_SKETCH_H

#include <stddef.h>
#include <stdint.h>

#include "lineage/draws.h"

#define WW_SKETCH_COARSE 4096
#define WW_SKETCH_FINE 131072
#define WW_SKETCH_SEED UINT64_C(0x7765696768747764)

/** Name without the wrappers that exporters put in front: "model.layers.0" is "layers.0".
 *  Borrowed. */
const char *ww_canonical_name(const char *name);

uint64_t ww_sketch_key(const char *canonical_name);

/** Add n elements that start at index first (even); buckets is WW_SKETCH_COARSE or
 *  WW_SKETCH_FINE doubles. The sum is the same however a tensor is cut. */
void ww_sketch_add(double *buckets, size_t m, uint64_t key, uint64_t first,
                   const double *x, size_t n);

#endif
