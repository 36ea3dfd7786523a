/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing a descriptor: the user's folder first, then the compiled-in ones, by id when
 * one is asked for and else by model_type. Each is parsed until one fits; a malformed
 * file in the user's folder is an error even when another would fit, for it may be the
 * one that was meant.
 */
#include "arch/catalogue.h"

#include <string.h>
#include <unistd.h>

#include "arch/builder.h"
#include "arch/refused.h"
#include "model/config.h"
#include "util/fail.h"
#include "util/fs.h"

#define MAX_DESCRIPTOR_BYTES ((size_t)1 << 20)

struct search {
    const char *id;         /* by id, or NULL */
    const char *model_type; /* by type */
    struct ww_descriptor *found;
    struct ww_strlist known; /* model types met on the way, for the error */
    int dirfd;
};

const char *const *ww_descriptor_ids(void)
{
    return ww_embedded_ids;
}

static enum ww_err note_types(struct search *s, const struct ww_descriptor *d,
                              struct ww_error *err)
{
    const char *type = NULL;
    enum ww_err rc = WW_OK;

    if (s->id) {
        return ww_strlist_add(&s->known, d->id, err);
    }
    for (const struct ww_jnode *n = ww_jfirst(d->model_types); n && !rc;
         n = ww_jnext(n)) {
        (void)ww_jstr(n, &type);
        rc = ww_strlist_add(&s->known, type, err);
    }
    return rc;
}

static enum ww_err consider(struct search *s, const uint8_t *text, size_t len,
                            const char *source, struct ww_error *err)
{
    struct ww_descriptor *d = NULL;
    enum ww_err rc = ww_descriptor_parse(text, len, source, &d, err);

    if (rc) {
        return rc;
    }
    bool fits = s->id ? strcmp(d->id, s->id) == 0
                      : s->model_type && ww_descriptor_serves(d, s->model_type);
    if (fits && !s->found) {
        s->found = d;
        return WW_OK;
    }
    rc = note_types(s, d, err);
    ww_descriptor_free(d);
    return rc;
}

static enum ww_err visit(void *payload, const struct ww_walk_entry *entry, bool *skip,
                         struct ww_error *err)
{
    struct search *s = payload;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    *skip = true;
    if (entry->type != S_IFREG || !ww_str_ends(entry->path, ".json")) {
        return WW_OK;
    }
    ww_buf_init(&text, MAX_DESCRIPTOR_BYTES);
    rc = ww_file_read_at(s->dirfd, entry->path, WW_LINKS_REFUSE, &text, err);
    rc = rc ? rc : consider(s, text.data, text.len, entry->path, err);
    ww_buf_release(&text);
    return rc;
}

static enum ww_err search_folder(struct search *s, const char *path, struct ww_error *err)
{
    enum ww_err rc = ww_dir_open(path, &s->dirfd, err);

    if (rc) {
        return rc;
    }
    rc = ww_walk(s->dirfd, visit, s, err);
    (void)close(s->dirfd);
    return rc;
}

static enum ww_err search_embedded(struct search *s, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < ww_n_embedded && !s->found && rc == WW_OK; i++) {
        rc =
            consider(s, ww_embedded[i].bytes, ww_embedded[i].len, ww_embedded[i].id, err);
    }
    return rc;
}

static enum ww_err not_found(const struct search *s, const char *inner,
                             struct ww_error *err)
{
    const char *const *known = (const char *const *)s->known.items;
    const char *word = s->id ? s->id : s->model_type;
    const char *near = word ? ww_str_nearest(word, known, s->known.n) : NULL;

    const char *refused = s->id ? NULL : ww_refused_reason(word);

    if (refused) {
        return WW_FAIL(err, WW_E_ARCH, "model_type '%s' is refused: %s", word, refused);
    }
    if (!word) {
        return WW_FAIL(err, WW_E_ARCH,
                       "config.json has no model_type: name a descriptor");
    }
    if (!s->id && !ww_str_eq(inner, word)) {
        return WW_FAIL(
            err, WW_E_ARCH,
            "model_type '%s', a wrapper around '%s', is not supported: write a "
            "descriptor for it",
            word, inner ? inner : "");
    }
    return WW_FAIL(err, WW_E_ARCH, "%s '%s' %s%s%s%s: %s",
                   s->id ? "descriptor" : "model_type", word,
                   s->id ? "is not known" : "is not supported",
                   near ? " (nearest known: '" : "", near ? near : "", near ? "')" : "",
                   s->id ? "expected a built-in one, or a file of a folder of yours"
                         : "write a descriptor for it");
}

/* What rules a model out whatever its family. */
static enum ww_err refuse(const struct ww_config *config, const char *id,
                          struct ww_error *err)
{
    if (!config) {
        return WW_FAIL(err, WW_E_ARCH,
                       "the folder has no config.json: the architecture is unknown");
    }
    if (config->has_auto_map && !id) {
        return WW_FAIL(
            err, WW_E_ARCH,
            "config.json has 'auto_map': the repository brings its own code, which "
            "may differ from its model_type; name a descriptor to go on");
    }
    if (config->has_pruned_heads) {
        return WW_FAIL(err, WW_E_ARCH,
                       "config.json has 'pruned_heads': layers with different "
                       "numbers of heads are not supported");
    }
    return WW_OK;
}

enum ww_err ww_descriptor_choose(const struct ww_model *model,
                                 const struct ww_layout_options *options,
                                 struct ww_descriptor **out, struct ww_error *err)
{
    struct search s = {.id = options ? options->descriptor : NULL, .dirfd = -1};
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = refuse(model->config, s.id, err);
    if (rc) {
        goto out;
    }
    /* A wrapper's own type counts: what lies beside its language model is unknown. */
    s.model_type = model->config->root_model_type ? model->config->root_model_type
                                                  : model->config->model_type;
    if (options && options->descriptor_dir) {
        rc = search_folder(&s, options->descriptor_dir, err);
        if (rc) {
            goto out;
        }
    }
    rc = search_embedded(&s, err);
    if (rc) {
        goto out;
    }
    if (!s.found) {
        rc = not_found(&s, model->config->model_type, err);
        goto out;
    }
    *out = s.found;
    s.found = NULL;
out:
    ww_descriptor_free(s.found);
    ww_strlist_release(&s.known);
    return rc;
}
