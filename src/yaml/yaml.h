/* SPDX-License-Identifier: Apache-2.0 */
/**
 * YAML documents as trees, read with limits. libyaml finds the events (YAML 1.1); this
 * room builds the nodes and is the only one that includes it.
 *
 * Plain scalars get the types that PyYAML's safe loader gives them, because recipes are
 * written for programs that use it: 'yes' and 'off' are booleans, '1e-5' (no dot) is
 * text. ww_ynumber reads such text as a number all the same. Refused: duplicate keys,
 * keys that are no scalars, NUL, invalid UTF-8, tags beyond the core ones, and whatever
 * exceeds the limits. An alias is copied and its copy counts, so that aliases of aliases
 * cannot explode.
 */
#ifndef WW_YAML_YAML_H
#define WW_YAML_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_yaml_limits {
    size_t max_bytes;
    unsigned max_depth;
    size_t max_nodes;
};
extern const struct ww_yaml_limits ww_yaml_limits_recipe; /* 1 MiB, 32, 65,536 */

/** A stream of documents; owns every node. */
struct ww_yaml;
/** A value in a document: a borrow that ends with ww_yaml_free. */
struct ww_ynode;

/** name goes into error texts ("recipe 'x.yml'"). WW_E_YAML, WW_E_LIMIT. */
enum ww_err ww_yaml_parse(const uint8_t *text, size_t len, const char *name,
                          const struct ww_yaml_limits *limits, struct ww_yaml **out,
                          struct ww_error *err) WW_MUST_USE;
void ww_yaml_free(struct ww_yaml *yaml);

/** Documents that are not empty. */
size_t ww_yaml_count(const struct ww_yaml *yaml);
const struct ww_ynode *ww_yaml_root(const struct ww_yaml *yaml, size_t document);

enum ww_ytype {
    WW_Y_NULL,
    WW_Y_BOOL,
    WW_Y_INT,
    WW_Y_FLOAT,
    WW_Y_STRING,
    WW_Y_LIST,
    WW_Y_MAP
};
enum ww_ytype ww_ytype(const struct ww_ynode *node);
/** "a list", "text", ... for messages. */
const char *ww_ytype_name(const struct ww_ynode *node);
/** Line that the node begins in, from 1. */
size_t ww_yline(const struct ww_ynode *node);

/** Member by exact name; NULL when absent, null, or node (may be NULL) is no map. */
const struct ww_ynode *ww_yget(const struct ww_ynode *node, const char *key);
const struct ww_ynode *ww_yfirst(const struct ww_ynode *node);
const struct ww_ynode *ww_ynext(const struct ww_ynode *node);
/** Name of a member of a map, NULL for an item of a list. */
const char *ww_ykey(const struct ww_ynode *node);
size_t ww_ysize(const struct ww_ynode *node);

/* Typed reads: false when node is NULL or of another type. */
bool ww_ystr(const struct ww_ynode *node, const char **out);
bool ww_ybool(const struct ww_ynode *node, bool *out);
bool ww_yi64(const struct ww_ynode *node, int64_t *out);
/** An integer, a float, or text that is a decimal number; booleans are not. */
bool ww_ynumber(const struct ww_ynode *node, double *out);
/** Any scalar as it was written. */
bool ww_ytext(const struct ww_ynode *node, const char **out);

/** Refuse a node that is no map, or members that are not in the list: the error gives
 * line and nearest name. what names the map ("a slice"); code is the caller's. */
enum ww_err ww_yonly(const struct ww_ynode *map, const char *const *allowed, size_t n,
                     enum ww_err code, const char *what,
                     struct ww_error *err) WW_MUST_USE;

#endif
