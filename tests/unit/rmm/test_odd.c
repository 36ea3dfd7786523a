/* SPDX-License-Identifier: Apache-2.0 */
/* Adapters that an error cannot be spoken of come back exactly, whatever was asked for.
 */
#include "rmm_fixture.h"
#include "model/adapter.h"
#include "util/alloc.h"
#include "util/fault.h"

enum { SIDE = 16, RANK = 4 };

/* One pair; the first numbers of A are `first`'s bits. */
static char *make(const struct fx *f, const char *name, const char *more,
                  const uint32_t *first, size_t n)
{
    char *dir = fx_join(f->dir, name);
    char config[300];
    char header[400];
    float data[2 * SIDE * RANK];
    uint64_t seed = 3;
    for (size_t i = 0; i < WW_LEN(data); i++) {
        data[i] = ((float)(fx_random(&seed) % 1000) - 500) / 500;
    }
    if (n > 0) {
        memcpy(data, first, n * sizeof(*first));
    }
    assert_int_equal(mkdir(dir, 0755), 0);
    snprintf(header, sizeof(header),
             "{\"base_model.model.q.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],"
             "\"data_offsets\":[0,%zu]},\"base_model.model.q.lora_B.weight\":{\"dtype\":"
             "\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}}",
             RANK, SIDE, sizeof(data) / 2, SIDE, RANK, sizeof(data) / 2, sizeof(data));
    fx_shard(dir, "adapter_model.safetensors", header, (const uint8_t *)data,
             sizeof(data));
    snprintf(config, sizeof(config),
             "{\"peft_type\":\"LORA\",\"r\":%d,\"lora_alpha\":8%s}", RANK, more);
    fx_write(dir, "adapter_config.json", config, strlen(config));
    return dir;
}

static enum ww_err pack(struct fx *f, const char *path, double error, double *got,
                        struct ww_error *err)
{
    const struct ww_pack_member members[] = {{"odd", path, NULL, 0}};
    const struct ww_pack_options options = {.error = error};
    struct ww_pack_report report;
    enum ww_err rc = WW_OK;
    (void)unlink(f->pkg);
    rc = ww_pack_create(f->pkg, members, 1, &options, &report, err);
    *got = rc ? 0 : report.members[0].error;
    ww_pack_report_release(&report);
    return rc;
}

static void odd_numbers_come_back_bit_for_bit(void **state)
{
    static const uint32_t odd[] = {0x80000000, 0x7f800000, 0xff800000,
                                   0x7fc12345, 0xffa00001, 0x00000003};
    static const double errors[] = {0, 0.1, 1};
    struct fx *f = fx_new();
    struct ww_error err = {0};
    double error = 0;
    (void)state;
    char *path = make(f, "odd", "", odd, WW_LEN(odd));
    for (size_t i = 0; i < WW_LEN(errors); i++) {
        OK(pack(f, path, errors[i], &error, &err));
        assert_true(error == 0);
        OK(fx_unpack(f, "odd", NULL, NULL, &err));
        fx_same(f, path);
    }
    free(path);
    fx_free(f);
}

static void what_is_no_sum_of_products_comes_back_exactly(void **state)
{
    static const char *const more[] = {
        ",\"use_bdlora\":{\"nblocks\":4}",
        ",\"use_qalora\":true",
        ",\"use_bdlora\":{\"target_modules_bd_a\":[\"q\"],\"nblocks\":3}",
        ",\"use_bdlora\":{\"target_modules_bd_a\":[\"q\"],\"other\":1}",
        ",\"layer_replication\":[[0,2]]",
        ",\"init_lora_weights\":\"pissa\"",
        ",\"target_parameters\":[\"q.weight\"]",
        ",\"target_parameters\":[\"weight\"]"};
    struct fx *f = fx_new();
    struct ww_error err = {0};
    double error = 0;
    (void)state;
    for (size_t i = 0; i < WW_LEN(more); i++) {
        const struct ww_unpack_options portable = {.form = WW_UNPACK_PORTABLE};
        struct ww_pack_report report;
        char name[8];
        snprintf(name, sizeof(name), "m%zu", i);
        char *path = make(f, name, more[i], NULL, 0);
        OK(pack(f, path, 0.1, &error, &err));
        assert_true(error == 0);
        FAILS(ww_unpack(f->pkg, "odd", f->out, &portable, &report, &err),
              WW_E_UNSUPPORTED);
        fx_nothing(f);
        OK(fx_unpack(f, "odd", NULL, NULL, &err));
        fx_same(f, path);
        free(path);
    }
    fx_free(f);
}

static const struct ww_adapter_entry *entry(const struct ww_adapter *a,
                                            enum ww_adapter_part part)
{
    return &a->entries[a->entries[0].part == part ? 0 : 1];
}

/* Any range is that part of the whole. */
static void same_in_parts(const struct ww_adapter *adapter, const struct ww_tensor *t)
{
    const size_t width = ww_dtype_bits(t->dtype) / 8;
    uint8_t *whole = calloc(1, t->n_bytes);
    uint8_t *part = calloc(1, t->n_bytes);
    struct ww_error err = {0};

    OK(ww_adapter_bytes(adapter, t, 0, t->n_elements, whole, &err));
    for (uint64_t at = 0, n = 1; at + n <= t->n_elements; at += n, n += 3) {
        OK(ww_adapter_bytes(adapter, t, at, n, part, &err));
        assert_memory_equal(part, whole + at * width, n * width);
    }
    free(whole);
    free(part);
}

/* Each stored row comes to stand at its block's columns, with zeros beside; the other
 * factor stays. */
static void blocks_along_a_diagonal_become_pairs(void **state)
{
    static const char *const settings[] = {
        ",\"use_bdlora\":{\"target_modules_bd_a\":[\"q\"],\"nblocks\":2}",
        ",\"use_bdlora\":{\"target_modules_bd_b\":[\"q\"],\"nblocks\":2,"
        "\"match_strict\":false}"};
    struct fx *f = fx_new();
    struct ww_error err = {0};
    (void)state;
    for (size_t b = 0; b < WW_LEN(settings); b++) {
        const enum ww_adapter_part part = b ? WW_PART_B : WW_PART_A;
        char *path = make(f, b ? "b" : "a", settings[b], NULL, 0);
        char *twin = make(f, b ? "twin-b" : "twin-a", "", NULL, 0);
        struct ww_adapter *of[2];
        double *rows[2];
        FAILS(ww_adapter_open(path, &of[0], &err), WW_E_UNSUPPORTED);
        OK(ww_adapter_open_plain(path, &of[0], &err));
        OK(ww_adapter_open(twin, &of[1], &err));
        const struct ww_tensor *t = entry(of[0], part)->tensor;
        const uint64_t n = entry(of[1], part)->tensor->shape[1];
        assert_int_equal(t->shape[1], 2 * n);
        OK(ww_adapter_read(of[0], t, &rows[0], &err));
        OK(ww_adapter_read(of[1], entry(of[1], part)->tensor, &rows[1], &err));
        for (uint64_t i = 0; i < t->n_elements; i++) {
            const uint64_t row = i / (2 * n);
            const uint64_t column = i % (2 * n);
            const bool in = column / n == row / (t->shape[0] / 2);
            assert_true(rows[0][i] == (in ? rows[1][row * n + column % n] : 0));
        }
        same_in_parts(of[0], t);
        ww_free(rows[0]);
        ww_free(rows[1]);
        ww_adapter_close(of[0]);
        ww_adapter_close(of[1]);
        free(path);
        free(twin);
    }
    fx_free(f);
}

/* As many rows as a header says take no time where there is nothing in them. */
static void rows_of_nothing_are_none(void **state)
{
    static const char header[] =
        "{\"base_model.model.q.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":"
        "[70368744177664,0],\"data_offsets\":[0,0]}}";
    struct ww_adapter *adapter = NULL;
    double *values = NULL;
    struct fx *f = fx_new();
    struct ww_error err = {0};
    (void)state;
    char *path =
        make(f, "empty",
             ",\"use_bdlora\":{\"target_modules_bd_a\":[\"q\"],\"nblocks\":2}", NULL, 0);
    fx_shard(path, "adapter_model.safetensors", header, (const uint8_t *)"", 0);
    OK(ww_adapter_open_plain(path, &adapter, &err));
    OK(ww_adapter_read(adapter, &adapter->tensors[0], &values, &err));
    ww_free(values);
    ww_adapter_close(adapter);
    free(path);
    fx_free(f);
}

/* Latent indices of stacked experts may not be mixed; those of other modules may. */
static void factors_beside_those_of_experts_are_coded(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    double error = 0;
    (void)state;
    char *path =
        make(f, "beside", ",\"target_parameters\":[\"mlp.experts.down_proj\"]", NULL, 0);
    OK(pack(f, path, 0.1, &error, &err));
    assert_true(error > 0 && error <= 0.1);
    free(path);
    fx_free(f);
}

/* Integers take nothing of the base, whatever names it has: it is named as a whole, for
 * who adds the adapter to it, and not needed. */
static void a_base_with_the_factors_names_is_not_needed(void **state)
{
    static const char tensor[] = "base_model.model.q.lora_A.weight";
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_buf bytes;
    (void)state;
    char *path = make(f, "odd", "", NULL, 0);
    char *base = fx_join(f->dir, "beside");
    fx_read(fx_name(path, "/adapter_model.safetensors"), &bytes);
    bytes.data[bytes.len - 1] ^= 1;
    assert_int_equal(mkdir(base, 0755), 0);
    fx_write(base, "model.safetensors", bytes.data, bytes.len);
    fx_write(base, "config.json", "{\"model_type\":\"llama\"}", 22);
    const struct ww_pack_member members[] = {{"odd", path, NULL, 0}};
    const struct ww_pack_options options = {.base = base, .error = 0.1};
    const struct ww_unpack_options with = {.base = base};
    OK(ww_pack_create(f->pkg, members, 1, &options, &report, &err));
    assert_true(report.members[0].error > 0);
    assert_int_equal(report.base_tensors, 2);
    ww_pack_report_release(&report);
    OK(ww_unpack_tensor(f->pkg, "odd", tensor, &with, fx_ignore, NULL, &err));
    OK(fx_unpack(f, "odd", NULL, NULL, &err));
    ww_buf_release(&bytes);
    free(path);
    free(base);
    fx_free(f);
}

/* A file that no memory was left to look at is not packed as one of another kind. */
static void a_lack_of_memory_is_told_as_that(void **state)
{
    struct fx *f = fx_new();
    char *path = make(f, "odd", "", NULL, 0);
    enum ww_err rc = WW_E_NOMEM;
    (void)state;

    for (unsigned long n = 1; rc == WW_E_NOMEM; n++) {
        struct ww_error err = {0};
        double error = 0;
        ww_fault_arm(WW_FAULT_ALLOC, n);
        rc = pack(f, path, 0.1, &error, &err);
        const bool reached = ww_fault_seen(WW_FAULT_ALLOC) >= n;
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        if (rc && rc != WW_E_NOMEM) {
            fail_msg("allocation %lu: '%s'", n, err.text);
        }
        rc = reached ? WW_E_NOMEM : rc; /* it does without a thread */
    }
    free(path);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_numbers_come_back_bit_for_bit),
        cmocka_unit_test(what_is_no_sum_of_products_comes_back_exactly),
        cmocka_unit_test(blocks_along_a_diagonal_become_pairs),
        cmocka_unit_test(rows_of_nothing_are_none),
        cmocka_unit_test(factors_beside_those_of_experts_are_coded),
        cmocka_unit_test(a_base_with_the_factors_names_is_not_needed),
        cmocka_unit_test(a_lack_of_memory_is_told_as_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
