/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads are opened first, because their width says how many tokens are needed: with four
 * times as many tokens as columns a head with nothing in common leaves 0.87 of an answer.
 */
#include "util/clock.h"
#include "weightward/logits.h"

#include <math.h>
#include <string.h>

#include "la/la.h"
#include "lineage/logits_blend.h"
#include "lineage/logits_head.h"
#include "lineage/logits_image.h"
#include "lineage/logits_read.h"
#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define TOKENS_PER_COLUMN 4
#define TOKENS_LEAST 2048
#define TOKENS_ALONE 8192
/* Heads nearer than this to each other say the same. */
#define SAME_HEAD 1e-9

struct logits {
    const struct ww_logits_options *options;
    struct ww_logits_report *report;
    struct ww_said answers;
    struct ww_head_file *heads; /* candidates, controls, the base last */
    size_t n;                   /* candidates and controls */
    double *room;               /* answers as a head sees them */
};

static enum ww_err tell_progress(const struct logits *l, size_t done,
                                 struct ww_error *err)
{
    const struct ww_run_options *run = &l->options->run;

    if (run->progress &&
        run->progress(run->progress_payload, "comparing", done, l->n + 1)) {
        return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
    }
    return WW_OK;
}

static enum ww_err open_heads(struct logits *l, struct ww_error *err)
{
    const struct ww_logits_options *o = l->options;
    enum ww_err rc = WW_OK;

    l->n = o->n_candidates + o->n_controls;
    l->heads = ww_calloc(l->n + 1, sizeof(*l->heads));
    l->report->heads = ww_calloc(l->n, sizeof(*l->report->heads));
    l->report->blends = ww_calloc(o->n_candidates, sizeof(*l->report->blends));
    if (!l->heads || !l->report->heads || !l->report->blends) {
        return WW_FAIL_MEMORY(err, "heads");
    }
    for (size_t i = 0; i < l->n && !rc; i++) {
        const char *path =
            i < o->n_candidates ? o->candidates[i] : o->controls[i - o->n_candidates];
        rc = ww_head_open(path, &l->heads[i], err);
        if (!rc) {
            l->report->heads[i].name = ww_strdup(l->heads[i].model->name);
            l->report->heads[i].width = l->heads[i].width;
            l->report->n_heads++;
            rc = l->report->heads[i].name ? WW_OK : WW_FAIL_MEMORY(err, "heads");
        }
    }
    l->report->n_candidates = o->n_candidates;
    return !rc && o->base ? ww_head_open(o->base, &l->heads[l->n], err) : rc;
}

static size_t tokens_wanted(const struct logits *l)
{
    size_t most = l->n ? TOKENS_LEAST : TOKENS_ALONE;

    for (size_t i = 0; i < l->n; i++) {
        const size_t wanted = TOKENS_PER_COLUMN * ww_head_columns(&l->heads[i]);
        most = wanted > most ? wanted : most;
    }
    return most;
}

/* Answers as they leave the head: a cap undone, the mean taken out. *note says why that
 * cannot be, and stays NULL else. */
static enum ww_err see(const struct logits *l, double softcap, char **note,
                       struct ww_error *err)
{
    const size_t total = l->answers.n * l->answers.n_ids;
    const char *why = NULL;

    memcpy(l->room, l->answers.values, total * sizeof(*l->room));
    if (softcap > 0 && l->answers.logprobs) {
        why = "its logits are capped, and log-probabilities have lost the constant that "
              "is needed to undo it";
    }
    for (size_t i = 0; i < total && softcap > 0 && !why; i++) {
        if (fabs(l->room[i]) >= softcap) {
            why = "its logits are capped below the largest of the answers";
        }
        l->room[i] = softcap * atanh(l->room[i] / softcap);
    }
    ww_image_centre_rows(l->room, l->answers.n, l->answers.n_ids);
    *note = why ? ww_strdup(why) : NULL;
    return why && !*note ? WW_FAIL_MEMORY(err, "heads") : WW_OK;
}

static double length_of(const double *x, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++) {
        s += x[i] * x[i];
    }
    return sqrt(s);
}

static enum ww_err check_tokens(const struct logits *l, const struct ww_head_file *head,
                                struct ww_error *err)
{
    const size_t columns = ww_head_columns(head);

    if (l->answers.n_ids < columns + 2) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "%zu tokens are common to all answers; the head of '%s' has %zu "
                       "columns and fits any answer over fewer than %zu",
                       l->answers.n_ids, head->model->name, columns, columns + 2);
    }
    return WW_OK;
}

/* The rows of a head for the tokens of the answers. */
static enum ww_err load_head(const struct logits *l, const struct ww_head_file *head,
                             double **out, struct ww_error *err)
{
    enum ww_err rc = check_tokens(l, head, err);

    *out = rc ? NULL : ww_calloc(l->answers.n_ids * ww_head_columns(head), sizeof(**out));
    if (!rc && !*out) {
        rc = WW_FAIL_MEMORY(err, "heads");
    }
    if (!rc) {
        rc = ww_head_rows(head, l->answers.ids, l->answers.n_ids, *out, err);
    }
    return rc;
}

static enum ww_err compare(struct logits *l, size_t which, struct ww_error *err)
{
    struct ww_logits_head *out = &l->report->heads[which];
    const struct ww_head_file *head = &l->heads[which];
    const size_t v = l->answers.n_ids;
    const size_t n = l->answers.n;
    const size_t d = ww_head_columns(head);
    double *basis = NULL;
    double *square = ww_calloc(n, sizeof(*square));
    double left = 0;
    enum ww_err rc =
        square ? load_head(l, head, &basis, err) : WW_FAIL_MEMORY(err, "heads");

    out->residual = -1;
    out->p_controls = -1;
    out->p_labels = 1;
    if (!rc) {
        out->unrelated = sqrt(1 - (double)d / (double)(v - 1));
        rc = see(l, head->softcap, &out->note, err);
    }
    if (rc || out->note) {
        goto out;
    }
    rc = ww_image_basis(basis, v, d, NULL, err);
    if (!rc) {
        rc = ww_image_outside(basis, v, d, l->room, n, square, NULL, err);
    }
    for (size_t i = 0; i < n && !rc; i++) {
        left += square[i];
    }
    if (!rc) {
        const double all = length_of(l->room, n * v);
        out->residual = all > 0 ? sqrt(left) / all : 0;
        out->explained = 1 - out->residual * out->residual;
        rc = ww_image_p_labels(basis, v, d, l->room, n, l->options->seed, &out->p_labels,
                               err);
    }
out:
    ww_free(basis);
    ww_free(square);
    return rc;
}

/* Supported: at most half of what the best control leaves, and of what chance does. */
static void judge(struct ww_logits_report *report)
{
    const size_t n_controls = report->n_heads - report->n_candidates;

    for (size_t i = 0; i < report->n_candidates; i++) {
        struct ww_logits_head *c = &report->heads[i];
        double least = c->unrelated;
        size_t no_worse = 0;
        for (size_t k = report->n_candidates; k < report->n_heads; k++) {
            const double control = report->heads[k].residual;
            no_worse += control >= 0 && control <= c->residual;
            least = control >= 0 && control < least ? control : least;
        }
        if (n_controls > 0 && c->residual >= 0) {
            c->p_controls = (1.0 + (double)no_worse) / (1.0 + (double)n_controls);
        }
        c->supported = c->residual >= 0 && c->residual <= least / 2;
    }
}

static enum ww_err say_why(char **note, const char *why, struct ww_error *err)
{
    *note = ww_strdup(why);
    return *note ? WW_OK : WW_FAIL_MEMORY(err, "heads");
}

static enum ww_err fit_blend(struct logits *l, const double *base, const double *source,
                             struct ww_logits_blend *out, struct ww_error *err)
{
    const struct ww_head_file *head = &l->heads[l->n];
    const struct ww_blend_problem problem = {.base = base,
                                             .source = source,
                                             .answers = l->room,
                                             .v = l->answers.n_ids,
                                             .d = ww_head_columns(head),
                                             .n = l->answers.n,
                                             .grid = head->dtype,
                                             .seed = l->options->seed};
    struct ww_blend_found found;
    enum ww_err rc = ww_blend_find(&problem, &found, err);

    if (!rc && found.flat) {
        return say_why(&out->note,
                       "no share between the two heads fits better than its "
                       "neighbours",
                       err);
    }
    if (!rc) {
        out->share = found.share;
        out->low = found.low;
        out->high = found.high;
        out->rounding = found.rounding;
        out->residual = found.left;
        out->at_base = found.at_base;
        out->at_source = found.at_source;
    }
    return rc;
}

static enum ww_err blend(struct logits *l, size_t which, const double *base,
                         struct ww_error *err)
{
    struct ww_logits_blend *out = &l->report->blends[which];
    const struct ww_head_file *from = &l->heads[l->n];
    const struct ww_head_file *head = &l->heads[which];
    const size_t total = l->answers.n_ids * ww_head_columns(from);
    double *source = NULL;
    double moved = 0;
    enum ww_err rc = WW_OK;

    *out = (struct ww_logits_blend){.share = -1, .low = -1, .high = -1};
    out->name = ww_strdup(head->model->name);
    l->report->n_blends++;
    if (!out->name) {
        return WW_FAIL_MEMORY(err, "heads");
    }
    if (ww_head_columns(head) != ww_head_columns(from) ||
        head->softcap != from->softcap) {
        return say_why(&out->note, "its head has another shape than the base's", err);
    }
    rc = load_head(l, head, &source, err);
    for (size_t i = 0; i < total && !rc; i++) {
        moved += (source[i] - base[i]) * (source[i] - base[i]);
    }
    if (!rc && sqrt(moved) <= SAME_HEAD * length_of(base, total)) {
        rc = say_why(&out->note, "its head is the base's: no answer tells them apart",
                     err);
    } else if (!rc) {
        rc = fit_blend(l, base, source, out, err);
    }
    ww_free(source);
    return rc;
}

static enum ww_err blend_all(struct logits *l, struct ww_error *err)
{
    double *base = NULL;
    char *note = NULL;
    enum ww_err rc = load_head(l, &l->heads[l->n], &base, err);

    if (!rc) {
        rc = see(l, l->heads[l->n].softcap, &note, err);
    }
    if (!rc && note) {
        rc = ww_lines_add(&l->report->warnings, &l->report->n_warnings, err,
                          "no share of a head: %s", note);
    }
    for (size_t i = 0; i < l->report->n_candidates && !rc && !note; i++) {
        rc = tell_progress(l, l->n, err);
        rc = rc ? rc : blend(l, i, base, err);
    }
    ww_free(note);
    ww_free(base);
    return rc;
}

static enum ww_err tell_width(struct logits *l, struct ww_error *err)
{
    struct ww_logits_report *report = l->report;
    struct ww_image_width found;
    char *note = NULL;
    enum ww_err rc = see(l, 0, &note, err);

    if (!rc) {
        rc = ww_image_rank(l->room, l->answers.n, l->answers.n_ids, &found, err);
    }
    if (rc) {
        return rc;
    }
    report->width = found.width;
    report->at_least = found.at_least;
    report->gap = found.gap;
    if (found.width == 0) {
        rc = ww_lines_add(&report->warnings, &report->n_warnings, err,
                          "the hidden width cannot be told from %zu answers over %zu "
                          "tokens; it takes more of both than the width, and little "
                          "noise",
                          l->answers.n, l->answers.n_ids);
    }
    return rc;
}

static enum ww_err run(struct logits *l, const char *answers, struct ww_error *err)
{
    struct ww_logits_report *report = l->report;
    enum ww_err rc = open_heads(l, err);

    if (!rc) {
        rc = ww_said_read(&l->answers, answers, tokens_wanted(l), l->options->seed, err);
    }
    if (rc) {
        return rc;
    }
    report->logprobs = l->answers.logprobs;
    report->n = l->answers.n;
    report->vocab = l->answers.vocab;
    report->n_tokens = l->answers.n_ids;
    report->run.bytes_read = l->answers.bytes_read;
    if (l->answers.n_ids < 2) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "'%s': %zu tokens are common to all answers; bias the same tokens "
                       "in each request",
                       answers, l->answers.n_ids);
    }
    l->room = ww_calloc(l->answers.n * l->answers.n_ids, sizeof(*l->room));
    rc = l->room ? tell_width(l, err) : WW_FAIL_MEMORY(err, "heads");
    for (size_t i = 0; i < l->n && !rc; i++) {
        rc = tell_progress(l, i, err);
        rc = rc ? rc : compare(l, i, err);
    }
    judge(report);
    return !rc && l->options->base ? blend_all(l, err) : rc;
}

enum ww_err ww_lineage_logits(const char *answers,
                              const struct ww_logits_options *options,
                              struct ww_logits_report *report, struct ww_error *err)
{
    const double from = ww_now();
    struct logits l = {.options = options, .report = report};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    ww_la_threads(ww_threads_wanted(&options->run));
    rc = ww_la_ready(err);
    rc = rc ? rc : run(&l, answers, err);
    ww_la_threads(1);
    for (size_t i = 0; l.heads && i <= l.n; i++) {
        ww_head_close(&l.heads[i]);
    }
    ww_free(l.heads);
    ww_free(l.room);
    ww_said_release(&l.answers);
    report->run.seconds = ww_now() - from;
    return rc;
}

void ww_logits_report_release(struct ww_logits_report *report)
{
    for (size_t i = 0; i < report->n_heads; i++) {
        ww_free(report->heads[i].name);
        ww_free(report->heads[i].note);
    }
    for (size_t i = 0; i < report->n_blends; i++) {
        ww_free(report->blends[i].name);
        ww_free(report->blends[i].note);
    }
    for (size_t i = 0; i < report->n_warnings; i++) {
        ww_free(report->warnings[i]);
    }
    ww_free(report->heads);
    ww_free(report->blends);
    ww_free(report->warnings);
    memset(report, 0, sizeof(*report));
}
