/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The expression language of descriptors: one line that turns config.json into a fact.
 *
 *   expr    := or ('?' expr ':' expr)?
 *   or      := and ('or' and)*            and := not ('and' not)*
 *   not     := 'not' not | cmp            cmp := sum (('=='|'!='|'<='|'>='|'<'|'>') sum)?
 *   sum     := product (('+'|'-') product)*
 *   product := power (('*'|'/'|'%') power)*
 *   power   := '-' power | choice ('^' power)?
 *   choice  := primary ('|' primary)*     the first that is present
 *   primary := number | 'text' | true | false | null | l | '(' expr ')' | $fact
 *            | key.path | key[l] | int(x) | sqrt(x) | at('path', 'key')
 *            | stored('name') | dim('name', axis) | rounded('name', x) | class('glob')
 *
 * A value may be absent (no such key, or null); arithmetic with an absent operand is
 * absent, a comparison with one is false unless both are. A key that is absent, not null,
 * takes its value from the descriptor's defaults once no other choice is present.
 * docs/formats/descriptor.md explains it with examples.
 */
#ifndef WW_ARCH_EXPR_H
#define WW_ARCH_EXPR_H

#include <stdbool.h>
#include <stdint.h>

#include "json/json.h"
#include "weightward/model.h"

enum ww_value_kind { WW_V_ABSENT, WW_V_NUMBER, WW_V_TEXT, WW_V_NODE };

#define WW_ORIGIN_BYTES 72

struct ww_value {
    enum ww_value_kind kind;
    double number;    /* true is 1, false is 0 */
    const char *text; /* not NUL-terminated; borrowed from the expression
                         or the config */
    size_t len;
    char origin[WW_ORIGIN_BYTES]; /* for error texts: the config key, "a default", "" */
};

/** What an expression can see. All pointers are borrows. */
struct ww_scope {
    const struct ww_jnode *config; /* the section that keys are looked up in */
    const struct ww_jnode *defaults;
    const struct ww_jnode *stack_facts; /* searched first, may be NULL */
    const struct ww_jnode *facts;
    const struct ww_model *model;
    const char *prefix;       /* in front of stored('x') */
    const char *layer_prefix; /* in front of stored('.x'); NULL outside layers */
    uint64_t layer;           /* l */
    unsigned depth;           /* of facts that ask for facts */
};

/** Evaluate; scope NULL only checks the syntax. WW_E_DESCRIPTOR for a malformed
 *  expression, WW_E_CONFIG for arithmetic on text. */
enum ww_err ww_expr_eval(const char *expr, const struct ww_scope *scope,
                         struct ww_value *out, struct ww_error *err) WW_MUST_USE;

bool ww_value_true(const struct ww_value *value);

/** A JSON value as a descriptor states it: number and bool as they are, text as an
 *  expression. */
enum ww_err ww_expr_node(const struct ww_jnode *node, const struct ww_scope *scope,
                         struct ww_value *out, struct ww_error *err) WW_MUST_USE;

#endif
