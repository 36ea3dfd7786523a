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

enum op {
    OP_OR,
    OP_AND,
    OP_EQ,
    OP_NE,
    OP_LE,
    OP_GE,
    OP_LT,
    OP_GT,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MOD
};

enum { LEVEL_OR, LEVEL_AND, LEVEL_CMP, LEVEL_SUM, LEVEL_PRODUCT, LEVEL_POWER };

static const struct {
    const char *token;
    unsigned level;
    enum op op;
} operators[] = {
    {"or", LEVEL_OR, OP_OR},      {"and", LEVEL_AND, OP_AND},
    {"==", LEVEL_CMP, OP_EQ},     {"!=", LEVEL_CMP, OP_NE},
    {"<=", LEVEL_CMP, OP_LE},     {">=", LEVEL_CMP, OP_GE},
    {"<", LEVEL_CMP, OP_LT},      {">", LEVEL_CMP, OP_GT},
    {"+", LEVEL_SUM, OP_ADD},     {"-", LEVEL_SUM, OP_SUB},
    {"*", LEVEL_PRODUCT, OP_MUL}, {"/", LEVEL_PRODUCT, OP_DIV},
    {"%", LEVEL_PRODUCT, OP_MOD},
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

static struct ww_value number_of(double number)
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

static enum ww_err need_number(struct parser *p, const struct ww_value *v)
{
    if (v->kind == WW_V_ABSENT || v->kind == WW_V_NUMBER) {
        return WW_OK;
    }
    return WW_FAIL(p->err, WW_E_CONFIG,
                   "config.json: '%s' is no number, but '%s' computes with it", v->origin,
                   p->text);
}

static bool compare(enum op op, double a, double b)
{
    return op == OP_LE ? a <= b : op == OP_GE ? a >= b : op == OP_LT ? a < b : a > b;
}

static double compute(enum op op, double a, double b)
{
    return op == OP_ADD   ? a + b
           : op == OP_SUB ? a - b
           : op == OP_MUL ? a * b
           : op == OP_DIV ? a / b
                          : fmod(a, b);
}

/* Operators that take values of any kind; false when op is none of them. */
static bool apply_logic(enum op op, struct ww_value *a, const struct ww_value *b)
{
    bool x = ww_value_true(a), y = ww_value_true(b);

    if (op == OP_OR) {
        *a = number_of(x || y);
    } else if (op == OP_AND) {
        *a = number_of(x && y);
    } else if (op == OP_EQ || op == OP_NE) {
        *a = number_of(equal(a, b) == (op == OP_EQ));
    } else {
        return false;
    }
    return true;
}

static enum ww_err apply(struct parser *p, enum op op, struct ww_value *a,
                         const struct ww_value *b)
{
    bool absent = a->kind == WW_V_ABSENT || b->kind == WW_V_ABSENT;
    enum ww_err rc = WW_OK;

    if (apply_logic(op, a, b)) {
        return WW_OK;
    }
    rc = need_number(p, a);
    rc = rc ? rc : need_number(p, b);
    if (rc) {
        return rc;
    }
    if (op >= OP_LE && op <= OP_GT) {
        *a = number_of(!absent && compare(op, a->number, b->number));
    } else if (absent) {
        memset(a, 0, sizeof(*a));
    } else if ((op == OP_DIV || op == OP_MOD) && b->number == 0) {
        rc = WW_FAIL(p->err, WW_E_CONFIG, "config.json: '%s' divides by zero", p->text);
    } else {
        *a = number_of(compute(op, a->number, b->number));
    }
    return rc;
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
    *out = number_of(strtod(digits, &end));
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
        rc = need_number(p, &args[0]);
    }
    if (rc == WW_OK && args[0].kind == WW_V_NUMBER) {
        *out = number_of(fn(args[0].number));
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
        rc = arguments(p, args, call == WW_CALL_COUNT ? 1 : 2);
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
    } calls[] = {{"at(", WW_CALL_AT},
                 {"count(", WW_CALL_COUNT},
                 {"stored(", WW_CALL_STORED},
                 {"dim(", WW_CALL_DIM},
                 {"rounded(", WW_CALL_ROUNDED}};
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
        *out = number_of(1);
    } else if (accept(p, "false")) {
        *out = number_of(0);
    } else if (accept(p, "l")) {
        *out = number_of(p->scope ? (double)p->scope->layer : 0);
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
        rc = need_number(p, out);
        out->number = -out->number;
    } else if (rc == WW_OK && accept(p, "^")) {
        rc = power(p, &right);
        rc = rc ? rc : need_number(p, out);
        rc = rc ? rc : need_number(p, &right);
        if (rc == WW_OK && (out->kind == WW_V_ABSENT || right.kind == WW_V_ABSENT)) {
            memset(out, 0, sizeof(*out));
        } else if (rc == WW_OK) {
            *out = number_of(pow(out->number, right.number));
        }
    }
    p->depth--;
    return rc;
}

static bool accept_operator(struct parser *p, unsigned level, enum op *op)
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
    enum op op = OP_OR;
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
        *out = number_of(!ww_value_true(out));
        return rc;
    }
    rc = binary(p, level + 1, out);
    while (rc == WW_OK && accept_operator(p, level, &op)) {
        rc = binary(p, level + 1, &right);
        if (rc == WW_OK) {
            rc = apply(p, op, out, &right);
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
    *out = number_of(number);
    return WW_OK;
}
