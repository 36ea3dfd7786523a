/* SPDX-License-Identifier: Apache-2.0 */
/* The table of dialects, and what all of them share around the reading. */
#include "evo/dialect.h"

#include <string.h>

#include "util/fail.h"

#define BODY_MAX_BYTES ((size_t)16 << 20)

static const struct ww_json_limits answer_limits = {(size_t)64 << 20, 24, 8000000, false};

/* In the order in which "auto" looks for their signs; the two without one are last. */
static const struct ww_dialect rows[] = {
    {"llama-server",
     1,
     false,
     false,
     {"/props"},
     "default_generation_settings",
     "/completion",
     ww_llama_write,
     ww_llama_read,
     NULL,
     NULL,
     NULL},
    {"sglang",
     1,
     false,
     false,
     {"/model_info", "/get_model_info"},
     "model_path",
     "/generate",
     ww_sglang_write,
     ww_sglang_read_next,
     "/generate",
     ww_sglang_write,
     ww_sglang_read_score},
    {"tgi",
     1,
     false,
     false,
     {"/info"},
     "model_id",
     "/generate",
     ww_tgi_write,
     ww_tgi_read_next,
     "/generate",
     ww_tgi_write,
     ww_tgi_read_score},
    {"vllm",
     2,
     true,
     false,
     {"/version"},
     "version",
     "/v1/completions",
     ww_text_write,
     ww_text_read_next,
     "/v1/completions",
     ww_vllm_write,
     ww_vllm_read},
    {"ollama",
     2,
     false,
     true,
     {"/api/version"},
     "version",
     "/api/generate",
     ww_ollama_write,
     ww_ollama_read,
     NULL,
     NULL,
     NULL},
    {"openai-completions",
     2,
     false,
     false,
     {NULL},
     NULL,
     "/v1/completions",
     ww_text_write,
     ww_text_read_next,
     "/v1/completions",
     ww_text_write,
     ww_text_read_score},
    {"openai-chat",
     3,
     false,
     true,
     {NULL},
     NULL,
     "/v1/chat/completions",
     ww_chat_write,
     ww_chat_read,
     NULL,
     NULL,
     NULL},
};

const struct ww_dialect *ww_dialect_at(size_t index)
{
    return index < WW_LEN(rows) ? &rows[index] : NULL;
}

const struct ww_dialect *ww_dialect_named(const char *name)
{
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *ww_dialect_names(void)
{
    return ", openai-completions, openai-chat, vllm, llama-server, sglang, tgi, ollama";
}

enum ww_err ww_dialect_write(const struct ww_dialect *dialect, const struct ww_ask *ask,
                             struct ww_buf *buf, struct ww_error *err)
{
    struct ww_jw w;
    ww_buf_init(buf, BODY_MAX_BYTES);
    ww_jw_init(&w, buf, 0);
    ww_jw_object(&w);
    enum ww_err rc = ask->score ? dialect->score_write(ask, &w, err)
                                : dialect->next_write(ask, &w, err);
    if (rc) {
        return rc;
    }
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

/* A NUL is a token like others to a byte-level tokenizer, and no text to our JSON: its
 * escape becomes a private character (U+F8FF), which stands for itself in comparisons. */
static void replace_nul(uint8_t *text, size_t len)
{
    for (size_t i = 0; i + 1 < len; i++) {
        if (text[i] != '\\') {
            continue;
        }
        if (i + 6 <= len && memcmp(text + i, "\\u0000", 6) == 0) {
            memcpy(text + i, "\\uF8FF", 6);
        }
        i++;
    }
}

enum ww_err ww_dialect_read(const struct ww_dialect *dialect, const struct ww_ask *ask,
                            const uint8_t *body, size_t len, struct ww_scored *out,
                            struct ww_error *err)
{
    struct ww_json *json = NULL;
    struct ww_buf text;
    memset(out, 0, sizeof(*out));
    ww_buf_init(&text, answer_limits.max_bytes);
    enum ww_err rc = ww_buf_add(&text, body, len, err);
    if (!rc) {
        replace_nul(text.data, text.len);
        rc = ww_json_parse(text.data, text.len, &answer_limits, &json, err);
    }
    if (!rc) {
        rc = ask->score ? dialect->score_read(ask, ww_json_root(json), out, err)
                        : dialect->next_read(ask, ww_json_root(json), out, err);
    }
    ww_json_free(json);
    ww_buf_release(&text);
    return rc;
}
