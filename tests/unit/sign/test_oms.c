/* SPDX-License-Identifier: Apache-2.0 */
#include "sign/oms.h"

#include "fixture.h"
#include "util/str.h"

static struct ww_resource resource(const char *name, const char *hex)
{
    struct ww_resource r = {.name = name};
    assert_true(ww_unhex(r.sha256, sizeof(r.sha256), hex, strlen(hex)));
    return r;
}

static void statement_has_the_bytes_of_the_worked_vector(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_buf payload;
    uint8_t root[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    struct ww_resource list[] = {resource("model.safetensors", DEMO_WEIGHTS_SHA),
                                 resource("config.json", DEMO_CONFIG_SHA)};

    ww_buf_init(&payload, 4096);
    OK(ww_oms_statement("demo", list, 2, &payload, root, &err));
    assert_string_equal(ww_buf_cstr(&payload), DEMO_STATEMENT);
    assert_int_equal(payload.len, 657);
    ww_hex(hex, root, sizeof(root));
    assert_string_equal(hex, DEMO_ROOT);
    assert_string_equal(list[0].name, "config.json");
    ww_buf_release(&payload);
}

static void resources_are_sorted_by_code_point_of_the_whole_name(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_buf payload;
    uint8_t root[WW_SHA256_BYTES];
    struct ww_resource list[] = {
        resource("a/b.txt", DEMO_CONFIG_SHA),
        resource("\xf0\x9f\x98\x80", DEMO_CONFIG_SHA), resource("a.txt", DEMO_CONFIG_SHA),
        resource("\xef\xbf\xbd", DEMO_CONFIG_SHA), resource("B", DEMO_CONFIG_SHA)};
    static const char *const want[] = {"B", "a.txt", "a/b.txt", "\xef\xbf\xbd",
                                       "\xf0\x9f\x98\x80"};

    ww_buf_init(&payload, 8192);
    OK(ww_oms_statement("m", list, 5, &payload, root, &err));
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(list[i].name, want[i]);
    }
    ww_buf_release(&payload);
}

static void
ignore_paths_are_sorted_and_a_foreign_signature_is_not_among_them(void **state)
{
    (void)state;
    static const char *const ignored[] = {"cache", "attestations", "a/b"};
    struct ww_error err = {0};
    struct ww_buf payload;
    uint8_t root[WW_SHA256_BYTES];
    struct ww_resource list[] = {resource("x", DEMO_CONFIG_SHA)};

    ww_buf_init(&payload, 4096);
    OK(ww_oms_write("m", list, 1, &(struct ww_oms_ignored){.paths = ignored, .n = 3},
                    &payload, root, &err));
    assert_non_null(strstr(ww_buf_cstr(&payload),
                           "\"ignore_paths\":[\".git\",\".gitattributes\",\".github\","
                           "\".gitignore\",\"a/b\",\"attestations\",\"cache\"]"));
    OK(ww_oms_write("m", list, 1, &(struct ww_oms_ignored){.signature = "sig/m.sig"},
                    &payload, root, &err));
    assert_non_null(strstr(ww_buf_cstr(&payload), "\"attestations\",\"sig/m.sig\"]"));
    ww_buf_release(&payload);
}

static void statement_over_no_file_or_a_file_twice_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_buf payload;
    uint8_t root[WW_SHA256_BYTES];
    struct ww_resource list[] = {resource("x", DEMO_CONFIG_SHA),
                                 resource("x", DEMO_WEIGHTS_SHA)};

    ww_buf_init(&payload, 4096);
    FAILS(ww_oms_statement("m", list, 0, &payload, root, &err), WW_E_MALFORMED);
    FAILS(ww_oms_statement("m", list, 2, &payload, root, &err), WW_E_USAGE);
    ww_buf_release(&payload);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_oms oms;
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];

    OK(ww_oms_parse((const uint8_t *)DEMO_STATEMENT, 657, false, &oms, &err));
    assert_int_equal(oms.n_resources, 2);
    assert_string_equal(oms.resources[0].path, "config.json");
    assert_string_equal(oms.resources[1].path, "model.safetensors");
    assert_string_equal(oms.algorithm, "sha256");
    assert_int_equal(oms.digest_bytes, 32);
    assert_int_equal(oms.shard_size, 0);
    assert_int_equal(ww_jsize(oms.ignore_paths), 6);
    ww_hex(hex, oms.root, sizeof(oms.root));
    assert_string_equal(hex, DEMO_ROOT);
    ww_oms_release(&oms);
    ww_oms_release(&oms); /* an empty one may be released */
}

#define ONE(name, digest, algorithm)                                                     \
    "[{\"name\":\"" name "\",\"digest\":\"" digest "\",\"algorithm\":\"" algorithm "\"}" \
    "]"
#define SERIAL(more)                                                                     \
    "{\"method\":\"files\",\"hash_type\":\"sha256\",\"allow_symlinks\":false" more "}"

struct bad_row {
    const char *text;
    enum ww_err code;
};

static const struct bad_row bad_rows[] = {
    {"", WW_E_JSON},
    {"[]", WW_E_BUNDLE},
    {"{}", WW_E_BUNDLE},
    {STATEMENT(DEMO_SUBJECT, "https://in-toto.io/Statement/v0.1", OMS_V1,
               PREDICATE(DEMO_RESOURCES, DEMO_SERIALIZATION)),
     WW_E_BUNDLE},
    {STATEMENT(DEMO_SUBJECT, IN_TOTO, "https://model_signing/signature/v2",
               PREDICATE(DEMO_RESOURCES, DEMO_SERIALIZATION)),
     WW_E_BUNDLE},
    {STATEMENT("[]", IN_TOTO, OMS_V1, PREDICATE(DEMO_RESOURCES, DEMO_SERIALIZATION)),
     WW_E_BUNDLE},
    {STATEMENT("[{\"name\":\"\",\"digest\":{\"sha256\":\"" DEMO_ROOT "\"}}]", IN_TOTO,
               OMS_V1, PREDICATE(DEMO_RESOURCES, DEMO_SERIALIZATION)),
     WW_E_BUNDLE},
    {STATEMENT("[{\"name\":\"x\",\"digest\":{\"sha256\":\"" DEMO_CONFIG_SHA "\"}}]",
               IN_TOTO, OMS_V1, PREDICATE(DEMO_RESOURCES, DEMO_SERIALIZATION)),
     WW_E_BUNDLE},
    {STATEMENT("[{\"name\":\"x\",\"digest\":{\"sha512\":\"" DEMO_ROOT "\"}}]", IN_TOTO,
               OMS_V1, PREDICATE(DEMO_RESOURCES, DEMO_SERIALIZATION)),
     WW_E_BUNDLE},
    {STATEMENT(DEMO_SUBJECT, IN_TOTO, OMS_V1, "[]"), WW_E_BUNDLE},
    {STATEMENT(DEMO_SUBJECT, IN_TOTO, OMS_V1,
               "{\"resources\":" DEMO_RESOURCES ",\"serialization\":" DEMO_SERIALIZATION
               ",\"more\":1}"),
     WW_E_BUNDLE},
    {OMS("[]", DEMO_SERIALIZATION), WW_E_BUNDLE},
    {OMS("{}", DEMO_SERIALIZATION), WW_E_BUNDLE},
    {OMS("[1]", DEMO_SERIALIZATION), WW_E_BUNDLE},
    {OMS(DEMO_RESOURCES, "{}"), WW_E_BUNDLE},
    {OMS(DEMO_RESOURCES, SERIAL(",\"shard_size\":1")), WW_E_BUNDLE},
    {OMS(DEMO_RESOURCES, SERIAL(",\"more\":1")), WW_E_BUNDLE},
    {OMS(DEMO_RESOURCES, SERIAL(",\"ignore_paths\":{}")), WW_E_BUNDLE},
    {OMS(DEMO_RESOURCES, SERIAL(",\"ignore_paths\":[\"\"]")), WW_E_BUNDLE},
    {OMS(DEMO_RESOURCES, SERIAL(",\"ignore_paths\":[1]")), WW_E_BUNDLE},
    {OMS(DEMO_RESOURCES, "{\"method\":\"files\",\"hash_type\":\"sha256\"}"), WW_E_BUNDLE},
    {OMS(DEMO_RESOURCES, "{\"method\":\"merkle\",\"hash_type\":\"sha256\","
                         "\"allow_symlinks\":false}"),
     WW_E_UNSUPPORTED},
    {OMS(DEMO_RESOURCES, "{\"method\":\"files\",\"hash_type\":\"md5\","
                         "\"allow_symlinks\":false}"),
     WW_E_UNSUPPORTED},
    {OMS(DEMO_RESOURCES, "{\"method\":\"files\",\"hash_type\":\"blake3\","
                         "\"allow_symlinks\":false}"),
     WW_E_UNSUPPORTED},
    {OMS(DEMO_RESOURCES, "{\"method\":\"files\",\"hash_type\":\"blake2b\","
                         "\"allow_symlinks\":false}"),
     WW_E_BUNDLE},
    {OMS(DEMO_RESOURCES, "{\"method\":\"shards\",\"hash_type\":\"sha256\","
                         "\"shard_size\":0,\"allow_symlinks\":false}"),
     WW_E_BUNDLE},
    {OMS(ONE("x", DEMO_CONFIG_SHA, "blake2b"), SERIAL("")), WW_E_BUNDLE},
    {OMS(ONE("x", "", "sha256"), SERIAL("")), WW_E_BUNDLE},
    {OMS(ONE("x", "44", "sha256"), SERIAL("")), WW_E_BUNDLE},
    {OMS(ONE("x", DEMO_CONFIG_SHA "00", "sha256"), SERIAL("")), WW_E_BUNDLE},
    {OMS(ONE("x", "44136FA355B3678A1146AD16F7E8649E94FB4FC21FE77E8310C060F61CAAFF8A",
             "sha256"),
         SERIAL("")),
     WW_E_BUNDLE},
    {OMS(ONE("../x", DEMO_CONFIG_SHA, "sha256"), SERIAL("")), WW_E_PATH},
    {OMS(ONE("/etc/x", DEMO_CONFIG_SHA, "sha256"), SERIAL("")), WW_E_PATH},
    {OMS(ONE("./x", DEMO_CONFIG_SHA, "sha256"), SERIAL("")), WW_E_PATH},
    {OMS(ONE("a//x", DEMO_CONFIG_SHA, "sha256"), SERIAL("")), WW_E_PATH},
    {OMS(ONE("a/", DEMO_CONFIG_SHA, "sha256"), SERIAL("")), WW_E_PATH},
    {OMS(ONE("", DEMO_CONFIG_SHA, "sha256"), SERIAL("")), WW_E_PATH},
    {OMS(ONE("a\\nb", DEMO_CONFIG_SHA, "sha256"), SERIAL("")), WW_E_PATH},
    {OMS(DEMO_RESOURCES, DEMO_SERIALIZATION) " {}", WW_E_JSON},
};

static void statements_that_break_a_rule_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_rows) / sizeof(bad_rows[0]); i++) {
        struct ww_error err = {0};
        struct ww_oms oms;
        const char *text = bad_rows[i].text;
        enum ww_err rc =
            ww_oms_parse((const uint8_t *)text, strlen(text), false, &oms, &err);
        if (rc != bad_rows[i].code) {
            fail_msg("row %zu: %s (%s)", i, ww_err_name(rc), err.text);
        }
        assert_null(oms.resources);
    }
}

/* A statement over these resources with the root that belongs to them. */
static enum ww_err parse_with_root(const char *resources, const char *serialization,
                                   struct ww_oms *oms, struct ww_error *err)
{
    char *text =
        ww_asprintf(STATEMENT("[{\"name\":\"m\",\"digest\":{\"sha256\":\"%s\"}}]",
                              IN_TOTO, OMS_V1, PREDICATE("%s", "%s")),
                    DEMO_ROOT, resources, serialization);
    uint8_t root[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    struct ww_sha256 *h = NULL;

    assert_int_equal(ww_sha256_new(&h, NULL), WW_OK);
    ww_error_clear(err);
    for (const char *at = resources; (at = strstr(at, "\"digest\":\"")); at += 10) {
        uint8_t digest[WW_SHA256_BYTES];
        assert_true(ww_unhex(digest, sizeof(digest), at + 10, 64));
        ww_sha256_update(h, digest, sizeof(digest));
    }
    ww_sha256_final(h, root);
    ww_sha256_free(h);
    ww_hex(hex, root, sizeof(root));
    memcpy(strstr(text, DEMO_ROOT), hex, 64);
    enum ww_err rc = ww_oms_parse((const uint8_t *)text, strlen(text), false, oms, err);
    ww_free(text);
    return rc;
}

#define R(name, algorithm)                                                               \
    "{\"name\":\"" name "\",\"digest\":\"" DEMO_CONFIG_SHA                               \
    "\",\"algorithm\":\"" algorithm "\",\"annotations\":{\"free\":true}}"
#define SHARDS                                                                           \
    "{\"method\":\"shards\",\"hash_type\":\"sha256\",\"shard_size\":100,"                \
    "\"allow_symlinks\":true}"

static void shards_must_tile_their_file(void **state)
{
    (void)state;
    static const struct bad_row rows[] = {
        {"[" R("a:b:0:100", "sha256") "," R("a:b:100:150", "sha256") "]", WW_OK},
        {"[" R("a:100:200", "sha256") "," R("a:0:100", "sha256-sharded-100") "]", WW_OK},
        {"[" R("a:0:7", "sha256") "," R("b:0:100", "sha256") "]", WW_OK},
        {"[" R("a:0:100", "sha256-sharded-99") "]", WW_E_BUNDLE},
        {"[" R("a:100:200", "sha256") "]", WW_E_BUNDLE},
        {"[" R("a:0:50", "sha256") "," R("a:50:100", "sha256") "]", WW_E_BUNDLE},
        {"[" R("a:0:100", "sha256") "," R("a:0:100", "sha256") "]", WW_E_BUNDLE},
        {"[" R("a:0:100", "sha256") "," R("a:200:300", "sha256") "]", WW_E_BUNDLE},
        {"[" R("a:0:101", "sha256") "]", WW_E_BUNDLE},
        {"[" R("a:0:0", "sha256") "]", WW_E_BUNDLE},
        {"[" R("a:5:2", "sha256") "]", WW_E_BUNDLE},
        {"[" R("a:00:100", "sha256") "]", WW_E_BUNDLE},
        {"[" R("a:0:99999999999999999999", "sha256") "]", WW_E_BUNDLE},
        {"[" R("a:100", "sha256") "]", WW_E_BUNDLE},
        {"[" R("a", "sha256") "]", WW_E_BUNDLE},
        {"[" R(":0:100", "sha256") "]", WW_E_PATH},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ww_error err = {0};
        struct ww_oms oms;
        enum ww_err rc = parse_with_root(rows[i].text, SHARDS, &oms, &err);
        if (rc != rows[i].code) {
            fail_msg("row %zu: %s (%s)", i, ww_err_name(rc), err.text);
        }
        ww_oms_release(&oms);
    }
}

static void files_may_come_in_any_order_but_once(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_oms oms;

    OK(parse_with_root("[" R("b", "sha256") "," R("a", "sha256") "]", SERIAL(""), &oms,
                       &err));
    assert_string_equal(oms.resources[0].path, "a");
    ww_oms_release(&oms);
    FAILS(parse_with_root(
              "[" R("b", "sha256") "," R("a", "sha256") "," R("b", "sha256") "]",
              SERIAL(""), &oms, &err),
          WW_E_BUNDLE);
    OK(parse_with_root("[" R(".", "sha256") "]", SERIAL(""), &oms, &err));
    ww_oms_release(&oms);
    FAILS(parse_with_root("[" R(".", "sha256") "," R("a", "sha256") "]", SERIAL(""), &oms,
                          &err),
          WW_E_PATH);
    FAILS(parse_with_root("[" R("a", "sha256-sharded-0") "]", SERIAL(""), &oms, &err),
          WW_E_BUNDLE);
}

#define V02(type, how)                                                                   \
    "{\"_type\":\"" IN_TOTO                                                              \
    "\",\"subject\":[{\"name\":\"a\",\"digest\":{\"sha256\":\"" DEMO_CONFIG_SHA          \
    "\"},\"annotations\":{\"actual_hash_algorithm\":\"" how "\"}}],"                     \
    "\"predicateType\":\"" type "\",\"predicate\":{\"unused\":\"x\"}}"

static void release_0_2_is_read_in_its_own_encoding_only(void **state)
{
    (void)state;
    static const char text[] = V02("https://model_signing/Digests/v0.1", "file-sha256");
    static const char shards[] =
        V02("https://model_signing/Digests/v0.1", "file-sha256-10");
    struct ww_error err = {0};
    struct ww_oms oms;

    OK(ww_oms_parse((const uint8_t *)text, strlen(text), true, &oms, &err));
    assert_int_equal(oms.n_resources, 1);
    assert_string_equal(oms.resources[0].path, "a");
    ww_oms_release(&oms);
    FAILS(ww_oms_parse((const uint8_t *)text, strlen(text), false, &oms, &err),
          WW_E_BUNDLE);
    FAILS(ww_oms_parse((const uint8_t *)DEMO_STATEMENT, 657, true, &oms, &err),
          WW_E_BUNDLE);
    FAILS(ww_oms_parse((const uint8_t *)shards, strlen(shards), true, &oms, &err),
          WW_E_UNSUPPORTED);
}

static void truncated_statements_are_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < 657; len++) {
        struct ww_error err = {0};
        struct ww_oms oms;
        FAILS(ww_oms_parse((const uint8_t *)DEMO_STATEMENT, len, false, &oms, &err),
              WW_E_JSON);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statement_has_the_bytes_of_the_worked_vector),
        cmocka_unit_test(resources_are_sorted_by_code_point_of_the_whole_name),
        cmocka_unit_test(
            ignore_paths_are_sorted_and_a_foreign_signature_is_not_among_them),
        cmocka_unit_test(statement_over_no_file_or_a_file_twice_is_refused),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(statements_that_break_a_rule_are_refused),
        cmocka_unit_test(shards_must_tile_their_file),
        cmocka_unit_test(files_may_come_in_any_order_but_once),
        cmocka_unit_test(release_0_2_is_read_in_its_own_encoding_only),
        cmocka_unit_test(truncated_statements_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
