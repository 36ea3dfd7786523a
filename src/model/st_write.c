/* SPDX-License-Identifier: Apache-2.0 */
/* Compact JSON, metadata first: what every loader of Hugging Face models expects. */
#include "model/st_write.h"

#include "json/json.h"
#include "util/num.h"

static void write_tensor(struct ww_jw *w, const struct ww_tensor *t, uint64_t offset)
{
    ww_jw_key(w, t->name);
    ww_jw_object(w);
    ww_jw_kstr(w, "dtype", ww_dtype_name(t->dtype));
    ww_jw_key(w, "shape");
    ww_jw_array(w);
    for (unsigned a = 0; a < t->rank; a++) {
        ww_jw_u64(w, t->shape[a]);
    }
    ww_jw_close(w);
    ww_jw_key(w, "data_offsets");
    ww_jw_array(w);
    ww_jw_u64(w, offset);
    ww_jw_u64(w, offset + t->n_bytes);
    ww_jw_close(w);
    ww_jw_close(w);
}

enum ww_err ww_st_header_write(const struct ww_tensor *tensors, size_t n,
                               struct ww_buf *out, struct ww_error *err)
{
    const size_t begin = out->len;
    uint64_t offset = 0;
    struct ww_jw w;
    enum ww_err rc = ww_buf_add_u64le(out, 0, err);

    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_key(&w, "__metadata__");
    ww_jw_object(&w);
    ww_jw_kstr(&w, "format", "pt");
    ww_jw_close(&w);
    for (size_t i = 0; i < n; i++) {
        write_tensor(&w, &tensors[i], offset);
        offset += tensors[i].n_bytes;
    }
    ww_jw_close(&w);
    if (!rc) {
        rc = ww_jw_end(&w, err);
    }
    while (!rc && (out->len - begin) % 8 != 0) {
        rc = ww_buf_add(out, " ", 1, err);
    }
    if (!rc) {
        ww_put_u64le(out->data + begin, out->len - begin - 8);
    }
    return rc;
}
