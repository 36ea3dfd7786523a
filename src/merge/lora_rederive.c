/* SPDX-License-Identifier: Apache-2.0 */
/* A merged adapter computed again from its record: sources, plan and files by digest. */
#include <string.h>
#include <unistd.h>

#include "merge/lora_job.h"
#include "util/fail.h"
#include "util/fs.h"

struct again {
    struct ww_work work;
    struct ww_merge_options options;
    struct ww_record_view record;
    int dirfd;
};

static enum ww_err digest_of(const struct again *a, const char *path,
                             uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_hash_job job = {.name = path, .fd = -1};
    struct stat st;
    enum ww_err rc = ww_file_open_at(a->dirfd, path, WW_LINKS_REFUSE, &job.fd, &st, err);

    if (!rc) {
        job.size_bytes = (uint64_t)st.st_size;
        rc = ww_hash_files(&job, 1, "sha256", "compare", &a->options.run, err);
        memcpy(out, job.digest, WW_SHA256_BYTES);
        close(job.fd);
    }
    return rc;
}

static enum ww_err compare(void *payload, const struct ww_plan *plan,
                           const struct ww_stream_result *result, struct ww_error *err)
{
    const struct again *a = payload;
    enum ww_err rc = ww_record_check_sources(&a->record, &a->work, err);

    if (!rc && memcmp(a->work.plan_sha256, a->record.plan_sha256, WW_SHA256_BYTES) != 0) {
        rc = WW_FAIL(err, WW_E_DIFFERS,
                     "the plan is not the recorded one: another version of the program "
                     "made the merge");
    }
    for (uint32_t i = 0; i < plan->n_outputs && !rc; i++) {
        const char *path = plan->outputs[i].path;
        uint8_t there[WW_SHA256_BYTES];
        rc = digest_of(a, path, there, err);
        if (!rc && memcmp(there, result->output_sha256[i], WW_SHA256_BYTES) != 0) {
            rc = WW_FAIL(err, WW_E_DIFFERS,
                         "file '%s' is not what the recipe and the sources give", path);
        } else if (!rc && !ww_record_has_digest(ww_record_named(a->record.subjects, path),
                                                there)) {
            rc = WW_FAIL(err, WW_E_DIFFERS,
                         "file '%s' has another digest than the record says", path);
        }
    }
    return rc;
}

static enum ww_err open_work(struct again *a, const char *recipe_path,
                             const char *out_path, struct ww_merge_report *report,
                             struct ww_error *err)
{
    const struct ww_record_view *record = &a->record;

    a->options.allow_mixed = record->allow_mixed;
    a->options.seed = record->seed;
    return ww_work_open_record(&a->work, recipe_path, out_path, record->recipe,
                               &a->options, report, err);
}

enum ww_err ww_lora_rederive(const char *recipe_path, const char *out_path,
                             const struct ww_merge_options *options,
                             struct ww_merge_report *report, struct ww_error *err)
{
    struct again a = {.options = *options, .dirfd = -1};
    bool wanted = false;
    enum ww_err rc = ww_dir_open(out_path, &a.dirfd, err);

    a.options.signer = NULL;
    if (!rc) {
        rc = ww_record_read(a.dirfd, &a.record, err);
    }
    if (!rc) {
        rc = open_work(&a, recipe_path, out_path, report, err);
    }
    if (!rc) {
        rc = ww_lora_wanted(&a.work, &wanted, err);
    }
    if (!rc && !wanted) {
        rc =
            WW_FAIL(err, WW_E_DIFFERS,
                    "the record of adapter '%s' is not of a merge of adapters", out_path);
    }
    if (!rc) {
        rc = ww_lora_merge(&a.work, NULL, out_path, compare, &a, err);
    }
    if (!rc) {
        report->tensors_checked = a.work.plan.n_tensors;
    }
    ww_work_close(&a.work);
    ww_record_release(&a.record);
    if (a.dirfd >= 0) {
        close(a.dirfd);
    }
    return rc;
}
