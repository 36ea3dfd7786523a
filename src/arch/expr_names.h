/* SPDX-License-Identifier: Apache-2.0 */
/* What names inside an expression mean: config keys, facts, stored tensors. */
#ifndef WW_ARCH_EXPR_NAMES_H
#define WW_ARCH_EXPR_NAMES_H

#include "arch/expr.h"

enum ww_expr_call {
    WW_CALL_AT,     /* at('path', 'key'): the config value path.key */
    WW_CALL_COUNT,  /* count('path'): how many entries the list there has */
    WW_CALL_CLASS,  /* class('glob'): 1 when an entry of architectures matches, else 0 */
    WW_CALL_STORED, /* stored('name'): 1 when the tensor is there, else 0 */
    WW_CALL_DIM,    /* dim('name', axis): absent when the tensor is not there */
    WW_CALL_ROUNDED /* rounded('name', x): x in the dtype of the tensor */
};

/** A config key; fallback is the descriptor's default for a key that is absent. */
enum ww_err ww_expr_key(const struct ww_scope *scope, const char *path,
                        struct ww_value *out, struct ww_value *fallback,
                        struct ww_error *err) WW_MUST_USE;

enum ww_err ww_expr_call(const struct ww_scope *scope, enum ww_expr_call call,
                         const struct ww_value args[2], struct ww_value *out,
                         struct ww_error *err) WW_MUST_USE;

/** A fact by name; scope NULL only checks that the name is known. Facts of the stack hide
 *  those of the descriptor, which hide the built-in ones. */
enum ww_err ww_expr_fact(const struct ww_scope *scope, const char *name,
                         struct ww_value *out, struct ww_error *err) WW_MUST_USE;

#endif
