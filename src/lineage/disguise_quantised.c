/* SPDX-License-Identifier: Apache-2.0 */
/* A suspect of quantised weights; model/quantised.h says what is decoded. */
#include <inttypes.h>
#include <string.h>

#include "lineage/disguise.h"
#include "model/elements.h"
#include "model/quantised.h"
#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"

struct quantised {
    struct ww_model *model;
    struct ww_quantised weights;
    uint32_t *of; /* by tensor shown: the model's */
    uint32_t n;
};

static void free_quantised(void *payload)
{
    struct quantised *q = payload;

    ww_quantised_release(&q->weights);
    ww_free(q->of);
    ww_model_close(q->model);
    ww_free(q);
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct quantised *q = payload;
    return ww_model_unchanged(q->model, err);
}

static enum ww_err read_stored(const struct quantised *q, uint32_t tensor, uint64_t first,
                               size_t n, const struct ww_disguise_pair *out,
                               struct ww_error *err)
{
    uint8_t *bytes = ww_calloc(n, sizeof(double));
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "a tile");

    if (!rc) {
        rc = ww_elements_double(q->model, tensor, first, n, bytes, out->first, err);
    }
    for (size_t e = 0; e < n && !rc; e++) {
        out->second[e] = out->cells ? out->first[e] : 0;
    }
    ww_free(bytes);
    return rc;
}

static enum ww_err read_quantised(void *payload, uint32_t tensor, uint64_t first,
                                  size_t n, const struct ww_disguise_pair *out,
                                  struct ww_error *err)
{
    const struct quantised *q = payload;
    const uint32_t of = q->of[tensor];

    if (!ww_quantised_is(&q->weights, of)) {
        return read_stored(q, of, first, n, out, err);
    }
    return ww_quantised_read(&q->weights, of, first, n, out->cells, out->first,
                             out->second, err);
}

static enum ww_err show(struct quantised *q, struct ww_model **out, struct ww_error *err)
{
    struct ww_tensor *shown = ww_calloc(q->model->n_tensors, sizeof(*shown));
    enum ww_err rc = WW_OK;

    q->of = ww_calloc(q->model->n_tensors, sizeof(*q->of));
    if (!shown || !q->of) {
        rc = WW_FAIL_MEMORY(err, "a quantised model");
    }
    for (uint32_t t = 0; t < q->model->n_tensors && !rc; t++) {
        if (q->weights.left_out[t]) {
            continue;
        }
        shown[q->n] = ww_quantised_is(&q->weights, t) ? ww_quantised_shown(&q->weights, t)
                                                      : q->model->tensors[t];
        q->of[q->n++] = t;
    }
    rc = rc ? rc : ww_model_shown(q->model->path, shown, q->n, out, err);
    ww_free(shown);
    return rc;
}

static enum ww_err tell(const struct quantised *q, struct ww_disguise *out,
                        struct ww_strlist *notes, struct ww_error *err)
{
    char *text = NULL;
    enum ww_err rc = WW_OK;

    out->undone =
        ww_asprintf("%" PRIu32 " tensors of %s weights, decoded with their scales",
                    q->weights.n_decoded, ww_quantised_kind(&q->weights));
    if (!out->undone) {
        return WW_FAIL_MEMORY(err, "a note");
    }
    if (q->weights.eight.n_bare > 0) {
        text = ww_asprintf("%" PRIu32 " integer tensors of the suspect have no scales "
                           "that are known and are not compared",
                           q->weights.eight.n_bare);
        rc = text ? ww_strlist_add(notes, text, err) : WW_FAIL_MEMORY(err, "a note");
    }
    ww_free(text);
    return rc;
}

enum ww_err ww_disguise_quantised(struct ww_model *model, struct ww_disguise *out,
                                  bool *took, struct ww_strlist *notes,
                                  struct ww_error *err)
{
    struct quantised *q = ww_calloc(1, sizeof(*q));
    enum ww_err rc = WW_OK;

    *took = false;
    if (!q) {
        return WW_FAIL_MEMORY(err, "a quantised model");
    }
    rc = ww_quantised_find(model, &q->weights, err);
    if (rc || q->weights.n_decoded + q->weights.eight.n_bare == 0) {
        ww_quantised_release(&q->weights);
        ww_free(q);
        return rc;
    }
    *took = true;
    q->model = model;
    *out = (struct ww_disguise){.stored = model,
                                .read = read_quantised,
                                .cells = true,
                                .unchanged = unchanged,
                                .free = free_quantised,
                                .payload = q};
    rc = show(q, &out->model, err);
    return rc ? rc : tell(q, out, notes, err);
}
