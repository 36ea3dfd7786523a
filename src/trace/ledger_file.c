/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a ledger. One writer at a time (flock), one write and one fsync per entry,
 * so a crash leaves whole lines and at most one torn one behind them. A torn line belongs
 * to a copy that never got its name, since the entry is written first; it is still not
 * cut off unasked, because a file that ends early may have other reasons.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "crypto/signkey.h"
#include "sign/statement.h"
#include "trace/ledger_check.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define LEDGER_MAX_BYTES ((size_t)1 << 30)

static enum ww_err set_path(struct ww_ledger *ledger, const char *path,
                            struct ww_error *err)
{
    memset(ledger, 0, sizeof(*ledger));
    ledger->fd = -1;
    ledger->path = ww_strdup(path);
    return ledger->path ? WW_OK : WW_FAIL_MEMORY(err, "a path");
}

enum ww_err ww_ledger_read(const char *path, const char *public_key,
                           struct ww_ledger *out, struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = set_path(out, path, err);

    ww_buf_init(&text, LEDGER_MAX_BYTES);
    if (rc) {
        goto out;
    }
    if (public_key) {
        rc = ww_pubkey_load(public_key, &out->key, err);
        if (rc) {
            goto out;
        }
    }
    rc = ww_file_read(path, &text, err);
    if (rc) {
        goto out;
    }
    rc = ww_ledger_check(out, text.data, text.len, err);
    if (!rc && out->n == 0) {
        rc = WW_FAIL(err, WW_E_LEDGER,
                     "ledger '%s' holds no entry: 'weightward lock --for NAME --ledger' "
                     "writes them",
                     path);
    }
out:
    ww_buf_release(&text);
    if (rc) {
        ww_ledger_close(out);
    }
    return rc;
}

static enum ww_err open_locked(struct ww_ledger *ledger, struct ww_error *err)
{
    struct stat st;

    ledger->fd =
        open(ledger->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (ledger->fd < 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot open ledger '%s'",
                           ledger->path);
    }
    if (fstat(ledger->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return WW_FAIL(err, WW_E_IO, "ledger '%s' is no regular file", ledger->path);
    }
    if (flock(ledger->fd, LOCK_EX | LOCK_NB) != 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e == EWOULDBLOCK ? 0 : e,
                           "ledger '%s' is being written by another run; try again when "
                           "that has ended",
                           ledger->path);
    }
    return WW_OK;
}

static enum ww_err read_locked(struct ww_ledger *ledger, struct ww_error *err)
{
    struct stat st;
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, LEDGER_MAX_BYTES);
    if (fstat(ledger->fd, &st) != 0) {
        rc = WW_FAIL_SYS(err, WW_E_IO, errno, "cannot read ledger '%s'", ledger->path);
        goto out;
    }
    rc = ww_buf_reserve(&text, (size_t)st.st_size, err);
    if (rc) {
        goto out;
    }
    rc = ww_pread_full(ledger->fd, text.data, (size_t)st.st_size, 0, ledger->path, err);
    if (!rc) {
        rc = ww_ledger_check(ledger, text.data, (size_t)st.st_size, err);
    }
out:
    ww_buf_release(&text);
    return rc;
}

static enum ww_err cut(struct ww_ledger *ledger, struct ww_error *err)
{
    if (ftruncate(ledger->fd, (off_t)ledger->size_bytes) != 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot shorten ledger '%s'",
                           ledger->path);
    }
    ledger->torn_bytes = 0;
    return ww_fsync(ledger->fd, ledger->path, err);
}

static enum ww_err mend_tail(struct ww_ledger *ledger, bool mend, struct ww_error *err)
{
    if (ledger->torn_bytes == 0) {
        return WW_OK;
    }
    if (!mend) {
        return WW_FAIL(
            err, WW_E_LEDGER,
            "ledger '%s': %llu bytes of an unfinished line follow entry %zu, an "
            "interrupted run left them; ask for mending to cut them off",
            ledger->path, (unsigned long long)ledger->torn_bytes, ledger->n);
    }
    return cut(ledger, err);
}

static enum ww_err write_head(struct ww_ledger *ledger, const struct ww_signer *signer,
                              int64_t now_unix, struct ww_error *err)
{
    struct ww_ledger_entry head = {.kind = WW_LEDGER_HEAD, .name = "ledger"};
    struct ww_buf pem;
    enum ww_err rc = WW_OK;

    ww_buf_init(&pem, (size_t)1 << 16);
    rc = ww_pubkey_pem(ledger->key, &pem, err);
    if (rc) {
        goto out;
    }
    ww_sha256_of(pem.data, pem.len, head.root);
    head.public_key = ww_buf_cstr(&pem);
    rc = ww_ledger_append(ledger, signer, now_unix, &head, err);
    if (!rc) {
        rc = ww_fsync_folder_of(ledger->path, err);
    }
out:
    ww_buf_release(&pem);
    return rc;
}

enum ww_err ww_ledger_open(const char *path, const struct ww_signer *signer, bool mend,
                           int64_t now_unix, struct ww_ledger *out, struct ww_error *err)
{
    enum ww_err rc = set_path(out, path, err);

    if (!rc) {
        rc = ww_signkey_public(signer->key, &out->key, err);
    }
    if (!rc) {
        rc = open_locked(out, err);
    }
    if (!rc) {
        rc = read_locked(out, err);
    }
    if (!rc) {
        rc = mend_tail(out, mend, err);
    }
    if (!rc && out->n == 0) {
        rc = write_head(out, signer, now_unix, err);
    }
    if (rc) {
        ww_ledger_close(out);
    }
    return rc;
}

static enum ww_err put_date(int64_t now_unix, char out[WW_LEDGER_DATE_BYTES],
                            struct ww_error *err)
{
    const time_t when = now_unix ? (time_t)now_unix : time(NULL);
    struct tm utc;

    if (!gmtime_r(&when, &utc) ||
        strftime(out, WW_LEDGER_DATE_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc) !=
            WW_LEDGER_DATE_BYTES - 1) {
        return WW_FAIL(err, WW_E_USAGE, "%lld is no date that a ledger can hold",
                       (long long)now_unix);
    }
    return WW_OK;
}

/* What could not be written whole is taken back, as far as that can be. */
static enum ww_err write_line(struct ww_ledger *ledger, struct ww_buf *line,
                              struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    ww_sha256_of(line->data, line->len, digest);
    rc = ww_buf_add(line, "\n", 1, err);
    if (rc) {
        return rc;
    }
    rc = ww_pwrite_full(ledger->fd, line->data, line->len, ledger->size_bytes,
                        ledger->path, err);
    if (!rc) {
        rc = ww_fsync(ledger->fd, ledger->path, err);
    }
    if (rc) {
        (void)!ftruncate(ledger->fd, (off_t)ledger->size_bytes);
        return rc;
    }
    memcpy(ledger->last, digest, sizeof(digest));
    ledger->size_bytes += line->len;
    return WW_OK;
}

enum ww_err ww_ledger_append(struct ww_ledger *ledger, const struct ww_signer *signer,
                             int64_t now_unix, struct ww_ledger_entry *entry,
                             struct ww_error *err)
{
    /* The key stands in the first line; a certificate would only add its own end. */
    const struct ww_signer by_key = {.key = signer->key};
    struct ww_buf payload;
    struct ww_buf line;
    enum ww_err rc = put_date(now_unix, entry->date, err);

    ww_buf_init(&payload, ww_json_limits_bundle.max_bytes);
    ww_buf_init(&line, ww_json_limits_bundle.max_bytes);
    if (rc) {
        goto out;
    }
    entry->seq = ledger->next;
    memcpy(entry->previous, ledger->last, WW_SHA256_BYTES);
    rc = ww_ledger_entry_write(entry, &payload, err);
    if (rc) {
        goto out;
    }
    rc = ww_bundle_sign(&by_key, payload.data, payload.len, &line, err);
    if (rc) {
        goto out;
    }
    rc = write_line(ledger, &line, err);
    if (!rc) {
        ledger->next++;
    }
out:
    ww_buf_release(&line);
    ww_buf_release(&payload);
    return rc;
}

void ww_ledger_close(struct ww_ledger *ledger)
{
    for (size_t i = 0; ledger->entries && i < ledger->n; i++) {
        ww_ledger_entry_release(&ledger->entries[i]);
    }
    ww_free(ledger->entries);
    ww_pubkey_free(ledger->key);
    ww_free(ledger->path);
    if (ledger->fd >= 0) {
        close(ledger->fd);
    }
    memset(ledger, 0, sizeof(*ledger));
    ledger->fd = -1;
}

const struct ww_ledger_entry *ww_ledger_find(const struct ww_ledger *ledger,
                                             const char *recipient)
{
    for (size_t i = 0; i < ledger->n; i++) {
        const struct ww_ledger_entry *entry = &ledger->entries[i];
        if (entry->kind == WW_LEDGER_COPY &&
            strcmp(entry->copy.recipient, recipient) == 0) {
            return entry;
        }
    }
    return NULL;
}
