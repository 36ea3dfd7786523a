/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking at the terminal without echo. While the line is typed the terminal sends no
 * signals: Ctrl-C is made an end-of-line character instead, so that it ends the reading
 * and the settings are always put back, without a signal handler in a library. Signals
 * from elsewhere that would end or stop the program wait until they are, but for those
 * that a program catches to end the reading.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "crypto/passphrase.h"
#include "crypto/secret.h"
#include "util/fail.h"
#include "weightward/report.h"

#define CTRL_C 3
#define SAID_BYTES 2048

static enum ww_err say(int tty, const char *text, struct ww_error *err)
{
    char shown[SAID_BYTES];
    size_t taken = 0;
    const size_t len = ww_text_shown(text, strlen(text), shown, sizeof(shown), &taken);
    const ssize_t n = write(tty, shown, len);
    if (n != (ssize_t)len) {
        const int e = n < 0 ? errno : EIO;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot write to the terminal");
    }
    return WW_OK;
}

static enum ww_err ask(int tty, const char *prompt, const char *suffix,
                       struct ww_secret **out, struct ww_error *err)
{
    enum ww_err rc = say(tty, prompt, err);
    if (rc) {
        return rc;
    }
    rc = say(tty, suffix, err);
    if (rc) {
        return rc;
    }
    rc = ww_passphrase_read_line(tty, CTRL_C, out, err);
    if (say(tty, "\n", NULL) != WW_OK) {
        return rc; /* only the line break is missing */
    }
    return rc;
}

static enum ww_err ask_twice(int tty, const char *prompt, struct ww_secret **out,
                             struct ww_error *err)
{
    struct ww_secret *first = NULL;
    struct ww_secret *second = NULL;
    enum ww_err rc = WW_OK;

    rc = ask(tty, prompt, ": ", &first, err);
    if (rc) {
        goto out;
    }
    rc = ask(tty, prompt, " (again): ", &second, err);
    if (rc) {
        goto out;
    }
    if (!ww_secret_equal(first, second)) {
        rc = WW_FAIL(err, WW_E_PASSPHRASE,
                     "the two passphrases differ; nothing was written, try again");
        goto out;
    }
    *out = first;
    first = NULL;
out:
    ww_secret_free(first);
    ww_secret_free(second);
    return rc;
}

static enum ww_err set_silent(int tty, const struct termios *normal, struct ww_error *err)
{
    struct termios silent = *normal;
    silent.c_lflag &= (tcflag_t) ~(tcflag_t)(ECHO | ECHONL | ISIG);
    silent.c_lflag |= ICANON;
    silent.c_cc[VEOL] = CTRL_C;
    if (tcsetattr(tty, TCSAFLUSH, &silent) != 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot turn off the terminal's echo");
    }
    return WW_OK;
}

static void hold_signals(sigset_t *before)
{
    sigset_t held;

    sigemptyset(&held);
    sigaddset(&held, SIGQUIT);
    sigaddset(&held, SIGTSTP);
    pthread_sigmask(SIG_BLOCK, &held, before);
}

enum ww_err ww_passphrase_from_terminal(const char *prompt, bool confirm,
                                        struct ww_secret **out, struct ww_error *err)
{
    struct termios normal;
    sigset_t before;
    enum ww_err rc = WW_OK;

    *out = NULL;
    hold_signals(&before);
    const int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (tty < 0 || tcgetattr(tty, &normal) != 0) {
        const int e = errno;
        rc = WW_FAIL_SYS(
            err, WW_E_PASSPHRASE, e,
            "no terminal to ask for the passphrase, give it by file or descriptor");
        goto out;
    }
    rc = set_silent(tty, &normal, err);
    if (rc) {
        goto out;
    }
    rc = confirm ? ask_twice(tty, prompt, out, err) : ask(tty, prompt, ": ", out, err);
    tcsetattr(tty, TCSAFLUSH, &normal);
out:
    if (tty >= 0) {
        close(tty);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}
