/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table whose words were put in another order says nothing of shares, and in a fit it
 * is noise as long as the weights. Weights of relatives point the same way in every
 * matrix, so a look at pieces from all over it tells.
 *
 * A suspect that was rounded to the steps that the base's own values lie on, as
 * fine-tunes of a model that was released in four bits, has most of the base's values:
 * changes shorter than half a step are gone, and what is left is no sum of task vectors
 * and noise. Where the steps are others one value in eight lies as near by chance. A
 * base that was decoded into a dtype was rounded to that as well, so the suspect's values
 * are, too. Asked of quantised suspects alone: what undoes a disguise may take values
 * from the base.
 */
#include "lineage/strangers.h"

#include <inttypes.h>
#include <math.h>

#include "model/convert.h"
#include "model/elements.h"
#include "model/f8.h"
#include "stream/cpus.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define PIECES 8
#define PIECE 2048
#define LEAST 1024     /* elements of a tensor that is looked at */
#define LIKE 0.5       /* least cosine; ternary weights have 0.8 */
#define ON_STEP 0.0625 /* of a step: scales that are a little apart */

enum kind {
    COMPARED,
    ELSEWHERE,
    SAME_STEPS, /* half of the values at least are the base's */
    KINDS
};

/* What is said of the kind, for one and for more. */
static const char *const reasons[KINDS][2] = {
    [ELSEWHERE] = {"is not compared: words, rows or columns in another order point "
                   "elsewhere than the base's, as it does",
                   "are not compared: words, rows or columns in another order point "
                   "elsewhere than the base's, as they do"},
    [SAME_STEPS] = {
        "is not compared: it was rounded to the steps that the base's own "
        "values lie on, which hides changes shorter than half a step",
        "are not compared: they were rounded to the steps that the base's own "
        "values lie on, which hides changes shorter than half a step"}};

struct look {
    uint8_t bytes[PIECE * sizeof(double)];
    double suspect[PIECE];
    double steps[PIECE];
    double base[PIECE];
    double rounded[PIECE]; /* the suspect, in the base's dtype */
    double near;           /* part of a step by which equal values may be apart */
};

static enum ww_err read_piece(const struct ww_family *f, const struct ww_family_tensor *t,
                              uint64_t first, size_t n, struct look *look,
                              struct ww_error *err)
{
    const struct ww_disguise *d = &f->disguise;
    const struct ww_model *base = f->models[WW_FAMILY_BASE];
    const uint32_t s = t->index[WW_FAMILY_SUSPECT];
    const uint32_t b = t->index[WW_FAMILY_BASE];
    enum ww_err rc =
        d->read ? ww_disguise_values(d, s, first, n, look->suspect, look->steps, err)
                : ww_elements_double(f->models[WW_FAMILY_SUSPECT], s, first, n,
                                     look->bytes, look->suspect, err);

    rc = rc ? rc : ww_elements_double(base, b, first, n, look->bytes, look->base, err);
    if (!rc) {
        ww_from_double(base->tensors[b].dtype, look->suspect, look->bytes, n);
        ww_to_double(base->tensors[b].dtype, look->bytes, look->rounded, n);
    }
    return rc;
}

struct sums {
    double ss;
    double bb;
    double sb;
    uint64_t stepped; /* rounded, of values of the base that are not zero */
    uint64_t equal;   /* of those */
};

static void add_piece(const struct look *look, size_t n, bool steps, struct sums *sums)
{
    for (size_t e = 0; e < n; e++) {
        const double s = look->suspect[e];
        const double b = look->base[e];
        sums->ss += s * s;
        sums->bb += b * b;
        sums->sb += s * b;
        if (steps && look->steps[e] > 0 && look->steps[e] < WW_STEP_LOST &&
            (b < 0 || b > 0)) {
            sums->stepped++;
            sums->equal += fabs(look->rounded[e] - b) <= look->near * look->steps[e];
        }
    }
}

static enum kind judge(const struct sums *s)
{
    if (s->ss > 0 && s->bb > 0 &&
        (s->sb <= 0 || s->sb * s->sb < LIKE * LIKE * s->ss * s->bb)) {
        return ELSEWHERE;
    }
    return s->stepped > 0 && 2 * s->equal >= s->stepped ? SAME_STEPS : COMPARED;
}

/* *same counts tensors all of whose values are the base's. */
static enum ww_err find_kind(const struct ww_family *f, const struct ww_family_tensor *t,
                             struct look *look, enum kind *kind, uint32_t *same,
                             struct ww_error *err)
{
    const size_t n = (size_t)ww_min_u64(PIECE, t->n_elements / PIECES);
    struct sums sums = {0};
    enum ww_err rc = WW_OK;

    *kind = COMPARED;
    if (t->n_elements < LEAST) {
        return WW_OK;
    }
    for (uint64_t p = 0; p < PIECES && !rc; p++) {
        rc = read_piece(f, t, p * ((t->n_elements - n) / (PIECES - 1)), n, look, err);
        if (!rc) {
            add_piece(look, n, f->disguise.cells, &sums);
        }
    }
    *kind = rc ? COMPARED : judge(&sums);
    *same += *kind == SAME_STEPS && sums.equal == sums.stepped;
    return rc;
}

static enum ww_err tell(struct ww_family *f, enum kind kind, const enum kind *kinds,
                        struct ww_error *err)
{
    const char *first = NULL;
    char *text = NULL;
    uint32_t n = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t t = 0; t < f->n_tensors; t++) {
        if (kinds[t] == kind) {
            first = n++ ? first : f->tensors[t].name;
        }
    }
    if (n == 0) {
        return WW_OK;
    }
    text = ww_asprintf("%" PRIu32 " tensor%s of the suspect, '%.160s' first, %s", n,
                       n == 1 ? "" : "s", first, reasons[kind][n > 1]);
    rc = text ? ww_strlist_add(&f->warnings, text, err)
              : WW_FAIL_MEMORY(err, "a comparison of models");
    ww_free(text);
    return rc;
}

/* Where half of the weights point elsewhere it is no matter of single tensors. */
static void keep_most(const struct ww_family *f, enum kind *kinds)
{
    uint64_t all = 0;
    uint64_t odd = 0;

    for (uint32_t t = 0; t < f->n_tensors; t++) {
        all += f->tensors[t].n_elements;
        odd += kinds[t] == ELSEWHERE ? f->tensors[t].n_elements : 0;
    }
    for (uint32_t t = 0; t < f->n_tensors && 2 * odd >= all; t++) {
        kinds[t] = kinds[t] == ELSEWHERE ? COMPARED : kinds[t];
    }
}

static enum ww_err leave(struct ww_family *f, const enum kind *kinds,
                         struct ww_error *err)
{
    uint32_t n = 0;

    for (uint32_t t = 0; t < f->n_tensors; t++) {
        if (kinds[t] == COMPARED) {
            f->tensors[n++] = f->tensors[t];
        }
        f->n_same_steps += kinds[t] == SAME_STEPS;
        f->n_unseen += kinds[t] == ELSEWHERE && f->tensors[t].layer != WW_NONE;
    }
    f->n_strangers = f->n_tensors - n;
    f->n_tensors = n;
    return n > 0 ? WW_OK
                 : WW_FAIL(err, WW_E_QUANTISED,
                           "all weights of the suspect were rounded to the steps that "
                           "the base's own values lie on, which hides what changed; "
                           "nothing is left to compare");
}

enum ww_err ww_family_leave_strangers(struct ww_family *family,
                                      const struct ww_run_options *run,
                                      struct ww_error *err)
{
    struct look *look = ww_calloc(1, sizeof(*look));
    enum kind *kinds = ww_calloc(family->n_tensors, sizeof(*kinds));
    enum ww_err rc =
        look && kinds ? WW_OK : WW_FAIL_MEMORY(err, "a comparison of models");

    if (!rc) {
        look->near = family->base_decoded ? ON_STEP : 0;
    }
    for (uint32_t t = 0; t < family->n_tensors && !rc; t++) {
        rc = ww_run_progress(run, "looking", t, family->n_tensors, err);
        if (!rc) {
            rc = find_kind(family, &family->tensors[t], look, &kinds[t], &family->n_same,
                           err);
        }
    }
    if (!rc) {
        keep_most(family, kinds);
        rc = tell(family, ELSEWHERE, kinds, err);
    }
    rc = rc ? rc : tell(family, SAME_STEPS, kinds, err);
    rc = rc ? rc : leave(family, kinds, err);
    ww_free(kinds);
    ww_free(look);
    return rc;
}
