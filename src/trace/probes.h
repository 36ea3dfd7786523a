/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Which coefficients of a model a trace looks at.
 *
 * A coordinate is an index of a space whose element has a sign of its own there: of a
 * residual stream under RMS norms, of the neurons of a gated MLP, of the values of an
 * attention. Its samples are entries of one tensor that lie on that index; every other
 * sign that touches them belongs to a space of a lower rank (residual, then latent, then
 * neurons and values), which is what makes the votes independent: docs/trace.md.
 *
 * The choice depends on the layout alone: the same places for every copy and suspect.
 */
#ifndef WW_TRACE_PROBES_H
#define WW_TRACE_PROBES_H

#include "crypto/hash.h"
#include "weightward/layout.h"

struct ww_coord {
    uint32_t slot;  /* into tensors */
    uint32_t space; /* of the layout */
    uint64_t index; /* in the space */
};

struct ww_probes_size {
    uint32_t max_coords;
    uint32_t samples; /* per coordinate */
};
/** What a ledger keeps, and what is read when an anchor is at hand. */
extern const struct ww_probes_size ww_probes_ledger;
extern const struct ww_probes_size ww_probes_anchor;

struct ww_places {
    uint32_t *tensors; /* of the layout */
    uint32_t n_tensors;
    struct ww_coord *coords; /* by name of the space, evenly over all there are */
    uint32_t n_coords;
    uint32_t samples;
    uint64_t *elements; /* [n_coords, samples]: element of the tensor, in the source */
};

/** WW_E_UNSUPPORTED for a layout in which nothing carries a sign of its own. */
enum ww_err ww_places_init(struct ww_places *places, const struct ww_layout *layout,
                           const struct ww_probes_size *size,
                           struct ww_error *err) WW_MUST_USE;
void ww_places_release(struct ww_places *places);

/** Digest over tensor names and elements. */
enum ww_err ww_places_digest(const struct ww_places *places,
                             const struct ww_layout *layout, uint8_t out[WW_SHA256_BYTES],
                             struct ww_error *err) WW_MUST_USE;

#endif
