/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers and talk quote names of folders, members, signers and recipes that others
 * chose. They all pass here, so that no command has to think of it: what a terminal would
 * obey leaves the program spelt out.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES 4096
#define GROWTH 6 /* one byte may become "\uNNNN" */

static struct shown {
    int fd;
    size_t held; /* of a character whose rest is still to come */
    char begun[4];
} out = {.fd = STDOUT_FILENO}, talk = {.fd = STDERR_FILENO};

static FILE *raw_talk;

static bool write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        const ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno != EINTR) {
            return false;
        }
        bytes += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

/* For fopencookie: 0 says that it failed. */
static ssize_t write_shown(void *cookie, const char *bytes, size_t n)
{
    struct shown *s = cookie;
    char in[PIECE_BYTES];
    char text[PIECE_BYTES * GROWTH];

    for (size_t i = 0; i < n;) {
        size_t taken = 0;
        size_t len = s->held;
        memcpy(in, s->begun, len);
        const size_t more = n - i < sizeof in - len ? n - i : sizeof in - len;
        memcpy(in + len, bytes + i, more);
        len += more;
        i += more;
        if (!write_all(s->fd, text, ww_text_shown(in, len, text, sizeof text, &taken))) {
            return 0;
        }
        s->held = len - taken;
        memcpy(s->begun, in + taken, s->held);
    }
    return (ssize_t)n;
}

static FILE *show(struct shown *s, FILE *plain, int buffering)
{
    FILE *f = fopencookie(s, "w", (cookie_io_functions_t){.write = write_shown});

    if (f) {
        setvbuf(f, NULL, buffering, 0);
    }
    return f ? f : plain;
}

/* Where one of the three is closed, the next file that is opened would get its number,
 * and talk would be written into a model. What takes its place refuses as it did. */
static void hold_places(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) {
            return; /* without /dev/null it stays as it was */
        }
    }
}

void cli_show_safely(void)
{
    hold_places();
    raw_talk = stderr;
    stdout = show(&out, stdout, isatty(STDOUT_FILENO) ? _IOLBF : _IOFBF);
    stderr = show(&talk, stderr, _IONBF);
}

FILE *cli_terminal(void)
{
    return raw_talk ? raw_talk : stderr;
}

enum ww_err cli_give_bytes(void *payload, const void *bytes, size_t n,
                           struct ww_error *err)
{
    (void)payload;
    if (fflush(stdout) != 0 || !write_all(STDOUT_FILENO, bytes, n)) {
        err->code = errno == ENOSPC ? WW_E_NOSPACE : WW_E_IO;
        err->sys_errno = errno;
        snprintf(err->text, sizeof err->text, "cannot write to standard output: %s",
                 strerror(errno));
    }
    return err->code;
}
