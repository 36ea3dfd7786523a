/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time as text (RFC 3339, in UTC). */
#ifndef WW_UTIL_UTC_H
#define WW_UTIL_UTC_H

#include <stdbool.h>
#include <stdint.h>

/** "2022-10-31T23:59:59Z", with or without a fraction of a second, which is dropped; only
 *  'Z' is read as the zone. Seconds since 1970; false on anything else. */
bool ww_utc_parse(const char *text, int64_t *out);

#endif
