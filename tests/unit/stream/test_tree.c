/* SPDX-License-Identifier: Apache-2.0 */
/* The tensor tree against fixed vectors, computed once with an independent program. */
#include "stream/tree.h"

#include "util/alloc.h"
#include "util/str.h"
#include "ww_test.h"

#define BIG 2097153u

static void assert_hex(const uint8_t digest[WW_SHA256_BYTES], const char *want)
{
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    ww_hex(hex, digest, WW_SHA256_BYTES);
    assert_string_equal(hex, want);
}

static const uint8_t one[4] = {0x00, 0x00, 0x80, 0x3f};
static const struct ww_tensor small = {.name = "w",
                                       .dtype = WW_DTYPE_F32,
                                       .rank = 1,
                                       .shape = {1},
                                       .n_elements = 1,
                                       .n_bytes = 4};
static const struct ww_tensor large = {.name = "z.weight",
                                       .dtype = WW_DTYPE_U8,
                                       .rank = 1,
                                       .shape = {BIG},
                                       .n_elements = BIG,
                                       .n_bytes = BIG};

static uint8_t *large_bytes(void)
{
    uint8_t *bytes = malloc(BIG);
    for (uint32_t i = 0; i < BIG - 1; i++) {
        bytes[i] = (uint8_t)i;
    }
    bytes[BIG - 1] = 7;
    return bytes;
}

static void tree_leaf_meets_vector(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_sha256 *h = NULL;
    uint8_t digest[WW_SHA256_BYTES];

    OK(ww_sha256_new(&h, &err));
    ww_tree_leaf(h, 0, 0, one, sizeof(one), digest);
    assert_hex(digest,
               "7fd9d749524b07d0cb7816898d1755d2398c28a77befcaf68c0d571c486da1e6");
    ww_tree_leaf(h, 1, 0, one, sizeof(one), digest); /* the index enters */
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    ww_hex(hex, digest, WW_SHA256_BYTES);
    assert_string_not_equal(
        hex, "7fd9d749524b07d0cb7816898d1755d2398c28a77befcaf68c0d571c486da1e6");
    ww_sha256_free(h);
}

/* Fed in steps of any size, also across leaf ends. */
static void large_root(size_t step, uint8_t root[WW_SHA256_BYTES])
{
    struct ww_error err = {0};
    struct ww_tree_tensor *tree = NULL;
    uint8_t *bytes = large_bytes();

    OK(ww_tree_tensor_new(&tree, &err));
    ww_tree_tensor_begin(tree, 1);
    for (size_t at = 0; at < BIG; at += step) {
        OK(ww_tree_tensor_update(tree, bytes + at, BIG - at < step ? BIG - at : step,
                                 &err));
    }
    OK(ww_tree_tensor_end(tree, &large, root, &err));
    ww_tree_tensor_free(tree);
    free(bytes);
}

static void tree_tensor_roots_meet_vectors(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_tree_tensor *tree = NULL;
    struct ww_sha256 *h = NULL;
    uint8_t roots[2][WW_SHA256_BYTES];
    uint8_t model[WW_SHA256_BYTES];
    static const size_t steps[] = {BIG, 1 << 20, (1 << 20) + 1, 777777, 4096};

    OK(ww_tree_tensor_new(&tree, &err));
    ww_tree_tensor_begin(tree, 0);
    OK(ww_tree_tensor_update(tree, one, sizeof(one), &err));
    OK(ww_tree_tensor_end(tree, &small, roots[0], &err));
    ww_tree_tensor_free(tree);
    assert_hex(roots[0],
               "07d4fd7f8c2d1279be8f358f8f8cf184462075214864dcb25e2440fccea03f44");
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        large_root(steps[i], roots[1]);
        assert_hex(roots[1],
                   "199148054c8b3b7417dd1d70ddca6bbad5e32b097d381a3ca3def6ce24dceed9");
    }
    OK(ww_sha256_new(&h, &err));
    ww_tree_fold(h, roots, 2, model);
    assert_hex(model, "dbb9770a96cc7d118c4d8a245065121feb1729db12101e1d6e4dea972f7d66e1");
    ww_sha256_free(h);
}

static void tree_of_leaves_meets_vector(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_sha256 *h = NULL;
    uint8_t leaves[3][WW_SHA256_BYTES];
    uint8_t root[WW_SHA256_BYTES];
    uint8_t *bytes = large_bytes();

    OK(ww_sha256_new(&h, &err));
    for (uint64_t i = 3; i-- > 0;) { /* any order */
        uint64_t offset = i * WW_TREE_CHUNK;
        ww_tree_leaf(h, 1, offset, bytes + offset, i == 2 ? 1 : WW_TREE_CHUNK, leaves[i]);
    }
    ww_tree_fold(h, leaves, 3, root);
    assert_hex(root, "484043193363c73941b8bfbfd0843080787d3330065c3460714058ef590f6649");
    OK(ww_tree_tensor_root(h, &large, root, root, &err));
    assert_hex(root, "199148054c8b3b7417dd1d70ddca6bbad5e32b097d381a3ca3def6ce24dceed9");
    ww_sha256_free(h);
    free(bytes);
}

/* The definition: split at the largest power of two below n. */
static void split_root(struct ww_sha256 *h, uint8_t (*d)[WW_SHA256_BYTES], size_t n,
                       uint8_t out[WW_SHA256_BYTES])
{
    uint8_t message[1 + 2 * WW_SHA256_BYTES] = {0x01};
    size_t k = 1;

    if (n == 1) {
        memcpy(out, d[0], WW_SHA256_BYTES);
        return;
    }
    while (2 * k < n) {
        k *= 2;
    }
    split_root(h, d, k, message + 1);
    split_root(h, d + k, n - k, message + 1 + WW_SHA256_BYTES);
    ww_sha256_of(message, sizeof(message), out);
}

static void tree_fold_splits_as_rfc6962(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_sha256 *h = NULL;
    uint8_t digests[70][WW_SHA256_BYTES];
    uint8_t copy[70][WW_SHA256_BYTES];
    uint8_t got[WW_SHA256_BYTES];
    uint8_t want[WW_SHA256_BYTES];

    OK(ww_sha256_new(&h, &err));
    for (size_t i = 0; i < 70; i++) {
        ww_sha256_of(&i, sizeof(i), digests[i]);
    }
    for (size_t n = 1; n <= 70; n++) {
        memcpy(copy, digests, sizeof(copy));
        split_root(h, digests, n, want);
        ww_tree_fold(h, copy, n, got);
        assert_memory_equal(got, want, WW_SHA256_BYTES);
    }
    ww_sha256_free(h);
}

static void tree_empty_tensor_has_one_leaf(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_tree_tensor *tree = NULL;
    struct ww_sha256 *h = NULL;
    struct ww_tensor empty = {
        .name = "e", .dtype = WW_DTYPE_BF16, .rank = 2, .shape = {0, 8}};
    uint8_t leaf[WW_SHA256_BYTES];
    uint8_t want[WW_SHA256_BYTES];
    uint8_t got[WW_SHA256_BYTES];

    OK(ww_sha256_new(&h, &err));
    ww_tree_leaf(h, 5, 0, "", 0, leaf);
    OK(ww_tree_tensor_root(h, &empty, leaf, want, &err));
    OK(ww_tree_tensor_new(&tree, &err));
    ww_tree_tensor_begin(tree, 5);
    OK(ww_tree_tensor_end(tree, &empty, got, &err));
    assert_memory_equal(got, want, WW_SHA256_BYTES);
    ww_tree_tensor_free(tree);
    ww_sha256_free(h);
}

static void tree_refuses_wrong_length(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_tree_tensor *tree = NULL;
    uint8_t root[WW_SHA256_BYTES];

    OK(ww_tree_tensor_new(&tree, &err));
    ww_tree_tensor_begin(tree, 0);
    OK(ww_tree_tensor_update(tree, one, 3, &err));
    FAILS(ww_tree_tensor_end(tree, &small, root, &err), WW_E_USAGE);
    ww_tree_tensor_begin(tree, 0);
    OK(ww_tree_tensor_update(tree, one, 4, &err));
    OK(ww_tree_tensor_update(tree, one, 1, &err));
    FAILS(ww_tree_tensor_end(tree, &small, root, &err), WW_E_USAGE);
    ww_tree_tensor_free(tree);
}

static void tree_every_field_enters_the_root(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_sha256 *h = NULL;
    uint8_t leaf[WW_SHA256_BYTES] = {1};
    uint8_t roots[6][WW_SHA256_BYTES];
    struct ww_tensor t[6];

    for (size_t i = 0; i < 6; i++) {
        t[i] = small;
    }
    t[1].name = "v";
    t[2].dtype = WW_DTYPE_I32;
    t[3].rank = 0;
    t[4].shape[0] = 2;
    t[5].n_bytes = 5;
    OK(ww_sha256_new(&h, &err));
    for (size_t i = 0; i < 6; i++) {
        OK(ww_tree_tensor_root(h, &t[i], leaf, roots[i], &err));
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(roots[i], roots[k], WW_SHA256_BYTES);
        }
    }
    ww_sha256_free(h);
}

static void tree_order_is_bytewise(void **state)
{
    (void)state;
    struct ww_error err = {0};
    static const char *const names[] = {"b", "a.10", "\xc3\xa9", "a.2", "a", "B", "aa"};
    static const uint32_t want[] = {5, 4, 1, 3, 6, 0, 2};
    struct ww_tensor tensors[7] = {0};
    struct ww_model model = {.tensors = tensors, .n_tensors = 7};
    uint32_t *order = NULL;
    uint32_t *rank = NULL;

    for (size_t i = 0; i < 7; i++) {
        tensors[i].name = names[i];
    }
    OK(ww_tree_order(&model, &order, &rank, &err));
    for (uint32_t k = 0; k < 7; k++) {
        assert_int_equal(order[k], want[k]);
        assert_int_equal(rank[order[k]], k);
    }
    ww_free(order);
    ww_free(rank);
    tensors[3].name = "b";
    FAILS(ww_tree_order(&model, &order, &rank, &err), WW_E_DUPLICATE);
    assert_null(order);
    assert_null(rank);
    model.n_tensors = 0;
    OK(ww_tree_order(&model, &order, &rank, &err));
    ww_free(order);
    ww_free(rank);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_leaf_meets_vector),
        cmocka_unit_test(tree_tensor_roots_meet_vectors),
        cmocka_unit_test(tree_of_leaves_meets_vector),
        cmocka_unit_test(tree_fold_splits_as_rfc6962),
        cmocka_unit_test(tree_empty_tensor_has_one_leaf),
        cmocka_unit_test(tree_refuses_wrong_length),
        cmocka_unit_test(tree_every_field_enters_the_root),
        cmocka_unit_test(tree_order_is_bytewise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
