/* SPDX-License-Identifier: Apache-2.0 */
/* Factors in blocks along a diagonal, as plain pairs. Internal to adapter.c. */
#ifndef WW_MODEL_ADAPTER_BLOCKS_H
#define WW_MODEL_ADAPTER_BLOCKS_H

#include "model/adapter.h"

#define WW_ADAPTER_BLOCKS "use_bdlora" /* the setting */

/** Where the adapter has such factors: its tensors get the shapes that they have with
 *  their zeros, and `times`. Their offsets stay those of what is stored.
 *  WW_E_UNSUPPORTED when they are not as PEFT has them. */
enum ww_err ww_adapter_spread(struct ww_adapter *adapter,
                              struct ww_error *err) WW_MUST_USE;

#endif
