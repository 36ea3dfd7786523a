/* SPDX-License-Identifier: Apache-2.0 */
/* Merges of trained models, from which each source comes back; and those that cannot be
 * solved for one. */
#include "rmm_fixture.h"

#include <math.h>

#include "rmm/pack_file.h"
#include "weightward/merge.h"

#define BASE WW_VECTORS "/amber/base"
#define REV WW_VECTORS "/amber/expert-rev"
#define CAESAR WW_VECTORS "/amber/expert-caesar"

static const char average[] = "merge_method: linear\n"
                              "models:\n"
                              "  - model: " REV "\n"
                              "    parameters: {weight: 1}\n"
                              "  - model: " CAESAR "\n"
                              "    parameters: {weight: 1}\n";
static const char task[] = "merge_method: task_arithmetic\n"
                           "base_model: " BASE "\n"
                           "models:\n"
                           "  - model: " REV "\n"
                           "    parameters: {weight: 0.5}\n"
                           "  - model: " CAESAR "\n"
                           "    parameters: {weight: 0.3}\n"
                           "parameters: {lambda: 0.7, normalize: false}\n";

struct room {
    char *dir;
    char *merged;
    char *pkg;
    char *out;
};

static struct room make_room(const char *recipe, bool no_trees)
{
    const struct ww_merge_options options = {.no_source_trees = no_trees};
    struct ww_merge_report report;
    struct ww_error err = {0};
    struct room r = {.dir = ww_test_mkdir()};
    r.merged = fx_join(r.dir, "merged");
    r.pkg = fx_join(r.dir, "models.pkg");
    r.out = fx_join(r.dir, "out");
    fx_write(r.dir, "recipe.yml", recipe, strlen(recipe));
    char *path = fx_join(r.dir, "recipe.yml");
    OK(ww_merge_folder(path, r.merged, &options, &report, &err));
    ww_merge_report_release(&report);
    free(path);
    return r;
}

static void drop_room(struct room *r)
{
    free(r->merged);
    free(r->pkg);
    free(r->out);
    ww_test_rmdir(r->dir);
}

/* Bytes of chunks of the first member, without table and files that are no weights. */
static uint64_t pack(const struct room *r, const char *pkg, const char *const *sources,
                     size_t n, size_t n_wanted, bool told)
{
    const struct ww_pack_member members[] = {{"rev", REV, NULL, 0},
                                             {"caesar", CAESAR, NULL, 0}};
    struct ww_merge_inverse inverses[2] = {{0}};
    struct ww_pack_options options = {.base = r->merged};
    struct ww_pack_report report;
    struct ww_error err = {0};
    uint64_t bytes = 0;
    if (told) {
        OK(ww_merge_invert(r->merged, sources, n, n_wanted, &options.run, inverses,
                           &err));
        options.inverses = inverses;
    }
    OK(ww_pack_create(pkg, members, n_wanted, &options, &report, &err));
    bytes = report.members[0].coded[WW_PACK_ORDER] +
            report.members[0].coded[WW_PACK_SPLIT] + report.members[0].coded[WW_PACK_FEW];
    ww_pack_report_release(&report);
    for (size_t i = 0; i < n_wanted; i++) {
        ww_merge_inverse_release(&inverses[i]);
    }
    return bytes;
}

static void comes_back(const struct room *r, const char *name, const char *source,
                       const char *const *others, size_t n)
{
    const struct ww_unpack_options options = {
        .base = r->merged, .sources = others, .n_sources = n};
    struct ww_pack_report report;
    struct ww_error err = {0};
    char command[1500];
    OK(ww_unpack(r->pkg, name, r->out, &options, &report, &err));
    ww_pack_report_release(&report);
    snprintf(command, sizeof(command), "diff -r '%s' '%s' && rm -r '%s'", source, r->out,
             r->out);
    assert_int_equal(system(command), 0);
}

static uint64_t parameters(const char *path)
{
    struct ww_error err = {0};
    struct ww_model *model = NULL;
    uint64_t n = 0;
    OK(ww_model_open(path, &model, &err));
    for (uint32_t t = 0; t < model->n_tensors; t++) {
        n += model->tensors[t].n_elements;
    }
    ww_model_close(model);
    return n;
}

static void average_of_two_needs_little(void **state)
{
    struct room r = make_room(average, false);
    const char *sources[] = {REV, CAESAR};
    const char *caesar[] = {CAESAR};
    const char *rev[] = {REV};
    (void)state;
    const uint64_t told = pack(&r, r.pkg, sources, 2, 2, true);
    const uint64_t base_alone = pack(&r, fx_name(r.pkg, ".2"), sources, 2, 2, false);
    const double bits = 8 * (double)told / (double)parameters(REV);
    if (!(bits < 1.8 && 2 * told < base_alone)) {
        fail_msg("%.3f bits for each parameter, %llu bytes against %llu", bits,
                 (unsigned long long)told, (unsigned long long)base_alone);
    }
    comes_back(&r, "rev", REV, caesar, 1);
    comes_back(&r, "caesar", CAESAR, rev, 1);
    drop_room(&r);
}

static void section_of(const char *pkg, size_t member, uint8_t sha256[32])
{
    struct ww_pack_file file;
    struct ww_error err = {0};
    OK(ww_pack_open(pkg, &file, &err));
    memcpy(sha256, file.manifest.members[member].sha256, 32);
    ww_pack_close(&file);
}

/* They take turns while they are written, and each is what it would be by itself. */
static void sources_together_have_the_bytes_of_each_alone(void **state)
{
    struct room r = make_room(task, false);
    const char *sources[] = {REV, CAESAR, BASE};
    uint8_t together[32];
    uint8_t alone[32];
    (void)state;
    pack(&r, r.pkg, sources, 3, 2, true);
    pack(&r, fx_name(r.pkg, ".one"), sources, 3, 1, true);
    section_of(r.pkg, 0, together);
    section_of(fx_name(r.pkg, ".one"), 0, alone);
    assert_memory_equal(together, alone, sizeof(alone));
    drop_room(&r);
}

static void task_arithmetic_is_solved_with_its_base(void **state)
{
    struct room r = make_room(task, false);
    const char *sources[] = {REV, CAESAR, BASE};
    const char *others[] = {BASE, CAESAR};
    struct ww_merge_inverse inverse;
    const struct ww_run_options run = {0};
    struct ww_error err = {0};
    (void)state;
    const uint64_t told = pack(&r, r.pkg, sources, 3, 1, true);
    const uint64_t base_alone = pack(&r, fx_name(r.pkg, ".2"), sources, 3, 1, false);
    assert_true(told < base_alone);
    comes_back(&r, "rev", REV, others, 2);
    /* m = b + 0.7 (0.5 (x - b) + 0.3 (y - b)), so x = m / 0.35 - 0.6 y - (0.44 / 0.35) b
     */
    OK(ww_merge_invert(r.merged, sources, 3, 1, &run, &inverse, &err));
    assert_int_equal(inverse.n, 2);
    assert_true(fabs(inverse.of_merged - (1 / 0.35)) < 1e-12);
    assert_true(fabs(inverse.weights[0] - (-0.6)) < 1e-12);
    assert_true(fabs(inverse.weights[1] - (-0.44 / 0.35)) < 1e-12);
    ww_merge_inverse_release(&inverse);
    drop_room(&r);
}

static void refused(const char *recipe, bool no_trees, const char *const *sources,
                    size_t n, enum ww_err want, const char *text)
{
    struct room r = make_room(recipe, no_trees);
    struct ww_merge_inverse inverse;
    const struct ww_run_options run = {0};
    struct ww_error err = {0};
    FAILS(ww_merge_invert(r.merged, sources, n, 1, &run, &inverse, &err), want);
    if (!strstr(err.text, text)) {
        fail_msg("'%s' does not say '%s'", err.text, text);
    }
    assert_null(inverse.others);
    drop_room(&r);
}

static void what_cannot_be_solved_is_refused(void **state)
{
    static const char slerp[] = "merge_method: slerp\nbase_model: " REV "\nmodels:\n"
                                "  - model: " REV "\n  - model: " CAESAR "\n"
                                "parameters: {t: 0.5}\n";
    static const char gradient[] = "merge_method: linear\nmodels:\n  - model: " REV "\n"
                                   "    parameters: {weight: [0.2, 0.8]}\n"
                                   "  - model: " CAESAR "\n"
                                   "    parameters: {weight: 0.5}\n";
    static const char nothing[] = "merge_method: linear\nmodels:\n  - model: " REV "\n"
                                  "    parameters: {weight: 0}\n  - model: " CAESAR "\n"
                                  "    parameters: {weight: 1}\n";
    const char *two[] = {REV, CAESAR};
    const char *more[] = {REV, CAESAR, BASE};
    (void)state;
    refused(slerp, false, two, 2, WW_E_UNSUPPORTED, "no sum");
    refused(gradient, false, two, 2, WW_E_UNSUPPORTED, "weights of its own");
    refused(nothing, false, two, 2, WW_E_UNSUPPORTED, "nothing of it");
    refused(average, true, two, 2, WW_E_UNSUPPORTED, "--no-source-trees");
    refused(average, false, two, 1, WW_E_UNRELATED, "name all of its sources");
    refused(average, false, more, 3, WW_E_UNRELATED, "is not one that");
}

static void a_folder_without_a_record_is_no_merge(void **state)
{
    const char *sources[] = {REV};
    struct ww_merge_inverse inverse;
    const struct ww_run_options run = {0};
    struct ww_error err = {0};
    (void)state;
    FAILS(ww_merge_invert(BASE, sources, 1, 1, &run, &inverse, &err), WW_E_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(average_of_two_needs_little),
        cmocka_unit_test(sources_together_have_the_bytes_of_each_alone),
        cmocka_unit_test(task_arithmetic_is_solved_with_its_base),
        cmocka_unit_test(what_cannot_be_solved_is_refused),
        cmocka_unit_test(a_folder_without_a_record_is_no_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
