/* SPDX-License-Identifier: Apache-2.0 */
/* Other forms of an adapter: numbers by hand, and every adapter that has no such form. */
#include "rmm_fixture.h"

#include "model/adapter.h"
#include "model/convert.h"
#include "model/gguf.h"
#include "util/alloc.h"
#include "weightward/package.h"

#define MODULE "model.layers.0.self_attn.q_proj"
#define FACTOR "base_model.model." MODULE ".lora_"
#define M 4
#define R 2
#define D 3

/* W [4, 3] of one head, zero but for its first row. */
static char *make_base(struct fx *f, const char *name, const char *config,
                       const char *header)
{
    static const uint8_t weight[2 * M * D] = {0x80, 0x3f, 0x80, 0x3f, 0x80, 0x3f};
    char *dir = fx_join(f->dir, name);
    assert_int_equal(mkdir(dir, 0755), 0);
    fx_shard(dir, "model.safetensors", header, weight, sizeof(weight));
    fx_write(dir, "config.json", config, strlen(config));
    fx_write(dir, "README.md", "card", 4);
    fx_write(dir, "tokenizer.json", "{}", 2);
    return dir;
}

static const char base_header[] =
    "{\"" MODULE
    ".weight\":{\"dtype\":\"BF16\",\"shape\":[4,3],\"data_offsets\":[0,24]}}";
static const char llama[] = "{\"model_type\":\"llama\",\"num_attention_heads\":1}";

static const float a_values[R * D] = {1, 2, 3, -1, 0, 1};
static const float b_values[M * R] = {1, 0, 0, 1, 2, 1, -1, 3};

/* What A and B are called and what stands beside them is the caller's. */
static void make_adapter(struct fx *f, const char *name, const char *config,
                         const char *header)
{
    uint8_t data[sizeof(a_values) + sizeof(b_values)];
    char *dir = fx_join(f->dir, name);
    memcpy(data, a_values, sizeof(a_values));
    memcpy(data + sizeof(a_values), b_values, sizeof(b_values));
    assert_int_equal(mkdir(dir, 0755), 0);
    fx_shard(dir, "adapter_model.safetensors", header, data, sizeof(data));
    fx_write(dir, "adapter_config.json", config, strlen(config));
    free(dir);
}

#define PAIR_HEADER                                                                      \
    "{\"" FACTOR                                                                         \
    "A.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"            \
    "\"" FACTOR                                                                          \
    "B.weight\":{\"dtype\":\"F32\",\"shape\":[4,2],\"data_offsets\":[24,56]}}"
#define CONFIG(more) "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4" more "}"

static enum ww_err pack_one(struct fx *f, const char *name, const char *pkg)
{
    const struct ww_pack_member member = {name, fx_name(f->dir, fx_name("/", name)), NULL,
                                          0};
    const struct ww_pack_options options = {.base = NULL};
    struct ww_pack_report report;
    struct ww_error err = {0};
    const enum ww_err rc = ww_pack_create(pkg, &member, 1, &options, &report, &err);
    ww_pack_report_release(&report);
    return rc;
}

static enum ww_err as_form(struct fx *f, const char *name, enum ww_unpack_form form,
                           const char *base, unsigned threads, struct ww_error *err)
{
    const struct ww_unpack_options options = {
        .form = form, .base = base, .run = {.threads = threads}};
    struct ww_pack_report report;
    const enum ww_err rc = ww_unpack(f->pkg, name, f->out, &options, &report, err);
    ww_pack_report_release(&report);
    return rc;
}

static void no_traces(const struct fx *f, bool out_is_there)
{
    struct stat st;
    assert_int_equal(stat(f->out, &st) == 0, out_is_there);
    assert_true(stat(fx_name(f->out, ".partial"), &st) != 0);
    assert_true(stat(fx_name(f->out, ".member"), &st) != 0);
}

/* Row i, column j of B A. */
static double product(size_t i, size_t j)
{
    return (double)b_values[2 * i] * (double)a_values[j] +
           (double)b_values[2 * i + 1] * (double)a_values[D + j];
}

static struct fx *begin(const char *config, const char *header, char **base)
{
    struct fx *f = fx_new();
    make_adapter(f, "lora", config, header);
    assert_int_equal(pack_one(f, "lora", f->pkg), WW_OK);
    *base = make_base(f, "llama", llama, base_header);
    return f;
}

static void the_model_is_the_sum_in_the_dtype_of_the_base(void **state)
{
    struct fx *f = NULL;
    struct ww_error err = {0};
    char *base = NULL;
    (void)state;
    f = begin(CONFIG(""), PAIR_HEADER, &base);
    for (unsigned threads = 1; threads < 4; threads += 2) {
        struct ww_model *model = NULL;
        uint8_t bytes[2 * M * D];
        double values[M * D];
        struct stat st;
        OK(as_form(f, "lora", WW_UNPACK_MODEL, base, threads, &err));
        no_traces(f, true);
        OK(ww_model_open(f->out, &model, &err));
        OK(ww_model_read(model, 0, bytes, &err));
        ww_to_double(WW_DTYPE_BF16, bytes, values, (size_t)M * D);
        for (size_t i = 0; i < M; i++) {
            for (size_t j = 0; j < D; j++) {
                const double want = (i == 0 ? 1 : 0) + 2 * product(i, j);
                assert_true(values[i * D + j] == want); /* few bits: exact */
            }
        }
        assert_int_equal(stat(fx_name(f->out, "/tokenizer.json"), &st), 0);
        ww_model_close(model);
        ww_test_rmdir(f->out);
        f->out = fx_join(f->dir, "out-again");
    }
    free(base);
    fx_free(f);
}

/* Scale 4 / sqrt(2) in B; of a base that stores [in, out] PEFT's factors are the same. */
static void the_portable_form_has_the_scale_in_its_factors(void **state)
{
    static const char *const configs[] = {
        CONFIG(",\"use_rslora\":true"),
        CONFIG(",\"use_rslora\":true,\"fan_in_fan_out\":true"),
    };
    (void)state;
    for (size_t c = 0; c < WW_LEN(configs); c++) {
        char *base = NULL;
        struct fx *f = begin(configs[c], PAIR_HEADER, &base);
        struct ww_adapter *made = NULL;
        struct ww_error err = {0};
        OK(as_form(f, "lora", WW_UNPACK_PORTABLE, NULL, 1, &err));
        no_traces(f, true);
        OK(ww_adapter_open(f->out, &made, &err));
        assert_false(made->rslora);
        assert_int_equal(made->fan_in_fan_out, c == 1);
        assert_true(made->alpha == 2 && made->rank == 2 && made->n_tensors == 2);
        for (uint32_t i = 0; i < 2; i++) {
            const struct ww_adapter_entry *e = &made->entries[i];
            double *values = NULL;
            const bool is_b = e->part == WW_PART_B;
            assert_string_equal(e->module, MODULE);
            OK(ww_adapter_read(made, e->tensor, &values, &err));
            for (uint64_t k = 0; k < e->tensor->n_elements; k++) {
                const double want =
                    is_b ? (double)(float)((double)b_values[k] * (4 / sqrt(2)))
                         : (double)a_values[k];
                assert_true(values[k] == want);
            }
            ww_free(values);
        }
        ww_adapter_close(made);
        free(base);
        fx_free(f);
    }
}

static void the_gguf_form_has_rows_in_its_order(void **state)
{
    static const size_t rows[M] = {0, 2, 1,
                                   3}; /* of a head of four: pairs are neighbours */
    struct ww_gguf_file file = {.fd = -1};
    struct ww_error err = {0};
    char *base = NULL;
    struct fx *f = NULL;
    float b[M * R];
    (void)state;
    f = begin(CONFIG(""), PAIR_HEADER, &base);
    OK(as_form(f, "lora", WW_UNPACK_GGUF, base, 1, &err));
    no_traces(f, true);
    OK(ww_gguf_open(f->out, &file, &err));
    assert_true(ww_gguf_is(&file.header, "general.architecture", "llama"));
    assert_int_equal(file.header.n_tensors, 2);
    assert_string_equal(file.header.tensors[0].name, "blk.0.attn_q.weight.lora_a");
    assert_string_equal(file.header.tensors[1].name, "blk.0.attn_q.weight.lora_b");
    OK(ww_pread_full(file.fd, b, sizeof(b), file.header.tensors[1].offset, "b", &err));
    for (size_t i = 0; i < (size_t)M * R; i++) {
        assert_true(b[i] == 2 * b_values[rows[i / R] * R + i % R]);
    }
    ww_gguf_close(&file);
    free(base);
    fx_free(f);
}

struct refusal {
    const char *config;
    const char *header;
    enum ww_unpack_form form;
    enum ww_err code;
    const char *text;
};

#define ONE(name, more)                                                                  \
    "{\"" FACTOR                                                                         \
    "A.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"            \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" more ",\"data_offsets\":[24,56]}}"

static void what_a_form_cannot_say_is_refused(void **state)
{
    static const struct refusal all[] = {
        {CONFIG(",\"use_dora\":true"), PAIR_HEADER, WW_UNPACK_PORTABLE, WW_E_UNSUPPORTED,
         "DoRA"},
        {CONFIG(",\"target_parameters\":[\"w\"]"), PAIR_HEADER, WW_UNPACK_GGUF,
         WW_E_UNSUPPORTED, "target_parameters"},
        {CONFIG(""), ONE("base_model.model.lm_head.weight", "[2,4]"), WW_UNPACK_PORTABLE,
         WW_E_UNSUPPORTED, "a whole weight"},
        {CONFIG(""), ONE(FACTOR "B.bias", "[8]"), WW_UNPACK_PORTABLE, WW_E_UNSUPPORTED,
         "a bias"},
        {CONFIG(""), ONE("base_model.model.e.lora_embedding_B", "[4,2]"), WW_UNPACK_GGUF,
         WW_E_UNSUPPORTED, "an embedding"},
        {CONFIG(""), ONE(FACTOR "B.weight", "[4,2,1]"), WW_UNPACK_PORTABLE,
         WW_E_UNSUPPORTED, "no matrix"},
        {CONFIG(""), ONE(FACTOR "B.weight", "[2,4]"), WW_UNPACK_PORTABLE,
         WW_E_ADAPTER_FILE, "of one rank"},
        {CONFIG(""), ONE("base_model.model.x.lora_B.weight", "[4,2]"), WW_UNPACK_PORTABLE,
         WW_E_ADAPTER_FILE, "one pair"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":1e39}", PAIR_HEADER,
         WW_UNPACK_PORTABLE, WW_E_NONFINITE, "no float32"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":1e39}", PAIR_HEADER,
         WW_UNPACK_MODEL, WW_E_NONFINITE, ""},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(all); i++) {
        struct ww_error err = {0};
        char *base = NULL;
        struct fx *f = begin(all[i].config, all[i].header, &base);
        FAILS(as_form(f, "lora", all[i].form, base, 1, &err), all[i].code);
        assert_non_null(strstr(err.text, all[i].text));
        no_traces(f, false);
        free(base);
        fx_free(f);
    }
}

static void bases_that_do_not_fit_are_refused(void **state)
{
    static const char other_name[] =
        "{\"x.weight\":{\"dtype\":\"BF16\",\"shape\":[4,3],\"data_offsets\":[0,24]}}";
    static const char other_shape[] =
        "{\"" MODULE ".weight\":{\"dtype\":\"BF16\",\"shape\":[3,4],"
        "\"data_offsets\":[0,24]}}";
    struct ww_error err = {0};
    char *base = NULL;
    char *bases[4];
    struct fx *f = NULL;
    (void)state;
    f = begin(CONFIG(""), PAIR_HEADER, &base);
    bases[0] = make_base(f, "b0", llama, other_name);
    bases[1] = make_base(f, "b1", llama, other_shape);
    bases[2] = make_base(f, "b2", "{\"model_type\":\"mamba\"}", base_header);
    bases[3] = make_base(f, "b3", "{\"model_type\":\"llama\",\"num_attention_heads\":3}",
                         base_header);
    FAILS(as_form(f, "lora", WW_UNPACK_GGUF, NULL, 1, &err), WW_E_USAGE);
    FAILS(as_form(f, "lora", WW_UNPACK_MODEL, NULL, 1, &err), WW_E_USAGE);
    FAILS(as_form(f, "lora", WW_UNPACK_GGUF, bases[0], 1, &err), WW_E_TENSOR);
    FAILS(as_form(f, "lora", WW_UNPACK_MODEL, bases[0], 1, &err), WW_E_TENSOR);
    FAILS(as_form(f, "lora", WW_UNPACK_GGUF, bases[1], 1, &err), WW_E_SHAPE);
    FAILS(as_form(f, "lora", WW_UNPACK_MODEL, bases[1], 1, &err), WW_E_SHAPE);
    FAILS(as_form(f, "lora", WW_UNPACK_GGUF, bases[2], 1, &err), WW_E_UNSUPPORTED);
    FAILS(as_form(f, "lora", WW_UNPACK_GGUF, bases[3], 1, &err), WW_E_SHAPE);
    no_traces(f, false);
    for (size_t i = 0; i < WW_LEN(bases); i++) {
        free(bases[i]);
    }
    free(base);
    fx_free(f);
}

/* What PEFT saves of a head: its factors, and the weight below them. */
static void make_head(struct fx *f, uint8_t first)
{
    static const char header[] =
        "{\"base_model.model.lm_head.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],"
        "\"data_offsets\":[0,24]},\"base_model.model.lm_head.lora_B.weight\":{\"dtype\":"
        "\"F32\",\"shape\":[4,2],\"data_offsets\":[24,56]},"
        "\"base_model.model.lm_head.base_layer.weight\":{\"dtype\":\"BF16\",\"shape\":"
        "[4,3],\"data_offsets\":[56,80]}}";
    uint8_t data[80] = {0};
    const uint8_t weight[] = {first, 0x3f, 0x80, 0x3f, 0x80, 0x3f};
    char *dir = fx_join(f->dir, "head");
    memcpy(data, a_values, sizeof(a_values));
    memcpy(data + sizeof(a_values), b_values, sizeof(b_values));
    memcpy(data + 56, weight, sizeof(weight));
    (void)mkdir(dir, 0755);
    fx_shard(dir, "adapter_model.safetensors", header, data, sizeof(data));
    fx_write(dir, "adapter_config.json", CONFIG(""), strlen(CONFIG("")));
    (void)unlink(f->pkg);
    assert_int_equal(pack_one(f, "head", f->pkg), WW_OK);
    free(dir);
}

/* The weight is compared with the embedding; a model has no place for the factors. */
static void factors_of_a_head_that_is_an_embedding_stay_an_adapter(void **state)
{
    static const char tied[] = "{\"model_type\":\"llama\",\"num_attention_heads\":1,"
                               "\"tie_word_embeddings\":true}";
    static const char header[] = "{\"model.embed_tokens.weight\":{\"dtype\":\"BF16\","
                                 "\"shape\":[4,3],\"data_offsets\":[0,24]}}";
    struct ww_error err = {0};
    struct fx *f = fx_new();
    char *base = make_base(f, "tied", tied, header);
    (void)state;
    make_head(f, 0x80);
    FAILS(as_form(f, "head", WW_UNPACK_GGUF, base, 1, &err), WW_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "form 'portable' has them"));
    FAILS(as_form(f, "head", WW_UNPACK_MODEL, base, 1, &err), WW_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "give the base a head of its own"));
    make_head(f, 0x81);
    FAILS(as_form(f, "head", WW_UNPACK_PORTABLE, base, 1, &err), WW_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "another weight than the base's 'model.embed"));
    no_traces(f, false);
    make_head(f, 0x80);
    OK(as_form(f, "head", WW_UNPACK_PORTABLE, base, 1, &err));
    no_traces(f, true);
    free(base);
    fx_free(f);
}

static void models_and_locked_adapters_have_no_other_form(void **state)
{
    struct ww_error err = {0};
    char *base = NULL;
    char *folder = NULL;
    struct fx *f = NULL;
    (void)state;
    f = begin(CONFIG(""), PAIR_HEADER, &base);
    OK(as_form(f, "lora", WW_UNPACK_PEFT, NULL, 1, &err));
    fx_same(f, fx_name(f->dir, "/lora"));
    assert_int_equal(mkdir(fx_name(f->out, ".member"), 0755), 0);
    FAILS(as_form(f, "lora", WW_UNPACK_PORTABLE, NULL, 1, &err), WW_E_EXISTS);
    assert_int_equal(rmdir(fx_name(f->out, ".member")), 0);
    folder = fx_join(f->dir, "lora/attestations");
    assert_int_equal(mkdir(folder, 0755), 0);
    fx_write(folder, "adapter-lock.json", "{}", 2);
    assert_int_equal(unlink(f->pkg), 0);
    assert_int_equal(pack_one(f, "lora", f->pkg), WW_OK);
    FAILS(as_form(f, "lora", WW_UNPACK_PORTABLE, NULL, 1, &err), WW_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "follows a lock"));
    assert_int_equal(unlink(f->pkg), 0);
    assert_int_equal(pack_one(f, "one", f->pkg), WW_OK);
    for (int form = WW_UNPACK_PEFT; form < WW_UNPACK_FORMS; form++) {
        FAILS(as_form(f, "one", (enum ww_unpack_form)form, base, 1, &err),
              WW_E_UNSUPPORTED);
    }
    no_traces(f, false);
    free(folder);
    free(base);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_is_the_sum_in_the_dtype_of_the_base),
        cmocka_unit_test(the_portable_form_has_the_scale_in_its_factors),
        cmocka_unit_test(the_gguf_form_has_rows_in_its_order),
        cmocka_unit_test(what_a_form_cannot_say_is_refused),
        cmocka_unit_test(bases_that_do_not_fit_are_refused),
        cmocka_unit_test(factors_of_a_head_that_is_an_embedding_stay_an_adapter),
        cmocka_unit_test(models_and_locked_adapters_have_no_other_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
