/* SPDX-License-Identifier: Apache-2.0 */
#include "evo/account.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define ACCOUNT_FILE "spent.wwa"
#define BODY 48
#define CHECK 16
#define TICK 20000000L /* ns between two looks at a lock */

static const uint8_t head[8] = {'W', 'W', 'S', 'P', 'E', 'N', 'T', 1};

static void put_double(uint8_t *to, double v)
{
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof(bits));
    ww_put_u64le(to, bits);
}

static double get_double(const uint8_t *from)
{
    const uint64_t bits = ww_get_u64le(from);
    double v = 0;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static void check_of(const uint8_t body[BODY], uint8_t out[CHECK])
{
    uint8_t digest[WW_SHA256_BYTES];

    ww_sha256_of(body, BODY, digest);
    memcpy(out, digest, CHECK);
}

/* The lock is the file's, so a run that was killed leaves none. */
static enum ww_err take_lock(const struct ww_account *a, const struct ww_run_options *run,
                             struct ww_error *err)
{
    const struct timespec tick = {0, TICK};
    while (flock(a->fd, LOCK_EX | LOCK_NB) != 0) {
        const int e = errno;
        if (e != EWOULDBLOCK && e != EINTR) {
            return WW_FAIL_SYS(err, WW_E_IO, e, "cannot lock '%s'", a->path);
        }
        if (run->progress && run->progress(run->progress_payload, "waiting", 0, 0)) {
            return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
        }
        (void)nanosleep(&tick, NULL);
    }
    return WW_OK;
}

void ww_spent_write(const struct ww_spent *spent, uint8_t out[WW_SPENT_BYTES])
{
    memset(out, 0, WW_SPENT_BYTES);
    memcpy(out, head, sizeof(head));
    ww_put_u64le(out + 8, spent->calls);
    ww_put_u64le(out + 16, spent->tokens);
    put_double(out + 24, spent->cost);
    put_double(out + 32, spent->seconds);
    check_of(out, out + BODY);
}

enum ww_err ww_spent_read(const uint8_t *bytes, size_t len, const char *path,
                          struct ww_spent *out, struct ww_error *err)
{
    uint8_t again[WW_SPENT_BYTES];

    *out = (struct ww_spent){0};
    if (len == 0) {
        return WW_OK; /* new */
    }
    if (len == sizeof(again)) {
        *out = (struct ww_spent){ww_get_u64le(bytes + 8), ww_get_u64le(bytes + 16),
                                 get_double(bytes + 24), get_double(bytes + 32)};
        ww_spent_write(out, again);
    }
    if (len != sizeof(again) || memcmp(bytes, again, sizeof(again)) != 0 ||
        !(out->cost >= 0 && isfinite(out->cost)) ||
        !(out->seconds >= 0 && isfinite(out->seconds))) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "'%s' does not say what was spent: it is damaged; remove it to "
                       "count from 0 again",
                       path);
    }
    return WW_OK;
}

static enum ww_err read_spent(const struct ww_account *a, uint64_t size,
                              struct ww_spent *spent, struct ww_error *err)
{
    uint8_t bytes[WW_SPENT_BYTES + 1]; /* one more than there may be */
    const size_t len = (size_t)ww_min_u64(size, sizeof(bytes));
    const enum ww_err rc = ww_pread_full(a->fd, bytes, len, 0, a->path, err);

    return rc ? rc : ww_spent_read(bytes, len, a->path, spent, err);
}

static enum ww_err open_file(const char *dir, struct ww_account *a, struct ww_error *err)
{
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        const int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot make folder '%s'", dir);
    }
    a->path = ww_path_join(dir, ACCOUNT_FILE);
    if (!a->path) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    a->fd = open(a->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (a->fd < 0 || fstat(a->fd, &st) != 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot open '%s'", a->path);
    }
    if (!S_ISREG(st.st_mode)) {
        return WW_FAIL(err, WW_E_MALFORMED, "'%s' is no file", a->path);
    }
    return WW_OK;
}

enum ww_err ww_account_open(const char *dir, const struct ww_run_options *run,
                            struct ww_account *out, struct ww_spent *spent,
                            struct ww_error *err)
{
    struct stat st = {0};
    *out = (struct ww_account){.fd = -1};
    *spent = (struct ww_spent){0};
    enum ww_err rc = open_file(dir, out, err);
    rc = rc ? rc : take_lock(out, run, err);
    if (!rc && fstat(out->fd, &st) != 0) {
        const int e = errno;
        rc = WW_FAIL_SYS(err, WW_E_IO, e, "cannot read '%s'", out->path);
    }
    rc = rc ? rc : read_spent(out, (uint64_t)st.st_size, spent, err);
    if (!rc && st.st_size == 0) {
        rc = ww_fsync_folder_of(out->path, err); /* the name outlives a power cut too */
    }
    if (rc) {
        ww_account_close(out);
    }
    return rc;
}

enum ww_err ww_account_note(const struct ww_account *account,
                            const struct ww_spent *spent, struct ww_error *err)
{
    uint8_t bytes[WW_SPENT_BYTES];
    ww_spent_write(spent, bytes);
    return ww_pwrite_full(account->fd, bytes, sizeof(bytes), 0, account->path, err);
}

enum ww_err ww_account_flush(const struct ww_account *account, struct ww_error *err)
{
    return ww_fsync(account->fd, account->path, err);
}

void ww_account_close(struct ww_account *account)
{
    if (account->fd >= 0) {
        (void)close(account->fd);
    }
    ww_free(account->path);
    *account = (struct ww_account){.fd = -1};
}
