/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing by another program: a bridge to whatever holds a key and is not PKCS #11 (a
 * cloud service, an agent, a ceremony). It is started without a shell and by its path
 * alone, gets the digest, and has a bounded time for a bounded answer. It runs with the
 * user's environment, since such programs find their credentials there; no descriptor of
 * ours but the three standard ones reaches it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crypto/signdevice.h"
#include "util/alloc.h"
#include "util/clock.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/process.h"
#include "util/str.h"

#define SCHEME "program:"
#define MARK "?public-key="
#define ANSWER_MAX_BYTES 256 /* P-521 needs 139 */
#define PUBLIC_MAX_BYTES 65536
#define SECONDS_MAX 3600

struct signer {
    char *program;
    unsigned seconds;
};

struct run {
    pid_t pid;
    int in;  /* ours to write to: a socket, so that a program that does not read is no
                signal */
    int out; /* ours to read from */
};

static void close_signer(void *self)
{
    struct signer *signer = self;

    if (signer) {
        ww_free(signer->program);
        ww_free(signer);
    }
}

static enum ww_err start(const struct signer *signer, const char *hash, struct run *run,
                         struct ww_error *err)
{
    int in[2] = {-1, -1};
    int out[2] = {-1, -1};
    int e = 0;

    run->in = run->out = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) != 0 ||
        pipe2(out, O_CLOEXEC) != 0) {
        e = errno;
    } else {
        char *argv[] = {signer->program, (char *)(uintptr_t)hash, NULL};
        e = ww_process_start(argv, in[1], out[1], false, &run->pid);
    }
    close(in[1] >= 0 ? in[1] : -1);
    close(out[1] >= 0 ? out[1] : -1);
    if (e) {
        close(in[0]);
        close(out[0]);
        return WW_FAIL_SYS(err, e == ENOENT ? WW_E_NOTFOUND : WW_E_KEY, e,
                           "signer program '%s' cannot be started", signer->program);
    }
    run->in = in[0];
    run->out = out[0];
    return WW_OK;
}

/* Up to the end of its output, or of its time. */
static enum ww_err read_answer(const struct signer *signer, const struct run *run,
                               uint8_t answer[ANSWER_MAX_BYTES + 1], size_t *len,
                               int64_t deadline, struct ww_error *err)
{
    *len = 0;
    for (;;) {
        struct pollfd p = {.fd = run->out, .events = POLLIN};
        int64_t left = deadline - ww_now_ms();
        int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
        ssize_t n = 0;
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready == 0) {
            return WW_FAIL(err, WW_E_KEY,
                           "signer program '%s' did not answer within %u seconds",
                           signer->program, signer->seconds);
        }
        n = ready > 0 ? read(run->out, answer + *len, ANSWER_MAX_BYTES + 1 - *len) : -1;
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            int e = errno;
            return WW_FAIL_SYS(err, WW_E_IO, e, "cannot read from signer program '%s'",
                               signer->program);
        }
        if (n == 0) {
            return WW_OK;
        }
        *len += (size_t)n;
        if (*len > ANSWER_MAX_BYTES) {
            return WW_FAIL(err, WW_E_KEY,
                           "signer program '%s' printed more than the %d bytes of a "
                           "signature",
                           signer->program, ANSWER_MAX_BYTES);
        }
    }
}

/* It has closed its output; it must end as well, and with 0. */
static enum ww_err wait_for(const struct signer *signer, const struct run *run,
                            int64_t deadline, bool *is_gone, struct ww_error *err)
{
    int status = 0;
    pid_t got = 0;

    while ((got = waitpid(run->pid, &status, WNOHANG)) == 0 && ww_now_ms() < deadline) {
        const struct timespec pause = {.tv_nsec = 2000000};
        nanosleep(&pause, NULL);
    }
    *is_gone = got == run->pid;
    if (!*is_gone) {
        return WW_FAIL(err, WW_E_KEY, "signer program '%s' did not end within %u seconds",
                       signer->program, signer->seconds);
    }
    if (WIFSIGNALED(status)) {
        return WW_FAIL(err, WW_E_KEY, "signer program '%s' was killed by signal %d",
                       signer->program, WTERMSIG(status));
    }
    if (WEXITSTATUS(status) != 0) {
        return WW_FAIL(err, WW_E_KEY, "signer program '%s' ended with status %d",
                       signer->program, WEXITSTATUS(status));
    }
    return WW_OK;
}

static enum ww_err sign_by_program(void *self, const char *hash, const uint8_t *digest,
                                   size_t len, struct ww_buf *sig, struct ww_error *err)
{
    const struct signer *signer = self;
    const char *name = ww_str_eq(hash, "SHA2-256")   ? "sha256"
                       : ww_str_eq(hash, "SHA2-384") ? "sha384"
                                                     : "sha512";
    struct run run = {0};
    uint8_t answer[ANSWER_MAX_BYTES + 1];
    size_t answer_len = 0;
    bool is_gone = false;
    int64_t deadline = ww_now_ms() + (int64_t)signer->seconds * 1000;
    enum ww_err rc = start(signer, name, &run, err);

    if (rc) {
        return rc;
    }
    /* One that does not read its input is told by its answer. */
    (void)!send(run.in, digest, len, MSG_NOSIGNAL);
    shutdown(run.in, SHUT_WR);
    rc = read_answer(signer, &run, answer, &answer_len, deadline, err);
    if (!rc) {
        rc = wait_for(signer, &run, deadline, &is_gone, err);
    }
    if (!is_gone) {
        kill(run.pid, SIGKILL);
        while (waitpid(run.pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    if (!rc && answer_len == 0) {
        rc = WW_FAIL(err, WW_E_KEY, "signer program '%s' printed nothing",
                     signer->program);
    }
    close(run.in);
    close(run.out);
    return rc ? rc : ww_buf_add(sig, answer, answer_len, err);
}

static enum ww_err public_der(const char *path, struct ww_buf *der, struct ww_error *err)
{
    struct ww_pubkey *key = NULL;
    enum ww_err rc = ww_pubkey_load(path, &key, err);

    if (!rc) {
        rc = ww_pubkey_der(key, der, err);
    }
    ww_pubkey_free(key);
    return rc;
}

static enum ww_err check_program(const char *program, struct ww_error *err)
{
    return strchr(program, '/')
               ? WW_OK
               : WW_FAIL(err, WW_E_USAGE,
                         "signer program '%s' must be a path; nothing is searched for",
                         program);
}

bool ww_program_uri_is(const char *text)
{
    return ww_str_starts(text, SCHEME);
}

enum ww_err ww_signprogram_parse(const char *reference, struct ww_signprogram *out,
                                 struct ww_error *err)
{
    const char *path = reference + strlen(SCHEME);
    const char *mark = ww_program_uri_is(reference) ? strstr(path, MARK) : NULL;
    const size_t len = mark ? (size_t)(mark - path) : 0;

    *out = (struct ww_signprogram){0};
    if (!mark || !mark[strlen(MARK)]) {
        return WW_FAIL(err, WW_E_USAGE,
                       "'%.200s' names no program and its key, expected "
                       "'" SCHEME "PATH" MARK "PUB'",
                       reference);
    }
    if (len >= sizeof(out->program)) {
        return WW_FAIL(err, WW_E_USAGE,
                       "path of a signer program has %zu bytes, at most %zu", len,
                       sizeof(out->program) - 1);
    }
    memcpy(out->program, path, len);
    out->public_key = mark + strlen(MARK);
    return check_program(out->program, err);
}

enum ww_err ww_signkey_open_program_uri(const char *uri, unsigned seconds,
                                        struct ww_signkey **out, struct ww_error *err)
{
    struct ww_signprogram parsed;
    enum ww_err rc = ww_signprogram_parse(uri, &parsed, err);

    *out = NULL;
    return rc ? rc
              : ww_signkey_open_program(parsed.program, parsed.public_key, seconds, out,
                                        err);
}

enum ww_err ww_signkey_open_program(const char *program, const char *public_key,
                                    unsigned seconds, struct ww_signkey **out,
                                    struct ww_error *err)
{
    struct signer *signer = NULL;
    struct ww_buf der;
    enum ww_err rc = WW_OK;

    *out = NULL;
    ww_buf_init(&der, PUBLIC_MAX_BYTES);
    rc = check_program(program, err);
    if (rc) {
        goto out;
    }
    if (seconds > SECONDS_MAX) {
        rc = WW_FAIL(err, WW_E_USAGE, "time for the signer program is %u s, at most %d",
                     seconds, SECONDS_MAX);
        goto out;
    }
    rc = public_der(public_key, &der, err);
    if (rc) {
        goto out;
    }
    signer = ww_calloc(1, sizeof(*signer));
    if (signer) {
        signer->program = ww_strdup(program);
        signer->seconds = seconds ? seconds : WW_SIGNER_SECONDS;
    }
    if (!signer || !signer->program) {
        rc = WW_FAIL_MEMORY(err, "a signer program");
        goto out;
    }
    const struct ww_signdevice device = {signer, "signer program", sign_by_program,
                                         close_signer};
    signer = NULL; /* the key's now */
    rc = ww_signkey_from_device(&device, der.data, der.len, out, err);
out:
    ww_buf_release(&der);
    close_signer(signer);
    return rc;
}
