/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time as text (RFC 3339, in UTC). */
#ifndef WW_UTIL_UTC_H
#define WW_UTIL_UTC_H

#include <stdbool.h>
#include <stdint.h>

/** "2022-10-31T23:59:59Z", with or without a fraction of a second, which is dropped; only
 *  'Z' is read as the zone. Seconds since 1970; false on anything else. */
bool ww_utc_parse(const char *text, int64_t *out);

#define WW_UTC_BYTES 64 /* more than it takes: what any six numbers would */
/** The same with whole seconds; what lies outside of 1970 to 9999 becomes its edge. */
void ww_utc_text(int64_t seconds, char out[WW_UTC_BYTES]);

#endif
