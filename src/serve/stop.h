/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Texts that end an answer. A stream may show only what cannot become part of one.
 */
#ifndef WW_SERVE_STOP_H
#define WW_SERVE_STOP_H

#include <stddef.h>
#include <stdint.h>

/** Where the earliest of the n stops begins in text, those looked for that end behind
 *  `from`; len: nowhere. Stops are not empty. */
size_t ww_stop_find(const char *const *stops, uint32_t n, const uint8_t *text, size_t len,
                    size_t from);

/** Bytes at the end of text that could be the beginning of a stop. */
size_t ww_stop_held(const char *const *stops, uint32_t n, const uint8_t *text,
                    size_t len);

#endif
