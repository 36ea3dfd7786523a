/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gains that were moved into the matrices that read them, or out of them, by any factors,
 * and a residual stream that was made longer: RMS norms notice neither. Suspect and base
 * are folded, a lock is looked for between the two, and the gains that the sources' sum
 * has are taken out again where a rotation is looked for.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lineage/folded_side.h"
#include "model/convert.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define ODD_GAINS 0.1 /* relative distance of sorted gains, more than training makes */
#define ODD_LENGTH                                                                       \
    0.05 /* of a stream, and by which norms of what was undone may differ */

struct moved_gains {
    struct ww_model *inner;
    struct ww_folded *suspect;
    struct ww_folded *anchor;
    const double **odd; /* gains of the suspect that are not the base's */
    uint32_t n_odd;
    struct ww_disguise lock;
    bool locked;
};

static void free_gains(void *payload)
{
    struct moved_gains *g = payload;

    ww_disguise_leave(&g->lock);
    ww_free(g->odd);
    ww_folded_free(g->suspect);
    ww_folded_free(g->anchor);
    ww_model_close(g->inner);
    ww_free(g);
}

static bool is_dense(const void *payload, uint32_t tensor)
{
    const struct moved_gains *g = payload;

    return g->lock.dense(g->lock.payload, tensor);
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct moved_gains *g = payload;

    return ww_model_unchanged(g->inner, err);
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;

    return (x > y) - (x < y);
}

static void sort_sizes(const double *gains, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = fabs(gains[i]);
    }
    qsort(out, n, sizeof(*out), by_size);
}

/* Are the gains of some norm others than the base's, in whatever order? Those that are
 * all one are a rotation's. */
static enum ww_err odd_gains(struct moved_gains *g, bool *ones, struct ww_error *err)
{
    const struct ww_rotation *parts = &g->suspect->parts;
    const size_t n = parts->n;
    double *room = ww_calloc(2 * n + 1, sizeof(*room));
    enum ww_err rc = WW_OK;

    *ones = true;
    g->odd = ww_calloc(parts->n_tensors + (size_t)1, sizeof(*g->odd));
    rc = room && g->odd ? WW_OK : WW_FAIL_MEMORY(err, "gains");
    for (uint32_t t = 0; t < parts->n_tensors && !rc; t++) {
        const uint32_t b = ww_model_find(g->anchor->from, g->inner->tensors[t].name);
        const double *theirs = b == WW_NONE ? NULL : g->anchor->parts.gains[b];
        double distance = 0;
        double size = 0;
        if (!parts->gains[t] || !theirs || g->anchor->parts.n != n) {
            continue;
        }
        sort_sizes(parts->gains[t], n, room);
        sort_sizes(theirs, n, room + n);
        for (size_t i = 0; i < n; i++) {
            distance += (room[i] - room[n + i]) * (room[i] - room[n + i]);
            size += room[n + i] * room[n + i];
            *ones = *ones && parts->gains[t][i] == 1;
        }
        if (distance > ODD_GAINS * ODD_GAINS * size) {
            g->odd[g->n_odd++] = parts->gains[t];
        }
    }
    ww_free(room);
    return rc;
}

static bool far_off(double a, double b)
{
    return !(a > 0 && b > 0) || fabs(log(a / b) / 2) > ODD_LENGTH;
}

static uint64_t words_of(const struct ww_model *model)
{
    uint64_t words = UINT64_MAX;
    struct ww_depth_name split;

    for (uint32_t t = 0; t < model->n_tensors; t++) {
        if (model->tensors[t].rank == 2 &&
            !ww_depth_split(model->tensors[t].name, &split)) {
            words = ww_min_u64(words, model->tensors[t].shape[0]);
        }
    }
    return words;
}

/* A model that was scaled has a longer head as well, and is no disguise. Of a tied head
 * that cannot be told, nor is a stream behind norms of its own as long as what writes it.
 */
static enum ww_err measure(struct moved_gains *g, bool *odd, struct ww_error *err)
{
    const uint64_t words = ww_min_u64(words_of(g->inner), words_of(g->anchor->from));
    struct ww_folded_norms own;
    struct ww_folded_norms base;
    enum ww_err rc = ww_folded_norms(g->suspect, words, &own, err);

    rc = rc ? rc : ww_folded_norms(g->anchor, words, &base, err);
    if (rc) {
        return rc;
    }
    if (g->suspect->parts.gains_alone || g->anchor->parts.gains_alone) {
        *odd = g->n_odd > 0 && !far_off(own.embeddings, base.embeddings) &&
               g->suspect->parts.gains_alone == g->anchor->parts.gains_alone;
        return WW_OK;
    }
    if (far_off(own.embeddings, base.embeddings) && base.embeddings > 0) {
        g->suspect->length = sqrt(own.embeddings / base.embeddings);
    }
    *odd = (g->n_odd > 0 || g->suspect->length != 1) && g->suspect->length > 0 &&
           !far_off(own.heads, base.heads);
    return WW_OK;
}

/* Both folded, and whether something was moved between gains and matrices. */
static enum ww_err open_folded(struct moved_gains *g, const struct ww_model *base,
                               bool *moved, bool *ones, struct ww_error *err)
{
    bool as_it_is = false;
    enum ww_err rc = ww_folded_new(g->inner, &g->suspect, err);

    *moved = false;
    rc = rc || !g->suspect ? rc : ww_folded_new(base, &g->anchor, err);
    if (rc || !g->anchor) {
        return rc;
    }
    rc = odd_gains(g, ones, err);
    rc = rc ? rc : measure(g, moved, err);
    if (!rc && *moved) {
        rc = ww_folded_apart(g->suspect, g->anchor, g->odd, g->n_odd, &as_it_is, err);
        *moved = !as_it_is;
    }
    return rc;
}

static enum ww_err take(struct moved_gains *g, struct ww_disguise *out,
                        struct ww_error *err)
{
    char *text = ww_asprintf("gains of norms folded%s%s%s",
                             g->suspect->length != 1 ? ", the stream at its length" : "",
                             g->locked ? ", and " : "", g->locked ? g->lock.undone : "");

    if (!text) {
        return WW_FAIL_MEMORY(err, "a note");
    }
    g->suspect->lent = true;
    out->model = g->suspect->model;
    out->raw = g->inner;
    out->folded = true;
    out->undone = text;
    out->dense = g->locked && g->lock.dense ? is_dense : NULL;
    out->unchanged = unchanged;
    out->free = free_gains;
    out->payload = g;
    return WW_OK;
}

/* Gains that are all one are a rotation's, which is looked for in floats as they are. */
static enum ww_err look(struct moved_gains *g, const struct ww_model *base, bool noisy,
                        const struct ww_run_options *run, bool *use, struct ww_error *err)
{
    bool moved = false;
    bool ones = false;
    enum ww_err rc = open_folded(g, base, &moved, &ones, err);

    if (rc || !moved) {
        return rc;
    }
    rc = ww_disguise_locked(g->suspect->model, g->anchor->model, noisy, run, &g->lock,
                            &g->locked, err);
    *use = !rc && (g->locked || !ones || g->suspect->length != 1 || noisy);
    return rc;
}

/* No gains to fold. */
static enum ww_err unless_grave(enum ww_err rc, const struct ww_error *why,
                                struct ww_error *err)
{
    return rc == WW_OK || rc == WW_E_CONFIG || rc == WW_E_TENSOR || rc == WW_E_UNRELATED
               ? WW_OK
               : WW_FAIL(err, rc, "%s", why->text);
}

enum ww_err ww_disguise_gains_moved(struct ww_model *model, const struct ww_model *base,
                                    bool *moved, struct ww_error *err)
{
    struct moved_gains *g = ww_calloc(1, sizeof(*g));
    struct ww_error why = {0};
    bool ones = false;
    enum ww_err rc = g ? WW_OK : WW_FAIL_MEMORY(err, "a suspect");

    *moved = false;
    if (rc) {
        return rc;
    }
    g->inner = model;
    rc = open_folded(g, base, moved, &ones, &why);
    *moved = *moved && !rc;
    g->inner = NULL; /* stays the caller's */
    free_gains(g);
    return unless_grave(rc, &why, err);
}

enum ww_err ww_disguise_folded(const struct ww_model *base, bool noisy,
                               const struct ww_run_options *run, struct ww_disguise *out,
                               bool *took, struct ww_error *err)
{
    struct moved_gains *g = ww_calloc(1, sizeof(*g));
    struct ww_error why = {0};
    enum ww_err rc = g ? WW_OK : WW_FAIL_MEMORY(err, "a suspect");

    *took = false;
    if (rc) {
        return rc;
    }
    g->inner = out->model;
    rc = look(g, base, noisy, run, took, &why);
    *took = *took && !rc;
    rc = unless_grave(rc, &why, err);
    rc = rc || !*took ? rc : take(g, out, err);
    if (rc || !*took) {
        g->inner = NULL; /* stays the caller's */
        free_gains(g);
    }
    return rc;
}

enum ww_err ww_folded_side_new(const struct ww_disguise *folded,
                               const struct ww_reader *reader, struct ww_folded_side *out,
                               struct ww_error *err)
{
    const struct moved_gains *g = folded->payload;
    const struct ww_reader *const readers[] = {&out->folded.folded.file.reader};

    ww_folded_beside(g->suspect, reader, &out->folded);
    return g->locked ? ww_attack_view_beside(g->lock.payload, readers, &out->lock, err)
                     : WW_OK;
}

const struct ww_reader *ww_folded_side_reader(const struct ww_folded_side *side)
{
    return side->lock ? ww_attack_view_reader(side->lock, 0)
                      : &side->folded.folded.file.reader;
}
