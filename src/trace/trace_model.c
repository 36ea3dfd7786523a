/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One suspect against every copy of a ledger. The smallest chance wins; it is multiplied
 * by the number of copies, whether or not they could be compared, because that many
 * accusations were possible. docs/trace.md states what the number means.
 */
#include <string.h>
#include <sys/stat.h>

#include "lock/handout.h"
#include "trace/fingerprint.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define DEFAULT_BOUND 1e-6

enum fit { FIT_UNKNOWN, FIT_YES, FIT_NO };

struct trace_run {
    const struct ww_trace_options *options;
    struct ww_trace_report *report;
    struct ww_ledger ledger;
    struct ww_model *suspect; /* NULL: a GGUF file, and the layout is the anchor's */
    struct ww_gguf_shown gguf;
    struct ww_layout *layout;
    struct ww_model *anchor;
    struct ww_places places;
    struct ww_evidence evidence;
    double *source;     /* samples of the source or anchor */
    uint64_t source_of; /* model entry that they are of; UINT64_MAX: none, or an anchor */
    struct ww_copy_place *copy;
    enum fit *fits;         /* per ledger entry, of models */
    struct ww_error misfit; /* the first */
    uint64_t n_other_key;
};

static void release(struct trace_run *run)
{
    ww_free(run->fits);
    ww_free(run->copy);
    ww_free(run->source);
    ww_evidence_close(&run->evidence);
    ww_places_release(&run->places);
    ww_layout_free(run->layout);
    ww_model_close(run->anchor);
    ww_gguf_shown_release(&run->gguf);
    ww_model_close(run->suspect);
    ww_ledger_close(&run->ledger);
}

static enum ww_err warn(struct trace_run *run, struct ww_error *err, char *text)
{
    struct ww_trace_report *report = run->report;
    char **more = NULL;

    if (text) {
        more = ww_realloc_array(report->warnings, report->n_warnings + 1, sizeof(*more));
    }
    if (!more) {
        ww_free(text);
        return WW_FAIL_MEMORY(err, "a warning");
    }
    report->warnings = more;
    report->warnings[report->n_warnings++] = text;
    return WW_OK;
}

static enum ww_err open_ledger(struct trace_run *run, struct ww_error *err)
{
    const struct ww_trace_options *options = run->options;
    enum ww_err rc =
        ww_ledger_read(options->ledger, options->public_key, &run->ledger, err);

    if (!rc && run->ledger.torn_bytes > 0) {
        rc =
            warn(run, err,
                 ww_asprintf("ledger '%s': %llu bytes of an unfinished line follow entry "
                             "%zu and were left out",
                             run->ledger.path, (unsigned long long)run->ledger.torn_bytes,
                             run->ledger.n - 1));
    }
    if (!rc && !options->public_key) {
        rc =
            warn(run, err,
                 ww_asprintf("the ledger's signer was taken from the ledger itself; name "
                             "the public key that you trust to rule out another ledger"));
    }
    return rc;
}

/* What others say of quantised weights is how to lock or merge them. */
static enum ww_err ask_for_floats(const char *path, enum ww_err rc, struct ww_error *err)
{
    if (rc != WW_E_QUANTISED && rc != WW_E_GGUF) {
        return rc;
    }
    ww_error_clear(err);
    return WW_FAIL(
        err, rc,
        "the weights of '%s' are quantised, and a trace reads floats: save them "
        "as floats of 16 bits or more in a folder with their config.json and "
        "trace that, or a GGUF file by its name",
        path);
}

static bool is_gguf(const char *path)
{
    struct stat st;

    return ww_str_ends(path, ".gguf") && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* A GGUF file has no config.json; its anchor says how the tensors hang together. */
static enum ww_err open_gguf(struct trace_run *run, const char *path,
                             struct ww_error *err)
{
    if (!run->options->anchor) {
        return WW_FAIL(
            err, WW_E_GGUF,
            "'%s' is a GGUF file, which has no config.json: name the source or "
            "its base with --anchor, whose layout is taken",
            path);
    }
    enum ww_err rc = ww_gguf_show(path, &run->gguf, err);
    return rc ? rc
              : ww_layout_resolve(run->anchor, &run->options->layout, &run->layout, err);
}

static enum ww_err open_folder(struct trace_run *run, const char *path,
                               struct ww_error *err)
{
    enum ww_err rc = ww_model_open(path, &run->suspect, err);

    if (!rc) {
        rc = ww_layout_resolve(run->suspect, &run->options->layout, &run->layout, err);
    }
    return rc ? ask_for_floats(path, rc, err) : WW_OK;
}

static enum ww_err open_models(struct trace_run *run, const char *path,
                               struct ww_error *err)
{
    const bool gguf = is_gguf(path);
    enum ww_err rc = WW_OK;

    run->report->anchored = run->options->anchor != NULL;
    if (run->options->anchor) {
        rc = ww_model_open(run->options->anchor, &run->anchor, err);
    }
    if (!rc) {
        rc = gguf ? open_gguf(run, path, err) : open_folder(run, path, err);
    }
    if (!rc) {
        rc = ww_places_init(&run->places, run->layout,
                            run->anchor ? &ww_probes_anchor : &ww_probes_ledger, err);
    }
    if (rc) {
        return rc;
    }
    return gguf ? ww_evidence_open_gguf(&run->evidence, &run->places, run->layout,
                                        &run->gguf, err)
                : ww_evidence_open(&run->evidence, &run->places, run->layout,
                                   run->suspect, err);
}

static enum ww_err allocate(struct trace_run *run, struct ww_error *err)
{
    const size_t n = (size_t)run->places.n_coords * run->places.samples;

    run->source_of = UINT64_MAX;
    run->source = ww_calloc(n, sizeof(*run->source));
    run->copy = ww_calloc(n, sizeof(*run->copy));
    run->fits = ww_calloc(run->ledger.n, sizeof(*run->fits));
    if (!run->source || !run->copy || !run->fits) {
        return WW_FAIL_MEMORY(err, "%zu samples", n);
    }
    return WW_OK;
}

static enum ww_err read_anchor(struct trace_run *run, struct ww_error *err)
{
    struct ww_evidence evidence = {0};
    enum ww_err rc = WW_OK;

    if (!run->anchor) {
        return WW_OK;
    }
    rc = ww_evidence_open(&evidence, &run->places, run->layout, run->anchor, err);
    if (!rc) {
        rc = ww_evidence_samples(&evidence, &run->places, run->source, err);
    }
    ww_evidence_close(&evidence);
    return rc;
}

/* Has the suspect the shape of that model? The first that has not is remembered. */
static bool fits(struct trace_run *run, const struct ww_ledger_entry *model)
{
    struct ww_error why = {0};
    enum fit *fit = &run->fits[model->seq];

    if (*fit == FIT_UNKNOWN) {
        const bool yes =
            ww_fingerprint_fits(&model->model, run->options->anchor ? NULL : &run->places,
                                run->layout, &why) == WW_OK;
        *fit = yes ? FIT_YES : FIT_NO;
        if (!yes && !run->misfit.code) {
            run->misfit = why;
        }
    }
    return *fit == FIT_YES;
}

static void take_source(struct trace_run *run, const struct ww_ledger_entry *model)
{
    const size_t n = (size_t)run->places.n_coords * run->places.samples;

    if (run->options->anchor || run->source_of == model->seq) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        run->source[i] = model->model.values[i];
    }
    run->source_of = model->seq;
}

/* Is the entry of this lock key? */
static enum ww_err is_ours(const struct trace_run *run,
                           const struct ww_ledger_entry *entry, bool *ours,
                           struct ww_error *err)
{
    struct ww_handout handout = {.name = entry->copy.recipient};
    uint8_t element[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    memcpy(handout.nonce, entry->copy.nonce, sizeof(handout.nonce));
    rc = ww_handout_element(run->options->secret, &handout, entry->copy.lock_id, element,
                            err);
    *ours = !rc && memcmp(element, entry->copy.element, sizeof(element)) == 0;
    return rc;
}

static enum ww_err draw_places(struct trace_run *run, const struct ww_ledger_entry *entry,
                               struct ww_error *err)
{
    struct ww_handout handout = {.name = entry->copy.recipient};
    struct ww_secret *secret = NULL;
    struct ww_gauge gauge = {0};
    enum ww_err rc = WW_OK;

    memcpy(handout.nonce, entry->copy.nonce, sizeof(handout.nonce));
    rc = ww_handout_secret(run->options->secret, &handout, &secret, err);
    if (rc) {
        goto out;
    }
    rc =
        ww_gauge_init(&gauge, run->layout, secret, entry->copy.scale, WW_WRONG_NONE, err);
    if (rc == WW_E_UNSUPPORTED && entry->copy.scale) {
        /* Stored as F16 meanwhile: signs are drawn apart from factors and stay known. */
        ww_error_clear(err);
        rc = ww_gauge_init(&gauge, run->layout, secret, false, WW_WRONG_NONE, err);
    }
    if (!rc) {
        rc = ww_copy_places(&gauge, &run->places, run->copy, err);
    }
out:
    ww_gauge_release(&gauge);
    ww_secret_free(secret);
    return rc;
}

static void enter(struct ww_trace_report *report, const struct ww_trace_row *row)
{
    size_t at = report->n_best;

    while (at > 0 && row->p_value < report->best[at - 1].p_value) {
        at--;
    }
    if (at == WW_TRACE_BEST) {
        return;
    }
    report->n_best += report->n_best < WW_TRACE_BEST;
    memmove(&report->best[at + 1], &report->best[at],
            (report->n_best - at - 1) * sizeof(*row));
    report->best[at] = *row;
}

static enum ww_err compare(struct trace_run *run, const struct ww_ledger_entry *entry,
                           struct ww_error *err)
{
    struct ww_trace_row row = {0};
    struct ww_votes votes = {0};
    enum ww_err rc = draw_places(run, entry, err);

    if (!rc) {
        rc = ww_votes_count(&run->evidence, &run->places, run->copy, run->source, &votes,
                            err);
    }
    if (rc) {
        return rc;
    }
    memcpy(row.recipient, entry->copy.recipient, strlen(entry->copy.recipient) + 1);
    memcpy(row.date, entry->date, sizeof(row.date));
    ww_hex(row.lock_id, entry->copy.lock_id, WW_SHA256_BYTES);
    row.votes = votes.n;
    row.agree = votes.agree;
    row.p_value = ww_votes_chance(votes.n, votes.agree);
    enter(run->report, &row);
    run->report->compared++;
    return WW_OK;
}

static enum ww_err compare_if_comparable(struct trace_run *run,
                                         const struct ww_ledger_entry *entry,
                                         struct ww_error *err)
{
    const struct ww_ledger_entry *model = &run->ledger.entries[entry->copy.model];
    bool ours = false;
    enum ww_err rc = is_ours(run, entry, &ours, err);

    if (rc) {
        return rc;
    }
    if (!ours) {
        run->n_other_key++;
        return WW_OK;
    }
    if (!fits(run, model)) {
        return WW_OK;
    }
    take_source(run, model);
    return compare(run, entry, err);
}

static enum ww_err compare_all(struct trace_run *run, struct ww_error *err)
{
    const struct ww_run_options *options = &run->options->run;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < run->ledger.n && !rc; i++) {
        if (run->ledger.entries[i].kind == WW_LEDGER_COPY) {
            run->report->entries++;
            rc = compare_if_comparable(run, &run->ledger.entries[i], err);
        }
        if (!rc && options->progress &&
            options->progress(options->progress_payload, "trace", i + 1, run->ledger.n)) {
            rc = WW_FAIL(err, WW_E_CANCELLED, "interrupted");
        }
    }
    return rc;
}

static enum ww_err judge(struct trace_run *run, struct ww_error *err)
{
    struct ww_trace_report *report = run->report;

    if (report->entries == 0) {
        return WW_FAIL(
            err, WW_E_LEDGER,
            "ledger '%s' holds no copy: locks with --for and --ledger write them",
            run->ledger.path);
    }
    if (run->n_other_key == report->entries) {
        return WW_FAIL(
            err, WW_E_WRONG_KEY,
            "none of the %llu copies in ledger '%s' was made with this lock key",
            (unsigned long long)report->entries, run->ledger.path);
    }
    if (report->compared == 0) {
        return WW_FAIL(err, WW_E_SHAPE, "%s", run->misfit.text);
    }
    report->p_value = report->best[0].p_value * (double)report->entries;
    report->p_value = report->p_value > 1 ? 1 : report->p_value;
    for (size_t i = 0; i < report->n_best; i++) {
        report->best[i].found =
            report->best[i].p_value * (double)report->entries <= report->bound;
    }
    report->found = report->best[0].found;
    if (report->compared < report->entries) {
        return warn(
            run, err,
            ww_asprintf("%llu copies of the ledger are of another lock key, %llu of "
                        "models of another shape",
                        (unsigned long long)run->n_other_key,
                        (unsigned long long)(report->entries - report->compared -
                                             run->n_other_key)));
    }
    return WW_OK;
}

enum ww_err ww_trace_model(const char *suspect, const struct ww_trace_options *options,
                           struct ww_trace_report *report, struct ww_error *err)
{
    struct trace_run run = {.options = options,
                            .report = report,
                            .ledger = {.fd = -1},
                            .gguf = {.file = {.fd = -1}}};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    report->bound = options->bound > 0 ? options->bound : DEFAULT_BOUND;
    if (!(report->bound < 1)) {
        rc = WW_FAIL(err, WW_E_USAGE,
                     "a bound of %g accuses everybody, expected a number between 0 and 1",
                     options->bound);
        goto out;
    }
    rc = open_ledger(&run, err);
    if (!rc) {
        rc = open_models(&run, suspect, err);
    }
    if (!rc) {
        rc = allocate(&run, err);
    }
    if (!rc) {
        rc = read_anchor(&run, err);
    }
    if (!rc) {
        report->coordinates = run.places.n_coords;
        rc = compare_all(&run, err);
    }
    if (!rc) {
        rc = judge(&run, err);
    }
out:
    release(&run);
    if (rc) {
        ww_trace_report_release(report);
    }
    return rc;
}

void ww_trace_report_release(struct ww_trace_report *report)
{
    for (size_t i = 0; report->warnings && i < report->n_warnings; i++) {
        ww_free(report->warnings[i]);
    }
    ww_free(report->warnings);
    memset(report, 0, sizeof(*report));
}
