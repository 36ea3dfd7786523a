/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/expr_value.h"

#include <math.h>
#include <string.h>

#include "util/fail.h"

struct ww_value ww_value_number(double number)
{
    struct ww_value v = {.kind = WW_V_NUMBER, .number = number};

    return v;
}

bool ww_value_true(const struct ww_value *value)
{
    switch (value->kind) {
    case WW_V_ABSENT:
        return false;
    case WW_V_NUMBER:
        return value->number != 0;
    case WW_V_TEXT:
        return value->len > 0;
    case WW_V_NODE:
        return true;
    }
    return false;
}

static bool equal(const struct ww_value *a, const struct ww_value *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    if (a->kind == WW_V_TEXT) {
        return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
    }
    return a->kind == WW_V_ABSENT || (a->kind == WW_V_NUMBER && a->number == b->number);
}

enum ww_err ww_value_need_number(const struct ww_value *v, const char *expr,
                                 struct ww_error *err)
{
    if (v->kind == WW_V_ABSENT || v->kind == WW_V_NUMBER) {
        return WW_OK;
    }
    return WW_FAIL(err, WW_E_CONFIG,
                   "config.json: '%s' is no number, but '%s' computes with it", v->origin,
                   expr);
}

static bool compare(enum ww_expr_op op, double a, double b)
{
    return op == WW_OP_LE   ? a <= b
           : op == WW_OP_GE ? a >= b
           : op == WW_OP_LT ? a < b
                            : a > b;
}

static double compute(enum ww_expr_op op, double a, double b)
{
    return op == WW_OP_ADD   ? a + b
           : op == WW_OP_SUB ? a - b
           : op == WW_OP_MUL ? a * b
           : op == WW_OP_DIV ? a / b
           : op == WW_OP_MOD ? fmod(a, b)
                             : pow(a, b);
}

/* Operators that take values of any kind; false when op is none of them. */
static bool apply_logic(enum ww_expr_op op, struct ww_value *a, const struct ww_value *b)
{
    bool x = ww_value_true(a), y = ww_value_true(b);

    if (op == WW_OP_OR) {
        *a = ww_value_number(x || y);
    } else if (op == WW_OP_AND) {
        *a = ww_value_number(x && y);
    } else if (op == WW_OP_EQ || op == WW_OP_NE) {
        *a = ww_value_number(equal(a, b) == (op == WW_OP_EQ));
    } else {
        return false;
    }
    return true;
}

enum ww_err ww_expr_apply(enum ww_expr_op op, struct ww_value *a,
                          const struct ww_value *b, const char *expr,
                          struct ww_error *err)
{
    bool absent = a->kind == WW_V_ABSENT || b->kind == WW_V_ABSENT;
    enum ww_err rc = WW_OK;

    if (apply_logic(op, a, b)) {
        return WW_OK;
    }
    rc = ww_value_need_number(a, expr, err);
    rc = rc ? rc : ww_value_need_number(b, expr, err);
    if (rc) {
        return rc;
    }
    if (op >= WW_OP_LE && op <= WW_OP_GT) {
        *a = ww_value_number(!absent && compare(op, a->number, b->number));
    } else if (absent) {
        memset(a, 0, sizeof(*a));
    } else if ((op == WW_OP_DIV || op == WW_OP_MOD) && b->number == 0) {
        rc = WW_FAIL(err, WW_E_CONFIG, "config.json: '%s' divides by zero", expr);
    } else {
        *a = ww_value_number(compute(op, a->number, b->number));
    }
    return rc;
}
