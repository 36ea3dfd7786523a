/* SPDX-License-Identifier: Apache-2.0 */
/* Journals ('j' first) and evaluators' answers, plain ('a') and with objectives ('o'). */
#include "fuzz.h"

#include "evo/evaluator.h"
#include "evo/journal_int.h"
#include "util/alloc.h"

static void journal(const uint8_t *data, size_t len)
{
    const uint8_t run[32] = {0};
    struct ww_error err = {0};
    struct ww_journal *j = ww_calloc(1, sizeof(*j));
    if (!j) {
        return;
    }
    j->fd = -1;
    j->path = ww_strdup("journal");
    if (ww_journal_read(j, data, len, run, &err) == WW_OK) {
        FUZZ_CHECK(j->size_bytes <= len);
    }
    ww_journal_close(j);
}

static void answer(const uint8_t *data, size_t len, uint32_t n_objectives)
{
    static const char *const names[] = {"a", "b"};
    const struct ww_evaluator e = {.objectives = names, .n_objectives = n_objectives};
    struct ww_trial trial = {0};
    bool good = ww_evaluator_read(&e, data, len, &trial);
    FUZZ_CHECK(good == (trial.n > 0) && (good || trial.why[0]));
    ww_trial_release(&trial);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    if (data[0] == 'j') {
        journal(data + 1, len - 1);
    } else {
        answer(data + 1, len - 1, data[0] == 'o' ? 2 : 0);
    }
    return 0;
}
