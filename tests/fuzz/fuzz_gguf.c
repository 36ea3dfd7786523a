/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF headers: what is accepted lies in the file, in order, without overlap. */
#include "fuzz.h"

#include <math.h>
#include <string.h>

#include "model/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_gguf_header h;
    struct ww_error err = {0};
    uint64_t end = 0;
    enum ww_err rc = ww_gguf_parse(data, size, size, "fuzz", &h, &err);

    FUZZ_CHECK((strlen(err.text) > 0) == (rc != WW_OK));
    if (rc) {
        FUZZ_CHECK(!h.truncated && !h.tensors && !h.names);
        return 0;
    }
    for (uint32_t t = 0; t < h.n_tensors; t++) {
        const struct ww_gguf_tensor *tensor = &h.tensors[t];
        uint64_t n = 1;
        for (unsigned a = 0; a < tensor->rank; a++) {
            n *= tensor->shape[a];
        }
        FUZZ_CHECK(n == tensor->n_elements && n > 0);
        FUZZ_CHECK(tensor->offset >= end && tensor->offset % h.alignment == 0);
        end = tensor->offset + tensor->n_bytes;
        FUZZ_CHECK(end <= size);
        if (n <= 4096) {
            const size_t blocks =
                (size_t)tensor->n_bytes / ww_gguf_block_bytes(tensor->type);
            float v[4096];
            double step[4096];
            static double low[4096];
            static double high[4096];
            static double slack[4096];
            ww_gguf_to_float(tensor->type, data + tensor->offset, blocks, v);
            ww_gguf_steps(tensor->type, data + tensor->offset, blocks, step);
            ww_gguf_cells(tensor->type, data + tensor->offset, blocks, v, low, high);
            ww_gguf_slack(tensor->type, data + tensor->offset, blocks, slack);
            for (uint64_t i = 0; i < n; i++) {
                const double x = (double)v[i];
                FUZZ_CHECK(
                    !isfinite(x) || !isfinite(step[i]) ||
                    (step[i] >= 0 && low[i] <= x && x <= high[i] && slack[i] >= 0));
            }
        }
    }
    ww_gguf_header_release(&h);
    return 0;
}
