/* SPDX-License-Identifier: Apache-2.0 */
/* The nodes of a YAML tree. Internal to src/yaml. */
#ifndef WW_YAML_YAML_NODE_H
#define WW_YAML_YAML_NODE_H

#include "yaml/yaml.h"

struct ww_ynode {
    enum ww_ytype type;
    size_t line;
    size_t size;     /* children */
    uint32_t names;  /* hash of the key, so that looking for duplicates is cheap */
    char *key;       /* of a member */
    char *text;      /* of a scalar, as written */
    char *anchor;    /* until the document ends */
    double number;   /* INT, FLOAT */
    int64_t integer; /* INT */
    bool truth;      /* BOOL */
    struct ww_ynode *child;
    struct ww_ynode *last;
    struct ww_ynode *next;
    struct ww_ynode *made_before; /* all nodes of a stream, for freeing */
};

/** Type a plain scalar by its text. False for an integer that does not fit. */
bool ww_yaml_type_plain(struct ww_ynode *node);

/** Decimal number with optional sign, fraction, exponent; the whole text. Independent of
 * the locale. */
bool ww_yaml_decimal(const char *text, double *out);

#endif
