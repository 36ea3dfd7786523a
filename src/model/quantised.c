/* SPDX-License-Identifier: Apache-2.0 */
#include "model/quantised.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

static enum ww_err allocate(struct ww_quantised *w, struct ww_error *err)
{
    const uint32_t n = w->model->n_tensors;

    w->four = ww_calloc(n, sizeof(*w->four));
    w->names = ww_calloc(n, sizeof(*w->names));
    w->left_out = ww_calloc(n, sizeof(*w->left_out));
    w->windows = ww_mxfp4_windows_new();
    w->n_tensors = n;
    return w->four && w->names && w->left_out && w->windows
               ? WW_OK
               : WW_FAIL_MEMORY(err, "a quantised model");
}

static enum ww_err look_at(struct ww_quantised *w, uint32_t t, struct ww_error *err)
{
    const char *name = w->model->tensors[t].name;
    bool is = false;
    enum ww_err rc = ww_mxfp4_find(w->model, t, &w->four[t], &is, err);

    w->left_out[t] = w->eight.beside && w->eight.beside[t];
    if (rc || !is) {
        return rc;
    }
    w->left_out[t] = t == w->four[t].scales; /* told with their blocks */
    if (w->left_out[t]) {
        return WW_OK;
    }
    w->n_four++;
    w->names[t] =
        ww_asprintf("%.*s", (int)(strlen(name) - strlen(WW_MXFP4_BLOCKS)), name);
    return w->names[t] ? WW_OK : WW_FAIL_MEMORY(err, "a name");
}

enum ww_err ww_quantised_find(const struct ww_model *model, struct ww_quantised *out,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_quantised){.model = model};
    rc = allocate(out, err);
    rc = rc ? rc : ww_eight_bit_find(model, &out->eight, err);
    for (uint32_t t = 0; t < model->n_tensors && !rc; t++) {
        rc = look_at(out, t, err);
    }
    out->n_decoded = out->eight.n_decoded + out->n_four;
    return rc;
}

void ww_quantised_release(struct ww_quantised *weights)
{
    for (uint32_t t = 0; weights->names && t < weights->n_tensors; t++) {
        ww_free(weights->names[t]);
    }
    ww_eight_bit_release(&weights->eight);
    ww_free(weights->four);
    ww_free(weights->names);
    ww_free(weights->left_out);
    ww_mxfp4_windows_free(weights->windows);
    memset(weights, 0, sizeof(*weights));
}

const char *ww_quantised_kind(const struct ww_quantised *weights)
{
    return weights->n_four == 0            ? "eight-bit"
           : weights->eight.n_decoded == 0 ? "MXFP4"
                                           : "eight-bit and MXFP4";
}

bool ww_quantised_is(const struct ww_quantised *weights, uint32_t tensor)
{
    return weights->names[tensor] || ww_eight_bit_is(&weights->eight, tensor);
}

struct ww_tensor ww_quantised_shown(const struct ww_quantised *weights, uint32_t tensor)
{
    struct ww_tensor shown = weights->model->tensors[tensor];

    if (weights->names[tensor]) {
        ww_mxfp4_show(weights->model, &weights->four[tensor], weights->names[tensor],
                      &shown);
    }
    shown.dtype = WW_DTYPE_F32;
    return shown;
}

enum ww_err ww_quantised_read(const struct ww_quantised *weights, uint32_t tensor,
                              uint64_t first, size_t n, bool cells, double *one,
                              double *two, struct ww_error *err)
{
    if (weights->names[tensor]) {
        return ww_mxfp4_read(weights->model, &weights->four[tensor], weights->windows,
                             first, n, cells, one, two, err);
    }
    return cells ? ww_eight_bit_cells(&weights->eight, tensor, first, n, one, two, err)
                 : ww_eight_bit_values(&weights->eight, tensor, first, n, one, two, err);
}
