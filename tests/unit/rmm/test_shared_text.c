/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and manifests of adapters that share numbers, as no writer makes them. */
#include "rmm_fixture.h"

#include "rmm/parent.h"
#include "rmm/shared.h"

static enum ww_err read_table(const char *more, struct ww_pack_table *t,
                              struct ww_error *err)
{
    static const char part[] =
        "{\"schema\":\"weightward.package-member/"
        "2\",\"salt\":\"%1$s\",\"files\":[{\"path\":"
        "\"m.safetensors\",\"size\":48,\"sha256\":\"%1$s\",\"parts\":[{\"bytes\":48,"
        "\"dtype\":\"BF16\",\"tensor\":\"w\",%2$s\"chunks\":[[9,\"%1$s\"]]}]}]}";
    static const char shared[] =
        "\"shared\":{%s,\"chunks\":[[5,"
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]]},";
    char hex[65];
    char middle[600];
    char text[1500];
    const char *brace = strchr(more, '{');
    memset(hex, 'a', 64);
    hex[64] = 0;
    size_t n = (size_t)(brace - more);
    memcpy(middle, more, n);
    snprintf(middle + n, sizeof(middle) - n, shared, brace + 1);
    snprintf(text, sizeof(text), part, hex, middle);
    return ww_pack_table_read((uint8_t *)text, strlen(text), 14, "x", t, err);
}

static void tables_that_no_writer_makes_are_refused(void **state)
{
    static const char good[] = "\"parent\":true,{\"codec\":\"rows\",\"side\":\"a\","
                               "\"places\":6,\"directions\":2";
    static const char *const bad[] = {
        "{\"codec\":\"rows\",\"side\":\"a\",\"places\":6,\"directions\":2",
        "\"base\":true,{\"codec\":\"rows\",\"side\":\"a\",\"places\":6,\"directions\":2",
        "\"parent\":true,{\"codec\":\"row\",\"side\":\"a\",\"places\":6,\"directions\":2",
        "\"parent\":true,{\"codec\":\"none\",\"side\":\"a\",\"places\":6,\"directions\":"
        "2",
        "\"parent\":true,{\"codec\":\"rows\",\"side\":\"c\",\"places\":6,\"directions\":"
        "2",
        "\"parent\":true,{\"codec\":\"rows\",\"side\":\"a\",\"places\":0,\"directions\":"
        "2",
        "\"parent\":true,{\"codec\":\"rows\",\"side\":\"a\",\"places\":7,\"directions\":"
        "2",
        "\"parent\":true,{\"codec\":\"rows\",\"side\":\"a\",\"places\":6,\"directions\":"
        "0",
        "\"parent\":true,{\"codec\":\"rows\",\"side\":\"a\",\"places\":6,"
        "\"directions\":4097",
        "\"parent\":true,{\"codec\":\"rows\",\"side\":\"a\",\"places\":6,"
        "\"directions\":2,\"more\":1",
        "\"parent\":true,{\"codec\":\"rows\",\"side\":\"a\",\"directions\":2",
    };
    struct ww_error err = {0};
    struct ww_pack_table t;
    (void)state;
    for (size_t i = 0; i < WW_LEN(bad); i++) {
        FAILS(read_table(bad[i], &t, &err), WW_E_MALFORMED);
    }
    OK(read_table(good, &t, &err));
    assert_int_equal(t.parts[0].n_factors, 1);
    FAILS(ww_parent_bind(NULL, "x", &t, &err), WW_E_MALFORMED);
    ww_pack_table_release(&t);
}

/* A basis and one that has it. */
static enum ww_err read_manifest(struct ww_pack_manifest_member basis,
                                 struct ww_pack_manifest_member user,
                                 struct ww_error *why)
{
    struct ww_pack_manifest_member members[2] = {basis, user};
    const struct ww_pack_manifest m = {.version = 1, .members = members, .n_members = 2};
    const struct ww_pack_head head = {.version = WW_PACK_VERSION_2,
                                      .manifest_offset = 3 * WW_PACK_MOST_ALIGN};
    struct ww_pack_manifest back;
    struct ww_error err = {0};
    struct ww_buf text;
    for (size_t i = 0; i < 2; i++) {
        members[i].offset = (i + 1) * WW_PACK_MOST_ALIGN;
        members[i].bytes = 100;
    }
    ww_buf_init(&text, 1U << 20);
    OK(ww_pack_manifest_write(&m, &text, &err));
    const enum ww_err rc =
        ww_pack_manifest_read(text.data, text.len, &head, "x", &back, why);
    if (!rc) {
        assert_true(back.members[0].basis && back.members[0].directions == 3);
        ww_pack_manifest_release(&back);
    }
    ww_buf_release(&text);
    return rc;
}

static void manifests_that_no_writer_makes_are_refused(void **state)
{
    const struct ww_pack_manifest_member basis = {
        .name = "basis", .basis = true, .codec = WW_SHARED_ROWS, .directions = 3};
    const struct ww_pack_manifest_member user = {
        .name = "a", .adapter = true, .bounded = true, .error = 0.2, .parent = "basis"};
    struct ww_pack_manifest_member bad = basis;
    struct ww_error err = {0};
    (void)state;
    OK(read_manifest(basis, user, &err));
    bad.directions = 0;
    FAILS(read_manifest(bad, user, &err), WW_E_MALFORMED);
    bad.directions = WW_SHARED_MOST + 1;
    FAILS(read_manifest(bad, user, &err), WW_E_MALFORMED);
    bad = basis;
    bad.codec = WW_SHARED_NONE;
    FAILS(read_manifest(bad, user, &err), WW_E_MALFORMED);
    bad = basis;
    bad.bounded = true;
    FAILS(read_manifest(bad, user, &err), WW_E_MALFORMED);
    bad = user;
    bad.adapter = false; /* models do not share */
    FAILS(read_manifest(basis, bad, &err), WW_E_MALFORMED);
    bad = basis;
    bad.name = "another";
    bad.parent = "basis";
    FAILS(read_manifest(basis, bad, &err), WW_E_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_that_no_writer_makes_are_refused),
        cmocka_unit_test(manifests_that_no_writer_makes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
