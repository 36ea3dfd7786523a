/* SPDX-License-Identifier: Apache-2.0 */
/* A model of numbers that a test has in memory. */
#ifndef STORED_MODEL_H
#define STORED_MODEL_H

#include "util/alloc.h"
#include "util/fs.h"
#include "util/num.h"
#include "weightward/model.h"
#include "ww_test.h"

/* A fresh folder with n bytes behind a header of safetensors, opened; both are the
 * caller's. */
static inline struct ww_model *stored_model(const char *header, const void *numbers,
                                            size_t n, char **folder)
{
    const size_t at = 8 + strlen(header);
    uint8_t *bytes = test_calloc(at + n, 1);
    struct ww_model *model = NULL;
    struct ww_error err = {0};

    *folder = ww_test_mkdir();
    ww_put_u64le(bytes, strlen(header));
    memcpy(bytes + 8, header, strlen(header));
    memcpy(bytes + at, numbers, n);
    char *path = ww_path_join(*folder, "model.safetensors");
    assert_non_null(path);
    OK(ww_file_write(path, bytes, at + n, 0644, true, &err));
    ww_free(path);
    test_free(bytes);
    OK(ww_model_open(*folder, &model, &err));
    return model;
}

#endif
