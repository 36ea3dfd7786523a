/* SPDX-License-Identifier: Apache-2.0 */
/* In children, since hardening cannot be taken back. */
#include "crypto_test.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "crypto/signkey.h"
#include "weightward/key.h"

static void run_in_child(int (*body)(const char *dir))
{
    char *dir = ww_test_mkdir();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(body(dir));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    ww_test_rmdir(dir);
    assert_int_equal(status, 0);
}

static int check_settings(const char *dir)
{
    struct ww_error err = {0};
    struct rlimit core;
    (void)dir;
    if (ww_process_harden(&err) || ww_process_harden(&err)) {
        return 1;
    }
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_cur != 0 || core.rlim_max != 0) {
        return 2;
    }
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : 3;
}

/* Keys of every curve work out of OpenSSL's secure heap. */
static int use_keys(const char *dir)
{
    struct ww_error err = {0};
    struct ww_secret *passphrase = secret_text("pass");
    if (ww_process_harden(&err)) {
        return 1;
    }
    for (int curve = WW_CURVE_P256; curve <= WW_CURVE_P521; curve++) {
        struct ww_signkey *key = NULL;
        struct ww_buf sig;
        ww_buf_init(&sig, 200);
        if (ww_signkey_create(at(dir, "k"), (enum ww_curve)curve, passphrase, &err) ||
            ww_signkey_load(at(dir, "k.key"), passphrase, &key, &err) ||
            ww_signkey_sign(key, "m", 1, &sig, &err)) {
            return 2;
        }
        ww_buf_release(&sig);
        ww_signkey_free(key);
        unlink(at(dir, "k.key"));
        unlink(at(dir, "k.pub"));
    }
    ww_secret_free(passphrase);
    return 0;
}

static void harden_turns_dumps_off(void **state)
{
    (void)state;
    run_in_child(check_settings);
}

static void keys_work_in_a_hardened_process(void **state)
{
    (void)state;
    run_in_child(use_keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(harden_turns_dumps_off),
        cmocka_unit_test(keys_work_in_a_hardened_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
