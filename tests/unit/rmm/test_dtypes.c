/* SPDX-License-Identifier: Apache-2.0 */
/* Members of other dtypes than the base's: predicted by it, and the same bits again. */
#include "rmm_fixture.h"

#include "model/convert.h"
#include "rmm/table.h"

enum { LARGE = 530000, SIDE = 96, SMALL = 40 }; /* LARGE of F32: more than a chunk */

static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32};

/* Infinities, NaN with payloads, -0, subnormals: what their lower halves are in 16 bits.
 */
static const uint32_t odd[] = {0x7f800000, 0xff800000, 0x7fc12345, 0xffa07c01,
                               0x80000000, 0x00000003, 0x80407fff, 0x7f7fffff,
                               0x33000000, 0x477ff000, 0x38800001, 0x00008001};

/* n numbers; of a tune (seed above 0) moved by `move` on average. */
static void fill(enum ww_dtype dtype, size_t n, unsigned seed, double move, uint8_t *out)
{
    const size_t width = ww_dtype_bits(dtype) / 8;
    uint64_t a = 5;
    uint64_t b = seed + 100;
    for (size_t i = 0; i < n; i++) {
        double x = ((double)(fx_random(&a) >> 40) - 8388608) / 4e8;
        x += seed ? move * ((double)(fx_random(&b) >> 40) - 8388608) / 4194304 : 0;
        ww_from_double(dtype, &x, out + i * width, 1);
    }
    for (size_t i = 0; i < WW_LEN(odd); i++) { /* of the tune in other places as well */
        memcpy(out + (i + (seed ? 3 : 0)) * width, &odd[(i + seed) % WW_LEN(odd)], width);
    }
}

static char *model(const struct fx *f, const char *name, enum ww_dtype dtype,
                   unsigned seed, double move)
{
    const size_t width = ww_dtype_bits(dtype) / 8;
    const size_t n[] = {LARGE, (size_t)SIDE * SIDE, SMALL};
    const size_t at[] = {0, width * n[0], width * (n[0] + n[1]),
                         width * (n[0] + n[1] + n[2])};
    const char *type = ww_dtype_name(dtype);
    uint8_t *data = calloc(1, at[3]);
    char *dir = fx_join(f->dir, name);
    char header[500];
    assert_non_null(data);
    assert_int_equal(mkdir(dir, 0755), 0);
    for (size_t i = 0; i < 3; i++) {
        fill(dtype, n[i], seed, move, data + at[i]);
    }
    memset(data + at[1], 0, 32 * width); /* finite, for an error to be of */
    snprintf(header, sizeof(header),
             "{\"large\":{\"dtype\":\"%s\",\"shape\":[%d],\"data_offsets\":[0,%zu]},"
             "\"matrix\":{\"dtype\":\"%s\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]},"
             "\"small\":{\"dtype\":\"%s\",\"shape\":[%d],\"data_offsets\":[%zu,%zu]}}",
             type, LARGE, at[1], type, SIDE, SIDE, at[1], at[2], type, SMALL, at[2],
             at[3]);
    fx_shard(dir, "model.safetensors", header, data, at[3]);
    fx_write(dir, "config.json", "{\"model_type\":\"llama\"}", 22);
    free(data);
    return dir;
}

/* Bytes of the member's section; it is the only one. */
static uint64_t pack(struct fx *f, const char *pkg, const char *base, const char *path,
                     double error, unsigned threads)
{
    const struct ww_pack_member members[] = {{"m", path, NULL, 0}};
    const struct ww_pack_options options = {
        .base = base, .error = error, .run = {.threads = threads}};
    struct ww_error err = {0};
    struct ww_pack_report report;
    uint64_t bytes = 0;
    (void)f;
    OK(ww_pack_create(pkg, members, 1, &options, &report, &err));
    assert_int_equal(report.n_warnings, 0);
    assert_true(report.members[0].error <= error);
    assert_true(error == 0 || report.members[0].error > 0);
    bytes = report.members[0].bytes;
    ww_pack_report_release(&report);
    return bytes;
}

struct kept {
    uint8_t *bytes;
    size_t n;
};

static enum ww_err keep(void *payload, const void *bytes, size_t n, struct ww_error *err)
{
    struct kept *to = payload;
    (void)err;
    to->bytes = realloc(to->bytes, to->n + n);
    assert_non_null(to->bytes);
    memcpy(to->bytes + to->n, bytes, n);
    to->n += n;
    return WW_OK;
}

/* One tensor is what it is in the file, which has it behind the header. */
static void same_tensor(struct fx *f, const char *base, const char *path, size_t bytes)
{
    const struct ww_unpack_options options = {.base = base};
    struct ww_error err = {0};
    struct kept kept = {0};
    struct ww_buf file;
    uint64_t header = 0;
    OK(ww_unpack_tensor(f->pkg, "m", "large", &options, keep, &kept, &err));
    fx_read(fx_name(path, "/model.safetensors"), &file);
    memcpy(&header, file.data, 8);
    assert_int_equal(kept.n, bytes);
    assert_memory_equal(kept.bytes, file.data + 8 + header, bytes);
    ww_buf_release(&file);
    free(kept.bytes);
}

/* Ids are drawn, sections not. */
static void same_section(const char *a, const char *b, uint64_t bytes)
{
    struct ww_buf x;
    struct ww_buf y;
    fx_read(a, &x);
    fx_read(b, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data + WW_PACK_HEAD_BYTES, y.data + WW_PACK_HEAD_BYTES, bytes);
    ww_buf_release(&x);
    ww_buf_release(&y);
}

static void every_pair_comes_back(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    uint64_t of_own[3] = {0};
    (void)state;
    for (size_t k = 0; k < 9; k++) { /* the same dtype first */
        const size_t d = k % 3;
        const enum ww_dtype of = dtypes[(d + k / 3) % 3];
        char name[16];
        snprintf(name, sizeof(name), "b%zu", k);
        char *base = model(f, name, of, 0, 0);
        snprintf(name, sizeof(name), "m%zu", k);
        char *path = model(f, name, dtypes[d], 1, 1e-4);
        const uint64_t bytes = pack(f, f->pkg, base, path, 0, 2);
        of_own[d] = k < 3 ? bytes : of_own[d];
        assert_true(bytes < of_own[d] + of_own[d] / 50); /* nearly as short */
        OK(fx_unpack(f, "m", base, NULL, &err));
        fx_same(f, path);
        same_tensor(f, base, path, LARGE * (size_t)ww_dtype_bits(dtypes[d]) / 8);
        OK(fx_verify(f, NULL, &err));
        if (k == 3) {
            const char *again = fx_name(f->pkg, ".again");
            assert_int_equal(pack(f, again, base, path, 0, 1), bytes);
            same_section(f->pkg, again, bytes);
        }
        (void)unlink(f->pkg);
        free(base);
        free(path);
    }
    fx_free(f);
}

static void changes_within_an_error_are_kept(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    (void)state;
    char *base = model(f, "b", WW_DTYPE_BF16, 0, 0);
    char *path = model(f, "m", WW_DTYPE_F32, 1, 1e-4);
    const uint64_t exact = pack(f, f->pkg, base, path, 0, 1);
    (void)unlink(f->pkg);
    /* The vectors come back exactly and are most of it. */
    assert_true(pack(f, f->pkg, base, path, 0.3, 1) + (uint64_t)SIDE * SIDE < exact);
    OK(fx_unpack(f, "m", base, NULL, &err));
    free(base);
    free(path);
    fx_free(f);
}

/* A version of a member of another dtype: the parent's chunk is restored from the base's,
 * and then its own. */
static void versions_come_back(void **state)
{
    static const char *const after[] = {NULL, "one"};
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    (void)state;
    char *base = model(f, "b", WW_DTYPE_BF16, 0, 0);
    char *one = model(f, "m1", WW_DTYPE_F32, 1, 1e-3);
    char *two = model(f, "m2", WW_DTYPE_F32, 1, 1.001e-3);
    const struct ww_pack_member members[] = {{"one", one, NULL, 0},
                                             {"two", two, NULL, 0}};
    const struct ww_pack_options options = {.base = base, .after = after};
    OK(ww_pack_create(f->pkg, members, 2, &options, &report, &err));
    assert_true(report.members[1].bytes + 100000 < report.members[0].bytes);
    ww_pack_report_release(&report);
    OK(fx_unpack(f, "two", base, NULL, &err));
    fx_same(f, two);
    free(base);
    free(one);
    free(two);
    fx_free(f);
}

/* The same numbers in another dtype are another base. */
static void another_dtype_of_the_base_is_another_base(void **state)
{
    const struct ww_unpack_options one = {0};
    struct fx *f = fx_new();
    struct ww_error err = {0};
    (void)state;
    char *base = model(f, "b", WW_DTYPE_BF16, 0, 0);
    char *other = model(f, "o", WW_DTYPE_F32, 0, 0);
    char *path = model(f, "m", WW_DTYPE_F32, 1, 1e-4);
    (void)pack(f, f->pkg, base, path, 0, 1);
    FAILS(fx_unpack(f, "m", other, NULL, &err), WW_E_UNRELATED);
    fx_nothing(f);
    FAILS(fx_unpack(f, "m", NULL, NULL, &err), WW_E_USAGE);
    FAILS(ww_unpack_tensor(f->pkg, "m", "large", &one, fx_ignore, NULL, &err),
          WW_E_USAGE);
    free(base);
    free(other);
    free(path);
    fx_free(f);
}

static enum ww_err read_table(unsigned schema, const char *dtype, const char *more,
                              struct ww_pack_table *t, struct ww_error *err)
{
    static const char text[] =
        "{\"schema\":\"weightward.package-member/%u\",\"salt\":\"%s\",\"files\":[{"
        "\"path\":\"m.safetensors\",\"size\":48,\"sha256\":\"%s\",\"parts\":[{\"bytes\":"
        "48,\"dtype\":\"%s\",\"tensor\":\"w\",%s\"chunks\":[[9,\"%s\"]]}]}]}";
    char hex[65];
    char table[900];
    memset(hex, 'a', 64);
    hex[64] = 0;
    snprintf(table, sizeof(table), text, schema, hex, hex, dtype, more, hex);
    return ww_pack_table_read((uint8_t *)table, strlen(table), 9, "x", t, err);
}

static void tables_say_which_dtype_the_base_has(void **state)
{
    static const struct {
        const char *dtype;
        const char *more;
    } bad[] = {{"F32", "\"base_dtype\":\"BF16\","},
               {"F32", "\"parent\":true,\"base_dtype\":\"BF16\","},
               {"F32", "\"base\":true,\"base_dtype\":\"F32\","},
               {"F32", "\"base\":true,\"base_dtype\":\"F64\","},
               {"F32", "\"base\":true,\"base_dtype\":\"I16\","},
               {"I16", "\"base\":true,\"base_dtype\":\"BF16\","},
               {"F32", "\"base\":true,\"base_dtype\":16,"}};
    static const char good[] = "\"base\":true,\"base_dtype\":\"BF16\",";
    struct ww_error err = {0};
    struct ww_pack_table t;
    struct ww_buf text;
    (void)state;
    for (size_t i = 0; i < WW_LEN(bad); i++) {
        FAILS(read_table(3, bad[i].dtype, bad[i].more, &t, &err), WW_E_MALFORMED);
    }
    FAILS(read_table(2, "F32", good, &t, &err), WW_E_MALFORMED);
    FAILS(read_table(4, "F32", good, &t, &err), WW_E_VERSION);
    OK(read_table(3, "F32", good, &t, &err));
    assert_int_equal(t.parts[0].base_dtype, WW_DTYPE_BF16);
    /* What readers of the schema before know is written as that. */
    for (unsigned i = 0; i < 3; i++) {
        ww_buf_init(&text, 4096);
        t.parts[0].base_dtype = i == 0 ? WW_DTYPE_BF16 : WW_DTYPE_F32;
        t.narrow = i == 1;
        OK(ww_pack_table_write(&t, &text, &err));
        OK(ww_buf_add(&text, "", 1, &err));
        assert_true((strstr((char *)text.data, "package-member/3") != NULL) == (i < 2));
        assert_true((strstr((char *)text.data, good) != NULL) == (i == 0));
        ww_buf_release(&text);
    }
    ww_pack_table_release(&t);
    OK(read_table(2, "F32", "\"base\":true,", &t, &err));
    assert_int_equal(t.parts[0].base_dtype, WW_DTYPE_F32);
    ww_pack_table_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pair_comes_back),
        cmocka_unit_test(changes_within_an_error_are_kept),
        cmocka_unit_test(versions_come_back),
        cmocka_unit_test(another_dtype_of_the_base_is_another_base),
        cmocka_unit_test(tables_say_which_dtype_the_base_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
