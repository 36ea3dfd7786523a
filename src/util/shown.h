/* SPDX-License-Identifier: Apache-2.0 */
/* Which characters of others may be shown: see ww_text_shown in weightward/report.h. */
#ifndef WW_UTIL_SHOWN_H
#define WW_UTIL_SHOWN_H

#include <stdbool.h>
#include <stdint.h>

/** False of what moves a cursor, starts a new line or turns the reading direction. */
bool ww_is_shown(uint32_t code);

#endif
