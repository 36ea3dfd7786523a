/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A page for people in the making: one file with its pictures in it, no script and
 * nothing from the net, so that it can be mailed and kept. The first failure stays, so
 * that writing reads like the page.
 */
#ifndef WW_REPORT_PAGE_H
#define WW_REPORT_PAGE_H

#include "util/buf.h"

#define WW_PAGE_COLOURS 8u

struct ww_page {
    struct ww_buf buf;
    enum ww_err rc;
    struct ww_error *err;
};

/** Head and opening tags; title is our own text. */
void ww_page_begin(struct ww_page *p, const char *title, struct ww_error *err);
/** Closing tags; the text is the caller's. The buffer is released in every case. */
enum ww_err ww_page_end(struct ww_page *p, char **out) WW_MUST_USE;

/** Text of others, with what HTML would read as markup escaped, and what would turn the
 *  reading direction or cannot be seen spelt out. */
enum ww_err ww_page_escape(struct ww_buf *buf, const char *text,
                           struct ww_error *err) WW_MUST_USE;
/** Our own markup. */
void ww_page_put(struct ww_page *p, const char *markup);
/** Text of others, escaped: names of folders and tensors. */
void ww_page_text(struct ww_page *p, const char *text);
/** Our own markup with numbers. */
void ww_page_putf(struct ww_page *p, const char *fmt, ...) WW_PRINTF(2, 3);
/** A row of two cells, the second escaped. */
void ww_page_row(struct ww_page *p, const char *key, const char *value);
/** Apart for most kinds of colour vision (Okabe and Ito 2008). */
const char *ww_page_colour(size_t i);

#endif
