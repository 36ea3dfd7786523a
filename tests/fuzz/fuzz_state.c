/* SPDX-License-Identifier: Apache-2.0 */
/* What was seen before of roots and policies, as a state file has it. */
#include "fuzz.h"

#include "trust/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_state state;
    const enum ww_err rc = ww_state_parse(data, size, &state, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    FUZZ_CHECK((rc == WW_OK) == (state.json != NULL));
    if (rc == WW_OK) {
        FUZZ_CHECK(state.policy_keys && state.policy_keys[0]);
    }
    for (const struct ww_jnode *p = ww_jfirst(state.policies); p; p = ww_jnext(p)) {
        (void)ww_state_seen(&state, ww_jkey(p));
    }
    FUZZ_CHECK(ww_state_seen(&state, "a policy that has no such name") == 0);
    ww_state_release(&state);
    return 0;
}
