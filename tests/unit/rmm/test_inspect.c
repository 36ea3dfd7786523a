/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of members, and of which it is said that nothing can be. */
#include "rmm_fixture.h"

#include <math.h>

#include "weightward/package_inspect.h"

#define SMALL 12
#define FACTOR "base_model.model.q_proj.lora_"
#define PAIR                                                                             \
    "\"" FACTOR                                                                          \
    "A.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},\"" FACTOR   \
    "B.weight\":{\"dtype\":\"F32\",\"shape\":[4,2],\"data_offsets\":[24,56]}"
#define MORE(name)                                                                       \
    ",\"base_model.model." name                                                          \
    "\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[56,72]}"
#define CONFIG(more) "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4" more "}"

static void make_adapter(const struct fx *f, const char *name, const char *config,
                         const char *header, size_t n)
{
    uint8_t data[72] = {0};
    char *dir = fx_join(f->dir, name);
    data[3] = 0x3f;
    data[27] = 0x3f;
    assert_int_equal(mkdir(dir, 0755), 0);
    fx_shard(dir, "adapter_model.safetensors", header, data, n);
    fx_write(dir, "adapter_config.json", config, strlen(config));
    free(dir);
}

static enum ww_err inspect(const struct fx *f, struct ww_pack_inspection *out)
{
    const struct ww_pack_inspect_options options = {.base = f->base};
    struct ww_error err = {0};
    const enum ww_err rc = ww_pack_inspect(f->pkg, &options, out, &err);
    if (rc) {
        print_message("%s\n", err.text);
    }
    return rc;
}

/* The models have two integers as well, which are no weights. */
static void weights_alone_are_counted(void **state)
{
    struct fx *f = fx_new();
    struct ww_pack_inspection found;
    uint16_t *base = calloc(2, FX_LARGE);
    uint16_t *tune = calloc(2, FX_LARGE);
    size_t equal = 0;
    (void)state;
    assert_non_null(base);
    assert_non_null(tune);
    fx_pack(f, f->pkg, false, false, 2);
    fx_numbers((uint8_t *)base, FX_LARGE, 0, 0);
    fx_numbers((uint8_t *)tune, FX_LARGE, 1, 2);
    for (size_t i = 0; i < FX_LARGE; i++) {
        equal += (size_t)(base[i] == tune[i]) * (i < SMALL ? 2 : 1);
    }
    assert_int_equal(inspect(f, &found), WW_OK);
    assert_null(found.members[0].why);
    assert_int_equal(found.members[0].numbers, FX_LARGE + SMALL);
    assert_true(fabs(found.members[0].unchanged - (double)equal / (FX_LARGE + SMALL)) <
                1e-12);
    ww_pack_inspection_release(&found);
    free(base);
    free(tune);
    fx_free(f);
}

/* Its prediction is of several models, so the base alone says nothing of it. */
static void a_source_of_a_merge_is_left_out_and_others_are_not(void **state)
{
    struct fx *f = fx_new();
    const char *others[] = {f->two};
    double weights[] = {-1};
    const struct ww_merge_inverse inverses[] = {
        {.of_merged = 2, .n = 1, .others = others, .weights = weights}, {.n = 0}};
    const struct ww_pack_member members[] = {{"one", f->one, NULL, 0},
                                             {"two", f->two, NULL, 0}};
    const struct ww_pack_options options = {.base = f->base, .inverses = inverses};
    struct ww_pack_report report;
    struct ww_pack_inspection found;
    struct ww_error err = {0};
    (void)state;
    OK(ww_pack_create(f->pkg, members, 2, &options, &report, &err));
    ww_pack_report_release(&report);
    assert_int_equal(inspect(f, &found), WW_OK);
    assert_non_null(strstr(found.members[0].why, "out of a merge"));
    assert_null(found.members[1].why);
    assert_true(found.members[1].length > 0);
    ww_pack_inspection_release(&found);
    fx_free(f);
}

/* Each has a pair, and something that a sum of products does not have. */
static void adapters_that_are_no_sum_of_products_say_so(void **state)
{
    static const struct {
        const char *config;
        const char *header;
        size_t n;
        const char *why; /* NULL: it is one */
    } cases[] = {
        {CONFIG(""), "{" PAIR "}", 56, NULL},
        {CONFIG(",\"use_dora\":true"), "{" PAIR MORE("q_proj.lora_magnitude_vector") "}",
         72, "DoRA"},
        {CONFIG(""), "{" PAIR MORE("norm.weight") "}", 72, "3 tensors, and 2 of them"},
        {CONFIG(",\"alpha_pattern\":{\"(?i)q\":8}"), "{" PAIR "}", 56, "flags"},
    };
    struct fx *f = fx_new();
    struct ww_pack_member members[WW_LEN(cases)];
    const struct ww_pack_options options = {.base = NULL};
    struct ww_pack_report report;
    struct ww_pack_inspection found;
    struct ww_error err = {0};
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        static const char *const names[] = {"a", "b", "c", "d"};
        make_adapter(f, names[i], cases[i].config, cases[i].header, cases[i].n);
        members[i] = (struct ww_pack_member){
            names[i], fx_name(f->dir, fx_name("/", names[i])), NULL, 0};
    }
    OK(ww_pack_create(f->pkg, members, WW_LEN(cases), &options, &report, &err));
    ww_pack_report_release(&report);
    assert_int_equal(inspect(f, &found), WW_OK);
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        const char *why = found.members[i].why;
        assert_true(cases[i].why ? why && strstr(why, cases[i].why) : !why);
        const char *const two[] = {"a", found.members[i].name};
        const struct ww_pack_rows_options rows = {
            .names = two, .n_names = 2, .directions = 1};
        struct ww_pack_rows_report told;
        if (why) {
            FAILS(ww_pack_rows(f->pkg, f->out, &rows, &told, &err), WW_E_UNSUPPORTED);
            assert_non_null(strstr(err.text, cases[i].why));
            fx_nothing(f);
        }
    }
    assert_true(found.members[0].length > 0);
    ww_pack_inspection_release(&found);
    fx_free(f);
}

#define MATRICES 80
#define SIDE 32

/* Matrix i is changed at i % 5 + 1 places of its diagonal: its singular values. */
static void write_diagonals(const char *folder, bool changed)
{
    const size_t each = (size_t)2 * SIDE * SIDE;
    uint16_t *numbers = calloc(MATRICES, each);
    char *header = calloc(MATRICES, 100);
    size_t len = 1;
    assert_non_null(numbers);
    assert_non_null(header);
    header[0] = '{';
    for (size_t i = 0; i < MATRICES; i++) {
        len += (size_t)snprintf(header + len, 100,
                                "%s\"m%02zu\":{\"dtype\":\"BF16\",\"shape\":[%d,%d],"
                                "\"data_offsets\":[%zu,%zu]}",
                                i ? "," : "", i, SIDE, SIDE, i * each, (i + 1) * each);
        for (size_t k = 0; changed && k <= i % 5; k++) {
            numbers[i * SIDE * SIDE + k * (SIDE + 1)] = 0x3f80;
        }
    }
    header[len] = '}';
    assert_int_equal(mkdir(folder, 0755), 0);
    fx_shard(folder, "model.safetensors", header, (uint8_t *)numbers, MATRICES * each);
    fx_write(folder, "config.json", "{\"model_type\":\"llama\"}", 22);
    free(numbers);
    free(header);
}

static void spectra_of_some_matrices_stand_for_all(void **state)
{
    struct fx *f = fx_new();
    char *base = fx_join(f->dir, "zero");
    char *tune = fx_join(f->dir, "diagonal");
    struct ww_pack_inspection found;
    struct ww_pack_report report;
    struct ww_error err = {0};
    (void)state;
    write_diagonals(base, false);
    write_diagonals(tune, true);
    const struct ww_pack_member member = {"m", tune, NULL, 0};
    const struct ww_pack_options options = {.base = base};
    const struct ww_pack_inspect_options how = {.base = base};
    OK(ww_pack_create(f->pkg, &member, 1, &options, &report, &err));
    ww_pack_report_release(&report);
    OK(ww_pack_inspect(f->pkg, &how, &found, &err));
    const struct ww_inspect_member *m = &found.members[0];
    assert_int_equal(m->of_matrices, MATRICES);
    assert_in_range(m->matrices, 28, 36);
    assert_true(m->rank_errors[2] > 0.05 && m->rank_errors[2] < 0.5);
    assert_true(fabs(m->rank_99 - 3) < 3 * m->rank_errors[2]);
    ww_pack_inspection_release(&found);
    free(base);
    free(tune);
    fx_free(f);
}

/* A version is compared with the base that the row of its parents ends at, if there is
 * one. */
static void versions_are_told_against_the_base_that_the_package_has(void **state)
{
    static const char *const after[] = {NULL, "m"};
    struct fx *f = fx_new();
    char *base = fx_join(f->dir, "zero");
    char *tune = fx_join(f->dir, "diagonal");
    struct ww_error err = {0};
    (void)state;
    write_diagonals(base, false);
    write_diagonals(tune, true);
    const struct ww_pack_member members[] = {{"m", tune, NULL, 0}, {"n", tune, NULL, 0}};
    const struct ww_pack_inspect_options how = {.base = base};
    for (unsigned with = 0; with < 2; with++) {
        const struct ww_pack_options options = {.base = with ? base : NULL,
                                                .after = after};
        struct ww_pack_inspection found;
        struct ww_pack_report report;
        (void)unlink(f->pkg);
        OK(ww_pack_create(f->pkg, members, 2, &options, &report, &err));
        ww_pack_report_release(&report);
        OK(ww_pack_inspect(f->pkg, &how, &found, &err));
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(found.members[i].of_matrices, with ? MATRICES : 0);
        }
        if (with) {
            NEAR(found.cosines[1], 1, 1e-9);
            NEAR(found.members[1].length, found.members[0].length, 1e-9);
        }
        ww_pack_inspection_release(&found);
    }
    free(base);
    free(tune);
    fx_free(f);
}

static void too_many_at_a_time_are_refused(void **state)
{
    struct fx *f = fx_new();
    const char *names[WW_INSPECT_MEMBERS + 1];
    struct ww_pack_inspection found;
    struct ww_pack_rows_report told;
    struct ww_error err = {0};
    (void)state;
    fx_pack(f, f->pkg, false, false, 1);
    for (size_t i = 0; i < WW_LEN(names); i++) {
        names[i] = "one";
    }
    const struct ww_pack_inspect_options options = {.names = names,
                                                    .n_names = WW_LEN(names)};
    const struct ww_pack_rows_options rows = {
        .names = names, .n_names = WW_LEN(names), .directions = 1};
    FAILS(ww_pack_inspect(f->pkg, &options, &found, &err), WW_E_LIMIT);
    FAILS(ww_pack_rows(f->pkg, f->out, &rows, &told, &err), WW_E_LIMIT);
    fx_nothing(f);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_alone_are_counted),
        cmocka_unit_test(a_source_of_a_merge_is_left_out_and_others_are_not),
        cmocka_unit_test(adapters_that_are_no_sum_of_products_say_so),
        cmocka_unit_test(spectra_of_some_matrices_stand_for_all),
        cmocka_unit_test(versions_are_told_against_the_base_that_the_package_has),
        cmocka_unit_test(too_many_at_a_time_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
