/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes of a tree while it grows: members of maps, copies for aliases, merge keys. Every
 * node is on one list, so that freeing needs no recursion.
 */
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"
#include "yaml/yaml_build.h"

#define MOST_MEMBERS 8192 /* of one map: looking for a duplicate is linear */
#define MERGE_KEY "<<"

static uint32_t hash_of(const char *s)
{
    uint32_t h = 2166136261u;
    for (; *s; s++) {
        h = (h ^ (uint8_t)*s) * 16777619u;
    }
    return h;
}

enum ww_err ww_ybuild_node(struct ww_ybuild *b, size_t line, struct ww_ynode **out,
                           struct ww_error *err)
{
    struct ww_ynode *node = NULL;

    if (++b->n_nodes > b->limits->max_nodes) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "%s line %zu: more than %zu values, aliases counted as what they "
                       "stand for",
                       b->name, line, b->limits->max_nodes);
    }
    node = ww_calloc(1, sizeof(*node));
    if (!node) {
        return WW_FAIL_MEMORY(err, "%s", b->name);
    }
    node->line = line;
    node->made_before = b->yaml->newest;
    b->yaml->newest = node;
    *out = node;
    return WW_OK;
}

static const struct ww_ynode *find_hashed(const struct ww_ynode *map, uint32_t names,
                                          const char *key)
{
    for (const struct ww_ynode *m = map->child; m; m = m->next) {
        if (m->names == names && strcmp(m->key, key) == 0) {
            return m;
        }
    }
    return NULL;
}

static void append(struct ww_ynode *parent, struct ww_ynode *node)
{
    if (parent->last) {
        parent->last->next = node;
    } else {
        parent->child = node;
    }
    parent->last = node;
    parent->size++;
}

enum ww_err ww_ybuild_place(struct ww_ybuild *b, struct ww_ynode *node,
                            struct ww_error *err)
{
    struct ww_ynode *parent = b->depth > 0 ? b->open[b->depth - 1] : NULL;

    if (!parent) {
        b->root = node;
        return WW_OK;
    }
    if (parent->type == WW_Y_MAP) {
        const struct ww_ynode *twin = NULL;
        node->key = b->key;
        b->key = NULL;
        node->names = hash_of(node->key);
        if (parent->size >= MOST_MEMBERS) {
            return WW_FAIL(err, WW_E_LIMIT, "%s line %zu: more than %d keys in one map",
                           b->name, b->key_line, MOST_MEMBERS);
        }
        twin = find_hashed(parent, node->names, node->key);
        if (twin) {
            return WW_FAIL(err, WW_E_YAML,
                           "%s line %zu: key '%s' is there already, in line %zu", b->name,
                           b->key_line, node->key, twin->line);
        }
    }
    append(parent, node);
    return WW_OK;
}

enum ww_err ww_ybuild_copy(struct ww_ybuild *b, const struct ww_ynode *from,
                           unsigned depth, struct ww_ynode **out, struct ww_error *err)
{
    struct ww_ynode *node = NULL;
    enum ww_err rc = WW_OK;

    if (depth > b->limits->max_depth) {
        return WW_FAIL(err, WW_E_LIMIT, "%s line %zu: nested deeper than %u", b->name,
                       from->line, b->limits->max_depth);
    }
    rc = ww_ybuild_node(b, from->line, &node, err);
    if (rc) {
        return rc;
    }
    node->type = from->type;
    node->names = from->names;
    node->number = from->number;
    node->integer = from->integer;
    node->truth = from->truth;
    node->text = from->text ? ww_strdup(from->text) : NULL;
    if (from->text && !node->text) {
        return WW_FAIL_MEMORY(err, "%s", b->name);
    }
    for (const struct ww_ynode *c = from->child; c && !rc; c = c->next) {
        struct ww_ynode *child = NULL;
        rc = ww_ybuild_copy(b, c, depth + 1, &child, err);
        if (!rc && c->key) {
            child->names = c->names;
            child->key = ww_strdup(c->key);
            rc = child->key ? WW_OK : WW_FAIL_MEMORY(err, "%s", b->name);
        }
        if (!rc) {
            append(node, child);
        }
    }
    *out = node;
    return rc;
}

static enum ww_err merge_map(struct ww_ybuild *b, struct ww_ynode *into,
                             const struct ww_ynode *from, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (from->type != WW_Y_MAP) {
        return WW_FAIL(err, WW_E_YAML, "%s line %zu: '<<' takes a map or a list of maps",
                       b->name, from->line);
    }
    for (const struct ww_ynode *m = from->child; m && !rc; m = m->next) {
        struct ww_ynode *copy = NULL;
        if (find_hashed(into, m->names, m->key)) {
            continue;
        }
        rc = ww_ybuild_copy(b, m, b->depth, &copy, err);
        if (!rc) {
            copy->key = ww_strdup(m->key);
            rc = copy->key ? WW_OK : WW_FAIL_MEMORY(err, "%s", b->name);
        }
        if (!rc) {
            append(into, copy);
        }
    }
    return rc;
}

enum ww_err ww_ybuild_merge(struct ww_ybuild *b, struct ww_ynode *map,
                            struct ww_error *err)
{
    struct ww_ynode *before = NULL;
    struct ww_ynode *merge = map->child;
    enum ww_err rc = WW_OK;

    while (merge && strcmp(merge->key, MERGE_KEY) != 0) {
        before = merge;
        merge = merge->next;
    }
    if (!merge) {
        return WW_OK;
    }
    if (before) {
        before->next = merge->next;
    } else {
        map->child = merge->next;
    }
    map->last = map->last == merge ? before : map->last;
    map->size--;
    if (merge->type != WW_Y_LIST) {
        return merge_map(b, map, merge, err);
    }
    for (const struct ww_ynode *m = merge->child; m && !rc; m = m->next) {
        rc = merge_map(b, map, m, err);
    }
    return rc;
}

enum ww_err ww_ybuild_anchor(struct ww_ybuild *b, struct ww_ynode *node,
                             const unsigned char *name, struct ww_error *err)
{
    if (!name) {
        return WW_OK;
    }
    if (b->n_anchors == WW_YAML_ANCHORS) {
        return WW_FAIL(err, WW_E_LIMIT, "%s line %zu: more than %d anchors", b->name,
                       node->line, WW_YAML_ANCHORS);
    }
    node->anchor = ww_strdup((const char *)name);
    if (!node->anchor) {
        return WW_FAIL_MEMORY(err, "%s", b->name);
    }
    b->anchors[b->n_anchors++] = node;
    return WW_OK;
}

const struct ww_ynode *ww_ybuild_find(const struct ww_ybuild *b, const char *name)
{
    for (size_t i = b->n_anchors; i > 0; i--) {
        if (strcmp(b->anchors[i - 1]->anchor, name) == 0) {
            return b->anchors[i - 1];
        }
    }
    return NULL;
}

bool ww_ybuild_is_open(const struct ww_ybuild *b, const struct ww_ynode *node)
{
    for (unsigned i = 0; i < b->depth; i++) {
        if (b->open[i] == node) {
            return true;
        }
    }
    return false;
}
