/* SPDX-License-Identifier: Apache-2.0 */
#include "sign/tlog.h"

#include "fixture.h"
#include "sign/trusted_root.h"
#include "util/fail.h"

#define MAX_LEAVES 40

typedef uint8_t hash[WW_SHA256_BYTES];

static void node(const hash left, const hash right, hash out)
{
    uint8_t bytes[1 + 2 * WW_SHA256_BYTES] = {1};
    memcpy(bytes + 1, left, WW_SHA256_BYTES);
    memcpy(bytes + 1 + WW_SHA256_BYTES, right, WW_SHA256_BYTES);
    ww_sha256_of(bytes, sizeof(bytes), out);
}

static size_t split(size_t n)
{
    size_t k = 1;
    while (2 * k < n) {
        k *= 2;
    }
    return k;
}

/* The definitions of RFC 9162 section 2.1, word for word. */
static void tree_of(const hash *leaves, size_t n, hash out)
{
    hash left, right;
    if (n == 1) {
        memcpy(out, leaves[0], WW_SHA256_BYTES);
        return;
    }
    tree_of(leaves, split(n), left);
    tree_of(leaves + split(n), n - split(n), right);
    node(left, right, out);
}

static size_t path_of(size_t m, const hash *leaves, size_t n, hash *out)
{
    size_t k = 0, used = 0;
    if (n == 1) {
        return 0;
    }
    k = split(n);
    used = m < k ? path_of(m, leaves, k, out) : path_of(m - k, leaves + k, n - k, out);
    if (m < k) {
        tree_of(leaves + k, n - k, out[used]);
    } else {
        tree_of(leaves, k, out[used]);
    }
    return used + 1;
}

static void proofs_lead_to_the_root(void **state)
{
    hash leaves[MAX_LEAVES], path[8], root, got;
    (void)state;
    for (size_t i = 0; i < MAX_LEAVES; i++) {
        memset(leaves[i], (int)i, WW_SHA256_BYTES);
    }
    for (size_t n = 1; n <= MAX_LEAVES; n++) {
        tree_of((const hash *)leaves, n, root);
        for (size_t i = 0; i < n; i++) {
            size_t len = path_of(i, (const hash *)leaves, n, path);
            assert_true(ww_tlog_fold(leaves[i], i, n, (const hash *)path, len, got));
            assert_memory_equal(got, root, WW_SHA256_BYTES);
            /* another length is no proof, another place leads elsewhere */
            assert_false(len > 0 &&
                         ww_tlog_fold(leaves[i], i, n, (const hash *)path, len - 1, got));
            assert_false(ww_tlog_fold(leaves[i], i, n, (const hash *)path, len + 1, got));
            assert_false(
                n > 1 &&
                ww_tlog_fold(leaves[i], (i + 1) % n, n, (const hash *)path, len, got) &&
                memcmp(got, root, WW_SHA256_BYTES) == 0);
        }
        assert_false(ww_tlog_fold(leaves[0], n, n, (const hash *)path, 0, got));
    }
    assert_false(ww_tlog_fold(leaves[0], 0, 0, (const hash *)path, 0, got));
}

#define TYPE "\"application/vnd.dev.sigstore.trustedroot+json;version=0.1\""
#define KEY "MCowBQYDK2VwAyEAt8rlp1knGwjfbcXAYPYAkn0XiLz1x8O4t0YkEhie244="
#define ID "zxGZFVvd0FEmjR8WrFwMdcAJ9vtaY/QXf44Y1wUeP6A="
#define LOG(hash_name, key, id, start)                                                   \
    "{\"mediaType\":" TYPE ",\"tlogs\":[{\"hashAlgorithm\":\"" hash_name                 \
    "\",\"publicKey\":{\"rawBytes\":\"" key "\",\"validFor\":{\"start\":\"" start        \
    "\"}},\"logId\":{\"keyId\":\"" id "\"}}]}"
#define START "2025-09-23T00:00:00Z"

static void roots_are_read_strictly(void **state)
{
    static const struct {
        const char *text;
        enum ww_err code;
    } list[] = {
        {LOG("SHA2_256", KEY, ID, START), WW_OK},
        {"{\"mediaType\":" TYPE "}", WW_OK},
        {"{\"mediaType\":" TYPE ",\"tlogs\":[],\"more\":1}", WW_OK},
        {"{}", WW_E_MALFORMED},
        {"[]", WW_E_MALFORMED},
        {"{\"mediaType\":\"application/json\"}", WW_E_VERSION},
        {"{\"mediaType\":" TYPE ",\"tlogs\":{}}", WW_E_MALFORMED},
        {"{\"mediaType\":" TYPE ",\"tlogs\":[1]}", WW_E_UNSUPPORTED},
        {"{\"mediaType\":" TYPE ",\"timestampAuthorities\":[{}]}", WW_E_MALFORMED},
        {LOG("SHA2_512", KEY, ID, START), WW_E_UNSUPPORTED},
        {LOG("SHA2_256", "", ID, START), WW_E_MALFORMED},
        {LOG("SHA2_256", "AAAA", ID, START), WW_E_KEYFILE},
        {LOG("SHA2_256", KEY, "AAAA", START), WW_E_MALFORMED},
        {LOG("SHA2_256", KEY, ID, "2025-09-23"), WW_E_MALFORMED},
    };
    (void)state;
    for (size_t i = 0; i < WW_LEN(list); i++) {
        struct ww_error err = {0};
        struct ww_trusted_root *root = NULL;
        enum ww_err rc = ww_trusted_root_parse((const uint8_t *)list[i].text,
                                               strlen(list[i].text), &root, &err);
        if (rc != list[i].code) {
            fail_msg("%s: got %s (%s), want %s", list[i].text, ww_err_name(rc), err.text,
                     ww_err_name(list[i].code));
        }
        assert_true((rc == WW_OK) == (root != NULL));
        ww_trusted_root_free(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proofs_lead_to_the_root),
        cmocka_unit_test(roots_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
