/* SPDX-License-Identifier: Apache-2.0 */
/* A merged adapter through a package: fewer bytes, the same files back, and what was
 * altered in its factors is refused; so are tables that no writer makes. */
#include "rmm_fixture.h"

#include "rmm/pack_file.h"
#include "rmm/rank.h"

#define M 256
#define D 512
#define R 4

struct rx {
    char *dir;
    char *base;
    char *tune;
    char *pkg;
    char *out;
    double reported; /* error */
};

static float centred(uint64_t *seed)
{
    return (float)((double)(fx_random(seed) >> 11) / 9007199254740992.0 - 0.5);
}

static char *model(const char *dir, const char *name, const uint16_t *numbers)
{
    char *path = fx_join(dir, name);
    char header[200];
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(header, sizeof(header),
             "{\"w\":{\"dtype\":\"BF16\",\"shape\":[%d,%d],\"data_offsets\":[0,%d]}}", M,
             D, 2 * M * D);
    fx_shard(path, "model.safetensors", header, (const uint8_t *)numbers,
             (size_t)2 * M * D);
    fx_write(path, "config.json", "{\"model_type\":\"llama\"}", 22);
    return path;
}

/* Factors of small numbers. */
static void fill(float *b, float *a, uint64_t *seed)
{
    for (size_t i = 0; i < M * R; i++) {
        b[i] = 0.1F * centred(seed);
    }
    for (size_t i = 0; i < R * D; i++) {
        a[i] = 0.1F * centred(seed);
    }
}

static void merge(const uint16_t *base, const float *b, const float *a, uint16_t *tune)
{
    for (size_t i = 0; i < M * D; i++) {
        float sum = 0;
        for (size_t k = 0; k < R; k++) {
            sum += b[i / D * R + k] * a[k * D + i % D];
        }
        tune[i] = fx_to_bf16(fx_from_bf16(base[i]) + sum);
    }
}

static struct rx *rx_within(double error)
{
    static uint16_t base[M * D], tune[M * D];
    struct rx *x = calloc(1, sizeof(*x));
    float b[M * R], a[R * D];
    uint64_t seed = 4;
    assert_non_null(x);
    fill(b, a, &seed);
    for (size_t i = 0; i < M * D; i++) {
        base[i] = fx_to_bf16(0.1F * centred(&seed));
    }
    merge(base, b, a, tune);
    x->dir = ww_test_mkdir();
    x->base = model(x->dir, "base", base);
    x->tune = model(x->dir, "tune", tune);
    x->pkg = fx_join(x->dir, "m.pkg");
    x->out = fx_join(x->dir, "out");
    const struct ww_pack_member member = {"tune", x->tune, NULL, 0};
    const struct ww_pack_options options = {.base = x->base, .error = error};
    struct ww_pack_report report;
    struct ww_error err = {0};
    OK(ww_pack_create(x->pkg, &member, 1, &options, &report, &err));
    x->reported = report.members[0].error;
    ww_pack_report_release(&report);
    return x;
}

static struct rx *rx_new(void)
{
    return rx_within(0);
}

static void rx_free(struct rx *x)
{
    free(x->base);
    free(x->tune);
    free(x->pkg);
    free(x->out);
    ww_test_rmdir(x->dir);
    free(x);
}

static enum ww_err give(void *payload, const void *bytes, size_t n, struct ww_error *err)
{
    (void)err;
    return ww_buf_add(payload, bytes, n, NULL);
}

static void a_merged_adapter_comes_back(void **state)
{
    struct rx *x = rx_new();
    const struct ww_unpack_options options = {.base = x->base};
    struct ww_pack_report report;
    struct ww_error err = {0};
    struct ww_buf file, tensor, package;
    (void)state;
    fx_read(x->pkg, &package);
    assert_true(package.len < (size_t)2 * M * D / 6);
    OK(ww_unpack(x->pkg, "tune", x->out, &options, &report, &err));
    ww_pack_report_release(&report);
    fx_read(fx_name(x->tune, "/model.safetensors"), &file);
    ww_buf_init(&tensor, (size_t)2 * M * D);
    OK(ww_unpack_tensor(x->pkg, "tune", "w", &options, give, &tensor, &err));
    assert_int_equal(tensor.len, 2 * M * D);
    assert_memory_equal(tensor.data, file.data + file.len - tensor.len, tensor.len);
    ww_buf_release(&file);
    ww_buf_release(&tensor);
    ww_buf_release(&package);
    rx_free(x);
}

static double distance2(const struct ww_buf *x, const struct ww_buf *y)
{
    const size_t n = (size_t)M * D;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t a = 0;
        uint16_t b = 0;
        memcpy(&a, x->data + x->len - 2 * (n - i), 2);
        memcpy(&b, y->data + y->len - 2 * (n - i), 2);
        sum += pow((double)fx_from_bf16(a) - (double)fx_from_bf16(b), 2);
    }
    return sum;
}

/* What is reported is what comes back, of the whole change, though most of that is the
 * product's. */
static void the_error_reported_is_that_of_base_and_product(void **state)
{
    static const double bounds[] = {1e-4, 0.002, 0.3, 1};
    (void)state;
    for (size_t i = 0; i < WW_LEN(bounds); i++) {
        struct rx *x = rx_within(bounds[i]);
        const struct ww_unpack_options options = {.base = x->base};
        struct ww_pack_report report;
        struct ww_error err = {0};
        struct ww_buf base, tune, back, package;
        OK(ww_unpack(x->pkg, "tune", x->out, &options, &report, &err));
        ww_pack_report_release(&report);
        fx_read(fx_name(x->base, "/model.safetensors"), &base);
        fx_read(fx_name(x->tune, "/model.safetensors"), &tune);
        fx_read(fx_name(x->out, "/model.safetensors"), &back);
        fx_read(x->pkg, &package);
        const double error = sqrt(distance2(&tune, &back) / distance2(&tune, &base));
        print_message("bound %g: reported %g, is %g, %zu bytes\n", bounds[i], x->reported,
                      error, package.len);
        assert_true(fabs(error - x->reported) < 1e-9);
        assert_true(error <= bounds[i]);
        assert_true(package.len < (size_t)2 * M * D / 6);
        ww_buf_release(&base);
        ww_buf_release(&tune);
        ww_buf_release(&back);
        ww_buf_release(&package);
        rx_free(x);
    }
}

static void altered_factors_are_refused(void **state)
{
    struct rx *x = rx_new();
    const struct ww_unpack_options options = {.base = x->base};
    struct ww_pack_report report;
    struct ww_error err = {0};
    struct ww_pack_file file;
    struct ww_pack_view view;
    struct ww_buf bytes;
    uint64_t at = 0;
    (void)state;
    OK(ww_pack_open(x->pkg, &file, &err));
    OK(ww_pack_view_open(&file, 0, NULL, &view, &err));
    for (uint32_t p = 0; p < view.table.n_parts; p++) {
        const struct ww_pack_table_part *part = &view.table.parts[p];
        if (part->rank.rank > 0) {
            assert_int_equal(part->rank.rank, R);
            assert_int_equal(part->n_factors, 2);
            at = file.manifest.members[0].offset + part->factors[1].at + 30;
        }
    }
    ww_pack_view_close(&view);
    ww_pack_close(&file);
    assert_true(at > 0);
    fx_read(x->pkg, &bytes);
    bytes.data[at] ^= 1;
    fx_write(x->dir, "m.pkg", bytes.data, bytes.len);
    FAILS(ww_unpack(x->pkg, "tune", x->out, &options, &report, &err), WW_E_TAMPERED);
    assert_non_null(strstr(err.text, "factors of tensor 'w'"));
    ww_buf_release(&bytes);
    rx_free(x);
}

/* Every 64th number moved: a later version. */
static char *later(const struct rx *x, const char *of, const char *name)
{
    char *path = fx_join(x->dir, name);
    struct ww_buf file;
    fx_read(fx_name(of, "/model.safetensors"), &file);
    for (size_t at = file.len - 2; at > 1000; at -= 128) {
        file.data[at] ^= 2;
    }
    assert_int_equal(mkdir(path, 0755), 0);
    fx_write(path, "model.safetensors", file.data, file.len);
    fx_write(path, "config.json", "{\"model_type\":\"llama\"}", 22);
    ww_buf_release(&file);
    return path;
}

/* The base and another product than the tune's. */
static char *other(const struct rx *x, const char *name)
{
    static uint16_t numbers[M * D];
    struct ww_buf file;
    float b[M * R], a[R * D];
    uint64_t seed = 77;
    fx_read(fx_name(x->base, "/model.safetensors"), &file);
    memcpy(numbers, file.data + file.len - sizeof(numbers), sizeof(numbers));
    ww_buf_release(&file);
    fill(b, a, &seed);
    merge(numbers, b, a, numbers);
    return model(x->dir, name, numbers);
}

/* A parent that is its base and a product predicts as it comes back. */
static void versions_of_merged_adapters_come_back(void **state)
{
    static const char *const after[] = {NULL, NULL, "tune", "other"};
    struct rx *x = rx_new();
    const struct ww_unpack_options unpack = {.base = x->base};
    struct ww_pack_report report;
    struct ww_error err = {0};
    struct ww_buf packages[2];
    (void)state;
    char *paths[] = {x->tune, other(x, "other"), later(x, x->tune, "later"), NULL};
    paths[3] = later(x, paths[1], "last");
    const struct ww_pack_member members[] = {{"tune", paths[0], NULL, 0},
                                             {"other", paths[1], NULL, 0},
                                             {"later", paths[2], NULL, 0},
                                             {"last", paths[3], NULL, 0}};
    for (unsigned i = 0; i < 2; i++) {
        const struct ww_pack_options options = {
            .base = x->base, .after = after, .run = {.threads = 1 + 3 * i}};
        (void)unlink(x->pkg);
        OK(ww_pack_create(x->pkg, members, 4, &options, &report, &err));
        assert_true(report.members[2].bytes * 3 < report.members[0].bytes);
        assert_true(report.members[3].bytes * 3 < report.members[1].bytes);
        ww_pack_report_release(&report);
        fx_read(x->pkg, &packages[i]);
    }
    assert_int_equal(packages[0].len, packages[1].len);
    assert_memory_equal(packages[0].data, packages[1].data, packages[0].len);
    for (size_t i = 2; i < 4; i++) {
        struct ww_buf file, tensor;
        char *out = fx_join(x->dir, i == 2 ? "out-2" : "out-3");
        OK(ww_unpack(x->pkg, members[i].name, out, &unpack, &report, &err));
        ww_pack_report_release(&report);
        fx_read(fx_name(paths[i], "/model.safetensors"), &file);
        ww_buf_init(&tensor, (size_t)2 * M * D);
        OK(ww_unpack_tensor(x->pkg, members[i].name, "w", &unpack, give, &tensor, &err));
        assert_int_equal(tensor.len, 2 * M * D);
        assert_memory_equal(tensor.data, file.data + file.len - tensor.len, tensor.len);
        ww_buf_release(&file);
        ww_buf_release(&tensor);
        free(out);
        free(paths[i]);
    }
    ww_buf_release(&packages[0]);
    ww_buf_release(&packages[1]);
    free(paths[1]);
    rx_free(x);
}

#define SHA "abababababababababababababababababababababababababababababababab"
#define HEAD                                                                             \
    "{\"schema\":\"weightward.package-member/2\",\"salt\":\"" SHA "\",\"files\":"        \
    "[{\"path\":\"m\",\"size\":48,\"sha256\":\"" SHA "\",\"parts\":[{\"bytes\":48,"
#define CHUNK "[10,\"" SHA "\"]"
#define PART(dtype, base, rank)                                                          \
    HEAD "\"dtype\":\"" dtype "\",\"tensor\":\"w\"," base "\"rank\":" rank               \
         ",\"chunks\":[" CHUNK "]}]}]}"
#define BASE "\"base\":true,"
#define RANK(r, rows, rounding, chunks)                                                  \
    "{\"rank\":" r ",\"rows\":" rows ",\"rounding\":" rounding ",\"chunks\":[" chunks "]}"
#define TWO CHUNK "," CHUNK

static void tables_that_no_writer_makes_are_refused(void **state)
{
    static const struct {
        const char *text;
        enum ww_err rc;
        uint64_t content;
    } cases[] = {
        {PART("BF16", BASE, RANK("2", "4", "\"sum\"", TWO)), WW_OK, 30},
        {PART("F16", BASE, RANK("4", "4", "\"product\"", TWO)), WW_OK, 30},
        {PART("BF16", BASE, RANK("2", "4", "\"sum\"", TWO)), WW_E_MALFORMED, 20},
        {PART("BF16", "", RANK("2", "4", "\"sum\"", TWO)), WW_E_MALFORMED, 30},
        {PART("I16", BASE, RANK("2", "4", "\"sum\"", TWO)), WW_E_MALFORMED, 30},
        {PART("F32", BASE, RANK("2", "4", "\"sum\"", TWO)), WW_OK, 30},
        {PART("F32", BASE, RANK("2", "4", "\"product\"", TWO)), WW_E_MALFORMED, 30},
        {PART("BF16", BASE, RANK("0", "4", "\"sum\"", TWO)), WW_E_MALFORMED, 30},
        {PART("BF16", BASE, RANK("5", "4", "\"sum\"", TWO)), WW_E_MALFORMED, 30},
        {PART("BF16", BASE, RANK("4", "8", "\"sum\"", TWO)), WW_E_MALFORMED, 30},
        {PART("BF16", BASE, RANK("257", "4", "\"sum\"", TWO)), WW_E_MALFORMED, 30},
        {PART("BF16", BASE, RANK("2", "5", "\"sum\"", TWO)), WW_E_MALFORMED, 30},
        {PART("BF16", BASE, RANK("2", "0", "\"sum\"", TWO)), WW_E_MALFORMED, 30},
        {PART("BF16", BASE, RANK("2", "4", "\"up\"", TWO)), WW_E_MALFORMED, 30},
        {PART("BF16", BASE, RANK("2", "4", "1", TWO)), WW_E_MALFORMED, 30},
        {PART("BF16", BASE, RANK("2", "4", "\"sum\"", CHUNK)), WW_E_MALFORMED, 20},
        {PART("BF16", BASE, RANK("2", "4", "\"sum\"", TWO "," CHUNK)), WW_E_MALFORMED,
         40},
        {PART("BF16", BASE, "{\"rank\":2,\"rows\":4,\"x\":1}"), WW_E_MALFORMED, 30},
        {PART("BF16", BASE, "[]"), WW_E_MALFORMED, 30},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct ww_pack_table table;
        struct ww_error err = {0};
        const enum ww_err rc =
            ww_pack_table_read((const uint8_t *)cases[i].text, strlen(cases[i].text),
                               cases[i].content, "a", &table, &err);
        if (rc != cases[i].rc) {
            fail_msg("case %zu: %s (%s)", i, ww_err_name(rc), err.text);
        }
        if (!rc) {
            assert_int_equal(table.parts[0].factors[0].at, 0);
            assert_int_equal(table.parts[0].factors[1].at, 10);
            assert_int_equal(table.chunks[table.parts[0].first_chunk].at, 20);
            ww_pack_table_release(&table);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_merged_adapter_comes_back),
        cmocka_unit_test(the_error_reported_is_that_of_base_and_product),
        cmocka_unit_test(altered_factors_are_refused),
        cmocka_unit_test(versions_of_merged_adapters_come_back),
        cmocka_unit_test(tables_that_no_writer_makes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
