/* SPDX-License-Identifier: Apache-2.0 */
#include "model/adapter.h"
#include "model/adapter_lock.h"
#include "model/adapter_names.h"

#include "st_build.h"
#include "util/fail.h"
#include "util/fault.h"
#include "util/alloc.h"

#define F32(name, a, b, begin, end)                                                      \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[" a "," b "],\"data_offsets\":[" begin   \
    "," end "]}"
#define TWO                                                                              \
    "{" F32("base_model.model.h.0.q.lora_A.weight", "1", "2", "0", "8") "," F32(         \
        "base_model.model.h.0.q.lora_B.weight", "2", "1", "8", "16") "}"
#define LORA "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8"

static char *folder_of(const char *config, const char *header, size_t bytes)
{
    char *folder = ww_test_mkdir();
    put_text(folder, WW_ADAPTER_CONFIG, config);
    put_st(folder, WW_ADAPTER_WEIGHTS, header, bytes);
    return folder;
}

static enum ww_err open_config(const char *config, struct ww_error *err)
{
    struct ww_adapter *adapter = NULL;
    char *folder = folder_of(config, TWO, 16);
    enum ww_err rc = ww_adapter_open(folder, &adapter, err);

    ww_adapter_close(adapter);
    ww_test_rmdir(folder);
    return rc;
}

static enum ww_err open_name(const char *name, enum ww_adapter_part *part,
                             char module[64])
{
    struct ww_adapter *adapter = NULL;
    struct ww_error err = {0};
    char header[400];
    snprintf(header, sizeof(header),
             "{\"%s\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", name);
    char *folder = folder_of(LORA "}", header, 8);
    enum ww_err rc = ww_adapter_open(folder, &adapter, &err);

    if (rc == WW_OK) {
        *part = adapter->entries[0].part;
        snprintf(module, 64, "%s", adapter->entries[0].module);
    }
    ww_adapter_close(adapter);
    ww_test_rmdir(folder);
    return rc;
}

static void every_part_is_known_by_its_name(void **state)
{
    static const struct {
        const char *name;
        enum ww_adapter_part part;
        const char *module;
    } cases[] = {
        {"a.q.lora_A.weight", WW_PART_A, "a.q"},
        {"a.q.lora_A.default.weight", WW_PART_A, "a.q"},
        {"a.q.lora_B.weight", WW_PART_B, "a.q"},
        {"a.q.lora_B.bias", WW_PART_B_BIAS, "a.q"},
        {"wte.lora_embedding_A", WW_PART_EMBEDDING_A, "wte"},
        {"wte.lora_embedding_B", WW_PART_EMBEDDING_B, "wte"},
        {"a.q.lora_magnitude_vector", WW_PART_MAGNITUDE, "a.q"},
        {"score.weight", WW_PART_FULL, "score.weight"},
        {"head.base_layer.weight", WW_PART_FULL, "head.weight"},
        {"a.q.bias", WW_PART_FULL, "a.q.bias"},
    };
    (void)state;

    for (size_t i = 0; i < WW_LEN(cases); i++) {
        enum ww_adapter_part part = WW_PART_A;
        char name[200];
        char module[64];
        snprintf(name, sizeof(name), "base_model.model.%s", cases[i].name);
        assert_int_equal(open_name(name, &part, module), WW_OK);
        assert_int_equal(part, cases[i].part);
        assert_string_equal(module, cases[i].module);
    }
}

static void what_is_not_understood_is_refused(void **state)
{
    enum ww_adapter_part part;
    char module[64];
    (void)state;

    assert_int_equal(open_name("h.0.q.lora_A.weight", &part, module), WW_E_ADAPTER_FILE);
    assert_int_equal(open_name("base_model.model.q.lora_A.other.weight", &part, module),
                     WW_E_UNSUPPORTED);
    assert_int_equal(open_name("base_model.model.q.lora_E", &part, module),
                     WW_E_UNSUPPORTED);
}

static void settings_that_change_the_meaning_are_refused(void **state)
{
    static const struct {
        const char *config;
        enum ww_err code;
    } cases[] = {
        {LORA "}", WW_OK},
        {LORA ",\"target_parameters\":null,\"layer_replication\":[]}", WW_OK},
        {LORA ",\"target_parameters\":[\"experts\"]}", WW_OK},
        {LORA ",\"layer_replication\":[[0,2]]}", WW_E_UNSUPPORTED},
        {LORA ",\"trainable_token_indices\":[1]}", WW_E_UNSUPPORTED},
        {LORA ",\"use_bdlora\":null,\"use_qalora\":false,\"init_lora_weights\":true}",
         WW_OK},
        {LORA ",\"use_bdlora\":{\"nblocks\":4}}", WW_E_UNSUPPORTED},
        {LORA ",\"use_qalora\":true}", WW_E_UNSUPPORTED},
        {LORA ",\"arrow_config\":{\"top_k\":3}}", WW_E_UNSUPPORTED},
        {LORA ",\"init_lora_weights\":\"gaussian\"}", WW_OK},
        {LORA ",\"init_lora_weights\":\"pissa_niter_4\"}", WW_E_UNSUPPORTED},
        {LORA ",\"init_lora_weights\":\"olora\"}", WW_E_UNSUPPORTED},
        {"{\"peft_type\":\"LOHA\",\"r\":4,\"lora_alpha\":8}", WW_E_UNSUPPORTED},
        {"{\"r\":4,\"lora_alpha\":8}", WW_E_ADAPTER_FILE},
        {"{\"peft_type\":\"LORA\",\"r\":0,\"lora_alpha\":8}", WW_E_ADAPTER_FILE},
        {"{\"peft_type\":\"LORA\",\"r\":4}", WW_E_ADAPTER_FILE},
        {"{\"peft_type\":\"LORA\",\"peft_type\":\"LORA\"}", WW_E_JSON},
        {"[]", WW_E_ADAPTER_FILE},
    };
    (void)state;

    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct ww_error err = {0};
        assert_int_equal(open_config(cases[i].config, &err), cases[i].code);
    }
}

static double scaling(const char *config, const char *module, uint64_t rank,
                      enum ww_err *rc)
{
    struct ww_adapter *adapter = NULL;
    struct ww_error err = {0};
    double out = -1;
    char *folder = folder_of(config, TWO, 16);

    OK(ww_adapter_open(folder, &adapter, &err));
    *rc = ww_adapter_scaling(adapter, module, rank, &out, &err);
    ww_adapter_close(adapter);
    ww_test_rmdir(folder);
    return out;
}

static void the_factor_follows_rank_and_patterns(void **state)
{
    static const char patterns[] = LORA ",\"alpha_pattern\":{\"q\":2,\"^h.1.k\":3}}";
    enum ww_err rc = WW_OK;
    (void)state;

    assert_true(scaling(LORA "}", "h.0.q", 4, &rc) == 2.0);
    assert_true(scaling(LORA ",\"use_rslora\":true}", "h.0.q", 4, &rc) == 4.0);
    assert_true(scaling(patterns, "h.0.q", 4, &rc) == 0.5);
    assert_true(scaling(patterns, "q", 4, &rc) == 0.5);
    assert_true(scaling(patterns, "h.0.eq", 4, &rc) == 2.0);
    assert_true(scaling(patterns, "h.1.k", 3, &rc) == 1.0);
    assert_true(scaling(patterns, "x.h.1.k", 4, &rc) == 2.0);
    assert_true(scaling(LORA ",\"alpha_pattern\":{\"h.0_q\":2}}", "x.hy0_q", 4, &rc) ==
                0.5);
    assert_true(scaling(LORA ",\"alpha_pattern\":{\"h.0_q\":2}}", "xh.0_q", 4, &rc) ==
                2.0);
    assert_true(scaling(LORA ",\"alpha_pattern\":{\"h.0_q\":2}}", "0_q", 4, &rc) == 2.0);
    assert_true(scaling(LORA ",\"alpha_pattern\":{\"h.0\":2}}",
                        "h\xc3\xa9"
                        "0",
                        4, &rc) == 0.5);
    assert_int_equal(rc, WW_OK);
    assert_true(scaling(LORA ",\"alpha_pattern\":{\"h.*.q\":2}}", "h.0.q", 4, &rc) ==
                0.5);
    assert_true(scaling(LORA ",\"alpha_pattern\":{\"[01]\\\\.q\":2,\"q\":4}}", "h.1.q", 4,
                        &rc) == 0.5);
    assert_true(scaling(LORA ",\"alpha_pattern\":{\"[01]\\\\.q\":2,\"q\":4}}", "h.2.q", 4,
                        &rc) == 1.0);
    assert_int_equal(rc, WW_OK);
    /* Of a weight that is a parameter to PEFT, patterns are of the parameter's name. */
    assert_true(scaling(LORA ",\"target_parameters\":[\"q.weight\"],\"alpha_pattern\":{"
                             "\"q\":2,\"k\":3}}",
                        "h.0.q", 4, &rc) == 2.0);
    assert_true(scaling(LORA ",\"target_parameters\":[\"q.weight\"],\"alpha_pattern\":{"
                             "\"q\":2,\"k\":3}}",
                        "h.0.k", 3, &rc) == 1.0);
    assert_true(scaling(LORA ",\"target_parameters\":[\"q.weight\"],\"alpha_pattern\":{"
                             "\"0.q.weight\":2}}",
                        "h.0.q", 4, &rc) == 0.5);
    assert_int_equal(rc, WW_OK);
    scaling(LORA ",\"alpha_pattern\":{\"(?=q)q\":2}}", "h.0.q", 4, &rc);
    assert_int_equal(rc, WW_E_UNSUPPORTED);
    scaling(LORA ",\"alpha_pattern\":{\"q\":\"2\"}}", "h.0.q", 4, &rc);
    assert_int_equal(rc, WW_E_ADAPTER_FILE);
}

static uint32_t target(const char *header, size_t bytes, enum ww_err *rc)
{
    struct ww_adapter *adapter = NULL;
    struct ww_model *model = NULL;
    struct ww_error err = {0};
    uint32_t found = WW_NONE;
    char *folder = folder_of(LORA "}", TWO, 16);
    char *base = ww_test_mkdir();

    put_st(base, "model.safetensors", header, bytes);
    OK(ww_adapter_open(folder, &adapter, &err));
    OK(ww_model_open(base, &model, &err));
    *rc = ww_adapter_target(&adapter->entries[0], model, &found, &err);
    ww_adapter_close(adapter);
    ww_model_close(model);
    ww_test_rmdir(folder);
    ww_test_rmdir(base);
    return found;
}

static void a_weight_of_the_base_is_found_by_name_once(void **state)
{
    enum ww_err rc = WW_OK;
    (void)state;

    assert_int_equal(target("{" F32("h.0.k.weight", "1", "1", "0",
                                    "4") "," F32("h.0.q.weight", "1", "1", "4", "8") "}",
                            8, &rc),
                     1);
    assert_int_equal(rc, WW_OK);
    assert_int_equal(
        target("{" F32("model.h.0.q.weight", "1", "1", "0", "4") "}", 4, &rc), 0);
    assert_int_equal(rc, WW_OK);
    target("{" F32("xh.0.q.weight", "1", "1", "0", "4") "}", 4, &rc);
    assert_int_equal(rc, WW_E_TENSOR);
    target("{" F32("a.h.0.q.weight", "1", "1", "0", "4") "," F32("b.h.0.q.weight", "1",
                                                                 "1", "4", "8") "}",
           8, &rc);
    assert_int_equal(rc, WW_E_TENSOR);
}

static void is_stored_as(const char *type, const char *name, const char *expected)
{
    struct ww_error err = {0};
    char *stored = NULL;

    OK(ww_adapter_stored_name(type, name, &stored, &err));
    if (expected) {
        assert_string_equal(stored, expected);
    } else {
        assert_null(stored);
    }
    ww_free(stored);
}

static void modules_of_new_names_are_found_under_the_old(void **state)
{
    (void)state;
    is_stored_as("vit", "vit.layers.0.attention.q_proj.weight",
                 "vit.encoder.layer.0.attention.attention.query.weight");
    is_stored_as("vit", "vit.layers.1.mlp.fc2.weight",
                 "vit.encoder.layer.1.output.dense.weight");
    is_stored_as("dinov2", "encoder.layer.2.attention.o_proj.bias",
                 "encoder.layer.2.attention.output.dense.bias");
    is_stored_as("llava", "model.language_model.layers.0.mlp.up_proj.weight",
                 "language_model.model.layers.0.mlp.up_proj.weight");
    is_stored_as("exaone", "model.layers.0.self_attn.o_proj.weight",
                 "transformer.h.0.attn.attention.out_proj.weight");
    is_stored_as("mixtral", "model.layers.0.mlp.gate.weight",
                 "model.layers.0.block_sparse_moe.gate.weight");
    is_stored_as("phimoe", "model.layers.0.mlp.router.weight",
                 "model.layers.0.block_sparse_moe.gate.weight");
    is_stored_as("hy_v3", "model.layers.1.mlp.shared_experts.up_proj.weight",
                 "model.layers.1.mlp.shared_mlp.up_proj.weight");
    is_stored_as("nomic_bert", "nomic_bert.layers.0.mlp.down_proj.weight",
                 "nomic_bert.encoder.layers.0.mlp.fc2.weight");
    is_stored_as("llama", "model.layers.0.self_attn.q_proj.weight", NULL);
    assert_true(ww_adapter_is_renamed("dinov3_vit", "layer.0.norm1.weight"));
    assert_true(ww_adapter_is_renamed("exaone", "transformer.h.0.mlp.c_proj.weight"));
    assert_false(ww_adapter_is_renamed("hy_v3", "model.layers.0.mlp.up_proj.weight"));
    assert_false(ww_adapter_is_renamed(NULL, "layer.0.norm1.weight"));
    is_stored_as(NULL, "x", NULL);
}

static void a_folder_is_an_adapter_when_it_has_no_model(void **state)
{
    char *folder = folder_of(LORA "}", TWO, 16);
    (void)state;

    assert_true(ww_adapter_is_folder(folder));
    ww_fault_arm(WW_FAULT_ALLOC, 1); /* however little memory there is */
    assert_true(ww_adapter_is_folder(folder));
    ww_fault_arm(WW_FAULT_ALLOC, 0);
    put_text(folder, "config.json", "{}");
    assert_false(ww_adapter_is_folder(folder));
    ww_test_rmdir(folder);
}

static void a_folder_without_a_configuration_is_told_as_that(void **state)
{
    struct ww_adapter *adapter = NULL;
    struct ww_error err = {0};
    char *folder = ww_test_mkdir();
    (void)state;

    FAILS(ww_adapter_open(folder, &adapter, &err), WW_E_NOTFOUND);
    assert_non_null(strstr(err.text, "is no LoRA adapter"));
    assert_non_null(strstr(err.text, folder));
    assert_null(adapter);
    ww_test_rmdir(folder);
}

/* As extracting writes it where ranks differ: of many modules, a pair of them must not
 * take an automaton, nor any memory. */
static void a_pattern_for_each_of_many_modules_needs_no_automaton(void **state)
{
    static const char patterns[] = LORA ",\"alpha_pattern\":{\"h.0.q\":2,\"h.1.q\":2,"
                                        "\"h.2.q\":2,\"h.3.q\":2,\"h.4.q\":2}}";
    struct ww_adapter *adapter = NULL;
    struct ww_error err = {0};
    double scaling = 0;
    char *folder = folder_of(patterns, TWO, 16);
    (void)state;

    OK(ww_adapter_open(folder, &adapter, &err));
    ww_fault_arm(WW_FAULT_ALLOC, 3);
    OK(ww_adapter_scaling(adapter, "x.h.4.q", 4, &scaling, &err));
    ww_fault_arm(WW_FAULT_ALLOC, 0);
    assert_true(scaling == 0.5);
    ww_adapter_close(adapter);
    ww_test_rmdir(folder);
}

#define HEX16 "0123456789abcdef"
#define HEX64 HEX16 HEX16 HEX16 HEX16
#define RECORD(schema, id, source)                                                       \
    "{\"schema\":\"weightward.adapter-lock/" schema "\",\"lock_id\":\"" id               \
    "\",\"base\":\"" HEX64 "\",\"source\":" source "}"
#define SOURCE "{\"sha256\":\"" HEX64 "\"}"

static enum ww_err parse_lock(const char *text, struct ww_adapter_lock *out,
                              struct ww_error *err)
{
    return ww_adapter_lock_parse((const uint8_t *)text, strlen(text), "a", out, err);
}

static void a_record_of_a_lock_is_read_whole_or_refused(void **state)
{
    struct ww_adapter_lock lock;
    struct ww_error err = {0};
    (void)state;

    OK(parse_lock(RECORD("1", HEX64, SOURCE), &lock, &err));
    assert_string_equal(lock.lock_id, HEX64);
    assert_int_equal(lock.source_sha256[31], 0xef);
    ww_adapter_lock_release(&lock);
    FAILS(parse_lock(RECORD("2", HEX64, SOURCE), &lock, &err), WW_E_VERSION);
    FAILS(parse_lock(RECORD("1", HEX16, SOURCE), &lock, &err), WW_E_MANIFEST);
    FAILS(parse_lock(RECORD("1", HEX64, "{}"), &lock, &err), WW_E_MANIFEST);
    assert_null(lock.base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_is_known_by_its_name),
        cmocka_unit_test(what_is_not_understood_is_refused),
        cmocka_unit_test(settings_that_change_the_meaning_are_refused),
        cmocka_unit_test(the_factor_follows_rank_and_patterns),
        cmocka_unit_test(a_pattern_for_each_of_many_modules_needs_no_automaton),
        cmocka_unit_test(a_weight_of_the_base_is_found_by_name_once),
        cmocka_unit_test(modules_of_new_names_are_found_under_the_old),
        cmocka_unit_test(a_folder_is_an_adapter_when_it_has_no_model),
        cmocka_unit_test(a_folder_without_a_configuration_is_told_as_that),
        cmocka_unit_test(a_record_of_a_lock_is_read_whole_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
