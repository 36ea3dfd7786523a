/* SPDX-License-Identifier: Apache-2.0 */
/**
 * An architecture descriptor: one JSON file, read and checked as a whole.
 *
 *   schema       "weightward.descriptor/1"
 *   id, model_types[], prefixes[], section, defaults{}, facts{}, ignore[]
 *   residual     {group, reason, heads{name: task}, head_classes{glob: task}}
 *   stacks[]     {name, layers, first, layer, when, section, defaults{}, facts{},
 *                 residual{group, reason, when} or {of}, rows[], outer[]}
 *   model[]      rows outside of stacks
 *   checks[]     [expression, text]
 *
 * A row is [name, role, axis...] or {"when": expression, "rows": [...]}. All strings are
 * borrows from the JSON document, which the descriptor owns.
 */
#ifndef WW_ARCH_DESCRIPTOR_H
#define WW_ARCH_DESCRIPTOR_H

#include "arch/axes.h"
#include "json/json.h"

#define WW_MAX_CONDITIONS 3

struct ww_row {
    const char *name; /* alternatives joined by '|'; {l}, {e}, {h} */
    char role[40];    /* without the '?' */
    bool optional;
    unsigned n_axes;
    struct ww_axis_expr axes[WW_MAX_RANK];
    const char *when[WW_MAX_CONDITIONS];
    unsigned n_when;
};

struct ww_rows {
    struct ww_row *items;
    uint32_t n;
    uint32_t capacity;
};

struct ww_stack_desc {
    const char *name;
    const struct ww_jnode *layers; /* number of layers */
    const struct ww_jnode *first;  /* number of the first, NULL: 0 */
    const char *layer;             /* "layers.{l}." */
    const char *when;              /* NULL: always */
    const struct ww_jnode *facts;
    const char *section;             /* NULL: the descriptor's */
    const struct ww_jnode *defaults; /* NULL: the descriptor's */
    bool own_stream;                 /* a residual stream of its own, of group */
    const char *stream_of;           /* or that of an earlier stack */
    enum ww_residual_group group;
    const char *reason; /* NULL: the group's own words */
    const char *moves;  /* it is fixed where this is false; NULL: never */
    struct ww_rows rows;
    struct ww_rows outer;
};

struct ww_descriptor {
    struct ww_json *json;
    uint8_t sha256[32];
    const char *id;
    const struct ww_jnode *model_types;
    const struct ww_jnode *prefixes;
    const char *section; /* "text", "root" or a path */
    const struct ww_jnode *defaults;
    const struct ww_jnode *facts;
    const struct ww_jnode *ignore;
    const struct ww_jnode *checks;
    enum ww_residual_group group;
    const char *reason; /* of a fixed group */
    const struct ww_jnode *heads;
    const struct ww_jnode *head_classes;
    struct ww_stack_desc *stacks;
    uint32_t n_stacks;
    struct ww_rows model;
};

/** Parse and check everything that can be checked without a model. source names the text
 *  in errors (WW_E_DESCRIPTOR, WW_E_JSON). */
enum ww_err ww_descriptor_parse(const uint8_t *text, size_t len, const char *source,
                                struct ww_descriptor **out,
                                struct ww_error *err) WW_MUST_USE;
void ww_descriptor_free(struct ww_descriptor *descriptor);

/** True when model_type is one of the descriptor's. */
bool ww_descriptor_serves(const struct ww_descriptor *descriptor, const char *model_type);

#endif
