/* SPDX-License-Identifier: Apache-2.0 */
/* A model that knows characters: one token each through the vocabulary in tokenizer.json,
 * no merges. What the scorers of the tests share. */
#ifndef CHAR_TOKENS_H
#define CHAR_TOKENS_H

#include <string.h>

#include "json/json.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/forward.h"

#define CHAR_MOST_TOKENS 512

struct char_model {
    struct ww_model *model;
    struct ww_layout *layout;
    struct ww_forward *forward;
    struct ww_json *tokenizer;
    const struct ww_jnode *vocab;
    uint32_t bos, eos;
};

static inline enum ww_err char_read_json(const char *folder, const char *name,
                                         struct ww_json **out, struct ww_error *err)
{
    struct ww_buf buf;
    char *path = ww_path_join(folder, name);
    ww_buf_init(&buf, ww_json_limits_config.max_bytes);
    enum ww_err rc = path ? ww_file_read(path, &buf, err) : WW_E_NOMEM;
    if (!rc) {
        rc = ww_json_parse(buf.data, buf.len, &ww_json_limits_config, out, err);
    }
    ww_buf_release(&buf);
    ww_free(path);
    return rc;
}

static inline enum ww_err char_read_ids(struct char_model *m, const char *folder,
                                        struct ww_error *err)
{
    struct ww_json *config = NULL;
    uint64_t bos = 0;
    uint64_t eos = 0;
    enum ww_err rc = char_read_json(folder, "config.json", &config, err);
    if (!rc) {
        const struct ww_jnode *root = ww_json_root(config);
        if (!ww_ju64(ww_jget(root, "bos_token_id"), &bos) ||
            !ww_ju64(ww_jget(root, "eos_token_id"), &eos)) {
            rc = WW_FAIL(err, WW_E_CONFIG,
                         "config.json: bos_token_id and eos_token_id must be numbers");
        }
    }
    m->bos = (uint32_t)bos;
    m->eos = (uint32_t)eos;
    ww_json_free(config);
    return rc;
}

static inline enum ww_err char_model_open(struct char_model *m, const char *folder,
                                          struct ww_error *err)
{
    enum ww_err rc = ww_model_open(folder, &m->model, err);
    if (!rc) {
        rc = ww_layout_resolve(m->model, NULL, &m->layout, err);
    }
    if (!rc) {
        rc = ww_forward_new(m->layout, NULL, &m->forward, err);
    }
    if (!rc) {
        rc = char_read_ids(m, folder, err);
    }
    if (!rc) {
        rc = char_read_json(folder, "tokenizer.json", &m->tokenizer, err);
    }
    if (!rc) {
        m->vocab = ww_jget(ww_jget(ww_json_root(m->tokenizer), "model"), "vocab");
    }
    return rc;
}

static inline void char_model_close(struct char_model *m)
{
    ww_json_free(m->tokenizer);
    ww_forward_free(m->forward);
    ww_layout_free(m->layout);
    ww_model_close(m->model);
}

/* Append one token per character; tokens has room for CHAR_MOST_TOKENS. */
static inline enum ww_err char_encode(const struct char_model *m, const char *text,
                                      uint32_t *tokens, size_t *n, struct ww_error *err)
{
    size_t left = strlen(text);
    while (left > 0) {
        char piece[8] = {0};
        uint64_t id = 0;
        size_t len = ww_utf8_next((const uint8_t *)text, left, NULL);
        memcpy(piece, text, len);
        if (len == 0 || *n == CHAR_MOST_TOKENS ||
            !ww_ju64(ww_jget(m->vocab, piece), &id)) {
            return WW_FAIL(err, WW_E_MALFORMED, "no token for '%s' of the task", text);
        }
        tokens[(*n)++] = (uint32_t)id;
        text += len;
        left -= len;
    }
    return WW_OK;
}

#endif
