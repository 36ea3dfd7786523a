/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lineage report as one page for people: the sentences first, then the pictures and
 * tables they rest on, then what cannot be said, and how to run it again. Names come from
 * the command line of whoever made it, so every text is escaped.
 */
#include <inttypes.h>
#include <string.h>

#include "report/lineage_sentences.h"
#include "report/lineage_pictures.h"
#include "util/utc.h"
#include "weightward/report.h"

static void verdict(struct ww_page *p, const struct ww_lineage_report *r)
{
    char when[WW_UTC_BYTES];

    ww_utc_text(r->made_unix, when);
    ww_page_put(p, "<h1>Lineage of ");
    ww_page_text(p, r->models[0].name);
    ww_page_put(p, "</h1>\n<p>");
    if (r->decompose.confirmatory) {
        ww_page_putf(p,
                     "Confirmatory: the comparison was fixed by a signed plan (SHA-256 "
                     "<code>%s</code>) before the suspect was opened.",
                     r->plan_sha256);
    } else {
        ww_page_put(
            p, "Exploratory: there was no plan signed beforehand, so what was looked "
               "for may have been chosen after looking.");
    }
    ww_page_putf(p,
                 " Made by weightward %s, at %s by the clock of whoever made it, with "
                 "seed %" PRIu64 ".</p>\n",
                 ww_version(), when, r->seed);
}

static void sentences(struct ww_page *p, const struct ww_sentences *f, bool confirmatory)
{
    static const char *const classes[] = {"yes", "no", "untold"};
    static const char *const verbs[] = {"The evidence supports that ",
                                        "The evidence does not support that ",
                                        "It cannot be told whether "};

    ww_page_put(p, "<h2>Findings</h2>\n<ul>\n");
    for (size_t i = 0; i < f->n; i++) {
        const struct ww_sentence *one = &f->items[i];
        ww_page_putf(p, "<li><span class=\"%s\">%s", classes[one->scale],
                     verbs[one->scale]);
        ww_page_text(p, one->claim);
        ww_page_putf(p, "%s.</span> Ground: ", confirmatory ? "" : " (exploratory)");
        ww_page_text(p, one->basis);
        ww_page_put(p, ".</li>\n");
    }
    ww_page_put(p, "</ul>\n");
}

static void cell(struct ww_page *p, const char *text)
{
    ww_page_put(p, "<td>");
    ww_page_text(p, text);
    ww_page_put(p, "</td>");
}

static void models(struct ww_page *p, const struct ww_lineage_report *r)
{
    ww_page_put(p,
                "<h2>Models, and who committed to them when</h2>\n<table><tr><th>role<th>"
                "model<th>tensor tree (SHA-256)<th>signed by<th>since</tr>\n");
    for (size_t i = 0; i < r->n_models; i++) {
        const struct ww_commitment *c = &r->models[i];
        char when[WW_UTC_BYTES];
        ww_utc_text(c->at_unix, when);
        ww_page_put(p, "<tr>");
        cell(p, c->role);
        cell(p, c->name);
        ww_page_put(p, "<td><code>");
        ww_page_text(p, c->sha256_tree[0] ? c->sha256_tree : "not a model folder");
        ww_page_put(p, "</code></td>");
        cell(p, c->holds ? c->signer : c->is_signed ? "not verified" : "nobody");
        cell(p, c->at_unix ? when : c->why ? c->why : "");
        ww_page_put(p, "</tr>\n");
    }
    ww_page_put(
        p, "</table>\n<p>A signature commits to the bytes of a model. Only a time that "
           "a transparency log or a timestamp authority signed counts; it says that "
           "the bytes existed then, and not that nobody had others before.</p>\n");
}

static void numbers(struct ww_page *p, const struct ww_decompose_report *d)
{
    ww_page_put(p, "<h2>Method</h2>\n<table>\n");
    ww_page_row(p, "method", d->method);
    for (size_t i = 0; d->not_excluded[i]; i++) {
        ww_page_row(p, "not excluded", d->not_excluded[i]);
    }
    if (d->disguise) {
        ww_page_row(p, "the suspect is", d->disguise);
    }
    ww_page_putf(p,
                 "<tr><th>explained</th><td>%.4f, after rounding at most %.4f</td></tr>\n"
                 "<tr><th>bit for bit</th><td>%.4f of the moved weights</td></tr>\n"
                 "<tr><th>compared</th><td>%" PRIu64 " tensors, %" PRIu64
                 " weights, %" PRIu64 " of which moved far enough</td></tr>\n",
                 d->r2, d->r2_ceiling, d->replay, d->tensors, d->elements, d->used);
    for (size_t i = 0; i < d->n_warnings; i++) {
        ww_page_row(p, "warning", d->warnings[i]);
    }
    ww_page_put(p, "</table>\n");
}

static void replay(struct ww_page *p, const struct ww_replay_report *r)
{
    if (!r->recipe) {
        ww_page_put(p, "<h2>Replay</h2>\n<p>No recipe could be inferred.</p>\n");
        return;
    }
    ww_page_put(
        p, r->nearest
               ? "<h2>Replay</h2>\n<p>The nearest recipe, which gives too few bits to "
                 "take it for the suspect's, from tensors that are not counted:</p><pre>"
               : "<h2>Replay</h2>\n<p>The recipe, from tensors that are not "
                 "counted:</p><pre>");
    ww_page_text(p, r->recipe);
    ww_page_put(
        p,
        "</pre>\n<table><tr><th>recipe<th>moved weights with the suspect's bits</tr>\n");
    ww_page_putf(
        p, "<tr><td>as above, computed as %s</td><td>%.4f (%.4f to %.4f)</td></tr>\n",
        r->arithmetic ? r->arithmetic : "nothing", r->match, r->low, r->high);
    ww_page_putf(p,
                 "<tr><td>the same numbers in float32: what arithmetic alone can cost"
                 "</td><td>%.4f</td></tr>\n",
                 r->ceiling);
    for (size_t i = 0; i < r->n_controls; i++) {
        const struct ww_replay_control *c = &r->controls[i];
        ww_page_put(p, c->control ? "<tr><td>with " : "<tr><td>without ");
        ww_page_text(p, c->control ? c->control : c->source);
        if (c->control) {
            ww_page_put(p, " in the place of ");
            ww_page_text(p, c->source);
        }
        ww_page_putf(p, "</td><td>%.4f</td></tr>\n", c->match);
    }
    ww_page_put(p, "</table>\n");
}

static void closing(struct ww_page *p, const struct ww_lineage_report *r)
{
    ww_page_put(p, "<h2>What this cannot say</h2>\n<ul>\n");
    for (size_t i = 0; ww_lineage_limit(i); i++) {
        ww_page_put(p, "<li>");
        ww_page_text(p, ww_lineage_limit(i));
        ww_page_put(p, "</li>\n");
    }
    ww_page_put(p, "</ul>\n<h2>To repeat it</h2>\n<pre>");
    ww_page_text(p, r->command);
    if (r->replay_command) {
        ww_page_put(p, "\n");
        ww_page_text(p, r->replay_command);
    }
    ww_page_put(
        p, "</pre>\n<p>The models are those with the tensor trees above. All numbers are "
           "in " WW_LINEAGE_JSON " beside this page; <code>weightward verify</code> "
           "of this folder checks that both are as they were signed.</p>\n");
}

enum ww_err ww_report_lineage_html(const struct ww_lineage_report *report, char **out,
                                   struct ww_error *err)
{
    struct ww_sentences findings = {0};
    struct ww_page p;
    enum ww_err rc = ww_sentences_make(report, &findings, err);

    *out = NULL;
    if (!rc) {
        const struct ww_decompose_report *d = &report->decompose;
        ww_page_begin(&p, "Lineage report", err);
        verdict(&p, report);
        sentences(&p, &findings, d->confirmatory);
        models(&p, report);
        ww_picture_shares(&p, d);
        ww_picture_classes(&p, d);
        ww_picture_residual(&p, d);
        if (d->n_controls > 0) {
            ww_picture_controls(&p, d);
        }
        numbers(&p, d);
        if (report->has_replay) {
            replay(&p, &report->replay);
        }
        closing(&p, report);
        rc = ww_page_end(&p, out);
    }
    ww_sentences_release(&findings);
    return rc;
}
