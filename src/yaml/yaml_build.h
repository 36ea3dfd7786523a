/* SPDX-License-Identifier: Apache-2.0 */
/* A tree while it is being built. Internal to src/yaml. */
#ifndef WW_YAML_YAML_BUILD_H
#define WW_YAML_YAML_BUILD_H

#include "yaml/yaml_node.h"

#define WW_YAML_DEEPEST 64
#define WW_YAML_ANCHORS 256 /* of one document: looking for one is linear */

struct ww_yaml {
    struct ww_ynode *newest; /* all nodes */
    struct ww_ynode **roots;
    size_t n_roots;
};

struct ww_ybuild {
    struct ww_yaml *yaml;
    const char *name;
    const struct ww_yaml_limits *limits;
    size_t n_nodes;
    struct ww_ynode *open[WW_YAML_DEEPEST]; /* collections being filled */
    unsigned depth;
    char *key; /* of the member whose value comes next */
    size_t key_line;
    const struct ww_ynode *anchors[WW_YAML_ANCHORS];
    size_t n_anchors;
    struct ww_ynode *root;
};

/** A node of the tree, which frees it; WW_E_LIMIT. */
enum ww_err ww_ybuild_node(struct ww_ybuild *b, size_t line, struct ww_ynode **out,
                           struct ww_error *err) WW_MUST_USE;

/** Put a finished or just opened node where it belongs; WW_E_YAML for a second member of
 *  one name. */
enum ww_err ww_ybuild_place(struct ww_ybuild *b, struct ww_ynode *node,
                            struct ww_error *err) WW_MUST_USE;

/** Copy what an alias stands for, node by node: each copy counts. Depth is bounded by the
 *  depth of the original, which is bounded. */
enum ww_err ww_ybuild_copy(struct ww_ybuild *b, const struct ww_ynode *from,
                           unsigned depth, struct ww_ynode **out,
                           struct ww_error *err) WW_MUST_USE;

/** "<<: *defaults" in a map that ends: members of another map, where the map has none of
 *  its own. */
enum ww_err ww_ybuild_merge(struct ww_ybuild *b, struct ww_ynode *map,
                            struct ww_error *err) WW_MUST_USE;

/** Name a node, for aliases behind it; name may be NULL. */
enum ww_err ww_ybuild_anchor(struct ww_ybuild *b, struct ww_ynode *node,
                             const unsigned char *name, struct ww_error *err) WW_MUST_USE;
/** The last node of this name; NULL. */
const struct ww_ynode *ww_ybuild_find(const struct ww_ybuild *b, const char *name);
/** Is the node still being filled? */
bool ww_ybuild_is_open(const struct ww_ybuild *b, const struct ww_ynode *node);

#endif
