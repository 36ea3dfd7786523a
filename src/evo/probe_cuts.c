/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How llama.cpp's server cuts a text, asked of the server itself: nothing is computed by
 * it, so it is no call. Characters that a tokenizer has no tokens for are left out there.
 */
#include "evo/probe.h"

#include <math.h>
#include <string.h>

#include "util/fail.h"

#define BEFORE "Text" /* a tokenizer may treat the beginning of a text in its own way */

static enum ww_err ask(struct ww_endpoint *e, const char *text, struct ww_json **json,
                       struct ww_error *err)
{
    struct ww_buf whole;
    struct ww_buf body;
    struct ww_jw w;
    ww_buf_init(&whole, 4096);
    ww_buf_init(&body, 16384);
    enum ww_err rc = ww_buf_add_str(&whole, BEFORE, err);
    rc = rc ? rc : ww_buf_add_str(&whole, text, err);
    ww_jw_init(&w, &body, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "content", ww_buf_cstr(&whole));
    ww_jw_kbool(&w, "add_special", false);
    ww_jw_kbool(&w, "with_pieces", true);
    ww_jw_close(&w);
    rc = rc ? rc : ww_jw_end(&w, err);
    rc = rc ? rc
            : ww_endpoint_post(e, "/tokenize", ww_buf_cstr(&body), body.len, json, err);
    ww_buf_release(&body);
    ww_buf_release(&whole);
    return rc;
}

/* A piece is text, or bytes where it is none. */
static bool add_piece(const struct ww_jnode *piece, struct ww_buf *to)
{
    const char *text = NULL;
    bool good = true;
    if (ww_jstr(piece, &text)) {
        return ww_buf_add_str(to, text, NULL) == WW_OK;
    }
    if (ww_jtype(piece) != WW_J_ARRAY) {
        return false;
    }
    for (const struct ww_jnode *b = ww_jfirst(piece); b && good; b = ww_jnext(b)) {
        uint64_t v = 256;
        (void)ww_ju64(b, &v);
        const uint8_t byte = (uint8_t)v;
        good = v < 256 && ww_buf_add(to, &byte, 1, NULL) == WW_OK;
    }
    return good;
}

static bool ends_with(const struct ww_buf *text, const char *end)
{
    const size_t n = strlen(end);
    return text->len >= n && memcmp(text->data + text->len - n, end, n) == 0;
}

/* All of text, or it is none of a tokenizer that has tokens for it. */
static enum ww_err add_cuts(const struct ww_jnode *tokens, const char *text,
                            struct ww_scored_writer *w, struct ww_error *err)
{
    struct ww_buf piece;
    bool begun = false;
    size_t left = strlen(text);
    enum ww_err rc = WW_OK;
    ww_buf_init(&piece, 65536);
    for (const struct ww_jnode *t = ww_jfirst(tokens); t && !rc; t = ww_jnext(t)) {
        if (!add_piece(ww_jget(t, "piece"), &piece)) {
            rc = WW_FAIL(err, WW_E_UNSUPPORTED, "the server tells no pieces");
        } else if (begun && (piece.len > left || memcmp(piece.data, text, piece.len))) {
            rc = WW_FAIL(err, WW_E_MALFORMED, "its tokens spell another text");
        } else if (begun) {
            text += piece.len;
            left -= piece.len;
            rc = ww_scored_add(w, (struct ww_span){piece.data, piece.len}, 0, NULL, 0,
                               err);
            ww_buf_clear(&piece);
        } else if (ends_with(&piece, BEFORE)) {
            begun = true;
            ww_buf_clear(&piece);
        }
    }
    ww_buf_release(&piece);
    if (!rc && !begun) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "a token goes on from the probe string's first word");
    }
    return rc || !left ? rc
                       : WW_FAIL(err, WW_E_MALFORMED, "its tokens are not all of a text");
}

enum ww_err ww_probe_cuts(struct ww_endpoint *endpoint, const char *text,
                          struct ww_scored *out, struct ww_error *err)
{
    struct ww_json *json = NULL;
    struct ww_scored_writer w;
    memset(out, 0, sizeof(*out));
    enum ww_err rc = ask(endpoint, text, &json, err);
    const struct ww_jnode *tokens = json ? ww_jget(ww_json_root(json), "tokens") : NULL;
    if (!rc && ww_jtype(tokens) != WW_J_ARRAY) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED, "the server does not cut texts");
    }
    if (!rc) {
        rc = ww_scored_begin(&w, 1, err);
        rc = rc ? rc : add_cuts(tokens, text, &w, err);
        if (rc) {
            ww_scored_drop(&w);
        } else {
            rc = ww_scored_end(&w, (double)NAN, 0, out, err);
        }
    }
    ww_json_free(json);
    return rc;
}
