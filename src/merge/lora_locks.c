/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adapters of locked models are in the coordinates of one lock. A sum of two that follow
 * different ones, or of a locked and an open one, fits no base; the sum of adapters of
 * one locked model is one of that model, as locked models merge.
 */
#include <string.h>
#include <unistd.h>

#include "merge/lora_job.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

/* "LOCK BASE" of the record, or NULL for an adapter that follows none. */
static enum ww_err read_lock(const struct ww_lora_input *input, char **out,
                             struct ww_error *err)
{
    const int dirfd = input->adapter->dirfd;
    struct ww_json *json = NULL;
    struct ww_buf text;
    const char *lock = NULL;
    const char *base = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (faccessat(dirfd, WW_ADAPTER_LOCK, F_OK, 0) != 0) {
        return WW_OK;
    }
    ww_buf_init(&text, ww_json_limits_small.max_bytes);
    rc = ww_file_read_at(dirfd, WW_ADAPTER_LOCK, WW_LINKS_HUB, &text, err);
    if (!rc) {
        rc = ww_json_parse(text.data, text.len, &ww_json_limits_small, &json, err);
    }
    if (!rc && (!ww_jstr(ww_jget(ww_json_root(json), "lock_id"), &lock) ||
                !ww_jstr(ww_jget(ww_json_root(json), "base"), &base))) {
        rc = WW_FAIL(err, WW_E_MANIFEST,
                     "'" WW_ADAPTER_LOCK "' of '%s' lacks the lock or the base",
                     input->text);
    }
    if (!rc) {
        *out = ww_asprintf("%s %s", lock, base);
        rc = *out ? WW_OK : WW_FAIL_MEMORY(err, "a merge of adapters");
    }
    ww_json_free(json);
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_lora_check_locks(struct ww_lora_job *job, struct ww_error *err)
{
    char *first = NULL;
    enum ww_err rc = read_lock(&job->inputs[0], &first, err);

    for (uint32_t i = 1; i < job->n_inputs && !rc; i++) {
        char *other = NULL;
        rc = read_lock(&job->inputs[i], &other, err);
        if (!rc && !ww_str_eq(first, other)) {
            rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                         "adapters '%s' and '%s' do not follow one lock, so their sum "
                         "fits no model; unlock them first",
                         job->inputs[0].text, job->inputs[i].text);
        }
        ww_free(other);
    }
    if (!rc && first) {
        rc = ww_strlist_add(&job->work->warnings,
                            "the adapters follow a lock: the result is for the locked "
                            "model alone and cannot be unlocked; unlock them before they "
                            "are merged for the open one",
                            err);
    }
    ww_free(first);
    return rc;
}
