/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file as a stream, for a pipe: chunks are read, checked and given out one after the
 * other. What was given out is authentic but may be the beginning of a file only; the
 * caller learns of a bad chunk by the return value, after the good ones before it.
 */
#include <string.h>

#include "crypto/aead.h"
#include "seal/seal_job.h"
#include "seal/sealed_folder.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/seal.h"

#define PROGRESS_BYTES ((uint64_t)64 << 20)

struct feed {
    const struct ww_seal_item *item;
    const struct ww_run_options *run;
    ww_unseal_fn give;
    void *payload;
    struct ww_sha256 *sha;
    uint64_t given;
    uint64_t told;
};

static const struct ww_seal_file *find_file(const struct ww_seal_manifest *m,
                                            const char *name)
{
    for (size_t i = 0; i < m->n_sealed; i++) {
        if (strcmp(m->sealed[i].path, name) == 0) {
            return &m->sealed[i];
        }
    }
    return NULL;
}

static enum ww_err give_out(struct feed *f, const uint8_t *bytes, size_t n,
                            struct ww_error *err)
{
    const struct ww_run_options *run = f->run;
    enum ww_err rc = WW_OK;

    ww_sha256_update(f->sha, bytes, n);
    rc = f->give(f->payload, bytes, n, err);
    f->given += n;
    if (!rc && run && run->progress && f->given - f->told >= PROGRESS_BYTES) {
        f->told = f->given;
        if (run->progress(run->progress_payload, "unseal", f->given,
                          f->item->head.plain_bytes)) {
            rc = WW_FAIL(err, WW_E_CANCELLED, "interrupted");
        }
    }
    return rc;
}

static enum ww_err give_chunks(struct feed *f, uint8_t *in, uint8_t *out,
                               struct ww_error *err)
{
    const struct ww_seal_item *item = f->item;
    const struct ww_seal_head *head = &item->head;
    const uint64_t n_chunks = ww_seal_n_chunks(head);
    const uint64_t stride = (uint64_t)head->chunk_bytes + WW_AEAD_TAG_BYTES;
    const uint8_t *key = ww_secret_open(item->key);
    enum ww_err rc = WW_OK;

    for (uint64_t i = 0; i < n_chunks && !rc; i++) {
        const size_t n =
            (size_t)(i + 1 == n_chunks ? ww_seal_last_bytes(head) : head->chunk_bytes);
        rc = ww_pread_full(item->fd, in, n + WW_AEAD_TAG_BYTES,
                           ww_seal_chunks_offset(head) + i * stride, item->from, err);
        if (!rc) {
            rc = ww_seal_chunk_open(head, key, i, in, n, out, err);
        }
        if (!rc) {
            rc = give_out(f, out, n, err);
        }
    }
    ww_secret_close(item->key);
    return rc;
}

static enum ww_err feed_file(struct feed *f, struct ww_error *err)
{
    const struct ww_seal_head *head = &f->item->head;
    uint8_t *in = ww_calloc(1, (size_t)head->chunk_bytes + WW_AEAD_TAG_BYTES);
    uint8_t *out = ww_calloc(1, head->chunk_bytes);
    enum ww_err rc = WW_OK;

    if (!in || !out) {
        rc = WW_FAIL_MEMORY(err, "a chunk");
    }
    if (!rc && head->clear_bytes) {
        rc = give_out(f, f->item->clear, (size_t)head->clear_bytes, err);
    }
    if (!rc) {
        rc = give_chunks(f, in, out, err);
    }
    ww_free(in);
    ww_free(out);
    return rc;
}

static enum ww_err open_and_feed(struct ww_sealed_folder *folder, const char *name,
                                 struct feed *f, struct ww_seal_items *items,
                                 struct ww_error *err)
{
    const struct ww_seal_file *file = find_file(&folder->manifest, name);
    struct ww_seal_item *item = NULL;
    uint8_t digest[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    if (!file) {
        return WW_FAIL(err, WW_E_NOTFOUND, "sealed model '%s' has no sealed file '%s'",
                       folder->path, name);
    }
    rc = ww_sealed_add(folder, file, items, &item, err);
    if (!rc) {
        f->item = item;
        rc = feed_file(f, err);
    }
    if (!rc) {
        ww_sha256_final(f->sha, digest);
        rc = ww_sealed_check_digest(folder, file, digest, err);
    }
    return rc;
}

enum ww_err ww_unseal_file(const char *path, const char *name,
                           const struct ww_unsealer *unsealer,
                           const struct ww_run_options *run, ww_unseal_fn give,
                           void *payload, struct ww_seal_report *report,
                           struct ww_error *err)
{
    struct feed f = {.run = run, .give = give, .payload = payload};
    struct ww_sealed_folder folder = {.dirfd = -1};
    struct ww_seal_items items = {0};
    enum ww_err rc = ww_sealed_open(&folder, path, unsealer, err);

    memset(report, 0, sizeof(*report));
    if (!rc) {
        rc = ww_sha256_new(&f.sha, err);
    }
    if (!rc) {
        rc = open_and_feed(&folder, name, &f, &items, err);
    }
    if (!rc) {
        ww_sealed_describe(&folder, report);
        report->files = 1;
        report->bytes = f.given;
    }
    ww_sha256_free(f.sha);
    ww_seal_items_release(&items);
    ww_sealed_close(&folder);
    return rc;
}
