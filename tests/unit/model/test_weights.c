/* SPDX-License-Identifier: Apache-2.0 */
#include "model/weights.h"

#include "st_build.h"
#include "util/fail.h"

/* Each case: files to make (empty, except indexes), then what is chosen or refused. */
struct choice_case {
    const char *files[6];
    enum ww_err code;
    const char *says; /* chosen names joined by a space, or part of the error */
    unsigned findings;
};

#define S1 "model-00001-of-00003.safetensors"
#define S2 "model-00002-of-00003.safetensors"
#define S3 "model-00003-of-00003.safetensors"

static const struct choice_case cases[] = {
    {{"model.safetensors"}, WW_OK, "model.safetensors", 0},
    {{"model.safetensors", "other.safetensors"}, WW_OK, "model.safetensors", 0},
    {{"model.safetensors", S1, S2}, WW_OK, "model.safetensors", 0},
    {{S1, S2, S3}, WW_OK, S1 " " S2 " " S3, 1},
    {{S1, S2, S3, "vae.safetensors"}, WW_OK, S1 " " S2 " " S3, 1},
    {{S1, S3}, WW_E_INDEX, "shard 'model-00002-of-00003.safetensors' is missing", 0},
    {{S1, S2}, WW_E_INDEX, "shard 'model-00003-of-00003.safetensors' is missing", 0},
    {{S2, S3}, WW_E_INDEX, "shard 'model-00001-of-00003.safetensors' is missing", 0},
    {{S1, "model-00002-of-00002.safetensors", S3}, WW_E_INDEX, "counts 2 shards", 0},
    {{"model-00000-of-00003.safetensors", S1, S2, S3}, WW_E_INDEX, "is missing", 0},
    {{"model-00001-of-00000.safetensors"}, WW_E_INDEX, "is missing", 0},
    {{"model-1-of-1.safetensors"}, WW_OK, "model-1-of-1.safetensors", 0},
    {{"diffusion_pytorch_model.safetensors"},
     WW_OK,
     "diffusion_pytorch_model.safetensors",
     0},
    {{"a.safetensors", "b.safetensors"},
     WW_E_INDEX,
     "'a.safetensors' and 'b.safetensors'",
     0},
    {{"a.safetensors", "consolidated.safetensors"}, WW_OK, "a.safetensors", 0},
    {{"consolidated.safetensors"}, WW_OK, "consolidated.safetensors", 0},
    {{"consolidated.safetensors", "consolidated.2.safetensors"},
     WW_E_INDEX,
     "both hold",
     0},
    {{"a.safetensors", "adapter_model.safetensors"}, WW_OK, "a.safetensors", 0},
    {{"adapter_config.json", "adapter_model.safetensors"},
     WW_E_ADAPTER,
     "'adapter_model.safetensors' without its base",
     0},
    {{"adapters.safetensors"}, WW_E_ADAPTER, "'adapters.safetensors'", 0},
    {{"adapter_model.bin"}, WW_E_ADAPTER, "'adapter_model.bin'", 0},
    {{"pytorch_model.bin"}, WW_E_PICKLE, "'pytorch_model.bin', which runs code", 0},
    {{"pytorch_model-00001-of-00002.bin", "x.gguf"},
     WW_E_PICKLE,
     "convert them to "
     "safetensors",
     0},
    {{"model.gguf"}, WW_E_GGUF, "'model.gguf'", 0},
    {{"tf_model.h5"}, WW_E_UNSUPPORTED, "'tf_model.h5'", 0},
    {{"training_args.bin"}, WW_E_NOTFOUND, "no weights", 0},
    {{"config.json"}, WW_E_NOTFOUND, "no weights", 0},
    {{NULL}, WW_E_NOTFOUND, "no weights", 0},
    {{"sub", "sub/model.safetensors"}, WW_E_NOTFOUND, "'sub/model.safetensors'", 0},
    {{"model.safetensors.index.json", "b", "a"}, WW_OK, "a b", 0},
    {{"model.safetensors.index.json", "a"},
     WW_E_INDEX,
     "file 'b' of weight_map is missing",
     0},
    {{"model.safetensors.index.json", "a", "b", "model.safetensors"}, WW_OK, "a b", 0},
    {{"d.safetensors.index.json", "a", "b"}, WW_OK, "a b", 0},
    {{"d.safetensors.index.json", "model.safetensors"}, WW_OK, "model.safetensors", 0},
    {{"d.safetensors.index.json", "e.safetensors.index.json", "a", "b"},
     WW_E_INDEX,
     "both describe",
     0},
    {{"consolidated.safetensors.index.json", "x.safetensors"}, WW_OK, "x.safetensors", 0},
};

static void make(const char *dir, const struct choice_case *c)
{
    for (size_t i = 0; i < WW_LEN(c->files) && c->files[i]; i++) {
        if (strcmp(c->files[i], "sub") == 0) {
            put_folder(dir, "sub");
        } else if (strstr(c->files[i], "index.json")) {
            put_text(dir, c->files[i], "{\"weight_map\":{\"x\":\"b\",\"y\":\"a\"}}");
        } else {
            put_text(dir, c->files[i], "");
        }
    }
}

static void check(const struct choice_case *c)
{
    struct ww_error err = {0};
    struct ww_folder folder;
    struct ww_weights weights;
    struct ww_findings findings = {0};
    char got[512] = "";
    char *dir = ww_test_mkdir();
    make(dir, c);
    int fd = open_folder(dir);
    OK(ww_folder_scan(fd, &folder, &err));
    enum ww_err rc = ww_weights_choose(fd, &folder, &weights, &findings, &err);
    size_t len = 0;
    for (size_t i = 0; i < weights.files.n; i++) {
        len += (size_t)snprintf(got + len, sizeof(got) - len, "%s%s", i ? " " : "",
                                weights.files.items[i]);
        assert_true(ww_folder_find(&folder, weights.files.items[i])->is_weights);
    }
    bool right = rc == c->code &&
                 (rc ? strstr(err.text, c->says) != NULL : strcmp(got, c->says) == 0);
    if (!right || findings.n != c->findings) {
        fail_msg("%s ...: %s '%s' files '%s' findings %u; want %s '%s'",
                 c->files[0] ? c->files[0] : "(none)", ww_err_name(rc), err.text, got,
                 findings.n, ww_err_name(c->code), c->says);
    }
    close(fd);
    ww_weights_release(&weights);
    ww_findings_release(&findings);
    ww_folder_release(&folder);
    ww_test_rmdir(dir);
}

static void weights_are_chosen_in_one_fixed_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        check(&cases[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_chosen_in_one_fixed_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
