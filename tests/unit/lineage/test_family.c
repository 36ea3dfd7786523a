/* SPDX-License-Identifier: Apache-2.0 */
/* Which tensors of a suspect are compared, and what is told of the others. */
#include "lineage/family.h"

#include "lineage/draws.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/num.h"
#include "ww_test.h"

#define WIDTH 32

struct table {
    const char *name;
    unsigned rows;
    bool turned; /* rows in another order */
};

/* A weight of a row and column, near nothing that another row has. */
static float weight(unsigned row, unsigned column)
{
    return (float)(ww_mix64((uint64_t)row << 32 | column) >> 40) / (float)(1 << 24) -
           0.5F;
}

/* A folder with matrices of F32 one behind another. */
static void put_model(const char *folder, const struct table *tables, unsigned n)
{
    char *path = ww_path_join(folder, "model.safetensors");
    char header[1024] = "{";
    static float all[3 * 256 * WIDTH];
    uint8_t *bytes = test_calloc(8 + sizeof(header) + sizeof(all), 1);
    struct ww_error err = {0};
    size_t at = 0;

    for (unsigned t = 0; t < n; t++) {
        const size_t from = at;
        for (unsigned i = 0; i < tables[t].rows * WIDTH; i++) {
            const unsigned row = i / WIDTH;
            all[at++] =
                weight(tables[t].turned ? tables[t].rows - 1 - row : row, i % WIDTH);
        }
        snprintf(
            header + strlen(header), sizeof(header) - strlen(header),
            "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%u,%d],\"data_offsets\":[%zu,%zu]}%s",
            t ? "," : "", tables[t].name, tables[t].rows, WIDTH, 4 * from, 4 * at,
            t + 1 < n ? "" : "}");
    }
    ww_put_u64le(bytes, strlen(header));
    memcpy(bytes + 8, header, strlen(header));
    memcpy(bytes + 8 + strlen(header), all, 4 * at);
    assert_non_null(path);
    OK(ww_file_write(path, bytes, 8 + strlen(header) + 4 * at, 0644, true, &err));
    ww_free(path);
    test_free(bytes);
}

/* Tensors that are compared, and a bit for each of these words among the warnings. */
static uint32_t compare(const struct table *suspect, unsigned n_suspect,
                        const struct table *base, unsigned n_base, uint32_t *told)
{
    static const char *const words[] = {"point elsewhere than the base's",
                                        "shares are of these alone"};
    char *folders[2] = {ww_test_mkdir(), ww_test_mkdir()};
    const char *const paths[3] = {folders[0], folders[1], folders[1]};
    struct ww_error err = {0};
    struct ww_family family;
    uint32_t n = 0;

    put_model(folders[0], suspect, n_suspect);
    put_model(folders[1], base, n_base);
    OK(ww_family_open(paths, 3, NULL, &family, &err));
    *told = 0;
    for (size_t i = 0; i < family.warnings.n; i++) {
        for (unsigned w = 0; w < 2; w++) {
            *told |= strstr(family.warnings.items[i], words[w]) ? 1U << w : 0;
        }
    }
    assert_int_equal(family.n_strangers, *told & 1);
    n = family.n_tensors;
    ww_family_release(&family);
    ww_test_rmdir(folders[0]);
    ww_test_rmdir(folders[1]);
    return n;
}

/* One word more, so that the table is no matrix that a lock would have turned. */
static void tables_in_another_order_are_left_out(void **state)
{
    static const struct table base[] = {
        {"a", 128, false}, {"b", 64, false}, {"c", 128, false}};
    static const struct table suspect[] = {{"a", 128, false}, {"b", 65, true}};
    static const struct table other[] = {{"a", 129, true}, {"b", 64, false}};
    uint32_t told = 0;
    (void)state;

    assert_int_equal(compare(suspect, 2, base, 2, &told), 1);
    assert_int_equal(told, 1);
    /* With c missing, what is left is less than half of the base. */
    assert_int_equal(compare(suspect, 2, base, 3, &told), 1);
    assert_int_equal(told, 3);
    /* Half of the weights is no matter of single tensors. */
    assert_int_equal(compare(other, 2, base, 2, &told), 2);
    assert_int_equal(told, 0);
}

/* "w.weight" of 64 x 32 on steps of 0.3, as I8 with its scale or as BF16, which rounds
 * them; and "b". */
static void put_stepped(const char *folder, bool rounded, bool with_b)
{
    static const char *const forms[2] = {
        "\"w.weight\":{\"dtype\":\"BF16\",\"shape\":[64,32],\"data_offsets\":[4,4100]},"
        "\"w.other\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}",
        "\"w.weight\":{\"dtype\":\"I8\",\"shape\":[64,32],\"data_offsets\":[4,2052]},"
        "\"w.weight_scale\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}"};
    const size_t end = rounded ? 2052 : 4100;
    uint8_t *bytes = test_calloc(1, 20000);
    char header[600];
    float v = 0.3F;
    char *path = ww_path_join(folder, "model.safetensors");
    struct ww_error err = {0};

    snprintf(header, sizeof(header), "{%s", forms[rounded]);
    snprintf(header + strlen(header), 200,
             with_b
                 ? ",\"b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[%zu,%zu]}}"
                 : "}",
             end, end + 16);
    ww_put_u64le(bytes, strlen(header));
    memcpy(bytes + 8, header, strlen(header));
    uint8_t *data = bytes + 8 + strlen(header);
    memcpy(data, &v, 4);
    for (unsigned i = 0; i < 2048; i++) {
        const int q = (int)(ww_mix64(i) % 200) - 100 + (rounded && i % 3 == 0);
        const double f = (double)(v * (float)q);
        data[4 + i] = rounded ? (uint8_t)(int8_t)q : data[4 + i];
        if (!rounded) {
            ww_from_double(WW_DTYPE_BF16, &f, data + 4 + (size_t)2 * i, 1);
        }
    }
    assert_non_null(path);
    OK(ww_file_write(path, bytes, 8 + strlen(header) + end + (with_b ? 16 : 0), 0644,
                     true, &err));
    ww_free(path);
    test_free(bytes);
}

/* Of three values one was changed by a step, and how many by less nobody knows. */
static void what_has_the_steps_of_the_base_is_left_out(void **state)
{
    char *folders[2] = {ww_test_mkdir(), ww_test_mkdir()};
    const char *const paths[3] = {folders[0], folders[1], folders[1]};
    struct ww_error err = {0};
    struct ww_family family;
    (void)state;

    put_stepped(folders[0], true, true);
    put_stepped(folders[1], false, true);
    OK(ww_family_open(paths, 3, NULL, &family, &err));
    assert_int_equal(family.n_tensors, 1);
    assert_string_equal(family.tensors[0].name, "b");
    assert_int_equal(family.n_strangers, 1);
    assert_non_null(
        strstr(family.warnings.items[0], "'w.weight' first, is not compared"));
    ww_family_release(&family);
    put_stepped(folders[0], true, false);
    FAILS(ww_family_open(paths, 3, NULL, &family, &err), WW_E_QUANTISED);
    assert_non_null(strstr(err.text, "nothing is left to compare"));
    ww_family_release(&family);
    ww_test_rmdir(folders[0]);
    ww_test_rmdir(folders[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_in_another_order_are_left_out),
        cmocka_unit_test(what_has_the_steps_of_the_base_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
