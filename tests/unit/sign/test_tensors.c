/* SPDX-License-Identifier: Apache-2.0 */
#include "sign/tensors.h"
#include "util/fail.h"

#include "fixture.h"
#include "stream/tree.h"
#include "util/str.h"

/* The vector of docs/formats/tensor-tree.md. */
#define ROOT_W "07d4fd7f8c2d1279be8f358f8f8cf184462075214864dcb25e2440fccea03f44"
#define ROOT_Z "199148054c8b3b7417dd1d70ddca6bbad5e32b097d381a3ca3def6ce24dceed9"
#define ROOT_MODEL "dbb9770a96cc7d118c4d8a245065121feb1729db12101e1d6e4dea972f7d66e1"

#define ITEM(name, dtype, shape, bytes, root)                                            \
    "{\"name\":\"" name "\",\"dtype\":\"" dtype "\",\"shape\":" shape                    \
    ",\"bytes\":" bytes ",\"root\":\"" root "\"}"
#define ITEM_W ITEM("w", "F32", "[1]", "4", ROOT_W)
#define ITEM_Z ITEM("z.weight", "U8", "[2097153]", "2097153", ROOT_Z)
#define TENSORS(algorithm, chunk, count, root, items)                                    \
    "{\"algorithm\":\"" algorithm "\",\"chunk\":" chunk ",\"count\":" count              \
    ",\"root\":\"" root "\",\"items\":" items "}"
#define GOOD_TENSORS                                                                     \
    TENSORS("sha256-tree", "1048576", "2", ROOT_MODEL, "[" ITEM_W "," ITEM_Z "]")
#define SUBJECT(root) "[{\"name\":\"m\",\"digest\":{\"sha256\":\"" root "\"}}]"
#define TREE(subject, predicate)                                                         \
    STATEMENT(subject, IN_TOTO, WW_TENSORS_PREDICATE, predicate)
#define GOOD TREE(SUBJECT(ROOT_MODEL), "{\"tensors\":" GOOD_TENSORS "}")
#define LOCKED                                                                           \
    TREE(SUBJECT(ROOT_MODEL), "{\"tensors\":" GOOD_TENSORS                               \
                              ",\"lock\":{\"level\":\"exact\",\"n\":[1,-2,true,null]}}")

static const struct ww_tensor w = {
    .name = "w", .dtype = WW_DTYPE_F32, .rank = 1, .shape = {1}, .n_bytes = 4};
static const struct ww_tensor z = {.name = "z.weight",
                                   .dtype = WW_DTYPE_U8,
                                   .rank = 1,
                                   .shape = {2097153},
                                   .n_bytes = 2097153};

static void unhex(uint8_t out[WW_SHA256_BYTES], const char *hex)
{
    assert_true(ww_unhex(out, WW_SHA256_BYTES, hex, strlen(hex)));
}

static void statement_folds_the_vector_into_its_root(void **state)
{
    (void)state;
    struct ww_error err = {0};
    const struct ww_tensor *const tensors[] = {&w, &z};
    uint8_t roots[2][WW_SHA256_BYTES];
    const struct ww_rooted_tensors two = {tensors,
                                          (const uint8_t(*)[WW_SHA256_BYTES])roots, 2};
    uint8_t root[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    struct ww_buf payload;

    ww_buf_init(&payload, 8192);
    unhex(roots[0], ROOT_W);
    unhex(roots[1], ROOT_Z);
    OK(ww_tensors_statement("m", &two, NULL, &payload, root, &err));
    ww_hex(hex, root, sizeof(root));
    assert_string_equal(hex, ROOT_MODEL);
    assert_string_equal(ww_buf_cstr(&payload), GOOD);
    unhex(root, ROOT_W);
    assert_memory_equal(roots[0], root, sizeof(root)); /* folding works on a copy */
    OK(ww_tensors_statement("m", &two, "{\"level\":\"exact\",\"n\":[1,-2,true,null]}",
                            &payload, root, &err));
    assert_string_equal(ww_buf_cstr(&payload), LOCKED);
    ww_buf_release(&payload);
}

static void statement_needs_tensors_in_name_order(void **state)
{
    (void)state;
    struct ww_error err = {0};
    const struct ww_tensor *const swapped[] = {&z, &w};
    const struct ww_tensor *const twice[] = {&w, &w};
    uint8_t zeros[2][WW_SHA256_BYTES] = {{0}};
    const uint8_t(*roots)[WW_SHA256_BYTES] = (const uint8_t(*)[WW_SHA256_BYTES])zeros;
    const struct {
        struct ww_rooted_tensors tensors;
        enum ww_err code;
    } rows[] = {{{swapped, roots, 2}, WW_E_USAGE},
                {{twice, roots, 2}, WW_E_USAGE},
                {{twice, roots, 0}, WW_E_TENSOR}};
    uint8_t root[WW_SHA256_BYTES];
    struct ww_buf payload;

    ww_buf_init(&payload, 8192);
    for (size_t i = 0; i < WW_LEN(rows); i++) {
        FAILS(ww_tensors_statement("m", &rows[i].tensors, NULL, &payload, root, &err),
              rows[i].code);
    }
    ww_buf_release(&payload);
}

static void statement_reads_back(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_tensor_statement statement;

    OK(ww_tensors_parse((const uint8_t *)GOOD, strlen(GOOD), &statement, &err));
    assert_int_equal(statement.n_items, 2);
    assert_string_equal(statement.items[1].name, "z.weight");
    assert_string_equal(statement.items[1].dtype, "U8");
    assert_int_equal(statement.items[1].rank, 1);
    assert_int_equal(statement.items[1].shape[0], 2097153);
    assert_int_equal(statement.items[1].n_bytes, 2097153);
    assert_null(statement.lock);
    assert_int_equal(ww_tensors_find(&statement, "w"), 0);
    assert_int_equal(ww_tensors_find(&statement, "z.weight"), 1);
    assert_int_equal(ww_tensors_find(&statement, "a"), 2);
    assert_int_equal(ww_tensors_find(&statement, "x"), 2);
    assert_int_equal(ww_tensors_find(&statement, "zz"), 2);
    ww_tensors_release(&statement);
    OK(ww_tensors_parse((const uint8_t *)LOCKED, strlen(LOCKED), &statement, &err));
    assert_non_null(statement.lock);
    ww_tensors_release(&statement);
    ww_tensors_release(&statement);
}

struct bad_row {
    const char *text;
    enum ww_err code;
};

#define BAD(tensors) TREE(SUBJECT(ROOT_MODEL), "{\"tensors\":" tensors "}")
#define ITEMS(items) BAD(TENSORS("sha256-tree", "1048576", "2", ROOT_MODEL, items))

static const struct bad_row bad_rows[] = {
    {"{}", WW_E_BUNDLE},
    {STATEMENT(SUBJECT(ROOT_MODEL), IN_TOTO, OMS_V1, "{\"tensors\":" GOOD_TENSORS "}"),
     WW_E_BUNDLE},
    {TREE(SUBJECT(ROOT_W), "{\"tensors\":" GOOD_TENSORS "}"), WW_E_BUNDLE},
    {TREE(SUBJECT(ROOT_MODEL), "{}"), WW_E_BUNDLE},
    {TREE(SUBJECT(ROOT_MODEL), "{\"tensors\":" GOOD_TENSORS ",\"lock\":1}"), WW_E_BUNDLE},
    {TREE(SUBJECT(ROOT_MODEL), "{\"tensors\":" GOOD_TENSORS ",\"more\":1}"), WW_E_BUNDLE},
    {BAD("[]"), WW_E_BUNDLE},
    {BAD(TENSORS("blake3-tree", "1048576", "2", ROOT_MODEL, "[" ITEM_W "," ITEM_Z "]")),
     WW_E_VERSION},
    {BAD(TENSORS("sha256-tree", "65536", "2", ROOT_MODEL, "[" ITEM_W "," ITEM_Z "]")),
     WW_E_VERSION},
    {BAD(TENSORS("sha256-tree", "1048576", "3", ROOT_MODEL, "[" ITEM_W "," ITEM_Z "]")),
     WW_E_BUNDLE},
    {BAD(TENSORS("sha256-tree", "1048576", "0", ROOT_MODEL, "[]")), WW_E_BUNDLE},
    {BAD(TENSORS("sha256-tree", "1048576", "2", "00", "[" ITEM_W "," ITEM_Z "]")),
     WW_E_BUNDLE},
    {BAD(TENSORS("sha256-tree", "1048576", "2", ROOT_W, "[" ITEM_W "," ITEM_Z "]")),
     WW_E_BUNDLE},
    {ITEMS("[" ITEM_Z "," ITEM_W "]"), WW_E_BUNDLE},
    {ITEMS("[" ITEM_W "," ITEM_W "]"), WW_E_BUNDLE},
    {ITEMS("[" ITEM("w", "F32", "[1]", "4", ROOT_Z) "," ITEM_Z "]"), WW_E_BUNDLE},
    {ITEMS("[1,2]"), WW_E_BUNDLE},
    {ITEMS("[" ITEM("w\\u0001", "F32", "[1]", "4", ROOT_W) "," ITEM_Z "]"), WW_E_BUNDLE},
    {ITEMS("[" ITEM("w", "F32", "[1,1,1,1,1,1,1,1,1]", "4", ROOT_W) "," ITEM_Z "]"),
     WW_E_BUNDLE},
    {ITEMS("[" ITEM("w", "F32", "[-1]", "4", ROOT_W) "," ITEM_Z "]"), WW_E_BUNDLE},
    {ITEMS("[" ITEM("w", "F32", "{}", "4", ROOT_W) "," ITEM_Z "]"), WW_E_BUNDLE},
    {ITEMS("[" ITEM("w", "F32", "[1]", "\"4\"", ROOT_W) "," ITEM_Z "]"), WW_E_BUNDLE},
};

static void statements_that_break_a_rule_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++) {
        struct ww_error err = {0};
        struct ww_tensor_statement statement;
        const char *text = bad_rows[i].text;
        enum ww_err rc =
            ww_tensors_parse((const uint8_t *)text, strlen(text), &statement, &err);
        if (rc != bad_rows[i].code) {
            fail_msg("row %zu: %s (%s)", i, ww_err_name(rc), err.text);
        }
        assert_null(statement.items);
    }
}

static void plain_statement_serves_only_without_a_key(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_tensor_statement statement;
    struct ww_verifier verifier = {0};
    char *folder = ww_test_mkdir();
    int fd = -1;

    OK(ww_dir_open(folder, &fd, &err));
    FAILS(ww_tensors_read(fd, NULL, &statement, &err), WW_E_NOTFOUND);
    write_text(folder, WW_TENSORS_PLAIN_FILE, LOCKED);
    OK(ww_tensors_read(fd, NULL, &statement, &err));
    assert_false(statement.was_signed);
    assert_non_null(statement.lock);
    ww_tensors_release(&statement);
    FAILS(ww_tensors_read_by(fd, &verifier, NULL, &statement, &err), WW_E_NOT_SIGNED);
    close(fd);
    ww_test_rmdir(folder);
}

static void signed_statement_is_checked_against_the_key(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_tensor_statement statement;
    struct ww_signer signer = {0};
    struct ww_pubkey *key = NULL;
    struct ww_pubkey *other = NULL;
    struct ww_buf bundle;
    char *folder = ww_test_mkdir();
    char *mine = path_in(folder, "mine");
    char *theirs = path_in(folder, "theirs");
    char *mine_key = path_in(folder, "mine.key");
    char *mine_pub = path_in(folder, "mine.pub");
    char *theirs_pub = path_in(folder, "theirs.pub");
    int fd = -1;

    ww_buf_init(&bundle, 65536);
    OK(ww_signkey_create(mine, WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_create(theirs, WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_load(mine_key, NULL, &signer.key, &err));
    OK(ww_pubkey_load(mine_pub, &key, &err));
    OK(ww_pubkey_load(theirs_pub, &other, &err));
    OK(ww_bundle_sign(&signer, (const uint8_t *)LOCKED, strlen(LOCKED), &bundle, &err));
    write_bytes(folder, WW_TENSORS_FILE, bundle.data, bundle.len);
    OK(ww_dir_open(folder, &fd, &err));
    OK(ww_tensors_read(fd, key, &statement, &err));
    assert_true(statement.was_signed);
    ww_tensors_release(&statement);
    OK(ww_tensors_read(fd, NULL, &statement, &err));
    ww_tensors_release(&statement);
    FAILS(ww_tensors_read(fd, other, &statement, &err), WW_E_UNTRUSTED);
    OK(ww_bundle_sign(&signer, (const uint8_t *)DEMO_STATEMENT, 657, &bundle, &err));
    write_bytes(folder, WW_TENSORS_FILE, bundle.data, bundle.len);
    FAILS(ww_tensors_read(fd, key, &statement, &err), WW_E_BUNDLE); /* another kind */
    close(fd);
    ww_buf_release(&bundle);
    ww_pubkey_free(key);
    ww_pubkey_free(other);
    ww_signkey_free(signer.key);
    ww_free(mine);
    ww_free(theirs);
    ww_free(mine_key);
    ww_free(mine_pub);
    ww_free(theirs_pub);
    ww_test_rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statement_folds_the_vector_into_its_root),
        cmocka_unit_test(statement_needs_tensors_in_name_order),
        cmocka_unit_test(statement_reads_back),
        cmocka_unit_test(statements_that_break_a_rule_are_refused),
        cmocka_unit_test(plain_statement_serves_only_without_a_key),
        cmocka_unit_test(signed_statement_is_checked_against_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
