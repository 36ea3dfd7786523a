/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A verified chain as one page for people: no script, no style sheet and no font from
 * elsewhere, so that it can be mailed and kept. The picture has a column for each step
 * away from the model; what was checked and what was not stands below in words. Names
 * come from signed statements of others, so every text is escaped.
 */
#include <string.h>

#include "report/page.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/fail.h"
#include "weightward/report.h"

#define PAGE_MAX ((size_t)16 << 20)
#define BOX_WIDTH 190
#define BOX_HEIGHT 58
#define COLUMN 240
#define ROW 82
#define MARGIN 16

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<title>Chain of a model</title>\n<style>\n"
    "body{font:15px/1.5 sans-serif;margin:2em;max-width:75em;color:#222}\n"
    "h1{font-size:1.3em}h2{font-size:1.05em;margin-top:1.6em}\n"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left;"
    "border-bottom:1px solid #ddd;vertical-align:top}\n"
    "code{font-size:.85em;word-break:break-all}\n"
    ".ok{color:#116329}.no{color:#a40e26}\n"
    "svg text{font:13px sans-serif}svg .small{font-size:11px;fill:#555}\n"
    "svg rect{fill:#fff;stroke:#456;stroke-width:1.5}\n"
    "svg .signed,svg .unsigned{stroke:#b35900;stroke-dasharray:5 3}\n"
    "svg line{stroke:#789;stroke-width:1.5}\n"
    "</style></head><body>\n";

struct place {
    unsigned column;
    unsigned row;
};

struct page {
    const struct ww_chain_report *report;
    struct place *places; /* one per link */
    unsigned columns;
    unsigned rows;
    struct ww_buf *out;
    struct ww_error *err;
    enum ww_err rc; /* the first error */
};

static void raw(struct page *p, const char *text)
{
    if (!p->rc) {
        p->rc = ww_buf_add_str(p->out, text, p->err);
    }
}

static void number(struct page *p, unsigned v)
{
    if (!p->rc) {
        p->rc = ww_buf_addf(p->out, p->err, "%u", v);
    }
}

static void text(struct page *p, const char *s)
{
    if (!p->rc) {
        p->rc = ww_page_escape(p->out, s, p->err);
    }
}

/* The beginning of a long name, cut between characters. */
static void text_cut(struct page *p, const char *s, size_t max)
{
    char cut[64];
    size_t n = strlen(s);

    if (n <= max) {
        text(p, s);
        return;
    }
    n = max - 1;
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80) {
        n--;
    }
    memcpy(cut, s, n);
    cut[n] = '\0';
    text(p, cut);
    raw(p, "…");
}

static void attribute(struct page *p, const char *name, unsigned v)
{
    raw(p, " ");
    raw(p, name);
    raw(p, "=\"");
    number(p, v);
    raw(p, "\"");
}

/* Columns by depth; rows in the order of the walk. */
static enum ww_err arrange(struct page *p, struct ww_error *err)
{
    const struct ww_chain_report *report = p->report;
    unsigned *used = ww_calloc(report->n_links + 1, sizeof(*used));

    p->places = ww_calloc(report->n_links, sizeof(*p->places));
    if (!p->places || !used) {
        ww_free(used);
        return WW_FAIL_MEMORY(err, "a picture");
    }
    for (size_t i = 0; i < report->n_links; i++) {
        const unsigned column = report->links[i].depth;
        p->places[i] = (struct place){column, used[column]++};
        p->columns = column + 1 > p->columns ? column + 1 : p->columns;
        p->rows = used[column] > p->rows ? used[column] : p->rows;
    }
    ww_free(used);
    return WW_OK;
}

static void draw_edges(struct page *p, size_t i)
{
    const struct ww_chain_link *link = &p->report->links[i];

    for (size_t k = 0; k < link->n_sources; k++) {
        const struct place from = p->places[i];
        const struct place to = p->places[link->sources[k]];
        raw(p, "<line");
        attribute(p, "x1", MARGIN + from.column * COLUMN + BOX_WIDTH);
        attribute(p, "y1", MARGIN + from.row * ROW + BOX_HEIGHT / 2);
        attribute(p, "x2", MARGIN + to.column * COLUMN);
        attribute(p, "y2", MARGIN + to.row * ROW + BOX_HEIGHT / 2);
        raw(p, "/>\n");
    }
}

static void draw_text(struct page *p, unsigned x, unsigned y, const char *class,
                      const char *words)
{
    raw(p, "<text class=\"");
    raw(p, class);
    raw(p, "\"");
    attribute(p, "x", x);
    attribute(p, "y", y);
    raw(p, ">");
    text_cut(p, words, 26);
    raw(p, "</text>");
}

static void draw_box(struct page *p, size_t i)
{
    const struct ww_chain_link *link = &p->report->links[i];
    const unsigned x = MARGIN + p->places[i].column * COLUMN;
    const unsigned y = MARGIN + p->places[i].row * ROW;

    raw(p, "<g><title>");
    text(p, link->name);
    raw(p, "</title><rect rx=\"6\" class=\"");
    raw(p, link->action);
    raw(p, "\"");
    attribute(p, "x", x);
    attribute(p, "y", y);
    attribute(p, "width", BOX_WIDTH);
    attribute(p, "height", BOX_HEIGHT);
    raw(p, "/>");
    draw_text(p, x + 10, y + 20, "", link->name);
    draw_text(p, x + 10, y + 36, "small", link->method[0] ? link->method : link->action);
    draw_text(p, x + 10, y + 50, "small",
              link->signer[0] ? link->signer : "no signature");
    raw(p, "</g>\n");
}

static void draw(struct page *p)
{
    raw(p, "<svg role=\"img\" aria-label=\"ancestry\"");
    attribute(p, "width", 2 * MARGIN + p->columns * COLUMN);
    attribute(p, "height", 2 * MARGIN + p->rows * ROW);
    raw(p, ">\n");
    for (size_t i = 0; i < p->report->n_links; i++) {
        draw_edges(p, i);
    }
    for (size_t i = 0; i < p->report->n_links; i++) {
        draw_box(p, i);
    }
    raw(p, "</svg>\n");
}

static void cell(struct page *p, const char *words)
{
    raw(p, "<td>");
    text(p, words);
    raw(p, "</td>");
}

static void table(struct page *p)
{
    raw(p, "<h2>Who signed what</h2>\n<table><tr><th>model<th>made by<th>of<th>signed by"
           "<th>statement (SHA-256)</tr>\n");
    for (size_t i = 0; i < p->report->n_links; i++) {
        const struct ww_chain_link *link = &p->report->links[i];
        raw(p, "<tr>");
        cell(p, link->name);
        raw(p, "<td>");
        text(p, link->action);
        if (link->method[0]) {
            raw(p, " (");
            text(p, link->method);
            raw(p, ")");
        }
        raw(p, "</td><td>");
        for (size_t k = 0; k < link->n_sources; k++) {
            raw(p, k ? ", " : "");
            text(p, p->report->links[link->sources[k]].name);
        }
        raw(p, "</td>");
        cell(p, link->signer[0] ? link->signer : "nobody");
        raw(p, "<td><code>");
        text(p, link->evidence_sha256);
        raw(p, "</code></td></tr>\n");
    }
    raw(p, "</table>\n");
}

static void list(struct page *p, char *const *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        raw(p, "<li>");
        text(p, items[i]);
        raw(p, "</li>\n");
    }
}

static void checks(struct page *p, const struct ww_error *failure)
{
    const struct ww_chain_report *r = p->report;

    raw(p, "<h2>What was checked</h2>\n<ul>");
    if (!failure) {
        raw(p, "<li>every file of the model against its signature: ");
        number(p, (unsigned)r->model.files_checked);
        raw(p, " files</li>\n");
    }
    raw(p,
        "<li>each statement in the table: its signature, its digest, and that it speaks "
        "of the bytes that were used</li></ul>\n<h2>What was not checked</h2>\n<ul>");
    list(p, r->model.not_checked, r->model.n_not_checked);
    list(p, r->not_checked, r->n_not_checked);
    raw(p, "<li>whether a statement is true: a signature says who stated it</li>"
           "</ul>\n");
}

static void verdict(struct page *p, const struct ww_error *failure)
{
    raw(p, "<h1>");
    if (p->report->n_links > 0) {
        text(p, p->report->links[0].name);
    } else {
        text(p, p->report->broken ? p->report->broken : "a model");
    }
    raw(p, "</h1>\n");
    if (!failure) {
        raw(p, "<p class=\"ok\">The chain holds: every link is signed by a key that was "
               "given, down to ");
        raw(p, p->report->n_not_checked ? "what is listed below as not checked.</p>\n"
                                        : "origins that are stated.</p>\n");
        return;
    }
    raw(p, "<p class=\"no\">The chain does not hold: ");
    text(p, failure->text);
    raw(p, ". The links below held before that.</p>\n");
}

enum ww_err ww_report_chain_html(const struct ww_chain_report *report,
                                 const struct ww_error *failure, char **out,
                                 struct ww_error *err)
{
    struct ww_buf buf;
    struct page p = {.report = report, .out = &buf, .err = err};
    size_t len = 0;

    *out = NULL;
    ww_buf_init(&buf, PAGE_MAX);
    p.rc = arrange(&p, err);
    raw(&p, head);
    verdict(&p, failure);
    if (report->n_links > 0) {
        draw(&p);
        table(&p);
    }
    checks(&p, failure);
    raw(&p, "</body></html>\n");
    if (!p.rc) {
        *out = (char *)ww_buf_take(&buf, &len);
    }
    ww_free(p.places);
    ww_buf_release(&buf);
    return p.rc;
}
