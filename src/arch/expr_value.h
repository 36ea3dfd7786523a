/* SPDX-License-Identifier: Apache-2.0 */
/* What operators of the expression language do with values. */
#ifndef WW_ARCH_EXPR_VALUE_H
#define WW_ARCH_EXPR_VALUE_H

#include "arch/expr.h"

enum ww_expr_op {
    WW_OP_OR,
    WW_OP_AND,
    WW_OP_EQ,
    WW_OP_NE,
    WW_OP_LE,
    WW_OP_GE,
    WW_OP_LT,
    WW_OP_GT,
    WW_OP_ADD,
    WW_OP_SUB,
    WW_OP_MUL,
    WW_OP_DIV,
    WW_OP_MOD,
    WW_OP_POW
};

struct ww_value ww_value_number(double number);

/** WW_E_CONFIG for text and nodes; expr is for the error text. */
enum ww_err ww_value_need_number(const struct ww_value *v, const char *expr,
                                 struct ww_error *err) WW_MUST_USE;

/** a = a op b. WW_E_CONFIG for arithmetic on what is no number, and a zero below. */
enum ww_err ww_expr_apply(enum ww_expr_op op, struct ww_value *a,
                          const struct ww_value *b, const char *expr,
                          struct ww_error *err) WW_MUST_USE;

#endif
