/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/rotated.h"
#include "model/elements.h"
#include "util/num.h"

struct ww_rotated_rows ww_rotated_rows(const struct ww_rotation *rotation,
                                       const struct ww_model *model, uint32_t tensor)
{
    const struct ww_tensor *t = &model->tensors[tensor];
    const unsigned axis = rotation->parts[tensor].axis;
    struct ww_rotated_rows rows = {1, 1, rotation->n};

    for (unsigned a = 0; a < t->rank; a++) {
        rows.outer *= a < axis ? t->shape[a] : 1;
        rows.inner *= a > axis ? t->shape[a] : 1;
    }
    return rows;
}

struct ww_rotated_piece ww_rotated_piece(const struct ww_rotated_rows *rows,
                                         uint64_t first)
{
    const uint64_t inner = rows->inner;
    const uint64_t left = inner == 1 ? rows->outer - first : inner - first % inner;

    return (struct ww_rotated_piece){.first = first,
                                     .at = first / inner * rows->width * inner +
                                           first % inner,
                                     .n = (size_t)ww_min_u64(WW_ROTATED_ROWS, left)};
}

enum ww_err ww_rotated_read(const struct ww_model *model, uint32_t tensor,
                            const struct ww_rotated_rows *rows,
                            const struct ww_rotated_piece *piece, uint8_t *bytes,
                            double *out, struct ww_error *err)
{
    const size_t width = rows->width;
    const size_t n = piece->n;
    double across[WW_ROTATED_ROWS];
    enum ww_err rc = WW_OK;

    if (rows->inner == 1) {
        return ww_elements_double(model, tensor, piece->at, n * width, bytes, out, err);
    }
    for (size_t c = 0; c < width && !rc; c++) {
        rc = ww_elements_double(model, tensor, piece->at + c * rows->inner, n, bytes,
                                across, err);
        for (size_t i = 0; i < n && !rc; i++) {
            out[i * width + c] = across[i];
        }
    }
    return rc;
}
