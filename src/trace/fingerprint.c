/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Samples as eight-bit integers, scaled by the largest of their coordinate: only the sign
 * of a sum over one coordinate counts, so no scale has to be kept. Plain arithmetic in a
 * fixed order: the values are signed.
 */
#include "trace/fingerprint.h"

#include <inttypes.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

#define LARGEST 127

static double size_of(double x)
{
    return x < 0 ? -x : x;
}

static void quantise(const double *in, uint32_t n, int8_t *out)
{
    double most = 0;

    for (uint32_t i = 0; i < n; i++) {
        most = size_of(in[i]) > most ? size_of(in[i]) : most;
    }
    for (uint32_t i = 0; i < n; i++) {
        const double scaled = most > 0 ? in[i] / most * LARGEST : 0;
        out[i] = (int8_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
    }
}

static enum ww_err take_samples(const struct ww_places *places,
                                const struct ww_layout *layout,
                                struct ww_ledger_model *out, struct ww_error *err)
{
    const size_t n = (size_t)places->n_coords * places->samples;
    struct ww_evidence evidence = {0};
    double *samples = ww_calloc(n, sizeof(*samples));
    enum ww_err rc = WW_OK;

    out->values = ww_calloc(n, 1);
    if (!samples || !out->values) {
        rc = WW_FAIL_MEMORY(err, "%zu samples", n);
        goto out;
    }
    rc = ww_evidence_open(&evidence, places, layout, layout->model, err);
    if (rc) {
        goto out;
    }
    rc = ww_evidence_samples(&evidence, places, samples, err);
    for (uint32_t c = 0; c < places->n_coords && !rc; c++) {
        const size_t at = (size_t)c * places->samples;
        quantise(samples + at, places->samples, out->values + at);
    }
out:
    ww_evidence_close(&evidence);
    ww_free(samples);
    return rc;
}

static enum ww_err list_tensors(const struct ww_places *places,
                                const struct ww_layout *layout,
                                struct ww_ledger_model *out, struct ww_error *err)
{
    out->tensors = ww_calloc(places->n_tensors, sizeof(*out->tensors));
    if (!out->tensors) {
        return WW_FAIL_MEMORY(err, "%u tensors", places->n_tensors);
    }
    out->n_tensors = places->n_tensors;
    for (uint32_t s = 0; s < places->n_tensors; s++) {
        const struct ww_tensor *t = &layout->model->tensors[places->tensors[s]];
        out->tensors[s].name = t->name;
        out->tensors[s].rank = t->rank;
        memcpy(out->tensors[s].shape, t->shape, sizeof(t->shape));
    }
    return WW_OK;
}

enum ww_err ww_fingerprint_make(const struct ww_layout *layout,
                                struct ww_ledger_model *out, struct ww_error *err)
{
    struct ww_places places = {0};
    enum ww_err rc = ww_places_init(&places, layout, &ww_probes_ledger, err);

    if (rc) {
        return rc;
    }
    out->n_coords = places.n_coords;
    out->samples = places.samples;
    rc = ww_places_digest(&places, layout, out->places, err);
    if (!rc) {
        rc = list_tensors(&places, layout, out, err);
    }
    if (!rc) {
        rc = take_samples(&places, layout, out, err);
    }
    ww_places_release(&places);
    return rc;
}

static enum ww_err fits_tensor(const struct ww_ledger_tensor *want,
                               const struct ww_model *model, struct ww_error *err)
{
    const uint32_t t = ww_model_find(model, want->name);
    const struct ww_tensor *found = t == WW_NONE ? NULL : &model->tensors[t];

    if (!found) {
        return WW_FAIL(err, WW_E_SHAPE,
                       "model '%s' has no tensor '%s', which the ledger's model has",
                       model->path, want->name);
    }
    for (unsigned a = 0; a < want->rank && found->rank == want->rank; a++) {
        if (found->shape[a] != want->shape[a]) {
            return WW_FAIL(err, WW_E_SHAPE,
                           "tensor '%s' of '%s' has %" PRIu64 " on axis %u, the ledger's "
                           "model %" PRIu64,
                           want->name, model->path, found->shape[a], a, want->shape[a]);
        }
    }
    return found->rank == want->rank
               ? WW_OK
               : WW_FAIL(err, WW_E_SHAPE,
                         "tensor '%s' of '%s' has %u axes, the ledger's model %u",
                         want->name, model->path, found->rank, want->rank);
}

enum ww_err ww_fingerprint_fits(const struct ww_ledger_model *model,
                                const struct ww_places *places,
                                const struct ww_layout *layout, struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < model->n_tensors && !rc; i++) {
        rc = fits_tensor(&model->tensors[i], layout->model, err);
    }
    if (rc || !places) {
        return rc;
    }
    rc = ww_places_digest(places, layout, digest, err);
    if (!rc &&
        (places->n_coords != model->n_coords || places->samples != model->samples ||
         memcmp(digest, model->places, sizeof(digest)) != 0)) {
        rc =
            WW_FAIL(err, WW_E_SHAPE,
                    "the ledger's model has its samples at other places than '%s' would: "
                    "another descriptor or other layers",
                    layout->model->path);
    }
    return rc;
}
