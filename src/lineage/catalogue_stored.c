/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is merged of a quantised model are its decoded weights, and what is copied are its
 * bytes. So both are kept: whatever tells relatives is made of the first, whatever tells
 * copies of either.
 */
#include "lineage/catalogue_stored.h"

#include <inttypes.h>
#include <string.h>

#include "model/config.h"
#include "model/decoded.h"
#include "model/quantised.h"
#include "util/alloc.h"
#include "util/fail.h"

/* The digest, and the tensors behind those that are there. */
static enum ww_err take_bytes(struct ww_print *out, struct ww_print *stored,
                              struct ww_error *err)
{
    const size_t n = (size_t)out->n_tensors + stored->n_tensors;
    struct ww_print_tensor *all = ww_realloc_array(out->tensors, n, sizeof(*all));

    if (!all) {
        return WW_FAIL_MEMORY(err, "a model's print");
    }
    out->tensors = all;
    memcpy(all + out->n_tensors, stored->tensors, stored->n_tensors * sizeof(*all));
    out->n_tensors = (uint32_t)n;
    stored->n_tensors = 0;
    memcpy(out->digest, stored->digest, sizeof(out->digest));
    out->bytes_read += stored->bytes_read;
    return WW_OK;
}

/* Those that the decoded model has too are not listed twice. */
static void keep_quantised(struct ww_print *stored, const struct ww_quantised *weights)
{
    uint32_t n = 0;

    for (uint32_t k = 0; k < stored->n_tensors; k++) {
        const uint32_t t = stored->tensors[k].index;
        if (weights->left_out[t] || ww_quantised_is(weights, t)) {
            stored->tensors[n++] = stored->tensors[k];
        } else {
            ww_free(stored->tensors[k].row_hashes);
        }
    }
    stored->n_tensors = n;
}

static enum ww_err print_bytes(const struct ww_model *model,
                               const struct ww_print_options *options,
                               struct ww_print *out, struct ww_error *err)
{
    struct ww_print_options bytes = *options;

    bytes.bytes = true;
    return ww_print_make(model, &bytes, out, err);
}

static enum ww_err print_decoded(struct ww_model *model,
                                 const struct ww_quantised *weights,
                                 const struct ww_print_options *options,
                                 struct ww_print *out, struct ww_error *err)
{
    struct ww_print stored = {0};
    uint32_t n = 0;
    enum ww_err rc = print_bytes(model, options, &stored, err);

    if (!rc) {
        keep_quantised(&stored, weights);
        rc = ww_model_decode(model, &n, err);
    }
    if (!rc && model->config) {
        model->config->quant_method = NULL; /* of the weights as they are read */
    }
    rc = rc ? rc : ww_print_make(model, options, out, err);
    if (!rc) {
        out->n_decoded = n;
        rc = take_bytes(out, &stored, err);
        if (rc) {
            ww_print_release(out);
        }
    }
    ww_print_release(&stored);
    return rc;
}

/* Of packed weights values are not known, and what is left of floats is scales. */
static enum ww_err note_packed(const struct ww_model *model, char **note,
                               struct ww_error *err)
{
    struct ww_error why = {0};

    if (ww_disguise_unpacked(model, &why) == WW_OK) {
        return WW_OK;
    }
    *note = ww_strdup("packed weights are not decoded: only copies of its bytes will be "
                      "found, and nothing that was made of it");
    return *note ? WW_OK : WW_FAIL_MEMORY(err, "a note");
}

static enum ww_err note_decoded(const struct ww_quantised *weights, char **note,
                                struct ww_error *err)
{
    *note = ww_asprintf("%" PRIu32 " tensors of %s weights, decoded with their scales",
                        weights->n_decoded, ww_quantised_kind(weights));
    return *note ? WW_OK : WW_FAIL_MEMORY(err, "a note");
}

enum ww_err ww_print_stored(struct ww_model *model,
                            const struct ww_print_options *options, struct ww_print *out,
                            char **note, struct ww_error *err)
{
    struct ww_quantised weights;
    enum ww_err rc = ww_quantised_find(model, &weights, err);

    memset(out, 0, sizeof(*out));
    *note = NULL;
    if (!rc && weights.n_decoded > 0) {
        rc = note_decoded(&weights, note, err);
        rc = rc ? rc : print_decoded(model, &weights, options, out, err);
    } else if (!rc) {
        rc = note_packed(model, note, err);
        rc = rc ? rc : ww_print_make(model, options, out, err);
    }
    ww_quantised_release(&weights);
    if (rc) {
        ww_free(*note);
        *note = NULL;
    }
    return rc;
}

enum ww_err ww_print_add_bytes(const struct ww_model *model,
                               const struct ww_print_options *options,
                               struct ww_print *out, struct ww_error *err)
{
    struct ww_print stored = {0};
    enum ww_err rc = print_bytes(model, options, &stored, err);

    rc = rc ? rc : take_bytes(out, &stored, err);
    ww_print_release(&stored);
    return rc;
}
