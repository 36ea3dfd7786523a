/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model's config.json and the names and shapes of its tensors, as a lock resolves them:
 * the length of the config in two bytes, the config, the length of the data in four, and
 * a safetensors header. No weight is read; what resolves is a layout that holds together.
 */
#include "fuzz.h"

#include <string.h>

#include "../support/layout_check.h"
#include "model/config.h"
#include "model/safetensors.h"
#include "model/unwritten.h"
#include "util/alloc.h"
#include "util/num.h"

#define CONFIG_AT 2
#define DATA_BYTES 4

static enum ww_err read_nothing(void *payload, uint32_t tensor, uint64_t at, void *out,
                                size_t n, struct ww_error *err)
{
    (void)payload, (void)tensor, (void)at, (void)out, (void)n, (void)err;
    abort();
}

static struct ww_model *open_header(const struct ww_st_header *header,
                                    struct ww_unwritten *file)
{
    const uint32_t n = header->n_tensors;
    struct ww_tensor *tensors = ww_calloc(n + (size_t)1, sizeof(*tensors));
    struct ww_error err = {0};
    struct ww_model *model = NULL;

    for (uint32_t t = 0; tensors && t < n; t++) {
        const struct ww_st_tensor *st = &header->tensors[t];
        tensors[t] = (struct ww_tensor){.name = st->name,
                                        .dtype = st->dtype,
                                        .rank = st->rank,
                                        .n_elements = st->n_elements,
                                        .n_bytes = st->end - st->begin};
        memcpy(tensors[t].shape, st->shape, st->rank * sizeof(*st->shape));
    }
    if (tensors && n > 0) {
        FUZZ_CHECK(ww_unwritten_model("m", tensors, n, "f", read_nothing, NULL, file,
                                      &model, &err) == WW_OK);
    }
    ww_free(tensors);
    return model;
}

static void resolve(struct ww_model *model)
{
    struct ww_error err = {0};
    struct ww_layout *layout = NULL;
    const enum ww_err rc = ww_layout_resolve(model, NULL, &layout, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    FUZZ_CHECK((rc == WW_OK) == (layout != NULL));
    FUZZ_CHECK(!layout || !ww_layout_check(layout));
    ww_layout_free(layout);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_config *config = NULL;
    struct ww_st_header header = {0};
    struct ww_unwritten file;
    if (size < CONFIG_AT + DATA_BYTES) {
        return 0;
    }
    const size_t want = (size_t)data[0] | (size_t)data[1] << 8;
    const size_t most = size - CONFIG_AT - DATA_BYTES;
    const size_t n = want < most ? want : most;
    const uint8_t *rest = data + CONFIG_AT + n;
    if (ww_config_parse(data + CONFIG_AT, n, &config, &err) == WW_OK &&
        ww_st_parse(rest + DATA_BYTES, most - n, ww_get_u32le(rest), "f", &header,
                    &err) == WW_OK) {
        struct ww_model *model = open_header(&header, &file);
        if (model) {
            model->config = config;
            config = NULL;
            resolve(model);
        }
        ww_model_close(model);
    }
    ww_config_free(config);
    ww_st_release(&header);
    return 0;
}
