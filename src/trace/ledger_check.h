/* SPDX-License-Identifier: Apache-2.0 */
/* Checking the text of a ledger, line by line. */
#ifndef WW_TRACE_LEDGER_CHECK_H
#define WW_TRACE_LEDGER_CHECK_H

#include "trace/ledger.h"

/** Fill entries, last, torn_bytes and size_bytes (of the whole lines) from the text. With
 *  ledger->key set the first line must state that key; else its key is taken. */
enum ww_err ww_ledger_check(struct ww_ledger *ledger, const uint8_t *text, size_t len,
                            struct ww_error *err) WW_MUST_USE;

#endif
