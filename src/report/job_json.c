/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the jobs that write or check: lock, unlock, sign, verify, key. */
#include "report/object.h"
#include "weightward/report.h"

static void write_run(struct ww_jw *w, const struct ww_run_report *run)
{
    ww_jw_ku64(w, "bytes_read", run->bytes_read);
    ww_jw_ku64(w, "bytes_written", run->bytes_written);
    ww_jw_ku64(w, "bytes_kept", run->bytes_kept);
    ww_jw_kdouble(w, "seconds", run->seconds);
}

static void write_moves(struct ww_jw *w, const struct ww_block_moves *blocks, size_t n)
{
    ww_jw_key(w, "blocks");
    ww_jw_array(w);
    for (size_t i = 0; i < n; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", blocks[i].name);
        ww_object_strings(w, "moved", blocks[i].moved, blocks[i].n_moved);
        if (blocks[i].reason) {
            ww_jw_kstr(w, "reason", blocks[i].reason);
        }
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_attack(struct ww_jw *w, const struct ww_lock_attack *attack)
{
    ww_jw_key(w, "attack");
    ww_jw_object(w);
    ww_jw_kstr(w, "mode", attack->mode);
    if (attack->has_task) {
        ww_jw_kdouble(w, "recovered", attack->recovered);
    }
    ww_jw_kdouble(w, "identical_bytes", attack->identical);
    ww_jw_kdouble(w, "distance_before", attack->distance_before);
    ww_jw_kdouble(w, "distance_after", attack->distance_after);
    ww_jw_kdouble(w, "seconds", attack->seconds);
    ww_jw_close(w);
}

/* Numbers that only a lock measures are left out of an unlock's answer. */
static void write_dense(struct ww_jw *w, const struct ww_dense_report *dense)
{
    ww_jw_key(w, "dense");
    ww_jw_object(w);
    ww_jw_kstr(w, "law", dense->condition > 0 ? "conditioned" : "haar");
    if (dense->condition > 0) {
        ww_jw_kdouble(w, "condition", dense->condition);
    }
    ww_jw_ku64(w, "residual_bytes", dense->residual_bytes);
    if (dense->weights > 0) {
        ww_jw_ku64(w, "weights", dense->weights);
        ww_jw_kdouble(w, "bits_per_weight", dense->bits_per_weight);
        ww_jw_kdouble(w, "projection_error", dense->projection_error);
    }
    if (dense->blocks_run > 0) {
        ww_jw_kdouble(w, "output_change", dense->output_change);
        ww_jw_ku64(w, "blocks_run", dense->blocks_run);
    }
    ww_jw_close(w);
}

enum ww_err ww_report_lock_json(const char *verb, const struct ww_lock_report *report,
                                char **out, struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, verb);
    ww_jw_kstr(&w, "level", report->dense.used ? "dense" : "exact");
    ww_jw_kstr(&w, "lock_id", report->lock_id);
    if (report->recipient[0]) {
        ww_jw_kstr(&w, "recipient", report->recipient);
    }
    write_moves(&w, report->blocks, report->n_blocks);
    ww_jw_key(&w, "check");
    ww_jw_object(&w);
    ww_jw_kdouble(&w, "max_relative_error", report->check.max_relative_error);
    ww_jw_ku64(&w, "blocks", report->check.blocks);
    ww_jw_ku64(&w, "linears", report->check.linears);
    ww_jw_close(&w);
    if (report->attack.measured) {
        write_attack(&w, &report->attack);
    }
    if (report->dense.used) {
        write_dense(&w, &report->dense);
    }
    ww_jw_ku64(&w, "tensors_changed", report->tensors_changed);
    ww_jw_ku64(&w, "tensors", report->tensors_total);
    ww_jw_kstr(&w, "tensor_root", report->tensor_root);
    if (report->root_sha256[0]) {
        ww_jw_kstr(&w, "root_sha256", report->root_sha256);
    }
    write_run(&w, &report->run);
    ww_object_strings(&w, "warnings", report->warnings, report->n_warnings);
    return ww_object_end(&w, &buf, out, err);
}

enum ww_err ww_report_sign_json(const struct ww_sign_report *report, char **out,
                                struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "sign");
    ww_jw_ku64(&w, "files", report->files);
    ww_jw_ku64(&w, "files_cached", report->cached);
    ww_jw_ku64(&w, "bytes", report->bytes);
    ww_jw_kstr(&w, "root_sha256", report->root_sha256);
    ww_jw_kstr(&w, "key_hint", report->hint);
    return ww_object_end(&w, &buf, out, err);
}

void ww_object_verify(struct ww_jw *w, const struct ww_verify_report *report)
{
    ww_jw_kstr(w, "signer", report->signer);
    ww_jw_ku64(w, "files_checked", report->files_checked);
    ww_jw_ku64(w, "tensors_checked", report->tensors_checked);
    ww_jw_ku64(w, "bytes_checked", report->bytes_checked);
    ww_object_strings(w, "not_checked", report->not_checked, report->n_not_checked);
    if (report->root_sha256[0]) {
        ww_jw_kstr(w, "root_sha256", report->root_sha256);
    }
    if (report->tensor_root[0]) {
        ww_jw_kstr(w, "tensor_root", report->tensor_root);
    }
    ww_jw_kbool(w, "locked", report->locked);
}

enum ww_err ww_report_verify_json(const struct ww_verify_report *report, char **out,
                                  struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "verify");
    ww_object_verify(&w, report);
    return ww_object_end(&w, &buf, out, err);
}

static void write_sources(struct ww_jw *w, const struct ww_merge_report *report)
{
    ww_jw_key(w, "sources");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_sources; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", report->sources[i].name);
        if (report->sources[i].sha256_tree[0]) {
            ww_jw_kstr(w, "sha256_tree", report->sources[i].sha256_tree);
        }
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

enum ww_err ww_report_merge_json(const struct ww_merge_report *report, char **out,
                                 struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "merge");
    ww_jw_kstr(&w, "method", report->method);
    ww_jw_kstr(&w, "evidence", report->evidence ? report->evidence : "");
    ww_jw_kstr(&w, "plan_sha256", report->plan_sha256);
    write_sources(&w, report);
    if (report->output_sha256_tree[0]) {
        ww_jw_kstr(&w, "output_sha256_tree", report->output_sha256_tree);
    }
    if (report->root_sha256[0]) {
        ww_jw_kstr(&w, "root_sha256", report->root_sha256);
    }
    ww_jw_ku64(&w, "tensors", report->tensors);
    if (report->tensors_checked) {
        ww_jw_ku64(&w, "tensors_checked", report->tensors_checked);
    }
    ww_jw_ku64(&w, "files_cached", report->cached);
    write_run(&w, &report->run);
    ww_object_strings(&w, "warnings", report->warnings, report->n_warnings);
    return ww_object_end(&w, &buf, out, err);
}

static const char *const kind_names[] = {
    [WW_KEY_SIGNING] = "signing",
    [WW_KEY_SIGNING_PUBLIC] = "signing public",
    [WW_KEY_LOCK] = "lock",
    [WW_KEY_RECIPIENT] = "recipient",
    [WW_KEY_RECIPIENT_PUBLIC] = "recipient public",
    [WW_KEY_CONTENT] = "sealed model",
    [WW_KEY_SHARE] = "share",
};

static const char *const sealing_names[] = {
    [WW_SEALED_NONE] = "none",
    [WW_SEALED_PASSPHRASE] = "passphrase",
    [WW_SEALED_RECIPIENTS] = "recipients",
};

enum ww_err ww_report_key_json(const char *verb, const char *path,
                               const struct ww_key_info *info, char **out,
                               struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, verb);
    ww_jw_kstr(&w, "path", path);
    ww_jw_kstr(&w, "kind", kind_names[info->kind]);
    ww_jw_kstr(&w, "sealed_by", sealing_names[info->sealing]);
    if (info->curve[0]) {
        ww_jw_kstr(&w, "curve", info->curve);
    }
    if (info->id[0]) {
        ww_jw_kstr(&w, "id", info->id);
    }
    if (info->n_stanzas) {
        ww_jw_ku64(&w, "stanzas", info->n_stanzas);
    }
    if (info->n_shares) {
        ww_jw_ku64(&w, "share", info->share);
        ww_jw_ku64(&w, "threshold", info->threshold);
        ww_jw_ku64(&w, "shares", info->n_shares);
    }
    if (info->created_unix) {
        ww_jw_ku64(&w, "created", info->created_unix);
    }
    return ww_object_end(&w, &buf, out, err);
}

enum ww_err ww_report_seal_json(const char *verb, const struct ww_seal_report *report,
                                char **out, struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, verb);
    ww_jw_kstr(&w, "level", "sealed");
    ww_jw_kstr(&w, "seal_id", report->seal_id);
    ww_jw_kstr(&w, "cipher", report->cipher);
    ww_jw_ku64(&w, "chunk", report->chunk_bytes);
    ww_jw_ku64(&w, "recipients", report->recipients);
    ww_jw_ku64(&w, "files", report->files);
    ww_jw_ku64(&w, "bytes", report->bytes);
    if (report->root_sha256[0]) {
        ww_jw_kstr(&w, "root_sha256", report->root_sha256);
    }
    write_run(&w, &report->run);
    ww_object_strings(&w, "warnings", report->warnings, report->n_warnings);
    return ww_object_end(&w, &buf, out, err);
}

enum ww_err ww_report_recipients_json(const char *path,
                                      const struct ww_seal_access *access, char **out,
                                      struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "recipients");
    ww_jw_kstr(&w, "path", path);
    ww_jw_kstr(&w, "sealed_by", sealing_names[access->sealing]);
    ww_jw_kstr(&w, "seal_id", access->seal_id);
    ww_jw_ku64(&w, "created", access->created_unix);
    ww_jw_key(&w, "recipients");
    ww_jw_array(&w);
    for (size_t i = 0; i < access->n_recipients; i++) {
        ww_jw_str(&w, access->recipients[i]);
    }
    ww_jw_close(&w);
    return ww_object_end(&w, &buf, out, err);
}
