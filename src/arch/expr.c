/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recursive descent with precedence climbing (Pratt 1973) that evaluates while it parses:
 * an expression is a line long and read a few times per layer, so a tree would only add
 * memory to manage. Both arms of a choice are parsed; the one not taken is evaluated with
 * every name absent, so that it cannot fail.
 */
#include "arch/expr.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/expr_names.h"
#include "arch/expr_value.h"
#include "util/fail.h"
#include "util/str.h"

#define MAX_DEPTH 32

struct parser {
    const char *text;
    const char *p;
    const struct ww_scope *scope;
    unsigned depth;
    unsigned skip;
    struct ww_error *err;
};

enum { LEVEL_OR, LEVEL_AND, LEVEL_CMP, LEVEL_SUM, LEVEL_PRODUCT, LEVEL_POWER };

static const struct {
    const char *token;
    unsigned level;
    enum ww_expr_op op;
} operators[] = {
    {"or", LEVEL_OR, WW_OP_OR},      {"and", LEVEL_AND, WW_OP_AND},
    {"==", LEVEL_CMP, WW_OP_EQ},     {"!=", LEVEL_CMP, WW_OP_NE},
    {"<=", LEVEL_CMP, WW_OP_LE},     {">=", LEVEL_CMP, WW_OP_GE},
    {"<", LEVEL_CMP, WW_OP_LT},      {">", LEVEL_CMP, WW_OP_GT},
    {"+", LEVEL_SUM, WW_OP_ADD},     {"-", LEVEL_SUM, WW_OP_SUB},
    {"*", LEVEL_PRODUCT, WW_OP_MUL}, {"/", LEVEL_PRODUCT, WW_OP_DIV},
    {"%", LEVEL_PRODUCT, WW_OP_MOD},
};

static enum ww_err ternary(struct parser *p, struct ww_value *out);

static enum ww_err syntax(const struct parser *p)
{
    return WW_FAIL(p->err, WW_E_DESCRIPTOR,
                   "expression '%s' is malformed at '%.20s' (character %d)", p->text,
                   p->p, (int)(p->p - p->text) + 1);
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static void spaces(struct parser *p)
{
    while (*p->p == ' ') {
        p->p++;
    }
}

static bool accept(struct parser *p, const char *token)
{
    size_t len = strlen(token);

    spaces(p);
    if (strncmp(p->p, token, len) != 0) {
        return false;
    }
    if (is_word(token[len - 1]) && (is_word(p->p[len]) || p->p[len] == '.')) {
        return false;
    }
    p->p += len;
    return true;
}

static enum ww_err literal_text(struct parser *p, struct ww_value *out)
{
    const char *end = strchr(p->p, '\'');

    if (!end) {
        return syntax(p);
    }
    out->kind = WW_V_TEXT;
    out->text = p->p;
    out->len = (size_t)(end - p->p);
    p->p = end + 1;
    return WW_OK;
}

static enum ww_err literal_number(struct parser *p, struct ww_value *out)
{
    char digits[40];
    size_t n = 0;
    char *end = NULL;

    while (n < sizeof(digits) - 1 &&
           (isdigit((unsigned char)p->p[n]) || p->p[n] == '.')) {
        digits[n] = p->p[n];
        n++;
    }
    digits[n] = '\0';
    *out = ww_value_number(strtod(digits, &end));
    if (*end != '\0' || !isfinite(out->number) || is_word(p->p[n])) {
        return syntax(p);
    }
    p->p += n;
    return WW_OK;
}

/* Arguments of a call: up to two expressions. */
static enum ww_err arguments(struct parser *p, struct ww_value *args, unsigned n)
{
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < n; i++) {
        rc = ternary(p, &args[i]);
        if (rc) {
            return rc;
        }
        if (!accept(p, i + 1 < n ? "," : ")")) {
            return syntax(p);
        }
    }
    return WW_OK;
}

static double logarithm(double x)
{
    return x > 0 ? log(x) : 0;
}

static enum ww_err call_number(struct parser *p, double (*fn)(double),
                               struct ww_value *out)
{
    struct ww_value args[2] = {{0}};
    enum ww_err rc = arguments(p, args, 1);

    if (rc == WW_OK) {
        rc = ww_value_need_number(&args[0], p->text, p->err);
    }
    if (rc == WW_OK && args[0].kind == WW_V_NUMBER) {
        *out = ww_value_number(fn(args[0].number));
    }
    return rc;
}

static enum ww_err call_names(struct parser *p, enum ww_expr_call call,
                              struct ww_value *out)
{
    struct ww_value args[2] = {{0}};
    enum ww_err rc = WW_OK;

    if (call == WW_CALL_STORED) {
        rc = ternary(p, &args[0]);
        if (rc == WW_OK && accept(p, ",")) {
            rc = arguments(p, args + 1, 1);
        } else if (rc == WW_OK && !accept(p, ")")) {
            rc = syntax(p);
        }
    } else {
        rc = arguments(p, args, call == WW_CALL_COUNT || call == WW_CALL_CLASS ? 1 : 2);
    }
    if (rc || !p->scope || p->skip) {
        return rc;
    }
    return ww_expr_call(p->scope, call, args, out, p->err);
}

/* key.path, key[l], key.path[3]. */
static enum ww_err key_path(struct parser *p, struct ww_value *out,
                            struct ww_value *fallback)
{
    static const char *const reserved[] = {"and", "or", "not"};
    char path[128];
    size_t n = 0;
    const char *start = p->p;

    while (is_word(*p->p) || *p->p == '.') {
        p->p++;
    }
    if (p->p == start) {
        return syntax(p);
    }
    if (*p->p == '[') {
        p->p++;
        p->p += *p->p == 'l' ? 1 : strspn(p->p, "0123456789");
        if (*p->p != ']' || p->p[-1] == '[') {
            return syntax(p);
        }
        p->p++;
    }
    n = (size_t)(p->p - start);
    if (n >= sizeof(path)) {
        return syntax(p);
    }
    memcpy(path, start, n);
    path[n] = '\0';
    for (size_t i = 0; i < WW_LEN(reserved); i++) {
        if (strcmp(path, reserved[i]) == 0) {
            return syntax(p);
        }
    }
    if (p->scope && !p->skip) {
        return ww_expr_key(p->scope, path, out, fallback, p->err);
    }
    return WW_OK;
}

static enum ww_err fact(struct parser *p, struct ww_value *out)
{
    char name[48];
    size_t n = 0;

    while (is_word(p->p[n]) && n < sizeof(name) - 1) {
        name[n] = p->p[n];
        n++;
    }
    name[n] = '\0';
    if (!n || is_word(p->p[n])) {
        return syntax(p);
    }
    p->p += n;
    return ww_expr_fact(p->skip ? NULL : p->scope, name, out, p->err);
}

/* A word that is no key: a call, a constant or l; *known is false for anything else. */
static enum ww_err reserved_word(struct parser *p, struct ww_value *out, bool *known)
{
    static const struct {
        const char *token;
        enum ww_expr_call call;
    } calls[] = {{"at(", WW_CALL_AT},       {"count(", WW_CALL_COUNT},
                 {"class(", WW_CALL_CLASS}, {"stored(", WW_CALL_STORED},
                 {"dim(", WW_CALL_DIM},     {"rounded(", WW_CALL_ROUNDED}};
    static const struct {
        const char *token;
        double (*fn)(double);
    } functions[] = {{"sqrt(", sqrt}, {"int(", trunc}, {"ln(", logarithm}};

    *known = true;
    for (size_t i = 0; i < WW_LEN(calls); i++) {
        if (accept(p, calls[i].token)) {
            return call_names(p, calls[i].call, out);
        }
    }
    for (size_t i = 0; i < WW_LEN(functions); i++) {
        if (accept(p, functions[i].token)) {
            return call_number(p, functions[i].fn, out);
        }
    }
    if (accept(p, "true")) {
        *out = ww_value_number(1);
    } else if (accept(p, "false")) {
        *out = ww_value_number(0);
    } else if (accept(p, "l")) {
        *out = ww_value_number(p->scope ? (double)p->scope->layer : 0);
    } else {
        *known = accept(p, "null");
    }
    return WW_OK;
}

static enum ww_err primary(struct parser *p, struct ww_value *out,
                           struct ww_value *fallback, bool *is_key)
{
    enum ww_err rc = WW_OK;
    bool known = false;

    *is_key = false;
    memset(out, 0, sizeof(*out));
    memset(fallback, 0, sizeof(*fallback));
    spaces(p);
    if (accept(p, "(")) {
        rc = ternary(p, out);
        return rc ? rc : accept(p, ")") ? WW_OK : syntax(p);
    }
    if (accept(p, "'")) {
        return literal_text(p, out);
    }
    if (accept(p, "$")) {
        return fact(p, out);
    }
    if (isdigit((unsigned char)*p->p)) {
        return literal_number(p, out);
    }
    rc = reserved_word(p, out, &known);
    if (rc || known) {
        return rc;
    }
    *is_key = true;
    return key_path(p, out, fallback);
}

/* a | b | 3: config keys first, then their defaults, then what is no key. */
static enum ww_err choice(struct parser *p, struct ww_value *out)
{
    struct ww_value value, fallback, first = {0};
    bool is_key = false;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    do {
        rc = primary(p, &value, &fallback, &is_key);
        if (rc) {
            return rc;
        }
        if (out->kind == WW_V_ABSENT && (is_key || first.kind == WW_V_ABSENT)) {
            *out = value;
        }
        if (first.kind == WW_V_ABSENT) {
            first = fallback;
        }
    } while (accept(p, "|"));
    if (out->kind == WW_V_ABSENT) {
        *out = first;
    }
    return WW_OK;
}

static enum ww_err power(struct parser *p, struct ww_value *out)
{
    struct ww_value right = {0};
    bool negative = accept(p, "-");
    enum ww_err rc = WW_OK;

    if (++p->depth > MAX_DEPTH) {
        return syntax(p);
    }
    rc = negative ? power(p, out) : choice(p, out);
    if (rc == WW_OK && negative) {
        rc = ww_value_need_number(out, p->text, p->err);
        out->number = -out->number;
    } else if (rc == WW_OK && accept(p, "^")) {
        rc = power(p, &right);
        rc = rc ? rc : ww_expr_apply(WW_OP_POW, out, &right, p->text, p->err);
    }
    p->depth--;
    return rc;
}

static bool accept_operator(struct parser *p, unsigned level, enum ww_expr_op *op)
{
    for (size_t i = 0; i < WW_LEN(operators); i++) {
        if (operators[i].level == level && accept(p, operators[i].token)) {
            *op = operators[i].op;
            return true;
        }
    }
    return false;
}

static enum ww_err binary(struct parser *p, unsigned level, struct ww_value *out)
{
    struct ww_value right = {0};
    enum ww_expr_op op = WW_OP_OR;
    enum ww_err rc = WW_OK;

    if (level == LEVEL_POWER) {
        return power(p, out);
    }
    if (level == LEVEL_CMP && accept(p, "not")) {
        if (++p->depth > MAX_DEPTH) {
            return syntax(p);
        }
        rc = binary(p, LEVEL_CMP, out);
        p->depth--;
        *out = ww_value_number(!ww_value_true(out));
        return rc;
    }
    rc = binary(p, level + 1, out);
    while (rc == WW_OK && accept_operator(p, level, &op)) {
        rc = binary(p, level + 1, &right);
        if (rc == WW_OK) {
            rc = ww_expr_apply(op, out, &right, p->text, p->err);
        }
    }
    return rc;
}

static enum ww_err ternary(struct parser *p, struct ww_value *out)
{
    struct ww_value yes = {0}, no = {0};
    enum ww_err rc = WW_OK;

    if (++p->depth > MAX_DEPTH) {
        return syntax(p);
    }
    rc = binary(p, LEVEL_OR, out);
    if (rc == WW_OK && accept(p, "?")) {
        bool taken = ww_value_true(out);
        p->skip += !taken;
        rc = ternary(p, &yes);
        p->skip -= !taken;
        if (rc == WW_OK && !accept(p, ":")) {
            rc = syntax(p);
        }
        p->skip += taken;
        rc = rc ? rc : ternary(p, &no);
        p->skip -= taken;
        *out = taken ? yes : no;
    }
    p->depth--;
    return rc;
}

enum ww_err ww_expr_eval(const char *expr, const struct ww_scope *scope,
                         struct ww_value *out, struct ww_error *err)
{
    struct parser p = {.text = expr, .p = expr, .scope = scope, .err = err};
    enum ww_err rc = ternary(&p, out);

    spaces(&p);
    if (rc == WW_OK && *p.p != '\0') {
        rc = syntax(&p);
    }
    return rc;
}

enum ww_err ww_expr_node(const struct ww_jnode *node, const struct ww_scope *scope,
                         struct ww_value *out, struct ww_error *err)
{
    const char *text = NULL;
    bool flag = false;
    double number = 0;

    if (ww_jstr(node, &text)) {
        return ww_expr_eval(text, scope, out, err);
    }
    if (ww_jbool(node, &flag)) {
        number = flag;
    } else if (!ww_jdouble(node, &number)) {
        return WW_FAIL(err, WW_E_DESCRIPTOR,
                       "a fact must be a number, a bool or an "
                       "expression in a string");
    }
    *out = ww_value_number(number);
    return WW_OK;
}
