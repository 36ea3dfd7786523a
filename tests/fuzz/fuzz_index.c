/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index held against a model of two files and three tensors. What passes must name
 * each tensor once, with the file that it is in, and nothing else.
 */
#include "fuzz.h"

#include <string.h>

#include "model/index.h"
#include "util/fs.h"

static struct ww_weight_file files[] = {{.name = "a.safetensors"},
                                        {.name = "b.safetensors"}};
static struct ww_tensor tensors[] = {
    {.name = "x", .file = 0}, {.name = "y", .file = 1}, {.name = "z.weight", .file = 1}};
static const struct ww_model model = {
    .files = files, .n_files = 2, .tensors = tensors, .n_tensors = 3};

static void check_accepted(const struct ww_index *index)
{
    const char *file = NULL;
    FUZZ_CHECK(ww_jsize(index->map) == 3 && index->files.n == 2);
    for (unsigned i = 0; i < 3; i++) {
        FUZZ_CHECK(ww_jstr(ww_jget(index->map, tensors[i].name), &file));
        FUZZ_CHECK(strcmp(file, files[tensors[i].file].name) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_index index;
    struct ww_names by_name;
    uint32_t twice;
    enum ww_err rc = ww_index_parse(data, size, "i", &index, &err);
    FUZZ_CHECK((strlen(err.text) > 0) == (rc != WW_OK));
    if (rc) {
        return 0;
    }
    for (size_t i = 0; i < index.files.n; i++) {
        FUZZ_CHECK(ww_path_is_bare(index.files.items[i]));
    }
    FUZZ_CHECK(ww_names_build(&by_name, tensors, sizeof(tensors[0]), 3, &twice, &err) ==
               WW_OK);
    if (ww_index_check(&index, "i", &model, &by_name, &err) == WW_OK) {
        check_accepted(&index);
    }
    ww_names_release(&by_name);
    ww_index_release(&index);
    return 0;
}
