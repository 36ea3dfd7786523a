/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adapters of locked models are in the coordinates of one lock. A sum of two that follow
 * different ones, or of a locked and an open one, fits no base; the sum of adapters of
 * one locked model is one of that model, as locked models merge.
 */
#include "merge/lora_job.h"
#include "model/adapter_lock.h"
#include "util/fail.h"

static bool is_same(const struct ww_adapter_lock *a, const struct ww_adapter_lock *b)
{
    return ww_str_eq(a->lock_id, b->lock_id) && ww_str_eq(a->base, b->base);
}

static enum ww_err read_lock(const struct ww_lora_input *input,
                             struct ww_adapter_lock *out, struct ww_error *err)
{
    return ww_adapter_lock_read(input->adapter->dirfd, input->text, out, err);
}

enum ww_err ww_lora_check_locks(struct ww_lora_job *job, struct ww_error *err)
{
    struct ww_adapter_lock first;
    enum ww_err rc = read_lock(&job->inputs[0], &first, err);

    for (uint32_t i = 1; i < job->n_inputs && !rc; i++) {
        struct ww_adapter_lock other;
        rc = read_lock(&job->inputs[i], &other, err);
        if (!rc && !is_same(&first, &other)) {
            rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                         "adapters '%s' and '%s' do not follow one lock, so their sum "
                         "fits no model; unlock them first",
                         job->inputs[0].text, job->inputs[i].text);
        }
        ww_adapter_lock_release(&other);
    }
    if (!rc && first.lock_id) {
        rc = ww_strlist_add(&job->work->warnings,
                            "the adapters follow a lock: the result is for the locked "
                            "model alone and cannot be unlocked; unlock them before they "
                            "are merged for the open one",
                            err);
    }
    ww_adapter_lock_release(&first);
    return rc;
}
