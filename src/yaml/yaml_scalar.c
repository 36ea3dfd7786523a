/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types of plain scalars: the YAML 1.1 rules as PyYAML's safe loader applies them,
 * less those that only surprise (numbers to base 60, octal by a leading zero, dates),
 * which stay text and are then refused where a number is wanted.
 */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util/fail.h"
#include "util/str.h"
#include "yaml/yaml_node.h"

#define LONGEST_NUMBER 64

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Length of a decimal number at s: [+-] digits [. digits] [e [+-] digits], with at least
 * one digit in front. *is_integer: neither point nor exponent. *is_plain: what YAML 1.1
 * calls a number: an exponent only behind a point and with its sign. */
static size_t scan_number(const char *s, bool *is_integer, bool *is_plain)
{
    const char *p = s + (*s == '+' || *s == '-');
    size_t digits = 0;

    *is_integer = true;
    for (; is_digit(*p); p++) {
        digits++;
    }
    if (*p == '.') {
        *is_integer = false;
        for (p++; is_digit(*p); p++) {
            digits++;
        }
    }
    *is_plain = true;
    if (digits > 0 && (*p == 'e' || *p == 'E')) {
        const bool is_signed = p[1] == '+' || p[1] == '-';
        *is_plain = !*is_integer && is_signed;
        *is_integer = false;
        for (p += 1 + is_signed, digits = 0; is_digit(*p); p++) {
            digits++;
        }
    }
    return digits > 0 ? (size_t)(p - s) : 0;
}

/* 007 is octal to some and decimal to others. */
static bool is_octal(const char *text)
{
    text += *text == '-' || *text == '+';
    return text[0] == '0' && is_digit(text[1]);
}

bool ww_yaml_decimal(const char *text, double *out)
{
    bool is_integer = false;
    bool is_plain = false;
    const size_t len = scan_number(text, &is_integer, &is_plain);
    locale_t c = (locale_t)0;
    char *end = NULL;

    if (len == 0 || len > LONGEST_NUMBER || text[len] != '\0' ||
        (is_integer && is_octal(text))) {
        return false;
    }
    c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c) {
        return false;
    }
    *out = strtod_l(text, &end, c);
    freelocale(c);
    return *end == '\0' && isfinite(*out);
}

static bool is_any(const char *s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(s, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool type_word(struct ww_ynode *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes",
                                      "YES",  "on",   "On",   "ON"};
    static const char *const no[] = {"false", "False", "FALSE", "no", "No",
                                     "NO",    "off",   "Off",   "OFF"};

    if (is_any(node->text, nulls, WW_LEN(nulls))) {
        node->type = WW_Y_NULL;
        return true;
    }
    node->truth = is_any(node->text, yes, WW_LEN(yes));
    if (node->truth || is_any(node->text, no, WW_LEN(no))) {
        node->type = WW_Y_BOOL;
        return true;
    }
    return false;
}

static bool type_integer(struct ww_ynode *node)
{
    const char *digits = node->text + (node->text[0] == '-' || node->text[0] == '+');
    uint64_t v = 0;

    if (is_octal(node->text)) {
        return true; /* text */
    }
    if (!ww_parse_u64(digits, strlen(digits), &v) || v > INT64_MAX) {
        return false;
    }
    node->type = WW_Y_INT;
    node->integer = node->text[0] == '-' ? -(int64_t)v : (int64_t)v;
    node->number = (double)node->integer;
    return true;
}

bool ww_yaml_type_plain(struct ww_ynode *node)
{
    bool is_integer = false;
    bool is_plain = false;
    size_t len = 0;

    node->type = WW_Y_STRING;
    if (type_word(node)) {
        return true;
    }
    len = scan_number(node->text, &is_integer, &is_plain);
    if (len == 0 || node->text[len] != '\0' || !is_plain) {
        return true;
    }
    if (is_integer) {
        return type_integer(node);
    }
    if (!ww_yaml_decimal(node->text, &node->number)) {
        return false;
    }
    node->type = WW_Y_FLOAT;
    return true;
}
