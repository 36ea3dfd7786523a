/* SPDX-License-Identifier: Apache-2.0 */
/* A child asks at a pseudo-terminal of its own, the test types at the other end. */
#include "crypto_test.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>

#include "weightward/key.h"

struct session {
    pid_t pid;
    int tty;
    char seen[1000];
    size_t n_seen;
};

/* The child's exit status: the code's class, or 0 when the passphrase is the wanted one;
 * 50 when it is another, 51 when the echo was not put back. */
static int ask(bool confirm, const char *want)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    struct termios now;
    enum ww_err rc = ww_passphrase_from_terminal("Passphrase", confirm, &secret, &err);
    if (tcgetattr(STDIN_FILENO, &now) != 0 || !(now.c_lflag & ECHO) ||
        !(now.c_lflag & ISIG)) {
        return 51;
    }
    if (rc) {
        return rc == WW_E_CANCELLED ? 9 : (int)ww_err_class_of(rc);
    }
    const bool same = ww_secret_len(secret) == strlen(want) &&
                      memcmp(ww_secret_open(secret), want, strlen(want)) == 0;
    ww_secret_free(secret);
    return same ? 0 : 50;
}

static void start(struct session *s, bool confirm, const char *want)
{
    memset(s, 0, sizeof(*s));
    s->pid = forkpty(&s->tty, NULL, NULL, NULL);
    assert_true(s->pid >= 0);
    if (s->pid == 0) {
        const struct rlimit none = {0};
        (void)setrlimit(RLIMIT_CORE, &none);
        _exit(ask(confirm, want));
    }
}

/* Read until the terminal shows the text. */
static void wait_for(struct session *s, const char *text)
{
    while (!strstr(s->seen, text)) {
        struct pollfd p = {.fd = s->tty, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 10000), 1);
        ssize_t n = read(s->tty, s->seen + s->n_seen, sizeof(s->seen) - 1 - s->n_seen);
        assert_true(n > 0);
        s->n_seen += (size_t)n;
    }
}

static void type(struct session *s, const char *text)
{
    assert_int_equal(write(s->tty, text, strlen(text)), (ssize_t)strlen(text));
}

static int finish(struct session *s)
{
    int status = 0;
    char rest[200];
    while (read(s->tty, rest, sizeof(rest)) > 0) {
        assert_null(memmem(rest, sizeof(rest), "hunter2", 7));
    }
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    close(s->tty);
    assert_null(strstr(s->seen, "hunter2"));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_line_is_taken_without_echo(void **state)
{
    struct session s;
    (void)state;
    start(&s, false, "hunter2");
    wait_for(&s, "Passphrase: ");
    type(&s, "hunter2\n");
    assert_int_equal(finish(&s), 0);
}

static void confirmation_must_be_the_same(void **state)
{
    struct session s;
    (void)state;
    start(&s, true, "hunter2");
    wait_for(&s, "Passphrase: ");
    type(&s, "hunter2\n");
    wait_for(&s, "Passphrase (again): ");
    type(&s, "hunter2\n");
    assert_int_equal(finish(&s), 0);
    start(&s, true, "hunter2");
    wait_for(&s, "Passphrase: ");
    type(&s, "hunter2\n");
    wait_for(&s, "Passphrase (again): ");
    type(&s, "hunter3\n");
    assert_int_equal(finish(&s), WW_CLASS_KEY);
}

static void an_empty_line_is_refused(void **state)
{
    struct session s;
    (void)state;
    start(&s, false, "");
    wait_for(&s, "Passphrase: ");
    type(&s, "\n");
    assert_int_equal(finish(&s), WW_CLASS_KEY);
}

static void control_c_cancels_and_echo_returns(void **state)
{
    struct session s;
    (void)state;
    start(&s, false, "");
    wait_for(&s, "Passphrase: ");
    type(&s, "hun\003");
    assert_int_equal(finish(&s), 9);
}

/* kill -QUIT ends it when the terminal is what it was. */
static void a_signal_waits_for_the_echo(void **state)
{
    struct session s;
    struct termios now;
    int status = 0;
    (void)state;
    start(&s, false, "hunter2");
    wait_for(&s, "Passphrase: ");
    assert_int_equal(kill(s.pid, SIGQUIT), 0);
    type(&s, "hunter2\n");
    assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGQUIT);
    assert_int_equal(tcgetattr(s.tty, &now), 0);
    assert_true(now.c_lflag & ECHO);
    close(s.tty);
}

static void without_a_terminal_it_says_so(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct ww_error err = {0};
        struct ww_secret *secret = NULL;
        setsid();
        enum ww_err rc = ww_passphrase_from_terminal("Passphrase", false, &secret, &err);
        _exit(rc == WW_E_PASSPHRASE && strstr(err.text, "terminal") ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_taken_without_echo),
        cmocka_unit_test(confirmation_must_be_the_same),
        cmocka_unit_test(an_empty_line_is_refused),
        cmocka_unit_test(control_c_cancels_and_echo_returns),
        cmocka_unit_test(a_signal_waits_for_the_echo),
        cmocka_unit_test(without_a_terminal_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
