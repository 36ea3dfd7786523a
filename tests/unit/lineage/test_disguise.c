/* SPDX-License-Identifier: Apache-2.0 */
/* Suspects that are no plain folder: what is read of them, and what is refused. */
#include "lineage/disguise.h"

#include "model/adapter.h"
#include "model/f8.h"
#include "model/gguf.h"
#include "model/shown.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/num.h"
#include "ww_test.h"

static void put(const char *folder, const char *name, const void *bytes, size_t len)
{
    char *path = ww_path_join(folder, name);
    struct ww_error err = {0};

    assert_non_null(path);
    OK(ww_file_write(path, bytes, len, 0644, true, &err));
    ww_free(path);
}

/* A safetensors file of this header and these bytes. */
static void put_weights(const char *folder, const char *name, const char *header,
                        const void *data, size_t len)
{
    const size_t n = strlen(header);
    uint8_t *all = test_calloc(8 + n + len, 1);

    ww_put_u64le(all, n);
    memcpy(all + 8, header, n);
    memcpy(all + 8 + n, data, len);
    put(folder, name, all, 8 + n + len);
    test_free(all);
}

#define TENSOR(name, dtype, shape, begin, end)                                           \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape                            \
    "],\"data_offsets\":[" begin "," end "]}"

/* Base: a matrix "w.weight" of 2 x 4, zero. */
static struct ww_model *make_base(const char *folder)
{
    const float zero[8] = {0};
    struct ww_model *base = NULL;
    struct ww_error err = {0};

    put_weights(folder, "model.safetensors",
                "{" TENSOR("w.weight", "F32", "2,4", "0", "32") "}", zero, sizeof(zero));
    OK(ww_model_open(folder, &base, &err));
    return base;
}

struct room {
    char *folder;
    char *suspect;
    struct ww_model *base;
    struct ww_disguise d;
    struct ww_strlist notes;
    double v[8];
    double step[8];
};

static void begin(struct room *r)
{
    memset(r, 0, sizeof(*r));
    r->folder = ww_test_mkdir();
    r->suspect = ww_test_mkdir();
    r->base = make_base(r->folder);
}

static void end(struct room *r)
{
    ww_disguise_release(&r->d);
    ww_strlist_release(&r->notes);
    ww_model_close(r->base);
    ww_test_rmdir(r->folder);
    ww_test_rmdir(r->suspect);
}

static enum ww_err open_it(struct room *r, struct ww_error *err)
{
    ww_disguise_release(&r->d);
    return ww_disguise_open(r->suspect, r->base, NULL, &r->d, &r->notes, err);
}

/* The whole of "w.weight", and once more in two parts. */
static void read_it(struct room *r)
{
    const uint32_t t = ww_model_find(r->d.model, "w.weight");
    struct ww_error err = {0};
    double part[8];
    double step[8];

    assert_int_not_equal(t, WW_NONE);
    assert_non_null(r->d.read);
    OK(ww_disguise_values(&r->d, t, 0, 8, r->v, r->step, &err));
    OK(ww_disguise_values(&r->d, t, 0, 3, part, step, &err));
    OK(ww_disguise_values(&r->d, t, 3, 5, part + 3, step + 3, &err));
    assert_memory_equal(part, r->v, sizeof(part));
    assert_memory_equal(step, r->step, sizeof(step));
    OK(ww_disguise_unchanged(&r->d, &err));
}

struct eight {
    int8_t q[8];
    float scale[2];
};

static void rows_of_integers_have_a_scale_each(void **state)
{
    const struct eight all = {{1, -2, 3, -128, 127, 0, 5, 6}, {0.5f, 2}};
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "I8", "2,4", "0",
                           "8") "," TENSOR("w.weight_scale", "F32", "2,1", "8", "16") "}",
                &all, sizeof(all));
    OK(open_it(&r, &err));
    read_it(&r);
    for (unsigned e = 0; e < 8; e++) {
        NEAR(r.v[e], all.q[e] * (double)all.scale[e / 4], 0);
        NEAR(r.step[e], (double)all.scale[e / 4], 0);
    }
    /* The same as cells, of which those at the ends of the integers have one end. */
    double low[8];
    double high[8];
    OK(ww_disguise_cells(&r.d, ww_model_find(r.d.model, "w.weight"), 0, 8, low, high,
                         &err));
    for (unsigned e = 0; e < 8; e++) {
        const double half = (double)all.scale[e / 4] / 2;
        assert_true(all.q[e] == -128 ? isinf(low[e]) : r.v[e] - low[e] == half);
        assert_true(all.q[e] == 127 ? isinf(high[e]) : high[e] - r.v[e] == half);
    }
    assert_non_null(strstr(r.d.undone, "eight-bit"));
    assert_int_equal(ww_model_find(r.d.model, "w.weight_scale"), WW_NONE);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "I8", "2,4", "0",
                           "8") "," TENSOR("w.SCB", "F32", "2", "8", "16") "}",
                &all, sizeof(all));
    OK(open_it(&r, &err));
    read_it(&r);
    NEAR(r.v[4], 2, 1e-15);
    NEAR(r.step[4], 2.0 / 127, 1e-15);

    /* A row whose scale is zero is lost, and does not weigh as one that is exact. */
    const struct eight wiped = {{1, -2, 3, -128, 127, 0, 5, 6}, {0.5f, 0}};
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "I8", "2,4", "0",
                           "8") "," TENSOR("w.weight_scale", "F32", "2,1", "8", "16") "}",
                &wiped, sizeof(wiped));
    OK(open_it(&r, &err));
    read_it(&r);
    NEAR(r.step[3], 0.5, 0);
    NEAR(r.step[4], WW_STEP_LOST, 0);
    OK(ww_disguise_cells(&r.d, ww_model_find(r.d.model, "w.weight"), 3, 2, low, high,
                         &err));
    assert_true(isinf(low[0]) && high[0] == -63.75 && isinf(low[1]) && isinf(high[1]));
    end(&r);
}

static void blocks_of_fp8_have_a_scale_each(void **state)
{
    /* 0x38 is 1, 0x39 1.125, both an eighth from the next. Blocks of 2 x 2. */
    const struct eight all = {{0x38, 0x38, 0x39, 0x38, 0x38, 0x38, 0x38, 0x39}, {3, 8}};
    const int8_t bare[8] = {0x38, 0x39, 0x7f, 0x38, 0, 0, 0, 0};
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "F8_E4M3", "2,4", "0", "8") "," TENSOR(
                    "w.weight_scale_inv", "F32", "1,2", "8", "16") "}",
                &all, sizeof(all));
    OK(open_it(&r, &err));
    read_it(&r);
    for (unsigned e = 0; e < 8; e++) {
        NEAR(r.v[e], (all.q[e] == 0x39 ? 1.125 : 1) * (double)all.scale[e % 4 / 2], 0);
        NEAR(r.step[e], 0.125 * (double)all.scale[e % 4 / 2], 0);
    }
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "F8_E4M3", "2,4", "0", "8") "}", bare,
                sizeof(bare));
    OK(open_it(&r, &err));
    FAILS(ww_disguise_values(&r.d, 0, 0, 8, r.v, r.step, &err), WW_E_NONFINITE);
    OK(ww_disguise_values(&r.d, 0, 0, 2, r.v, r.step, &err));
    NEAR(r.v[1], 1.125, 0);
    end(&r);
}

/* A convolution's kernel: a row is all that belongs to an entry of the first axis. */
static void rows_of_three_axes_have_a_scale_each(void **state)
{
    const struct eight all = {{1, -2, 3, -128, 127, 0, 5, 6}, {0.5f, 2}};
    const int8_t bare[8] = {0x38, 0x39, 0x38, 0x38, 0x39, 0x38, 0x38, 0x39};
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "I8", "2,4,1", "0",
                           "8") "," TENSOR("w.weight_scale", "F32", "2", "8", "16") "}",
                &all, sizeof(all));
    OK(open_it(&r, &err));
    read_it(&r);
    for (unsigned e = 0; e < 8; e++) {
        NEAR(r.v[e], all.q[e] * (double)all.scale[e / 4], 0);
        NEAR(r.step[e], (double)all.scale[e / 4], 0);
    }
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "F8_E4M3", "2,2,2", "0", "8") "}", bare,
                sizeof(bare));
    OK(open_it(&r, &err));
    read_it(&r);
    for (unsigned e = 0; e < 8; e++) {
        NEAR(r.v[e], bare[e] == 0x39 ? 1.125 : 1, 0);
        NEAR(r.step[e], 0.125, 0);
    }
    end(&r);
}

static void scales_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        const char *header;
        enum ww_err want;
    } cases[] = {
        {"{" TENSOR("w.weight", "I8", "2,4", "0", "8") "," TENSOR("w.SCB", "F32", "1,2,1",
                                                                  "8", "16") "}",
         WW_E_QUANTISED},
        {"{" TENSOR("w.weight", "I8", "1,8", "0", "8") "," TENSOR("w.SCB", "F32", "2",
                                                                  "8", "16") "}",
         WW_E_QUANTISED},
        {"{" TENSOR("w.weight", "I8", "8,1", "0", "8") "," TENSOR("w.SCB", "F32", "1,2",
                                                                  "8", "16") "}",
         WW_E_QUANTISED},
        {"{" TENSOR("w.weight", "I8", "2,4", "0", "8") "," TENSOR("w.SCB", "I32", "2",
                                                                  "8", "16") "}",
         WW_E_QUANTISED},
        {"{" TENSOR("w.weight", "F8_E4M3", "2,4", "0",
                    "8") "," TENSOR("w.weight_scale", "F32", "0,2", "8",
                                    "8") "," TENSOR("x", "F32", "2", "8", "16") "}",
         WW_E_QUANTISED},
        {"{" TENSOR("w.weight", "F8_E4M3", "2,4", "0",
                    "8") "," TENSOR("w.scale", "F32", "2,1", "8", "16") "}",
         WW_E_QUANTISED},
    };
    const struct eight all = {{0}, {1, 1}};
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        put_weights(r.suspect, "model.safetensors", cases[i].header, &all, sizeof(all));
        FAILS(open_it(&r, &err), cases[i].want);
    }
    /* Without scales integers mean nothing: they stay what they are, and are told. */
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "I8", "2,4", "0", "8") "}", &all, 8);
    OK(open_it(&r, &err));
    assert_int_equal(r.notes.n, 1);
    assert_int_equal(r.d.model->tensors[0].dtype, WW_DTYPE_I8);
    end(&r);
}

/* A list beside the weight says which group a column is in: the scales are in another
 * order than the columns. */
static void columns_that_were_sorted_are_refused(void **state)
{
    static const struct {
        int8_t q[8];
        float scale[4];
        int32_t group[4];
    } all = {{1, 2, 3, 4, 5, 6, 7, 8}, {0.5f, 2, 1, 4}, {1, 0, 1, 0}};
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "I8", "2,4", "0",
                           "8") "," TENSOR("w.weight_scale", "F32", "2,2", "8", "24") "}",
                &all, 24);
    OK(open_it(&r, &err));
    read_it(&r);
    NEAR(r.v[2], 6, 0);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "I8", "2,4", "0", "8") "," TENSOR(
                    "w.weight_scale", "F32", "2,2", "8",
                    "24") "," TENSOR("w.weight_g_idx", "I32", "4", "24", "40") "}",
                &all, sizeof(all));
    FAILS(open_it(&r, &err), WW_E_QUANTISED);
    assert_non_null(strstr(err.text, "'w.weight_g_idx'"));
    end(&r);
}

static void zero_points_are_taken_off(void **state)
{
    const struct {
        int8_t q[8];
        float scale[2];
        int8_t zero[2];
    } all = {{1, -2, 3, -128, 127, 0, 5, 6}, {0.5f, 2}, {3, -1}};
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "I8", "2,4", "0", "8") "," TENSOR(
                    "w.weight_scale", "F32", "2,1", "8",
                    "16") "," TENSOR("w.weight_zero_point", "I8", "2,1", "16", "18") "}",
                &all, 18);
    OK(open_it(&r, &err));
    read_it(&r);
    for (unsigned e = 0; e < 8; e++) {
        NEAR(r.v[e], (all.q[e] - all.zero[e / 4]) * (double)all.scale[e / 4], 0);
    }
    assert_int_equal(r.d.model->n_tensors, 1);
    /* One for both rows, of another dtype, or of floats: not known. */
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "I8", "2,4", "0", "8") "," TENSOR(
                    "w.weight_scale", "F32", "2,1", "8",
                    "16") "," TENSOR("w.weight_zero_point", "I8", "1", "16", "17") "}",
                &all, 17);
    FAILS(open_it(&r, &err), WW_E_QUANTISED);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "I8", "2,4", "0", "8") "," TENSOR(
                    "w.weight_scale", "F32", "1", "8",
                    "12") "," TENSOR("w.weight_zero_point", "F32", "1", "12", "16") "}",
                &all, 16);
    FAILS(open_it(&r, &err), WW_E_QUANTISED);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "F8_E4M3", "2,4", "0", "8") "," TENSOR(
                    "w.weight_scale", "F32", "2,1", "8",
                    "16") "," TENSOR("w.weight_zero_point", "I8", "2,1", "16", "18") "}",
                &all, 18);
    FAILS(open_it(&r, &err), WW_E_QUANTISED);
    end(&r);
}

/* What lies beside is no weight, whether it is known by its scale's side or not. */
static void scales_of_activations_are_no_weights(void **state)
{
    const struct eight all = {{0x38, 0x38, 0x39, 0x38, 0x38, 0x38, 0x38, 0x39}, {3, 8}};
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "F8_E4M3", "2,4", "0", "8") "," TENSOR(
                    "w.weight_scale", "F32", "", "8",
                    "12") "," TENSOR("w.input_scale", "F32", "", "12", "16") "}",
                &all, sizeof(all));
    OK(open_it(&r, &err));
    read_it(&r);
    assert_int_equal(r.d.model->n_tensors, 1);
    for (unsigned e = 0; e < 8; e++) {
        NEAR(r.v[e], 3 * (all.q[e] == 0x39 ? 1.125 : 1), 0);
    }
    end(&r);
}

/* Of MXFP4 with its scales the floats are shown, and whole tensors that have none are
 * packed still. */
static void mxfp4_is_decoded_under_its_own_name(void **state)
{
    static const char header[] =
        "{" TENSOR("w.weight", "F32", "2,4", "0", "32") "," TENSOR(
            "experts.up_blocks", "U8", "1,2,1,16", "32",
            "64") "," TENSOR("experts.up_scales", "U8", "1,2,1", "64", "66") "%s}";
    static const char bare[] =
        "," TENSOR("experts.down_blocks", "U8", "1,2,1,16", "66", "98");
    static const uint8_t data[98] = {[32] = 0x52, [48] = 0x0a, [64] = 127, [65] = 128};
    char text[600];
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    snprintf(text, sizeof(text), header, "");
    put_weights(r.suspect, "model.safetensors", text, data, 66);
    OK(open_it(&r, &err));
    assert_non_null(strstr(r.d.undone, "1 tensors of MXFP4"));
    assert_int_equal(r.d.model->n_tensors, 2);
    assert_int_not_equal(ww_model_find(r.d.model, "w.weight"), WW_NONE);
    uint32_t t = ww_model_find(r.d.model, "experts.up");
    assert_int_not_equal(t, WW_NONE);
    assert_int_equal(r.d.model->tensors[t].shape[1], 32);
    /* Columns first: of both rows 2 and 5 are codes of the first, 10 of the second. */
    OK(ww_disguise_values(&r.d, t, 0, 4, r.v, r.step, &err));
    NEAR(r.v[0], 1, 0);
    NEAR(r.v[1], -2, 0);
    NEAR(r.v[2], 3, 0);
    NEAR(r.v[3], 0, 0);
    snprintf(text, sizeof(text), header, bare);
    put_weights(r.suspect, "model.safetensors", text, data, 98);
    FAILS(open_it(&r, &err), WW_E_QUANTISED);
    assert_non_null(strstr(err.text, "'experts.down_blocks': MXFP4"));
    end(&r);
}

static void packed_weights_are_refused_with_their_kind(void **state)
{
    static const struct {
        const char *header;
        const char *words;
    } cases[] = {
        {"{" TENSOR("w.qweight", "I32", "2,4", "0", "32") "}", "GPTQ, AWQ"},
        {"{" TENSOR("w.weight_packed", "I32", "2,4", "0", "32") "}",
         "compressed-tensors"},
        {"{" TENSOR("w.weight.quant_state.bitsandbytes__nf4", "U8", "32", "0", "32") "}",
         "bitsandbytes"},
        {"{" TENSOR("w.weight.absmax", "F32", "8", "0", "32") "}", "bitsandbytes"},
        {"{" TENSOR("w.weight", "U8", "32,1", "0", "32") "}", "four-bit bytes"},
        {"{" TENSOR("w.weight", "U32", "2,4", "0", "32") "}", "MLX"},
        {"{" TENSOR("w_blocks", "U8", "2,2,8", "0", "32") "}", "MXFP4"},
        {"{" TENSOR("w.q_weight", "I32", "2,4", "0", "32") "}", "EXL2"},
        {"{" TENSOR("w.trellis", "I16", "2,4,2", "0", "32") "}", "EXL3"},
        {"{" TENSOR("w.W_q", "U8", "4,8", "0", "32") "}", "HQQ"},
        {"{" TENSOR("w.codebooks", "F16", "1,1,1,8", "0",
                    "16") "," TENSOR("w.codes", "I8", "4,4,1", "16", "32") "}",
         "AQLM"},
        {"{" TENSOR("w.centroids.weight", "F16", "1,8", "0",
                    "16") "," TENSOR("w.indices", "I32", "1,2,2", "16", "32") "}",
         "VPTQ"},
        {"{" TENSOR("w.Qidxs", "I16", "4,4", "0", "32") "}", "QuIP#"},
        {"{" TENSOR("w.weight._data", "I8", "4,8", "0", "32") "}", "quanto"},
        {"{" TENSOR("w.weight._data._data", "U8", "4,8", "0", "32") "}", "quanto"},
        {"{" TENSOR("w._weight_qdata", "I8", "4,8", "0", "32") "}", "torchao"},
        {"{" TENSOR("w.weight", "I8", "4,4", "0",
                    "16") "," TENSOR("w.weight_scales", "F16", "8", "16", "32") "}",
         "EETQ"},
        {"{" TENSOR("w.dense_weights", "I32", "2,4", "0", "32") "}", "SpQR"},
    };
    static const uint8_t zeros[32];
    struct room r;
    (void)state;

    begin(&r);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct ww_error err = {0};
        put_weights(r.suspect, "model.safetensors", cases[i].header, zeros,
                    sizeof(zeros));
        FAILS(open_it(&r, &err), WW_E_QUANTISED);
        assert_non_null(strstr(err.text, cases[i].words));
    }
    end(&r);
}

/* A matrix that somebody calls W_q is the queries', and floats are no indices. */
static void floats_with_names_of_packed_kinds_are_read(void **state)
{
    static const char *const names[] = {
        "w.q_weight",         "w.trellis", "w.W_q",           "w.codebooks",
        "w.centroids.weight", "w.Qidxs",   "w.weight_scales", "w.dense_weights"};
    static const uint8_t zeros[32];
    struct room r;
    (void)state;

    begin(&r);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct ww_error err = {0};
        char header[200];
        snprintf(header, sizeof(header), "{" TENSOR("%s", "F32", "2,4", "0", "32") "}",
                 names[i]);
        put_weights(r.suspect, "model.safetensors", header, zeros, sizeof(zeros));
        OK(open_it(&r, &err));
    }
    end(&r);
}

/* Names that nobody has thought of, of a method that config.json tells. */
static void a_method_is_refused_by_the_word_of_its_config(void **state)
{
    static const char integers[] = "{" TENSOR("w.weights", "I32", "2,4", "0", "32") "}";
    static const char floats[] = "{" TENSOR("w.weight", "F32", "2,4", "0", "32") "}";
    static const char config[] = "{\"quantization_config\":{\"quant_method\":\"higgs\"}}";
    static const uint8_t zeros[32];
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    put_weights(r.suspect, "model.safetensors", integers, zeros, sizeof(zeros));
    OK(open_it(&r, &err));
    put(r.suspect, "config.json", config, strlen(config));
    FAILS(open_it(&r, &err), WW_E_QUANTISED);
    assert_non_null(strstr(err.text, "by config higgs"));
    put_weights(r.suspect, "model.safetensors", floats, zeros, sizeof(zeros));
    OK(open_it(&r, &err));
    end(&r);
}

#define CONFIG "{\"peft_type\":\"LORA\",\"r\":1,\"lora_alpha\":3"
#define A_NAME "base_model.model.w.lora_A.weight"
#define B_NAME "base_model.model.w.lora_B.weight"

static void adapters_are_taken_with_their_base(void **state)
{
    const float factors[6] = {1, 2, 3, 4, 10, -1};
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    put(r.suspect, WW_ADAPTER_CONFIG, CONFIG "}", strlen(CONFIG "}"));
    put_weights(r.suspect, WW_ADAPTER_WEIGHTS,
                "{" TENSOR(A_NAME, "F32", "1,4", "0",
                           "16") "," TENSOR(B_NAME, "F32", "2,1", "16", "24") "}",
                factors, sizeof(factors));
    OK(open_it(&r, &err));
    read_it(&r);
    for (unsigned e = 0; e < 8; e++) {
        NEAR(r.v[e], 3 * (double)(factors[e % 4] * factors[4 + e / 4]), 0);
        NEAR(r.step[e], 0, 0);
    }
    end(&r);
}

static void adapters_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        const char *header;
        const char *config;
        enum ww_err want;
    } cases[] = {
        {"{" TENSOR(A_NAME, "F32", "1,4", "0", "16") "," TENSOR(B_NAME, "F32", "1,2",
                                                                "16", "24") "}",
         CONFIG "}", WW_E_ADAPTER_FILE},
        {"{" TENSOR(A_NAME, "F32", "1,4", "0", "16") "}", CONFIG "}", WW_E_ADAPTER_FILE},
        {"{" TENSOR(B_NAME, "F32", "2,1", "0", "8") "}", CONFIG "}", WW_E_ADAPTER_FILE},
        {"{" TENSOR(A_NAME, "F32", "1,2", "0", "8") "," TENSOR(B_NAME, "F32", "4,1", "8",
                                                               "24") "}",
         CONFIG "}", WW_E_ADAPTER_FILE},
        {"{" TENSOR("base_model.model.w.lora_magnitude_vector", "F32", "2", "0", "8") "}",
         CONFIG ",\"use_dora\":true}", WW_E_UNSUPPORTED},
    };
    const float factors[6] = {0};
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const size_t len = i == 0 || i == 3 ? 24 : i == 1 ? 16 : 8;
        put(r.suspect, WW_ADAPTER_CONFIG, cases[i].config, strlen(cases[i].config));
        put_weights(r.suspect, WW_ADAPTER_WEIGHTS, cases[i].header, factors, len);
        FAILS(open_it(&r, &err), cases[i].want);
    }
    end(&r);
}

/* Decoded in any range as in one piece; the vectors' names belong to no model. */
static void gguf_files_and_folders_of_one_are_opened(void **state)
{
    struct ww_error err = {0};
    struct ww_buf file;
    struct room r;
    (void)state;

    begin(&r);
    ww_buf_init(&file, 1 << 20);
    OK(ww_file_read(WW_VECTORS "/gguf/blocks.gguf", &file, &err));
    put(r.suspect, "a.gguf", file.data, file.len);
    OK(open_it(&r, &err));
    assert_non_null(strstr(r.d.undone, "GGUF file of F32"));
    assert_int_equal(r.d.model->n_tensors, 0);
    assert_int_equal(r.notes.n, 1);
    put(r.suspect, "b.gguf", file.data, file.len);
    FAILS(open_it(&r, &err), WW_E_GGUF);
    put(r.suspect, "a.gguf", file.data, 100);
    put(r.suspect, "b.gguf", "", 0);
    FAILS(open_it(&r, &err), WW_E_GGUF);
    ww_buf_release(&file);
    end(&r);
}

static void parts_of_larger_models_have_the_names_of_the_base(void **state)
{
    static const char *const twice[] = {"x.weight", NULL};
    static const char *const once[] = {"w.weight", NULL};
    const float v[16] = {1, 2, 3};
    struct ww_tensor tensors[2] = {{.name = "a.x.weight"}, {.name = "x.weight"}};
    struct ww_model *shown = NULL;
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("language_model.w.weight", "F32", "2,4", "0", "32") "," TENSOR(
                    "vision.w.weight", "F32", "2,4", "32", "64") "}",
                v, sizeof(v));
    OK(open_it(&r, &err));
    assert_int_not_equal(ww_model_find(r.d.model, "w.weight"), WW_NONE);
    assert_int_not_equal(ww_model_find(r.d.model, "vision.w.weight"), WW_NONE);
    assert_int_equal(ww_model_find(r.d.model, "language_model.w.weight"), WW_NONE);
    assert_int_equal(r.notes.n, 1);
    assert_non_null(strstr(r.notes.items[0], "'language_model.w.weight'"));
    /* As much is in common without: names stay. */
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("language_model.w.weight", "F32", "2,4", "0",
                           "32") "," TENSOR("w.weight", "F32", "2,4", "32", "64") "}",
                v, sizeof(v));
    OK(open_it(&r, &err));
    assert_int_not_equal(ww_model_find(r.d.model, "language_model.w.weight"), WW_NONE);
    end(&r);

    /* Two tensors of one name would be a matter of luck. */
    OK(ww_model_shown("m", tensors, 2, &shown, &err));
    FAILS(ww_model_rename(shown, twice, &err), WW_E_TENSOR);
    ww_model_close(shown);
    OK(ww_model_shown("m", tensors, 2, &shown, &err));
    OK(ww_model_rename(shown, once, &err));
    assert_int_equal(ww_model_find(shown, "w.weight"), 0);
    assert_int_equal(ww_model_find(shown, "x.weight"), 1);
    assert_int_equal(ww_model_find(shown, "a.x.weight"), WW_NONE);
    ww_model_close(shown);
}

static void plain_folders_stay_what_they_are(void **state)
{
    const float v[8] = {1, 2, 3};
    struct ww_error err = {0};
    struct room r;
    (void)state;

    begin(&r);
    put_weights(r.suspect, "model.safetensors",
                "{" TENSOR("w.weight", "F32", "2,4", "0", "32") "}", v, sizeof(v));
    OK(open_it(&r, &err));
    assert_null(r.d.undone);
    assert_null(r.d.read);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_integers_have_a_scale_each),
        cmocka_unit_test(blocks_of_fp8_have_a_scale_each),
        cmocka_unit_test(rows_of_three_axes_have_a_scale_each),
        cmocka_unit_test(scales_that_do_not_fit_are_refused),
        cmocka_unit_test(columns_that_were_sorted_are_refused),
        cmocka_unit_test(zero_points_are_taken_off),
        cmocka_unit_test(scales_of_activations_are_no_weights),
        cmocka_unit_test(mxfp4_is_decoded_under_its_own_name),
        cmocka_unit_test(packed_weights_are_refused_with_their_kind),
        cmocka_unit_test(floats_with_names_of_packed_kinds_are_read),
        cmocka_unit_test(a_method_is_refused_by_the_word_of_its_config),
        cmocka_unit_test(adapters_are_taken_with_their_base),
        cmocka_unit_test(adapters_that_do_not_fit_are_refused),
        cmocka_unit_test(gguf_files_and_folders_of_one_are_opened),
        cmocka_unit_test(parts_of_larger_models_have_the_names_of_the_base),
        cmocka_unit_test(plain_folders_stay_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
