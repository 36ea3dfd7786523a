/* SPDX-License-Identifier: Apache-2.0 */
/* Symmetry classes of an attention, and why. */
#ifndef WW_ARCH_CLASSES_H
#define WW_ARCH_CLASSES_H

#include "arch/builder.h"

/** Fill classes and reasons of an attention whose tensors are all bound. */
enum ww_err ww_class_attention(struct ww_builder *b, uint32_t attention,
                               struct ww_error *err) WW_MUST_USE;

#endif
