/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of a module that reads or makes tokens PEFT saves the weight below the factors too,
 * since the vocabulary could have grown. Nobody needs it who has the base; where it is
 * another weight than the base's, the factors mean something else.
 */
#ifndef WW_MERGE_ADAPTER_COPY_H
#define WW_MERGE_ADAPTER_COPY_H

#include "model/adapter.h"

/** Is an entry the weight below the factors of a module? */
bool ww_adapter_is_copy(const struct ww_adapter *adapter,
                        const struct ww_adapter_entry *entry);
/** Has such an entry the base's numbers, of whatever plain dtype? *of: the base's tensor,
 *  its embedding where it has no other head. WW_E_TENSOR when it has none of the name. */
enum ww_err ww_adapter_copy_same(const struct ww_adapter *adapter,
                                 const struct ww_adapter_entry *entry,
                                 const struct ww_model *base, uint32_t *of, bool *same,
                                 struct ww_error *err) WW_MUST_USE;

#endif
