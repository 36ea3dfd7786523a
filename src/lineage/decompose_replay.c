/* SPDX-License-Identifier: Apache-2.0 */
/* The blend of the shares found, held against the suspect: what it explains. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lineage/decompose_report.h"
#include "lineage/decompose_work.h"
#include "lineage/sketch.h"
#include "util/alloc.h"
#include "util/fail.h"

#define LEAST_COSINE 0.1 /* of matrices with the base's: strangers have none */
/* Of the base in a suspect: more than sources change of its size, where the two are alike
 * but for that, as with strange layers they are not. */
#define RESCALED 0.02
#define ALONG 0.95
#define BITS_AGREE 0.99

double ww_decompose_unexplained(const struct ww_replay *sums)
{
    const double r2 = 1 - sums->residual / sums->total;
    const double ceiling = 1 - sums->floor / sums->total;

    return ceiling > 0 ? fmax(0, 1 - r2 / ceiling) : 1;
}

/* The mean over the weights of what the cosine of their matrix is. Some matrices start
 * out the same in every model (decays of state spaces), and are longer than all others.
 */
static double mean_cosine(const struct ww_family *f, const struct ww_replay *each)
{
    double sum = 0;
    double n = 0;

    for (uint32_t t = 0; t < f->n_tensors; t++) {
        if (each[t].base > 0 && each[t].suspect > 0) {
            const double weights = (double)f->tensors[t].n_elements;
            sum += weights * each[t].both / sqrt(each[t].base) / sqrt(each[t].suspect);
            n += weights;
        }
    }
    return n > 0 ? sum / n : 1;
}

/* Weights of strangers are orthogonal, whatever shapes and names they share. */
static enum ww_err check_related(struct ww_decomposing *d, const struct ww_replay *each,
                                 struct ww_error *err)
{
    const uint32_t unseen = d->family.n_unseen;
    char shapes[96] = "";

    d->cosine = mean_cosine(&d->family, each);
    if (d->cosine >= LEAST_COSINE) {
        return WW_OK;
    }
    if (unseen > 0) {
        (void)snprintf(shapes, sizeof(shapes),
                       ", or %" PRIu32 " of its matrices are of another shape or order",
                       unseen);
    }
    return WW_FAIL(
        err, WW_E_UNRELATED,
        "'%s' is no relative of '%s': the cosine of their weights is %.3f, "
        "expected at least %.1f; or its weights are in an order that comparing "
        "them with the base does not undo%s: a lock and a rotation of the residual "
        "stream above it may be undone by 'attack --anchor BASE SUSPECT OUT'",
        d->family.models[WW_FAMILY_SUSPECT]->path, d->family.models[WW_FAMILY_BASE]->path,
        d->cosine, LEAST_COSINE, shapes);
}

/* Tensors that were not replayed have no place in the list. */
static enum ww_err tell_each(struct ww_decomposing *d, const struct ww_replay *each,
                             struct ww_error *err)
{
    struct ww_decompose_report *r = d->report;

    r->each = ww_calloc(d->family.n_tensors, sizeof(*r->each));
    if (!r->each) {
        return WW_FAIL_MEMORY(err, "a decomposition");
    }
    for (uint32_t t = 0; t < d->family.n_tensors; t++) {
        const struct ww_family_tensor *tensor = &d->family.tensors[t];
        struct ww_lineage_tensor *out = &r->each[r->n_each];
        if (d->held && !d->held[t]) {
            continue;
        }
        out->name = ww_strdup(tensor->name);
        if (!out->name) {
            return WW_FAIL_MEMORY(err, "a decomposition");
        }
        r->n_each++;
        out->layer = tensor->layer;
        out->elements = tensor->n_elements;
        out->unexplained = each[t].total > 0 ? ww_decompose_unexplained(&each[t]) : -1;
        out->replay = each[t].moved ? (double)each[t].same / (double)each[t].moved : -1;
    }
    return WW_OK;
}

/* Tensors that a source which was not given may have changed alone. */
static struct ww_elsewhere count_elsewhere(const struct ww_replay *each, uint32_t n)
{
    struct ww_elsewhere e = {0};

    for (uint32_t t = 0; t < n; t++) {
        const uint64_t off = each[t].off + each[t].apart;
        e.apart += each[t].apart > each[t].moved ? each[t].apart : 0;
        e.off += WW_ELSEWHERE_PART * off > each[t].read ? off : 0;
    }
    return e;
}

/* By the numbers that the report's sources have. */
enum ww_err ww_decompose_replay(struct ww_decomposing *d, struct ww_error *err)
{
    struct ww_decompose_report *r = d->report;
    double shares[WW_LINEAGE_MAX_SOURCES] = {0};
    struct ww_replay *each = ww_calloc(d->family.n_tensors, sizeof(*each));
    struct ww_replay sums;
    enum ww_err rc = each ? WW_OK : WW_FAIL_MEMORY(err, "a decomposition");

    ww_decompose_forget_each(r);
    for (size_t i = 0; i < r->n_sources; i++) {
        shares[i] = r->sources[i].recipe;
    }
    if (!rc) {
        rc = ww_replay_blend(&d->family, shares,
                             d->varied.varies ? d->varied.tensors : NULL, d->held,
                             &d->options->run, &sums, each, &r->run.bytes_read, err);
    }
    rc = rc ? rc : check_related(d, each, err);
    rc = rc ? rc : tell_each(d, each, err);
    if (!rc) {
        d->elsewhere = count_elsewhere(each, d->family.n_tensors);
    }
    ww_free(each);
    if (rc) {
        return rc;
    }
    d->scale = sums.base > 0 ? sums.both / sums.base : 1;
    d->differs = sums.total > 0;
    if (!d->differs) {
        return ww_decompose_warn(d, "the suspect does not differ from the base", err);
    }
    r->r2 = 1 - sums.residual / sums.total;
    r->r2_ceiling = 1 - sums.floor / sums.total;
    r->unexplained = ww_decompose_unexplained(&sums);
    if (sums.moved > 0) {
        r->replay = (double)sums.same / (double)sums.moved;
        r->kept = (double)sums.left / (double)sums.moved;
        r->kept_most = (double)sums.would / (double)sums.moved;
    }
    return WW_OK;
}

static enum ww_err tell_unexplained(struct ww_decomposing *d, struct ww_error *err)
{
    const struct ww_decompose_report *r = d->report;

    if (r->unexplained <= WW_LINEAGE_MOSTLY) {
        return WW_OK;
    }
    return ww_decompose_warn(
        d,
        r->r2_ceiling > 0
            ? "most of the difference from the base is not explained: other "
              "sources, layers or neurons in other places, or a lock; shares "
              "say little then"
            : "rounding is as long as the difference from the base: nothing is "
              "said of whether something else went in",
        err);
}

/* Who turned out to be no source explains nothing, and no recipe has it. What it seemed
 * to explain is another's, that was not given. */
enum ww_err ww_decompose_replay_without(struct ww_decomposing *d, const bool *before,
                                        struct ww_error *err)
{
    struct ww_decompose_report *r = d->report;
    const double unexplained = r->unexplained;
    bool left = false;
    bool fewer = false;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < r->n_sources; i++) {
        left |= r->sources[i].included;
        if (!before[i] || r->sources[i].included) {
            continue;
        }
        fewer = true;
        for (uint32_t t = 0; d->varied.varies && t < d->family.n_tensors; t++) {
            d->varied.tensors[(size_t)t * d->k + i] = 0;
        }
        if (r->recipe && ww_sketch_has(r->recipe, r->sources[i].name)) {
            ww_free(r->recipe);
            r->recipe = NULL;
            r->nearest = false;
            r->method_match = 0;
        }
    }
    if (fewer && r->has_noise) { /* that was with it */
        r->incomplete |= r->noise_like && left;
        r->has_noise = r->noise_like = false;
    }
    if (fewer && r->method_match < BITS_AGREE) {
        rc = ww_decompose_replay(d, err);
        r->incomplete |=
            left && r->still == 0 && r->unexplained > unexplained + WW_LINEAGE_ELSEWHERE;
    }
    return rc;
}

bool ww_decompose_rescaled(const struct ww_decomposing *d)
{
    return fabs(d->scale - 1) > RESCALED && d->cosine >= ALONG &&
           !d->family.disguise.read;
}

static enum ww_err tell_scale(struct ww_decomposing *d, struct ww_error *err)
{
    char *text = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_decompose_rescaled(d) || d->report->method_match >= BITS_AGREE) {
        return WW_OK;
    }
    text = ww_asprintf("the base is in the suspect at %.2f of its size, as where a model "
                       "was scaled or weights of a sum without the base do not make 1, "
                       "and no recipe gives the bits: shares and their intervals are "
                       "those of a fit that takes it for whole, and may all miss",
                       d->scale);
    rc = text ? ww_decompose_warn(d, text, err) : WW_FAIL_MEMORY(err, "a note");
    ww_free(text);
    return rc;
}

/* Models that were made of a base's weights before these were rounded have what rounding
 * took in common, and no difference from the rounded base is without it. Bits, or
 * elements that are sums over sources, say that nothing of the kind is there. */
static enum ww_err tell_base(struct ww_decomposing *d, struct ww_error *err)
{
    struct ww_decompose_report *r = d->report;
    const bool sums = !d->family.disguise.read && r->parts >= WW_LINEAGE_PARTS;

    if (!d->family.base_decoded || ww_decompose_count_included(r) == 0 || sums ||
        r->method_match >= BITS_AGREE) {
        return WW_OK;
    }
    r->incomplete = true;
    return ww_decompose_warn(
        d,
        "the base is quantised: models that were made of its weights "
        "before they were rounded have what rounding took in common, "
        "and shares of such models are drawn to a sum of one",
        err);
}

/* What is left out because rounding hid it is no ground to say that nothing went in. */
static enum ww_err tell_same_steps(struct ww_decomposing *d, struct ww_error *err)
{
    struct ww_decompose_report *r = d->report;

    if (d->family.n_same_steps == 0) {
        return WW_OK;
    }
    r->incomplete = true;
    if (!d->differs && d->family.n_same == d->family.n_same_steps) {
        return ww_decompose_warn(
            d,
            "the suspect is the base, rounded anew: all that was looked at has the "
            "base's values, and changes shorter than half a step would not be seen",
            err);
    }
    return ww_decompose_count_included(r) > 0
               ? WW_OK
               : WW_FAIL(err, WW_E_QUANTISED,
                         "%" PRIu32 " tensors of the suspect were rounded to the steps "
                         "that the base's own values lie on, which hides what changed, "
                         "and the others show no source; compare a suspect with more "
                         "bits",
                         d->family.n_same_steps);
}

enum ww_err ww_decompose_tell_rest(struct ww_decomposing *d, struct ww_error *err)
{
    enum ww_err rc = tell_unexplained(d, err);

    rc = rc ? rc : tell_scale(d, err);
    rc = rc ? rc : tell_base(d, err);
    /* A source may have gone into what is left out, and nothing else tells of it. */
    d->report->incomplete |=
        d->family.n_unseen > 0 && ww_decompose_count_included(d->report) > 0;
    return rc ? rc : tell_same_steps(d, err);
}
