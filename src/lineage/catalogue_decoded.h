/* SPDX-License-Identifier: Apache-2.0 */
/* The print of a suspect whose weights are quantised: sketch and anchors, of the numbers
 * that are behind its bytes. Bytes of safetensors are hashed, since a catalogue may have
 * them; it has none of a GGUF file. */
#ifndef WW_LINEAGE_CATALOGUE_DECODED_H
#define WW_LINEAGE_CATALOGUE_DECODED_H

#include "lineage/catalogue_print.h"

/** Read a suspect through its disguise, in the order of names. WW_E_NONFINITE. */
enum ww_err ww_print_decoded(const struct ww_disguise *suspect,
                             const struct ww_print_options *options, struct ww_print *out,
                             struct ww_error *err) WW_MUST_USE;

#endif
