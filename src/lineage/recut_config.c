/* SPDX-License-Identifier: Apache-2.0 */
/* A config.json with other counts, written anew; nobody but the layout's resolver reads
 * it. */
#include <string.h>

#include "json/json.h"
#include "lineage/recut.h"
#include "model/config.h"
#include "util/buf.h"
#include "util/fail.h"

struct counts {
    const struct ww_jnode *text; /* of the language model */
    const uint32_t *layers;      /* NULL: as they are */
    uint32_t n;
    uint64_t n_before; /* layers that the config has */
    uint64_t words;
};

static bool is_key(enum ww_fact fact, const char *key)
{
    size_t n = 0;
    const char *const *keys = ww_fact_keys(fact, &n);
    bool found = false;

    for (size_t i = 0; i < n && key && !found; i++) {
        found = strcmp(keys[i], key) == 0;
    }
    return found;
}

static void write_value(struct ww_jw *w, const struct counts *c,
                        const struct ww_jnode *node);

/* Lists with one value for each layer follow the layers. */
static void write_by_layer(struct ww_jw *w, const struct counts *c,
                           const struct ww_jnode *node)
{
    ww_jw_array(w);
    for (uint32_t j = 0; j < c->n; j++) {
        write_value(w, c, ww_jat(node, c->layers[j]));
    }
    ww_jw_close(w);
}

/* Of the language model itself: what is beside or inside of it has counts of its own. */
static void write_own(struct ww_jw *w, const struct counts *c, const struct ww_jnode *m)
{
    uint64_t count = 0;

    if (c->layers && ww_ju64(m, &count) && is_key(WW_FACT_LAYERS, ww_jkey(m))) {
        ww_jw_u64(w, c->n);
    } else if (c->words && ww_ju64(m, &count) && is_key(WW_FACT_VOCAB, ww_jkey(m))) {
        ww_jw_u64(w, c->words);
    } else if (c->n_before > 1 && ww_jtype(m) == WW_J_ARRAY &&
               ww_jsize(m) == c->n_before) {
        write_by_layer(w, c, m);
    } else {
        write_value(w, c, m);
    }
}

static void write_members(struct ww_jw *w, const struct counts *c,
                          const struct ww_jnode *node)
{
    ww_jw_object(w);
    for (const struct ww_jnode *m = ww_jfirst(node); m; m = ww_jnext(m)) {
        ww_jw_key(w, ww_jkey(m));
        if (node == c->text) {
            write_own(w, c, m);
        } else {
            write_value(w, c, m);
        }
    }
    ww_jw_close(w);
}

static void write_list(struct ww_jw *w, const struct counts *c,
                       const struct ww_jnode *node)
{
    ww_jw_array(w);
    for (const struct ww_jnode *e = ww_jfirst(node); e; e = ww_jnext(e)) {
        write_value(w, c, e);
    }
    ww_jw_close(w);
}

/* The strict scan bounds how deep a config is. */
static void write_value(struct ww_jw *w, const struct counts *c,
                        const struct ww_jnode *node)
{
    const char *text = NULL;
    bool truth = false;
    double number = 0;

    switch (ww_jtype(node)) {
    case WW_J_OBJECT:
        write_members(w, c, node);
        break;
    case WW_J_ARRAY:
        write_list(w, c, node);
        break;
    case WW_J_STRING:
        (void)ww_jstr(node, &text);
        ww_jw_str(w, text);
        break;
    case WW_J_BOOL:
        (void)ww_jbool(node, &truth);
        ww_jw_bool(w, truth);
        break;
    case WW_J_NUMBER:
        (void)ww_jdouble(node, &number);
        ww_jw_double(w, number);
        break;
    case WW_J_NULL:
        ww_jw_null(w);
    }
}

enum ww_err ww_recut_config(const struct ww_config *config, const uint32_t *layers,
                            uint32_t n, uint64_t words, struct ww_config **out,
                            struct ww_error *err)
{
    struct counts c = {config->text, layers, n, 0, words};
    struct ww_buf buf;
    struct ww_jw w;
    bool present = false;
    enum ww_err rc =
        layers ? ww_config_fact(config->text, WW_FACT_LAYERS, &present, &c.n_before, err)
               : WW_OK;

    *out = NULL;
    for (uint32_t j = 0; j < n && !rc; j++) {
        if (!present || layers[j] >= c.n_before) {
            rc = WW_FAIL(err, WW_E_CONFIG, "config.json does not count its layers");
        }
    }
    if (rc) {
        return rc;
    }
    ww_buf_init(&buf, ww_json_limits_config.max_bytes);
    ww_jw_init(&w, &buf, 0);
    write_value(&w, &c, config->root);
    rc = ww_jw_end(&w, err);
    rc = rc ? rc : ww_config_parse(buf.data, buf.len, out, err);
    ww_buf_release(&buf);
    return rc;
}
