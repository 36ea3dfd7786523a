/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a sealed folder. Every head is checked before the first byte is written; every
 * chunk before its plaintext goes anywhere; and at the end every file against the digest
 * that the manifest commits to, so the source comes back byte for byte or not at all.
 */
#include <string.h>

#include "seal/seal_job.h"
#include "seal/sealed_folder.h"
#include "sign/statement.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/seal.h"

struct unseal_run {
    struct ww_sealed_folder folder;
    struct ww_seal_items items; /* the sealed files, then the plain ones */
    struct ww_seal_plan plan;
    struct ww_out *out;
    struct ww_stream_result result;
};

static enum ww_err add_plain(struct unseal_run *run, const struct ww_seal_file *file,
                             struct ww_error *err)
{
    struct ww_seal_item *item = NULL;
    struct ww_error own = {0};
    struct stat st;
    enum ww_err rc =
        ww_seal_items_add(&run->items, WW_SEAL_COPY, file->path, file->path, &item, err);

    if (rc) {
        return rc;
    }
    rc = ww_file_open_at(run->folder.dirfd, file->path, WW_LINKS_HUB, &item->fd, &st,
                         &own);
    if (rc == WW_E_NOTFOUND) {
        return WW_FAIL(err, WW_E_SEALED, "file '%s' of the sealed model is missing",
                       file->path);
    }
    if (rc) {
        return WW_FAIL(err, rc, "%s", own.text);
    }
    item->size_bytes = (uint64_t)st.st_size;
    if (item->size_bytes != file->size_bytes) {
        return WW_FAIL(err, WW_E_SEALED,
                       "file '%s' has %llu bytes, %llu when the model was sealed",
                       file->path, (unsigned long long)item->size_bytes,
                       (unsigned long long)file->size_bytes);
    }
    return WW_OK;
}

static enum ww_err add_items(struct unseal_run *run, struct ww_error *err)
{
    const struct ww_seal_manifest *m = &run->folder.manifest;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < m->n_sealed && !rc; i++) {
        struct ww_seal_item *item = NULL;
        rc = ww_sealed_add(&run->folder, &m->sealed[i], &run->items, &item, err);
    }
    for (size_t i = 0; i < m->n_plain && !rc; i++) {
        rc = add_plain(run, &m->plain[i], err);
    }
    return rc;
}

static enum ww_err compare(struct unseal_run *run, struct ww_seal_report *report,
                           struct ww_error *err)
{
    const struct ww_seal_manifest *m = &run->folder.manifest;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < m->n_sealed && !rc; i++) {
        report->files++;
        report->bytes += m->sealed[i].size_bytes;
        rc = ww_sealed_check_digest(&run->folder, &m->sealed[i],
                                    run->result.output_sha256[i], err);
    }
    for (size_t i = 0; i < m->n_plain && !rc; i++) {
        const uint8_t *found = run->result.output_sha256[m->n_sealed + i];
        if (memcmp(found, m->plain[i].digest, WW_SHA256_BYTES) != 0) {
            rc = WW_FAIL(err, WW_E_SEALED, "file '%s' is not as it was sealed",
                         m->plain[i].path);
        }
    }
    return rc;
}

struct extra {
    const struct unseal_run *run;
    struct ww_seal_report *report;
};

static bool is_ours(const struct unseal_run *run, const char *path)
{
    static const char *const own[] = {WW_SEAL_MANIFEST_FILE, WW_SEAL_KEYS_FILE,
                                      WW_SIGNATURE_FILE};

    for (size_t i = 0; i < WW_LEN(own); i++) {
        if (strcmp(path, own[i]) == 0) {
            return true;
        }
    }
    /* Evidence of the sealed folder itself stays behind; the source's lies aside. */
    if (ww_is_evidence(path) && !ww_str_starts(path, WW_SET_ASIDE_DIR)) {
        return true;
    }
    for (size_t i = 0; i < run->items.n; i++) {
        if (strcmp(path, run->items.items[i]->from) == 0) {
            return true;
        }
    }
    return false;
}

static enum ww_err visit(void *payload, const struct ww_walk_entry *entry, bool *skip,
                         struct ww_error *err)
{
    const struct extra *extra = payload;

    if (strcmp(entry->path, ".git") == 0 || strcmp(entry->path, ".cache") == 0) {
        *skip = true;
        return WW_OK;
    }
    if (S_ISDIR(entry->type) || is_ours(extra->run, entry->path)) {
        return WW_OK;
    }
    return ww_lines_add(&extra->report->warnings, &extra->report->n_warnings, err,
                        "file '%s' was added after sealing and is not restored",
                        entry->path);
}

static enum ww_err run_all(struct unseal_run *run, const char *out_path,
                           const struct ww_run_options *options,
                           struct ww_seal_report *report, struct ww_error *err)
{
    struct extra extra = {run, report};
    enum ww_err rc = add_items(run, err);

    if (!rc) {
        rc = ww_walk(run->folder.dirfd, visit, &extra, err);
    }
    if (!rc) {
        rc = ww_seal_plan_init(&run->plan, &run->items, "unseal", err);
    }
    if (!rc) {
        rc = ww_out_begin(out_path, &run->plan.plan, 0, options, &run->out, err);
    }
    if (!rc) {
        rc = ww_stream_run(&run->plan.plan, run->out, options, &run->result, err);
    }
    if (!rc) {
        rc = compare(run, report, err);
    }
    return rc ? rc : ww_out_commit(run->out, err);
}

enum ww_err ww_unseal_folder(const char *path, const char *out_path,
                             const struct ww_unsealer *unsealer,
                             const struct ww_run_options *options,
                             struct ww_seal_report *report, struct ww_error *err)
{
    static const struct ww_run_options defaults = {0};
    struct unseal_run run = {.folder.dirfd = -1};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = ww_path_check_output(path, out_path, err);
    if (rc == WW_E_EXISTS) {
        ww_out_tidy(out_path);
    }
    if (!rc) {
        rc = ww_sealed_open(&run.folder, path, unsealer, err);
    }
    if (!rc) {
        rc = run_all(&run, out_path, options ? options : &defaults, report, err);
    }
    if (!rc) {
        ww_sealed_describe(&run.folder, report);
        report->run = run.result.report;
    } else {
        ww_seal_report_release(report);
    }
    ww_stream_result_release(&run.result);
    ww_out_close(run.out, rc == WW_E_CANCELLED);
    ww_seal_plan_release(&run.plan);
    ww_seal_items_release(&run.items);
    ww_sealed_close(&run.folder);
    return rc;
}
