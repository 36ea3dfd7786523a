/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A search goes from cheap to dear: the digest, the root among models of the suspect's
 * shape, sources by sketches, tensors and rows by hashes.
 */
#include "lineage/catalogue_search.h"

#include <string.h>

#include "lineage/catalogue_hidden.h"
#include "lineage/catalogue_parts.h"
#include "lineage/catalogue_refine.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "weightward/lineage.h"

/* Likeness of anchors: chance is 1 / sqrt(32,640) = 0.006. */
#define ANCHORS_ALIKE 0.5
/* Further from its root than any sibling is: then the heads are asked too. */
#define IN_PLACE 0.95
/* A likeness that no member has. */
#define TAKEN (-2.0)
/* Unexplained by nothing. */
#define NONE (-1.0)

enum ww_err ww_lookup_add(struct ww_find_report *report, const char *name,
                          struct ww_find_match match, char *evidence,
                          struct ww_error *err)
{
    struct ww_find_match *grown =
        ww_realloc_array(report->matches, report->n_matches + 1, sizeof(*grown));

    if (grown) {
        report->matches = grown;
    }
    match.name = ww_strdup(name);
    match.evidence = evidence;
    if (!grown || !match.name || !evidence) {
        ww_free(match.name);
        ww_free(evidence);
        return WW_FAIL_MEMORY(err, "a search");
    }
    report->matches[report->n_matches++] = match;
    return WW_OK;
}

static enum ww_err find_identical(struct ww_lookup *s, struct ww_error *err)
{
    const struct ww_find_match match = {
        .kind = "identical", .share = -1, .low = -1, .high = -1};
    char *name = NULL;
    enum ww_err rc = WW_OK;

    if (s->print->n_tensors == 0) {
        return WW_OK; /* a GGUF file, whose bytes are nobody's */
    }
    rc = ww_store_known(s->db, "digest", s->print->digest, &name, err);

    if (!rc && name) {
        rc = ww_lookup_add(s->report, name, match,
                           ww_strdup(s->print->sampled
                                         ? "all sampled bytes have the same SHA-256"
                                         : "the tensor trees have the same SHA-256 root"),
                           err);
    }
    ww_free(name);
    return rc;
}

static size_t declared_root(const struct ww_lookup *s, const double *cosines)
{
    size_t best = s->family.n;

    for (size_t i = 0; i < s->family.n; i++) {
        if (s->family.members[i].root && s->family.related[i] &&
            (best == s->family.n || cosines[i] > cosines[best])) {
            best = i;
        }
    }
    return best;
}

static enum ww_err named_root(struct ww_lookup *s, struct ww_error *err)
{
    for (size_t i = 0; i < s->family.n; i++) {
        if (strcmp(s->family.members[i].name, s->root_name) == 0) {
            s->root = i;
            s->report->root_evidence = ww_strdup("named by the user");
            return s->report->root_evidence ? WW_OK : WW_FAIL_MEMORY(err, "a search");
        }
    }
    return WW_FAIL(err, WW_E_NOTFOUND,
                   "the catalogue has no model '%s' of the suspect's shape",
                   s->root_name);
}

static struct ww_pursuit_problem problem_of(const struct ww_lookup *s)
{
    return (struct ww_pursuit_problem){
        .suspect = s->print->coarse,
        .root = s->root < s->family.n ? s->family.sketches + s->root * WW_SKETCH_COARSE
                                      : NULL,
        .sketches = s->family.sketches,
        .use = s->family.related,
        .n = s->family.n,
        .m = WW_SKETCH_COARSE,
        .elements = s->print->body,
        .noise = s->print->noise,
        .threads = s->threads,
        .sum = s->family.sum};
}

static enum ww_err guess_root(struct ww_lookup *s, size_t n_related, struct ww_error *err)
{
    const struct ww_scan scan = {.sketches = s->family.sketches,
                                 .use = s->family.related,
                                 .n = s->family.n,
                                 .m = WW_SKETCH_COARSE,
                                 .threads = s->threads};
    double *room = ww_calloc(WW_SKETCH_COARSE + s->family.n, sizeof(*room));
    const char *how = "marked as a root in the catalogue";

    if (!room) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    s->root = declared_root(s, s->family.cosines);
    if (s->root == s->family.n && n_related > 0) {
        s->root = ww_sketch_centre(&scan, s->family.sum, room);
        how = n_related > 2
                  ? "nearest to the mean of its relatives"
                  : "one of too few relatives to tell the root; --root names it";
    }
    ww_free(room);
    if (s->root == s->family.n) {
        return WW_OK;
    }
    s->report->root_evidence =
        ww_asprintf("%s; cosine of the weights %.4f", how, s->family.cosines[s->root]);
    return s->report->root_evidence ? WW_OK : WW_FAIL_MEMORY(err, "a search");
}

static enum ww_err find_root(struct ww_lookup *s, struct ww_error *err)
{
    size_t n_related = 0;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < s->family.n; i++) {
        n_related += s->family.related[i];
    }
    rc = s->root_name ? named_root(s, err) : guess_root(s, n_related, err);
    if (!rc && s->root < s->family.n) {
        s->report->root = ww_strdup(s->family.members[s->root].name);
        rc = s->report->root ? WW_OK : WW_FAIL_MEMORY(err, "a search");
    }
    return rc;
}

/* Anchors of the root, or of every model when none is related place by place. */
struct anchors {
    const float *suspect;
    double best;
    char *name;
};

static enum ww_err take_anchors(void *payload, const struct ww_db_value *c, size_t n,
                                struct ww_error *err)
{
    struct anchors *a = payload;
    float *gram = NULL;
    double likeness = 0;
    enum ww_err rc = WW_OK;
    (void)n;

    if (c[1].type == WW_DB_NULL) {
        return WW_OK;
    }
    gram = ww_calloc(WW_PRINT_GRAM, sizeof(*gram));
    rc = gram ? ww_store_floats(&c[1], gram, WW_PRINT_GRAM, "a Gram matrix of anchors",
                                err)
              : WW_FAIL_MEMORY(err, "a search");
    likeness = rc ? 0 : ww_anchor_likeness(a->suspect, gram);
    ww_free(gram);
    if (!rc && (!a->name || likeness > a->best)) {
        ww_free(a->name);
        a->best = likeness;
        rc = ww_store_name(&c[0], "a model's name", &a->name, err);
    }
    return rc;
}

static enum ww_err compare_anchors(struct ww_lookup *s, struct ww_error *err)
{
    static const char all[] =
        "SELECT m.name, d.gram FROM ww_models m JOIN ww_details d ON "
        "d.model = m.id ORDER BY m.root DESC, m.id LIMIT $1";
    static const char one[] =
        "SELECT m.name, d.gram FROM ww_models m JOIN ww_details d ON "
        "d.model = m.id WHERE m.id = $1";
    const bool known = s->root < s->family.n;
    const struct ww_db_value v[] = {
        ww_db_int(known ? s->family.members[s->root].id : WW_FAMILY_MOST)};
    struct anchors a = {.suspect = s->print->gram};
    enum ww_err rc = WW_OK;

    if (!a.suspect) {
        return WW_OK;
    }
    rc = ww_db_run(s->db, known ? one : all, v, 1, take_anchors, &a, err);
    if (!rc && a.name) {
        s->report->root_anchors = a.best;
    }
    if (!rc && !known && a.name && a.best >= ANCHORS_ALIKE) {
        s->report->root = a.name;
        a.name = NULL;
        s->report->root_evidence = ww_asprintf(
            "embedding anchors alike (%.4f), weights in other places: another "
            "shape, a lock or a permutation",
            a.best);
        rc = s->report->root_evidence ? WW_OK : WW_FAIL_MEMORY(err, "a search");
    } else if (!rc && !known) {
        s->report->root_anchors = 0;
    }
    ww_free(a.name);
    return rc;
}

bool ww_lookup_drawn(const struct ww_lookup *s)
{
    return s->root < s->family.n && s->family.members[s->root].decoded &&
           (s->print->decoded || s->pursuit.unexplained > WW_LINEAGE_ELSEWHERE);
}

/* of: what was compared, weights by their sketches or spectra. */
static enum ww_err add_pick(struct ww_lookup *s, const char *of,
                            const struct ww_pursuit_pick *p, const struct ww_mates *mates,
                            struct ww_error *err)
{
    const bool source = ww_mates_source(mates, s->pursuit.unexplained,
                                        ww_lookup_drawn(s) ? NONE : WW_MATES_EXPLAINED);
    const struct ww_find_match match = {.kind = source ? "source" : "similar",
                                        .share = p->share,
                                        .low = -1,
                                        .high = -1,
                                        .cosine = p->cosine};
    char *mate = mates->n
                     ? ww_asprintf(", at most %.4f with one of %zu mates (margin %.4f)",
                                   mates->mate, mates->n, mates->margin)
                     : ww_strdup(", without mates to compare with");
    char *evidence =
        mate ? ww_asprintf("cosine of the differences of %s from the root %.4f, "
                           "threshold %.4f; share over error %.1f; own part %.4f%s",
                           of, p->cosine, s->pursuit.threshold, p->z, mates->own, mate)
             : NULL;

    ww_free(mate);
    return ww_lookup_add(s->report, s->family.members[p->member].name, match, evidence,
                         err);
}

/* Shares by the fine sketches, where the coarse ones leave little unexplained. */
static enum ww_err refine(struct ww_lookup *s, struct ww_error *err)
{
    bool done = false;
    enum ww_err rc = WW_OK;

    if (!s->print->fine || s->pursuit.n == 0 ||
        s->pursuit.unexplained > WW_REFINE_UNEXPLAINED) {
        return WW_OK;
    }
    rc = ww_find_refine(s->db, s->print->fine, s->root, &s->family, &s->pursuit, &done,
                        err);
    s->report->refined = done;
    return rc;
}

/* The root is no source: neither in use, nor in the sum of those that are. */
static void leave_out_root(struct ww_lookup *s)
{
    const float *root = s->family.sketches + s->root * WW_SKETCH_COARSE;

    for (size_t j = 0; j < WW_SKETCH_COARSE && s->family.related[s->root]; j++) {
        s->family.sum[j] -= (double)root[j];
    }
    s->family.related[s->root] = false;
}

/* A source's twin may be more like a suspect than the source is, for what another one put
 * in: then the pick has no part of its own. */
static bool may_be_twins(const struct ww_lookup *s)
{
    bool any = false;

    for (unsigned i = 0; i < s->pursuit.n; i++) {
        any = any || !s->apart[i];
    }
    return any;
}

/* Rounding makes every likeness small, so that the threshold keeps sources out, and what
 * it does to the size of weights may leave one below zero. */
static bool may_be_hidden(const struct ww_lookup *s)
{
    const struct ww_pursuit *p = &s->pursuit;
    const bool whole = p->unexplained >= 0 && p->unexplained <= WW_LINEAGE_ELSEWHERE;

    return s->print->decoded && (!whole || p->rounding >= WW_LOOKUP_HIDES);
}

/* Whom the files are asked about beside the picks. */
static void keep_more(struct ww_lookup *s, double *likeness)
{
    for (unsigned i = 0; i < s->pursuit.n; i++) {
        likeness[s->pursuit.picks[i].member] = TAKEN;
    }
    while (s->n_more < WW_LOOKUP_MORE) {
        size_t best = s->family.n;
        for (size_t i = 0; i < s->family.n; i++) {
            if (likeness[i] > TAKEN &&
                (best == s->family.n || likeness[i] > likeness[best])) {
                best = i;
            }
        }
        if (best == s->family.n) {
            return;
        }
        s->more[s->n_more++] = best;
        likeness[best] = TAKEN;
    }
}

static enum ww_err find_sources(struct ww_lookup *s, struct ww_error *err)
{
    const struct ww_pursuit_problem problem = problem_of(s);
    struct ww_mates mates[WW_PURSUIT_MOST];
    double *likeness = ww_calloc(s->family.n, sizeof(*likeness));
    enum ww_err rc = likeness ? WW_OK : WW_FAIL_MEMORY(err, "a search");

    leave_out_root(s);
    if (!rc) {
        rc = ww_pursue(&problem, likeness, &s->pursuit, err);
    }
    if (!rc) {
        rc = refine(s, err);
    }
    if (!rc) {
        rc = ww_mates_compare(&problem, likeness, &s->pursuit, mates, err);
    }
    s->report->threshold = s->pursuit.threshold;
    s->report->unexplained = s->pursuit.unexplained;
    for (unsigned i = 0; i < s->pursuit.n && !rc; i++) {
        s->apart[i] = ww_mates_apart(&mates[i]);
        s->alone[i] = !ww_mates_inform(&mates[i]);
        rc = add_pick(s, "weights", &s->pursuit.picks[i], &mates[i], err);
    }
    if (!rc && (may_be_hidden(s) || may_be_twins(s))) {
        keep_more(s, likeness);
    }
    ww_free(likeness);
    return rc;
}

/* Spectra are few, so that a pick may stand for others: files are asked for more. */
static enum ww_err take_hidden(struct ww_lookup *s, struct ww_hidden *hidden,
                               struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (s->root == s->family.n) {
        s->root = hidden->root;
        s->report->root = ww_strdup(s->family.members[s->root].name);
    }
    ww_free(s->report->root_evidence);
    s->report->root_evidence = ww_asprintf("spectra of heads alike (off by %.4f of their "
                                           "length), weights in other places: a "
                                           "lock or a permutation",
                                           hidden->distance);
    if (!s->report->root || !s->report->root_evidence) {
        return WW_FAIL_MEMORY(err, "a search");
    }
    s->pursuit = hidden->pursuit;
    s->report->threshold = s->pursuit.threshold;
    s->report->unexplained = s->pursuit.unexplained;
    for (unsigned i = 0; i < s->pursuit.n && !rc; i++) {
        s->alone[i] = !ww_mates_inform(&hidden->mates[i]);
        rc = add_pick(s, "spectra", &s->pursuit.picks[i], &hidden->mates[i], err);
    }
    if (!rc) {
        s->by_spectra = true;
        keep_more(s, hidden->likeness);
    }
    return rc;
}

/* Is the suspect one whose weights were moved? Only then do spectra, which are fewer and
 * so say less, stand in for sketches. */
static enum ww_err find_moved(struct ww_lookup *s, struct ww_error *err)
{
    const bool known = s->root < s->family.n;
    struct ww_hidden *hidden = NULL;
    enum ww_err rc = WW_OK;

    if (!s->print->spectra || s->family.n == 0 || s->pursuit.n > 0 ||
        (known && s->family.cosines[s->root] >= IN_PLACE)) {
        return WW_OK;
    }
    hidden = ww_calloc(1, sizeof(*hidden));
    rc = hidden ? ww_find_hidden(s->db, s->print, &s->family, s->root, s->threads, hidden,
                                 err)
                : WW_FAIL_MEMORY(err, "a search");
    if (!rc && hidden->root < s->family.n) {
        rc = take_hidden(s, hidden, err);
    }
    if (hidden) {
        ww_free(hidden->likeness);
    }
    ww_free(hidden);
    return rc;
}

static enum ww_err tell_layers(struct ww_lookup *s, struct ww_error *err)
{
    struct ww_find_report *report = s->report;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < report->n_layers && !rc; i++) {
        const struct ww_find_match match = {
            .kind = "layers", .share = -1, .low = -1, .high = -1, .confirmed = true};
        size_t count = 0;
        size_t before = 0;
        for (size_t j = 0; j < report->n_layers; j++) {
            if (strcmp(report->layers[j].name, report->layers[i].name) == 0) {
                before += j < i;
                count++;
            }
        }
        if (before == 0) {
            rc = ww_lookup_add(
                report, report->layers[i].name, match,
                ww_asprintf("%zu layers are its layers, bit for bit", count), err);
        }
    }
    return rc;
}

/* Root and sources. */
static enum ww_err find_by_weights(struct ww_lookup *s, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    s->root = s->family.n;
    s->first = s->report->n_matches;
    if (s->by_bytes) {
        return WW_OK;
    }
    rc = find_root(s, err);
    if (!rc && s->root < s->family.n && s->first == 0) {
        rc = find_sources(s, err);
    }
    if (!rc && s->first == 0) {
        rc = find_moved(s, err);
    }
    return rc ? rc : compare_anchors(s, err);
}

enum ww_err ww_lookup_run(struct ww_lookup *s, struct ww_error *err)
{
    const double from = ww_now();
    int64_t count = 0;
    enum ww_err rc = find_identical(s, err);

    if (!rc) {
        rc =
            ww_store_count(s->db, "SELECT count(*) FROM ww_models", NULL, 0, &count, err);
        s->report->n_models = (uint64_t)count;
    }
    if (!rc) {
        rc = ww_store_family(s->db, s->print, &s->family, err);
        s->report->n_family = s->family.n;
    }
    if (!rc) {
        rc = find_by_weights(s, err);
    }
    if (!rc) {
        const int64_t root = s->root < s->family.n ? s->family.members[s->root].id : -1;
        rc = ww_find_parts(s->db, s->print, root, s->report, err);
    }
    if (!rc && s->first == 0) {
        rc = tell_layers(s, err);
    }
    s->report->search_seconds = ww_now() - from;
    return rc;
}

void ww_lookup_release(struct ww_lookup *s)
{
    ww_store_family_release(&s->family);
}
