/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model in one file that nobody wrote: its tensors one behind another, each read by
 * whoever makes it. What reads models by their files, as the attacks do, reads these.
 */
#ifndef WW_MODEL_UNWRITTEN_H
#define WW_MODEL_UNWRITTEN_H

#include "util/reader.h"
#include "weightward/model.h"

/** n bytes of a tensor from byte at on. From any thread, from many at once. */
typedef enum ww_err (*ww_unwritten_fn)(void *payload, uint32_t tensor, uint64_t at,
                                       void *out, size_t n, struct ww_error *err);

/** Such a file. It stays in its place while somebody reads it. */
struct ww_unwritten {
    struct ww_reader reader;
    const struct ww_model *model;
    ww_unwritten_fn read;
    void *payload;
};

/** tensors: dtype, shape, n_elements and n_bytes count, and names, which are copied. name
 *  is the file's, static. The model is the caller's to close, and reads through file. It
 *  has no config. WW_E_TENSOR when a name is there twice. */
enum ww_err ww_unwritten_model(const char *path, const struct ww_tensor *tensors,
                               uint32_t n, const char *name, ww_unwritten_fn read,
                               void *payload, struct ww_unwritten *file,
                               struct ww_model **out, struct ww_error *err) WW_MUST_USE;
/** Other bytes in the places of the same model's. */
void ww_unwritten_beside(const struct ww_model *model, ww_unwritten_fn read,
                         void *payload, struct ww_unwritten *file);

#endif
