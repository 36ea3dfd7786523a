/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From libyaml's events to nodes. A stack of open collections takes the place of
 * recursion, so depth costs no stack of ours.
 */
#include <string.h>
#include <yaml.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"
#include "yaml/yaml_build.h"

const struct ww_yaml_limits ww_yaml_limits_recipe = {1u << 20, 32, 65536};

#define CORE_TAG "tag:yaml.org,2002:"

static size_t line_of(const yaml_event_t *event)
{
    return event->start_mark.line + 1;
}

static bool wants_key(const struct ww_ybuild *b)
{
    return b->depth > 0 && b->open[b->depth - 1]->type == WW_Y_MAP && !b->key;
}

static enum ww_err no_scalar_key(const struct ww_ybuild *b, const yaml_event_t *event,
                                 struct ww_error *err)
{
    return WW_FAIL(err, WW_E_YAML,
                   "%s line %zu: a key is a scalar, not a collection or an "
                   "alias",
                   b->name, line_of(event));
}

/* Which of the core types a tag asks for; false for any other tag. */
static bool read_tag(const char *tag, enum ww_ytype *type)
{
    static const struct {
        const char *name;
        enum ww_ytype type;
    } tags[] = {{"str", WW_Y_STRING}, {"int", WW_Y_INT},   {"float", WW_Y_FLOAT},
                {"bool", WW_Y_BOOL},  {"null", WW_Y_NULL}, {"seq", WW_Y_LIST},
                {"map", WW_Y_MAP}};

    if (!ww_str_starts(tag, CORE_TAG)) {
        return false;
    }
    for (size_t i = 0; i < WW_LEN(tags); i++) {
        if (strcmp(tag + strlen(CORE_TAG), tags[i].name) == 0) {
            *type = tags[i].type;
            return true;
        }
    }
    return false;
}

static enum ww_err wrong_tag(const struct ww_ybuild *b, size_t line, const char *tag,
                             struct ww_error *err)
{
    return WW_FAIL(err, WW_E_YAML,
                   "%s line %zu: tag '%s' does not fit or is not supported", b->name,
                   line, tag);
}

static enum ww_err type_scalar(const struct ww_ybuild *b, struct ww_ynode *node,
                               const char *tag, bool quoted, struct ww_error *err)
{
    enum ww_ytype wanted = WW_Y_STRING;

    node->type = WW_Y_STRING;
    if (tag && strcmp(tag, "!") != 0 && !read_tag(tag, &wanted)) {
        return wrong_tag(b, node->line, tag, err);
    }
    if ((tag && wanted == WW_Y_STRING) || (!tag && quoted)) {
        return WW_OK;
    }
    if (!ww_yaml_type_plain(node)) {
        return WW_FAIL(err, WW_E_YAML, "%s line %zu: number '%s' is out of range",
                       b->name, node->line, node->text);
    }
    if (tag && wanted == WW_Y_FLOAT && ww_ynumber(node, &node->number)) {
        node->type = WW_Y_FLOAT;
    }
    return tag && node->type != wanted ? wrong_tag(b, node->line, tag, err) : WW_OK;
}

static enum ww_err on_scalar(struct ww_ybuild *b, const yaml_event_t *event,
                             struct ww_error *err)
{
    const char *text = (const char *)event->data.scalar.value;
    const bool quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    struct ww_ynode *node = NULL;
    enum ww_err rc = WW_OK;

    if (strlen(text) != event->data.scalar.length) {
        return WW_FAIL(err, WW_E_YAML, "%s line %zu: NUL in a scalar", b->name,
                       line_of(event));
    }
    if (wants_key(b)) {
        if (event->data.scalar.anchor) {
            return no_scalar_key(b, event, err);
        }
        b->key = ww_strdup(text);
        b->key_line = line_of(event);
        return b->key ? WW_OK : WW_FAIL_MEMORY(err, "%s", b->name);
    }
    rc = ww_ybuild_node(b, line_of(event), &node, err);
    if (rc) {
        return rc;
    }
    node->text = ww_strdup(text);
    if (!node->text) {
        return WW_FAIL_MEMORY(err, "%s", b->name);
    }
    rc = type_scalar(b, node, (const char *)event->data.scalar.tag, quoted, err);
    if (!rc) {
        rc = ww_ybuild_anchor(b, node, event->data.scalar.anchor, err);
    }
    return rc ? rc : ww_ybuild_place(b, node, err);
}

static enum ww_err on_start(struct ww_ybuild *b, const yaml_event_t *event,
                            struct ww_error *err)
{
    const bool is_map = event->type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *anchor =
        is_map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
    const char *tag = (const char *)(is_map ? event->data.mapping_start.tag
                                            : event->data.sequence_start.tag);
    struct ww_ynode *node = NULL;
    enum ww_ytype type = WW_Y_NULL;
    enum ww_err rc = WW_OK;

    if (wants_key(b)) {
        return no_scalar_key(b, event, err);
    }
    if (tag && (!read_tag(tag, &type) || type != (is_map ? WW_Y_MAP : WW_Y_LIST))) {
        return wrong_tag(b, line_of(event), tag, err);
    }
    if (b->depth >= b->limits->max_depth || b->depth >= WW_YAML_DEEPEST) {
        return WW_FAIL(err, WW_E_LIMIT, "%s line %zu: nested deeper than %u", b->name,
                       line_of(event), b->limits->max_depth);
    }
    rc = ww_ybuild_node(b, line_of(event), &node, err);
    if (rc) {
        return rc;
    }
    node->type = is_map ? WW_Y_MAP : WW_Y_LIST;
    rc = ww_ybuild_anchor(b, node, anchor, err);
    if (!rc) {
        rc = ww_ybuild_place(b, node, err);
    }
    if (!rc) {
        b->open[b->depth++] = node;
    }
    return rc;
}

static enum ww_err on_alias(struct ww_ybuild *b, const yaml_event_t *event,
                            struct ww_error *err)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct ww_ynode *from = ww_ybuild_find(b, name);
    struct ww_ynode *node = NULL;
    enum ww_err rc = WW_OK;

    if (wants_key(b)) {
        return no_scalar_key(b, event, err);
    }
    if (!from || ww_ybuild_is_open(b, from)) {
        return WW_FAIL(err, WW_E_YAML, "%s line %zu: alias '*%s' %s", b->name,
                       line_of(event), name,
                       from ? "stands inside what it names" : "names nothing before it");
    }
    rc = ww_ybuild_copy(b, from, b->depth, &node, err);
    return rc ? rc : ww_ybuild_place(b, node, err);
}

static enum ww_err on_end(struct ww_ybuild *b, struct ww_error *err)
{
    struct ww_ynode *node = b->open[--b->depth];
    return node->type == WW_Y_MAP ? ww_ybuild_merge(b, node, err) : WW_OK;
}

static enum ww_err on_document_end(struct ww_ybuild *b, struct ww_error *err)
{
    struct ww_yaml *yaml = b->yaml;
    struct ww_ynode **roots = NULL;

    b->n_anchors = 0;
    if (!b->root || b->root->type == WW_Y_NULL) {
        return WW_OK;
    }
    roots = ww_realloc_array(yaml->roots, yaml->n_roots + 1, sizeof(*roots));
    if (!roots) {
        return WW_FAIL_MEMORY(err, "%s", b->name);
    }
    yaml->roots = roots;
    yaml->roots[yaml->n_roots++] = b->root;
    b->root = NULL;
    return WW_OK;
}

/* Not every event matters: stream and document starts only frame. */
static enum ww_err on_event(struct ww_ybuild *b, const yaml_event_t *event,
                            struct ww_error *err)
{
    if (event->type == YAML_SCALAR_EVENT) {
        return on_scalar(b, event, err);
    }
    if (event->type == YAML_SEQUENCE_START_EVENT ||
        event->type == YAML_MAPPING_START_EVENT) {
        return on_start(b, event, err);
    }
    if (event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT) {
        return on_end(b, err);
    }
    if (event->type == YAML_ALIAS_EVENT) {
        return on_alias(b, event, err);
    }
    return event->type == YAML_DOCUMENT_END_EVENT ? on_document_end(b, err) : WW_OK;
}

static enum ww_err parser_error(const struct ww_ybuild *b, const yaml_parser_t *parser,
                                struct ww_error *err)
{
    const char *problem = parser->problem ? parser->problem : "no YAML";
    /* Of all characters it is nearly always this one. */
    const bool tab = strstr(problem, "cannot start any token") != NULL;

    if (parser->error == YAML_MEMORY_ERROR) {
        return WW_FAIL_MEMORY(err, "%s", b->name);
    }
    return WW_FAIL(err, WW_E_YAML, "%s line %zu: %s%s", b->name,
                   parser->problem_mark.line + 1, problem,
                   tab ? "; a tab cannot, YAML is indented with spaces" : "");
}

static enum ww_err read_events(struct ww_ybuild *b, yaml_parser_t *parser,
                               struct ww_error *err)
{
    bool more = true;
    enum ww_err rc = WW_OK;

    while (more && !rc) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            return parser_error(b, parser, err);
        }
        more = event.type != YAML_STREAM_END_EVENT;
        rc = on_event(b, &event, err);
        yaml_event_delete(&event);
    }
    return rc;
}

static enum ww_err check_bytes(const struct ww_ybuild *b, const uint8_t *text, size_t len,
                               struct ww_error *err)
{
    if (len > b->limits->max_bytes) {
        return WW_FAIL(err, WW_E_LIMIT, "%s has %zu bytes, at most %zu are read", b->name,
                       len, b->limits->max_bytes);
    }
    if (!ww_utf8_ok(text, len)) {
        return WW_FAIL(err, WW_E_YAML, "%s is not UTF-8", b->name);
    }
    if (len > 0 && memchr(text, 0, len)) {
        return WW_FAIL(err, WW_E_YAML, "%s holds a NUL byte", b->name);
    }
    return WW_OK;
}

enum ww_err ww_yaml_parse(const uint8_t *text, size_t len, const char *name,
                          const struct ww_yaml_limits *limits, struct ww_yaml **out,
                          struct ww_error *err)
{
    static const uint8_t bom[] = {0xef, 0xbb, 0xbf};
    struct ww_ybuild b = {.name = name, .limits = limits};
    yaml_parser_t parser;
    enum ww_err rc = check_bytes(&b, text, len, err);

    *out = NULL;
    if (rc) {
        return rc;
    }
    if (len >= sizeof(bom) && memcmp(text, bom, sizeof(bom)) == 0) {
        text += sizeof(bom);
        len -= sizeof(bom);
    }
    b.yaml = ww_calloc(1, sizeof(*b.yaml));
    if (!b.yaml || !yaml_parser_initialize(&parser)) {
        ww_free(b.yaml);
        return WW_FAIL_MEMORY(err, "%s", (&b)->name);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, len ? text : (const uint8_t *)"", len);
    rc = read_events(&b, &parser, err);
    yaml_parser_delete(&parser);
    ww_free(b.key);
    if (rc) {
        ww_yaml_free(b.yaml);
        return rc;
    }
    *out = b.yaml;
    return WW_OK;
}

void ww_yaml_free(struct ww_yaml *yaml)
{
    if (!yaml) {
        return;
    }
    while (yaml->newest) {
        struct ww_ynode *node = yaml->newest;
        yaml->newest = node->made_before;
        ww_free(node->key);
        ww_free(node->text);
        ww_free(node->anchor);
        ww_free(node);
    }
    ww_free(yaml->roots);
    ww_free(yaml);
}

size_t ww_yaml_count(const struct ww_yaml *yaml)
{
    return yaml ? yaml->n_roots : 0;
}

const struct ww_ynode *ww_yaml_root(const struct ww_yaml *yaml, size_t document)
{
    return yaml && document < yaml->n_roots ? yaml->roots[document] : NULL;
}
