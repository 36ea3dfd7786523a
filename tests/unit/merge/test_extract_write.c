/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/extract_write.h"

#include "model/adapter.h"
#include "util/fault.h"
#include "ww_test.h"

/* A module that is carried whole is there with all its tensors, heads beside the root,
 * however little memory there is. */
static void what_a_module_lacks_is_known_by_name(void **state)
{
    struct ww_tensor tensors[] = {
        {.name = (char[]){WW_ADAPTER_PREFIX "transformer.h.0.ln.weight"}},
        {.name = (char[]){WW_ADAPTER_PREFIX "lm_head.weight"}}};
    struct ww_extracting x = {.root = "transformer.", .n_tensors = 2};
    struct ww_error err = {0};
    (void)state;

    x.tensors = tensors;
    OK(ww_strlist_add(&x.saved, "transformer.h.0.ln", &err));
    OK(ww_strlist_add(&x.saved, "lm_head", &err));
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    assert_true(ww_extract_lacks(&x, "h.0.ln.bias"));
    assert_true(ww_extract_lacks(&x, "lm_head.bias"));
    assert_false(ww_extract_lacks(&x, "h.0.ln.weight"));
    assert_false(ww_extract_lacks(&x, "lm_head.weight"));
    assert_false(ww_extract_lacks(&x, "h.0.ln2.bias"));
    assert_false(ww_extract_lacks(&x, "h.0.ln.more.bias"));
    ww_fault_arm(WW_FAULT_ALLOC, 0);
    ww_strlist_release(&x.saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_module_lacks_is_known_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
