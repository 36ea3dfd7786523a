/* SPDX-License-Identifier: Apache-2.0 */
/* Digests that an earlier merge took: who is answered, and who has changed since. */
#include "ww_model_fixture.h"

#include "merge/build.h"
#include "merge/source_digests.h"

/* A time that can be set shows at once, that of a change only with the next tick. */
static void a_source_that_changed_since_its_kept_digest_is_refused(void **state)
{
    static const uint8_t sha256[WW_SHA256_BYTES] = {1, 2, 3};
    const struct timespec times[2] = {{.tv_sec = 77}, {.tv_sec = 77}};
    struct ww_source_digests kept = {.path = "kept"};
    struct ww_plan_impl impl = {0};
    uint8_t digests[2][WW_SHA256_BYTES] = {{0}};
    struct ww_merge_result result = {.input_sha256 = digests};
    char name[WW_FILE_STATE_BYTES];
    struct ww_fx *fx[2];
    struct ww_model *models[2];
    struct ww_merge_input inputs[2];
    struct ww_error err = {0};
    struct stat st;
    (void)state;
    for (unsigned m = 0; m < 2; m++) {
        fx[m] = ww_fx_new("{}");
        ww_fx_add(fx[m], "4", "a.weight");
        (void)ww_fx_open(fx[m]);
        models[m] = fx[m]->model;
        inputs[m] = (struct ww_merge_input){
            .name = "m", .fd = models[m]->files[0].fd, .want_sha256 = true};
    }
    struct ww_merge_plan plan = {
        .models = models, .n_models = 2, .inputs = inputs, .n_inputs = 2, .impl = &impl};
    assert_int_equal(fstat(inputs[0].fd, &st), 0);
    ww_file_state(&st, name);
    OK(ww_cache_add(&kept.old, name, sha256, &err));
    OK(ww_source_digests_ask(&kept, &plan, &err));
    assert_true(inputs[0].sha256_known && !inputs[0].want_sha256);
    assert_true(inputs[1].want_sha256 && !inputs[1].sha256_known);
    OK(ww_source_digests_fill(&kept, &plan, &result, &err));
    assert_memory_equal(digests[0], sha256, WW_SHA256_BYTES);
    assert_int_equal(kept.hits, 1);
    assert_int_equal(futimens(inputs[0].fd, times), 0);
    FAILS(ww_source_digests_fill(&kept, &plan, &result, &err), WW_E_CHANGED);
    assert_non_null(strstr(err.text, "'m' changed during the merge"));
    ww_source_digests_release(&kept);
    ww_pool_release(&impl.pool);
    ww_fx_free(fx[0]);
    ww_fx_free(fx[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_source_that_changed_since_its_kept_digest_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
