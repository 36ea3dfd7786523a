/* SPDX-License-Identifier: Apache-2.0 */
/* A suspect is read, searched for, and compared with the files of what was found. */
#include "weightward/catalogue.h"

#include <string.h>

#include "lineage/catalogue_decoded.h"
#include "lineage/catalogue_search.h"
#include "lineage/catalogue_twins.h"
#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/str.h"
#include "weightward/lineage.h"

#define BITS_AGREE 0.99

struct find {
    const struct ww_find_options *options;
    const char *suspect;
    struct ww_lookup search;
    struct ww_print print;
    struct ww_strlist warnings;
};

/* The files as they were indexed? Another model in their place would be a lie. */
static bool at_hand(const struct ww_store_member *m)
{
    return ww_store_at_hand(m->place, m->stamp);
}

/* Do the files settle who went in? Hardly anything is left for somebody else, also by the
 * elements, or a recipe of the picks gives the bits. */
static bool is_settled(const struct ww_decompose_report *found)
{
    return (found->unexplained <= WW_LINEAGE_ELSEWHERE && !found->incomplete) ||
           found->method_match >= BITS_AGREE;
}

/* Of what siblings share a sketch knows little, and of rounding nothing. Where the files
 * say that something else went in, a pick without mates may be that one's twin: that most
 * is explained holds of both. */
static void take_kinds(struct ww_lookup *s, const struct ww_decompose_report *found,
                       const bool *twin)
{
    const bool settled = is_settled(found);
    const bool lacks = found->incomplete && !settled;

    for (size_t i = 0; i < s->pursuit.n; i++) {
        struct ww_find_match *m = &s->report->matches[s->first + i];
        const bool apart =
            s->print->decoded && s->apart[i] && found->unexplained <= WW_MATES_EXPLAINED;
        if (found->sources[i].note) {
            continue;
        }
        if (twin[i] || (lacks && s->alone[i])) {
            m->kind = "similar";
        } else if (found->sources[i].included && (settled || apart)) {
            m->kind = "source";
        } else if (!found->sources[i].included && settled) {
            m->kind = "similar";
        }
    }
}

static void take_share(struct ww_find_match *m, const struct ww_lineage_source *from)
{
    m->share = from->share;
    m->low = from->low;
    m->high = from->high;
    m->confirmed = from->included;
}

/* Why a member that was not picked is named. */
static const char *by_files(const struct ww_lookup *s, bool twin)
{
    return twin ? "by the files: one of several catalogued models that are "
                  "nearly the same, of which not all were compared"
           : s->by_spectra
               ? "by the files: spectra of heads are rough, and did not pick it"
           : s->print->decoded
               ? "by the files: the sketches see mostly rounding, and did "
                 "not pick it"
               : "by the files: the sketches picked a model that is nearly "
                 "this one";
}

/* Members that the sketches did not pick are sources when they are included and hardly
 * anything is left for somebody else: relatives of a source that is not here leave more.
 */
static enum ww_err take_more(struct ww_lookup *s, const struct ww_decompose_report *found,
                             const bool *twin, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < s->n_more && !rc; i++) {
        const struct ww_lineage_source *from = &found->sources[s->pursuit.n + i];
        const bool alike = twin[s->pursuit.n + i];
        struct ww_find_match match = {.kind = alike ? "similar" : "source"};
        if (!from->included || from->note || !is_settled(found)) {
            continue;
        }
        take_share(&match, from);
        rc = ww_lookup_add(s->report, s->family.members[s->more[i]].name, match,
                           ww_strdup(by_files(s, alike)), err);
    }
    return rc;
}

static enum ww_err take_confirmed(struct ww_lookup *s,
                                  const struct ww_decompose_report *found,
                                  struct ww_error *err)
{
    bool twin[WW_PURSUIT_MOST + WW_LOOKUP_MORE] = {false};
    enum ww_err rc = WW_OK;

    if (found->method_match < BITS_AGREE) { /* bits are one model's */
        rc = ww_twins_find(s, found, twin, err);
    }
    /* How much of a decoded suspect's difference is rounding is not known to its sketch,
     * and may be most of it. The files tell what is left beyond that. */
    if (s->print->decoded) {
        s->report->unexplained = found->unexplained;
        s->report->by_files = true;
    }
    s->report->incomplete = found->incomplete && !is_settled(found);
    take_kinds(s, found, twin);
    for (size_t i = 0; i < s->pursuit.n; i++) {
        if (!found->sources[i].note) {
            take_share(&s->report->matches[s->first + i], &found->sources[i]);
        }
    }
    return rc ? rc : take_more(s, found, twin, err);
}

/* Files say more than prints: what they contradict is taken back. */
static enum ww_err take_back(struct find *f, struct ww_error *err)
{
    struct ww_find_report *report = f->search.report;
    struct ww_find_match *picks = report->matches + f->search.first;
    const size_t n = f->search.pursuit.n;
    const size_t behind = report->n_matches - f->search.first - n;

    for (size_t i = 0; i < n; i++) {
        ww_free(picks[i].name);
        ww_free(picks[i].evidence);
    }
    if (behind > 0) {
        memmove(picks, picks + n, behind * sizeof(*picks));
    }
    report->n_matches -= n;
    ww_free(report->root);
    ww_free(report->root_evidence);
    report->root = NULL;
    report->root_evidence = NULL;
    report->unexplained = -1;
    return ww_strlist_add(&f->warnings,
                          "the prints named a root and sources, and their files are no "
                          "relatives of the suspect: both were taken back",
                          err);
}

/* Nothing was said of these, so one that is not there hinders nothing. */
static void leave_out_absent(struct ww_lookup *s)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->n_more; i++) {
        if (at_hand(&s->family.members[s->more[i]])) {
            s->more[n++] = s->more[i];
        }
    }
    s->n_more = n;
}

static enum ww_err confirm(struct find *f, struct ww_error *err)
{
    struct ww_lookup *s = &f->search;
    const char *candidates[WW_PURSUIT_MOST + WW_LOOKUP_MORE];
    struct ww_decompose_report found = {0};
    struct ww_decompose_options options = {.base = s->family.members[s->root].place,
                                           .candidates = candidates,
                                           .run = f->options->run};
    bool here = at_hand(&s->family.members[s->root]);
    enum ww_err rc = WW_OK;

    for (unsigned i = 0; i < s->pursuit.n; i++) {
        const struct ww_store_member *m = &s->family.members[s->pursuit.picks[i].member];
        candidates[options.n_candidates++] = m->place;
        here = here && at_hand(m);
    }
    leave_out_absent(s);
    for (unsigned i = 0; i < s->n_more; i++) {
        candidates[options.n_candidates++] = s->family.members[s->more[i]].place;
    }
    if (here && options.n_candidates == 0) {
        return WW_OK;
    }
    if (!here) {
        return ww_strlist_add(
            &f->warnings,
            "not confirmed: the files of root and sources are not where "
            "they were indexed, or have changed",
            err);
    }
    rc = ww_lineage_decompose(f->suspect, &options, &found, err);
    s->report->run.bytes_read += found.run.bytes_read;
    if (rc == WW_E_UNRELATED) {
        ww_error_clear(err);
        rc = take_back(f, err);
    } else if (!rc) {
        s->confirmed = true;
        rc = take_confirmed(s, &found, err);
    }
    ww_decompose_report_release(&found);
    return rc;
}

static enum ww_err warn_decoded_root(struct find *f, struct ww_error *err)
{
    const struct ww_lookup *s = &f->search;

    return s->pursuit.n > 0 && ww_lookup_drawn(s)
               ? ww_strlist_add(&f->warnings,
                                "could not tell from the prints: the root is quantised, "
                                "and what rounding took of it is in all that was made of "
                                "its weights before, which looks like a share; the files "
                                "would tell",
                                err)
               : WW_OK;
}

static enum ww_err search(struct find *f, struct ww_error *err)
{
    enum ww_err rc = ww_lookup_run(&f->search, err);

    if (!rc && !f->options->no_confirm && f->search.pursuit.n + f->search.n_more > 0) {
        rc = confirm(f, err);
    }
    if (!rc && f->print.decoded && !f->search.report->by_files &&
        f->search.pursuit.rounding >= WW_LOOKUP_HIDES) {
        rc = ww_strlist_add(&f->warnings,
                            "could not tell from the sketches: rounding is most of the "
                            "suspect's difference from the root, so sources may be "
                            "missing and shares are rough; the files would tell",
                            err);
    }
    return rc || f->search.confirmed ? rc : warn_decoded_root(f, err);
}

/* Weights that are packed say nothing but whose they are, where they are somebody's. */
static enum ww_err tell_packed(struct find *f, const struct ww_error *why,
                               struct ww_error *err)
{
    if (f->search.report->n_matches == 0) {
        return WW_FAIL(err, why->code, "%s", why->text);
    }
    return ww_strlist_add(&f->warnings,
                          "packed weights are not decoded: only models with the same "
                          "bytes were looked for, and no root and no sources",
                          err);
}

/* A print borrows the names of its model, which is open until the search is done. */
static enum ww_err read_and_search(struct find *f, bool sampled, bool fine,
                                   struct ww_error *err)
{
    const struct ww_print_options how = {
        .sample = sampled, .fine = fine, .run = f->options->run};
    struct ww_disguise suspect;
    struct ww_error why = {0};
    enum ww_err rc = ww_disguise_decoded(f->suspect, &suspect, &f->warnings, err);

    if (rc) {
        return rc;
    }
    rc = ww_disguise_unpacked(suspect.model, &why);
    f->search.by_bytes = rc == WW_E_QUANTISED;
    if (rc && !f->search.by_bytes) {
        *err = why;
    } else {
        rc = suspect.read ? ww_print_decoded(&suspect, &how, &f->print, err)
                          : ww_print_make(suspect.model, &how, &f->print, err);
    }
    if (!rc) {
        rc = search(f, err);
    }
    if (!rc && f->search.by_bytes) {
        rc = tell_packed(f, &why, err);
    }
    f->search.report->disguise = suspect.undone;
    suspect.undone = NULL;
    ww_disguise_release(&suspect);
    return rc;
}

enum ww_err ww_catalogue_find(const char *where, const char *suspect,
                              const struct ww_find_options *options,
                              struct ww_find_report *report, struct ww_error *err)
{
    const double from = ww_now();
    struct find f = {.options = options, .suspect = suspect};
    bool sampled = false;
    bool fine = false;
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    report->unexplained = -1;
    f.search.print = &f.print;
    f.search.root_name = options->root;
    f.search.threads = ww_threads_wanted(&options->run);
    f.search.report = report;
    rc = ww_store_open(where, WW_DB_READ, &sampled, &f.search.db, err);
    if (!rc) {
        rc = ww_store_has_fine(f.search.db, &fine, err);
    }
    if (!rc) {
        rc = read_and_search(&f, sampled, fine, err);
    }
    report->run.bytes_read += f.print.bytes_read;
    report->run.seconds = ww_now() - from;
    report->warnings = f.warnings.items;
    report->n_warnings = f.warnings.n;
    ww_db_close(f.search.db);
    ww_lookup_release(&f.search);
    ww_print_release(&f.print);
    return rc;
}

void ww_find_report_release(struct ww_find_report *report)
{
    for (size_t i = 0; i < report->n_matches; i++) {
        ww_free(report->matches[i].name);
        ww_free(report->matches[i].evidence);
    }
    for (size_t i = 0; i < report->n_layers; i++) {
        ww_free(report->layers[i].name);
    }
    for (size_t i = 0; i < report->n_warnings; i++) {
        ww_free(report->warnings[i]);
    }
    for (size_t i = 0; i < report->n_row_parts; i++) {
        ww_free(report->row_parts[i].tensor);
        ww_free(report->row_parts[i].name);
        ww_free(report->row_parts[i].of);
    }
    ww_free(report->matches);
    ww_free(report->layers);
    ww_free(report->row_parts);
    ww_free(report->warnings);
    ww_free(report->root);
    ww_free(report->root_evidence);
    ww_free(report->disguise);
    memset(report, 0, sizeof(*report));
}
