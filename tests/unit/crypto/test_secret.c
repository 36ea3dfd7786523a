/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto_test.h"

#include <signal.h>
#include <sys/wait.h>

#include "util/fault.h"

/* True when reading the byte kills the process. */
static bool reading_faults(const uint8_t *byte)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        volatile uint8_t seen = *(const volatile uint8_t *)byte;
        _exit(seen == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) != 0;
}

static void new_secret_is_zero_and_keeps_its_bytes(void **state)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    (void)state;
    OK(ww_secret_new(40, &secret, &err));
    assert_int_equal(ww_secret_len(secret), 40);
    uint8_t *bytes = ww_secret_open(secret);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(bytes[i], 0);
    }
    memset(bytes, 7, 40);
    ww_secret_close(secret);
    assert_int_equal(ww_secret_open(secret)[39], 7);
    ww_secret_close(secret);
    ww_secret_free(secret);
    ww_secret_free(NULL);
}

static void idle_secret_cannot_be_read_and_nesting_counts(void **state)
{
    struct ww_secret *secret = secret_text("x");
    (void)state;
    const uint8_t *bytes = ww_secret_open(secret);
    assert_false(reading_faults(bytes));
    assert_ptr_equal(ww_secret_open(secret), bytes);
    ww_secret_close(secret);
    assert_false(reading_faults(bytes));
    ww_secret_close(secret);
    assert_true(reading_faults(bytes));
    ww_secret_free(secret);
}

static void bytes_behind_a_secret_fault(void **state)
{
    struct ww_secret *secret = secret_text("0123456789abcdef");
    (void)state;
    assert_true(reading_faults(ww_secret_open(secret) + 16));
    ww_secret_free(secret);
}

static void equal_compares_bytes_and_lengths(void **state)
{
    struct ww_secret *a = secret_text("same");
    struct ww_secret *b = secret_text("same");
    struct ww_secret *c = secret_text("samf");
    struct ww_secret *d = secret_text("sam");
    struct ww_secret *none = secret_text("");
    (void)state;
    assert_true(ww_secret_equal(a, b));
    assert_true(ww_secret_equal(a, a));
    assert_false(ww_secret_equal(a, c));
    assert_false(ww_secret_equal(a, d));
    assert_false(ww_secret_equal(none, d));
    assert_true(ww_secret_equal(none, none));
    ww_secret_free(a);
    ww_secret_free(b);
    ww_secret_free(c);
    ww_secret_free(d);
    ww_secret_free(none);
}

static void random_fills_and_wipe_clears(void **state)
{
    uint8_t a[32] = {0};
    uint8_t b[32] = {0};
    const uint8_t zero[32] = {0};
    (void)state;
    ww_random(a, sizeof(a));
    ww_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    ww_wipe(a, sizeof(a));
    assert_memory_equal(a, zero, sizeof(a));
}

static void lack_of_memory_is_reported(void **state)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    (void)state;
    FAILS(ww_secret_new(SIZE_MAX / 2, &secret, &err), WW_E_NOMEM);
    assert_null(secret);
    ww_fault_arm(WW_FAULT_ALLOC, 1);
    FAILS(ww_secret_new(8, &secret, &err), WW_E_NOMEM);
    ww_fault_arm(WW_FAULT_ALLOC, 0);
    assert_null(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_secret_is_zero_and_keeps_its_bytes),
        cmocka_unit_test(idle_secret_cannot_be_read_and_nesting_counts),
        cmocka_unit_test(bytes_behind_a_secret_fault),
        cmocka_unit_test(equal_compares_bytes_and_lengths),
        cmocka_unit_test(random_fills_and_wipe_clears),
        cmocka_unit_test(lack_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
