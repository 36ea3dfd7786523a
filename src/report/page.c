/* SPDX-License-Identifier: Apache-2.0 */
#include "report/page.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/fail.h"
#include "weightward/report.h"

#define MAX_BYTES ((size_t)64 << 20)
#define MAX_PIECE 1024

static const char *const colours[WW_PAGE_COLOURS] = {"#0072b2", "#d55e00", "#009e73",
                                                     "#cc79a7", "#e69f00", "#56b4e9",
                                                     "#000000", "#b8a800"};

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta "
    "name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>";

/* Light everywhere: in the pictures white and grey say something. Heads and first cells
 * of rows keep their words whole, digests break where a narrow page asks for it. */
static const char style[] =
    ":root{color-scheme:light}body{font:15px/1.5 sans-serif;max-width:900px;margin:2em "
    "auto;padding:0 1em;color:#222;background:#fff;overflow-wrap:anywhere}"
    "h1{font-size:1.3em}h2{font-size:1.05em;margin-top:1.6em}"
    "table{border-collapse:collapse}table+table{margin-top:1em}"
    "th,td{text-align:left;vertical-align:top;padding:.2em .8em .2em 0;"
    "border-bottom:1px solid #ddd}th,td:first-child{overflow-wrap:break-word}"
    "code,pre{font-size:.85em}pre{overflow-x:auto;background:#f6f6f6;padding:.6em}"
    "svg{width:100%}.yes{color:#116329}.no{color:#a40e26}.untold{color:#666}"
    ".grid{stroke:#ddd}.y{font-size:11px;text-anchor:end}"
    ".x{font-size:11px;text-anchor:middle}.legend{font-size:13px}"
    "@media print{body{max-width:none;margin:0}h2{break-after:avoid}"
    "svg,tr{break-inside:avoid}}";

const char *ww_page_colour(size_t i)
{
    return colours[i % WW_PAGE_COLOURS];
}

void ww_page_put(struct ww_page *p, const char *markup)
{
    if (!p->rc) {
        p->rc = ww_buf_add_str(&p->buf, markup, p->err);
    }
}

/* What HTML would read as markup, of text that is safe to look at. */
static enum ww_err add_shown(struct ww_buf *buf, const char *text, size_t len,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < len && !rc; i++) {
        const char *name = text[i] == '<'   ? "&lt;"
                           : text[i] == '>' ? "&gt;"
                           : text[i] == '&' ? "&amp;"
                           : text[i] == '"' ? "&quot;"
                                            : NULL;
        rc = name ? ww_buf_add_str(buf, name, err) : ww_buf_add(buf, text + i, 1, err);
    }
    return rc;
}

enum ww_err ww_page_escape(struct ww_buf *buf, const char *text, struct ww_error *err)
{
    char shown[MAX_PIECE];
    size_t left = strlen(text);
    enum ww_err rc = WW_OK;

    while (left > 0 && !rc) {
        size_t taken = 0;
        const size_t n = ww_text_shown(text, left, shown, sizeof(shown), &taken);
        if (taken == 0) {
            break; /* the text was cut within a character */
        }
        rc = add_shown(buf, shown, n, err);
        text += taken;
        left -= taken;
    }
    return rc;
}

void ww_page_text(struct ww_page *p, const char *text)
{
    if (!p->rc) {
        p->rc = ww_page_escape(&p->buf, text, p->err);
    }
}

void ww_page_putf(struct ww_page *p, const char *fmt, ...)
{
    char piece[MAX_PIECE];
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(piece, sizeof(piece), fmt, args);
    va_end(args);
    if (!p->rc && (n < 0 || (size_t)n >= sizeof(piece))) {
        p->rc = WW_FAIL(p->err, WW_E_LIMIT, "a piece of the page is longer than %d bytes",
                        MAX_PIECE);
    }
    ww_page_put(p, piece);
}

void ww_page_row(struct ww_page *p, const char *key, const char *value)
{
    ww_page_put(p, "<tr><th>");
    ww_page_text(p, key);
    ww_page_put(p, "</th><td>");
    ww_page_text(p, value);
    ww_page_put(p, "</td></tr>\n");
}

void ww_page_begin(struct ww_page *p, const char *title, struct ww_error *err)
{
    p->rc = WW_OK;
    p->err = err;
    ww_buf_init(&p->buf, MAX_BYTES);
    ww_page_put(p, head);
    ww_page_put(p, title);
    ww_page_put(p, "</title>\n<style>");
    ww_page_put(p, style);
    ww_page_put(p, "</style></head><body>\n");
}

enum ww_err ww_page_end(struct ww_page *p, char **out)
{
    size_t len = 0;

    ww_page_put(p, "</body></html>\n");
    *out = p->rc ? NULL : (char *)ww_buf_take(&p->buf, &len);
    ww_buf_release(&p->buf);
    return p->rc;
}
