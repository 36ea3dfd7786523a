/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Axis expressions of descriptor rows: what an axis of a tensor runs over.
 *
 *   axis  := '-' | '-' fact | part | func '(' part (',' part)* ')'
 *   part  := token action? | '-' fact
 *   action: none DIRECT, ' INVERSE, * PERMUTE
 *   func  := cat | halves         one part behind the other
 *          | heads | perhead | gated   cut into one unit per query head, parts inside
 *          | groups               one unit per KV head
 *          | blocks4              four units (CodeGen)
 *          | tiles                the same part again and again, as often as it fits
 *          | experts              one unit per expert of the mixture, neurons inside
 *          | pairs                units of one element (interleaved gate and up)
 */
#ifndef WW_ARCH_AXES_H
#define WW_ARCH_AXES_H

#include "weightward/layout.h"

#define WW_MAX_PARTS 6

/** Who owns a space; STREAM: the stack when it has a stream of its own, else the model.
 */
enum ww_owner { WW_OWN_STREAM, WW_OWN_MODEL, WW_OWN_ATTENTION, WW_OWN_MLP, WW_OWN_MOE };

struct ww_token {
    const char *word; /* in descriptors: "q" */
    enum ww_space_kind kind;
    enum ww_owner owner;
    const char *name; /* last part of the space's name: "query" */
    const char *what; /* for error texts: "query rows (heads x head_dim)" */
};

/** The token of a space kind. */
const struct ww_token *ww_token_of(enum ww_space_kind kind);

struct ww_part {
    const struct ww_token *token; /* NULL: fixed */
    const char *gap;              /* fact that gives a fixed part's size; NULL: any */
    size_t gap_len;
    enum ww_action action;
};

enum ww_units {
    WW_UNITS_NONE,
    WW_UNITS_HEADS,
    WW_UNITS_GROUPS,
    WW_UNITS_FOUR,
    WW_UNITS_ONES,
    WW_UNITS_TILES,
    WW_UNITS_EXPERTS
};

struct ww_axis_expr {
    const char *text;
    enum ww_units units;
    unsigned n_parts;
    struct ww_part parts[WW_MAX_PARTS];
};

/** Parse; borrows text. WW_E_DESCRIPTOR. */
enum ww_err ww_axis_parse(const char *text, struct ww_axis_expr *out,
                          struct ww_error *err) WW_MUST_USE;

#endif
