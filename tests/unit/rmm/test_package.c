/* SPDX-License-Identifier: Apache-2.0 */
/* Packages: what comes back, for whom, and what is refused. */
#include "rmm_fixture.h"

#include "util/fault.h"

static void every_member_comes_back(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    (void)state;
    fx_pack(f, f->pkg, true, true, 2);
    OK(fx_unpack(f, "one", f->base, NULL, &err));
    fx_same(f, f->one);
    OK(fx_unpack(f, "two", f->base, f->ann, &err));
    fx_same(f, f->two);
    OK(fx_verify(f, f->key, &err));
    fx_free(f);
}

static void the_same_bytes_for_any_number_of_threads(void **state)
{
    static const unsigned threads[] = {1, 2, 8};
    struct fx *f = fx_new();
    struct ww_buf first;
    struct ww_buf other;
    (void)state;
    fx_pack(f, f->pkg, false, false, threads[0]);
    fx_read(f->pkg, &first);
    for (size_t i = 1; i < WW_LEN(threads); i++) {
        const char *path = fx_name(f->pkg, ".again");
        fx_pack(f, path, false, false, threads[i]);
        fx_read(path, &other);
        assert_int_equal(first.len, other.len);
        assert_memory_equal(first.data, other.data, first.len);
        assert_int_equal(unlink(path), 0);
        ww_buf_release(&other);
    }
    ww_buf_release(&first);
    fx_free(f);
}

static void a_package_is_smaller_and_says_so(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    (void)state;
    fx_pack(f, f->pkg, true, false, 2);
    OK(ww_pack_list(f->pkg, &report, &err));
    assert_string_equal(report.base, "base");
    assert_int_equal(report.base_tensors, 3);
    assert_int_equal(report.version, 1);
    assert_false(report.is_signed);
    /* Up to three values of 300: log2(3) of 16 bits. */
    assert_true(report.members[0].bytes * 100 < report.members[0].files_bytes * 12);
    assert_true(report.members[0].coded[WW_PACK_ORDER] > 0);
    assert_false(report.members[0].sealed);
    assert_true(report.members[1].sealed);
    assert_int_equal(report.members[1].n_recipients, 1);
    assert_int_equal(report.members[1].coded[WW_PACK_ORDER], 0);
    ww_pack_report_release(&report);
    fx_free(f);
}

static void a_key_opens_its_own_member_only(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    const char *ann[] = {fx_name(f->ann, ".pub")};
    const char *bob[] = {fx_name(f->bob, ".pub")};
    const struct ww_pack_member members[] = {{"one", f->one, ann, 1},
                                             {"two", f->two, bob, 1}};
    const struct ww_pack_options options = {.base = f->base};
    const struct ww_unsealer by_ann = {.recipient_key = fx_name(f->ann, ".key")};
    struct ww_pack_report report;
    (void)state;
    OK(ww_pack_create(f->pkg, members, 2, &options, &report, &err));
    ww_pack_report_release(&report);
    FAILS(fx_unpack(f, "two", f->base, f->ann, &err), WW_E_NOT_FOR_YOU);
    FAILS(fx_unpack(f, "one", f->base, f->bob, &err), WW_E_NOT_FOR_YOU);
    FAILS(ww_pack_share(f->pkg, "two", ann, 1, &by_ann, &err), WW_E_NOT_FOR_YOU);
    fx_nothing(f);
    /* One more stanza, the section as it was. */
    OK(ww_pack_share(f->pkg, "one", bob, 1, &by_ann, &err));
    OK(fx_unpack(f, "one", f->base, f->bob, &err));
    fx_same(f, f->one);
    OK(fx_unpack(f, "one", f->base, f->ann, &err));
    fx_same(f, f->one);
    FAILS(ww_pack_share(f->pkg, "one", bob, 1, &by_ann, &err), WW_E_USAGE);
    fx_free(f);
}

static void members_come_and_go(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_signkey *key = NULL;
    const struct ww_pack_member more[] = {{"three", f->two, NULL, 0}};
    const struct ww_pack_options unsigned_options = {.base = f->base};
    const struct ww_pack_verify_options least = {.least_version = 4};
    (void)state;
    fx_pack(f, f->pkg, true, true, 2);
    OK(ww_signkey_load(fx_name(f->key, ".key"), NULL, &key, &err));
    const struct ww_signer signer = {.key = key};
    const struct ww_pack_options options = {.base = f->base, .signer = &signer};
    FAILS(ww_pack_drop(f->pkg, "one", &unsigned_options, &report, &err), WW_E_USAGE);
    FAILS(ww_pack_drop(f->pkg, "onne", &options, &report, &err), WW_E_NOTFOUND);
    assert_non_null(strstr(err.text, "'one'"));
    OK(ww_pack_drop(f->pkg, "one", &options, &report, &err));
    assert_int_equal(report.version, 2);
    assert_int_equal(report.n_members, 1);
    ww_pack_report_release(&report);
    OK(ww_pack_add(f->pkg, more, 1, &options, &report, &err));
    assert_int_equal(report.version, 3);
    ww_pack_report_release(&report);
    FAILS(ww_pack_add(f->pkg, more, 1, &options, &report, &err), WW_E_USAGE);
    FAILS(fx_unpack(f, "one", f->base, NULL, &err), WW_E_NOTFOUND);
    OK(fx_unpack(f, "two", f->base, f->ann, &err));
    fx_same(f, f->two);
    OK(fx_unpack(f, "three", f->base, NULL, &err));
    fx_same(f, f->two);
    OK(fx_verify(f, f->key, &err));
    FAILS(ww_pack_verify(f->pkg, &least, &report, &err), WW_E_DENIED);
    ww_signkey_free(key);
    fx_free(f);
}

/* The last flush but one follows the moment at which the package has the new member. */
static void a_folder_keeps_what_it_names_when_a_flush_fails(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    const struct ww_pack_member one[] = {{"one", f->one, NULL, 0}};
    const struct ww_pack_member two[] = {{"two", f->two, NULL, 0}};
    const struct ww_pack_options options = {.base = f->base, .folder = true};
    const struct ww_pack_verify_options digests = {.least_version = 1};
    (void)state;
    OK(ww_pack_create(f->pkg, one, 1, &options, &report, &err));
    ww_pack_report_release(&report);
    ww_fault_arm(WW_FAULT_FSYNC, 1000);
    OK(ww_pack_add(f->pkg, two, 1, &options, &report, &err));
    ww_pack_report_release(&report);
    const unsigned long flushes = ww_fault_seen(WW_FAULT_FSYNC);
    ww_fault_arm(WW_FAULT_FSYNC, 0);
    OK(ww_pack_drop(f->pkg, "two", &options, &report, &err));
    ww_pack_report_release(&report);
    ww_fault_arm(WW_FAULT_FSYNC, flushes - 1);
    FAILS(ww_pack_add(f->pkg, two, 1, &options, &report, &err), WW_E_IO);
    ww_fault_arm(WW_FAULT_FSYNC, 0);
    ww_error_clear(&err);
    OK(ww_pack_verify(f->pkg, &digests, &report, &err));
    assert_int_equal(report.n_members, 2);
    ww_pack_report_release(&report);
    fx_free(f);
}

static void another_base_is_named(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    const struct ww_pack_member more[] = {{"three", f->two, NULL, 0}};
    const struct ww_pack_options options = {.base = f->two};
    (void)state;
    fx_pack(f, f->pkg, false, false, 1);
    FAILS(fx_unpack(f, "one", NULL, NULL, &err), WW_E_USAGE);
    FAILS(fx_unpack(f, "one", f->two, NULL, &err), WW_E_UNRELATED);
    fx_nothing(f);
    FAILS(ww_pack_add(f->pkg, more, 1, &options, &report, &err), WW_E_UNRELATED);
    /* A base whose side file differs, and nothing else. */
    fx_write(f->base, "tokenizer.json", "the same in none of them", 23);
    FAILS(fx_unpack(f, "one", f->base, NULL, &err), WW_E_UNRELATED);
    assert_non_null(strstr(err.text, "tokenizer.json"));
    fx_nothing(f);
    fx_free(f);
}

static enum ww_err take(void *payload, const void *bytes, size_t n, struct ww_error *err)
{
    return ww_buf_add(payload, bytes, n, err);
}

static void a_tensor_comes_alone(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    const struct ww_unpack_options options = {.base = f->base};
    const struct ww_unpack_options other = {.base = f->two};
    uint8_t *want = calloc(2, FX_LARGE);
    struct ww_buf got;
    (void)state;
    ww_buf_init(&got, 64U << 20);
    fx_pack(f, f->pkg, false, false, 2);
    OK(ww_unpack_tensor(f->pkg, "one", "large", &options, take, &got, &err));
    fx_numbers(want, FX_LARGE, 1, 2);
    assert_int_equal(got.len, 2 * FX_LARGE);
    assert_memory_equal(got.data, want, got.len);
    ww_buf_clear(&got);
    OK(ww_unpack_tensor(f->pkg, "one", "empty", &options, take, &got, &err));
    assert_int_equal(got.len, 0);
    FAILS(ww_unpack_tensor(f->pkg, "one", "none", &options, take, &got, &err),
          WW_E_TENSOR);
    FAILS(ww_unpack_tensor(f->pkg, "one", "large", &other, take, &got, &err),
          WW_E_UNRELATED);
    assert_int_equal(got.len, 0);
    ww_buf_release(&got);
    free(want);
    fx_free(f);
}

static void without_a_base_it_works_too(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    const struct ww_pack_member members[] = {{"one", f->one, NULL, 0}};
    const struct ww_pack_options options = {0};
    (void)state;
    OK(ww_pack_create(f->pkg, members, 1, &options, &report, &err));
    assert_null(report.base);
    ww_pack_report_release(&report);
    OK(fx_unpack(f, "one", NULL, NULL, &err));
    fx_same(f, f->one);
    fx_free(f);
}

static void wrong_use_is_refused(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct stat st;
    const struct ww_pack_member twice[] = {{"a", f->one, NULL, 0},
                                           {"a", f->two, NULL, 0}};
    const struct ww_pack_member slash[] = {{"a/b", f->one, NULL, 0}};
    const struct ww_pack_member no_weights[] = {{"a", f->dir, NULL, 0}};
    const struct ww_pack_options options = {.base = f->base};
    char *empty = fx_join(f->dir, "no-weights");
    (void)state;
    assert_int_equal(mkdir(empty, 0755), 0);
    fx_write(empty, "x.txt", "x", 1);
    const struct ww_pack_member bare[] = {{"a", empty, NULL, 0}};
    FAILS(ww_pack_create(f->pkg, twice, 2, &options, &report, &err), WW_E_USAGE);
    FAILS(ww_pack_create(f->pkg, slash, 1, &options, &report, &err), WW_E_USAGE);
    FAILS(ww_pack_create(f->pkg, no_weights, 0, &options, &report, &err), WW_E_USAGE);
    FAILS(ww_pack_create(f->pkg, bare, 1, &options, &report, &err), WW_E_UNSUPPORTED);
    assert_true(stat(f->pkg, &st) != 0);
    fx_pack(f, f->pkg, false, false, 1);
    FAILS(ww_pack_create(f->pkg, twice, 1, &options, &report, &err), WW_E_EXISTS);
    FAILS(fx_verify(f, f->key, &err), WW_E_NOT_SIGNED);
    FAILS(ww_pack_share(f->pkg, "one", NULL, 0, NULL, &err), WW_E_USAGE);
    OK(fx_unpack(f, "one", f->base, NULL, &err));
    FAILS(fx_unpack(f, "one", f->base, NULL, &err), WW_E_EXISTS);
    free(empty);
    fx_free(f);
}

static void two_weight_files_may_hold_one_name(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_buf shard;
    (void)state;
    char *from = fx_join(f->one, SHARD_1);
    fx_read(from, &shard);
    fx_write(f->one, "consolidated.safetensors", shard.data, shard.len);
    fx_write(f->one, "broken.safetensors", shard.data, 1000);
    fx_pack(f, f->pkg, false, false, 2);
    OK(fx_unpack(f, "one", f->base, NULL, &err));
    fx_same(f, f->one);
    ww_buf_release(&shard);
    free(from);
    fx_free(f);
}

/* One step names its sources, the base and the version before. */
static void what_one_step_cannot_hold_is_refused(void **state)
{
    enum { MOST = 1022 };
    struct fx *f = fx_new();
    struct ww_pack_member *members = calloc(MOST + 1, sizeof(*members));
    struct ww_signkey *key = NULL;
    struct ww_pack_report report;
    struct ww_error err = {0};
    (void)state;
    assert_non_null(members);
    for (size_t i = 0; i <= MOST; i++) {
        members[i] = (struct ww_pack_member){"one", f->one, NULL, 0};
    }
    OK(ww_signkey_load(fx_name(f->key, ".key"), NULL, &key, &err));
    const struct ww_signer signer = {.key = key};
    const struct ww_pack_options options = {.base = f->base, .signer = &signer};
    FAILS(ww_pack_create(f->pkg, members, MOST + 1, &options, &report, &err), WW_E_LIMIT);
    assert_non_null(strstr(err.text, "in one signed step"));
    /* One less is looked at, and its names are one. */
    FAILS(ww_pack_create(f->pkg, members, MOST, &options, &report, &err), WW_E_USAGE);
    ww_signkey_free(key);
    free(members);
    fx_free(f);
}

/* The merge says exactly what is left of a source. */
static void a_budget_is_not_of_what_a_merge_says(void **state)
{
    struct fx *f = fx_new();
    const struct ww_merge_inverse inverse = {.n = 0};
    const struct ww_pack_member member = {"one", f->one, NULL, 0};
    const struct ww_pack_options options = {
        .base = f->base, .inverses = &inverse, .budget = 1 << 20};
    struct ww_pack_report report;
    struct ww_error err = {0};
    (void)state;
    FAILS(ww_pack_create(f->pkg, &member, 1, &options, &report, &err), WW_E_USAGE);
    assert_non_null(strstr(err.text, "leave the budget out"));
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_comes_back),
        cmocka_unit_test(the_same_bytes_for_any_number_of_threads),
        cmocka_unit_test(a_package_is_smaller_and_says_so),
        cmocka_unit_test(a_key_opens_its_own_member_only),
        cmocka_unit_test(members_come_and_go),
        cmocka_unit_test(a_folder_keeps_what_it_names_when_a_flush_fails),
        cmocka_unit_test(another_base_is_named),
        cmocka_unit_test(a_tensor_comes_alone),
        cmocka_unit_test(without_a_base_it_works_too),
        cmocka_unit_test(wrong_use_is_refused),
        cmocka_unit_test(what_one_step_cannot_hold_is_refused),
        cmocka_unit_test(a_budget_is_not_of_what_a_merge_says),
        cmocka_unit_test(two_weight_files_may_hold_one_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
