/* SPDX-License-Identifier: Apache-2.0 */
/* A thin layer over cmocka: calls that must succeed print the library's own error text.
 */
#ifndef WW_TEST_H
#define WW_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "weightward/error.h"

/* OK(f(..., &err)): e is the struct ww_error in scope, named err. */
#define OK(call)                                                                         \
    do {                                                                                 \
        ww_error_clear(&err);                                                            \
        enum ww_err ok_rc_ = (call);                                                     \
        if (ok_rc_ != WW_OK) {                                                           \
            fail_msg("%s: %s: %s", #call, ww_err_name(ok_rc_), err.text);                \
        }                                                                                \
    } while (0)

/* FAILS(f(..., &err), WW_E_X): exactly that code. */
#define FAILS(call, want)                                                                \
    do {                                                                                 \
        ww_error_clear(&err);                                                            \
        enum ww_err got_rc_ = (call);                                                    \
        if (got_rc_ != (want)) {                                                         \
            fail_msg("%s: got %s (%s), want %s", #call, ww_err_name(got_rc_), err.text,  \
                     ww_err_name(want));                                                 \
        }                                                                                \
    } while (0)

#define NEAR(got, want, tol)                                                             \
    do {                                                                                 \
        double near_g_ = (got), near_w_ = (want);                                        \
        if (!(fabs(near_g_ - near_w_) <= (tol))) {                                       \
            fail_msg("%s = %.17g, want %.17g within %g", #got, near_g_, near_w_,         \
                     (double)(tol));                                                     \
        }                                                                                \
    } while (0)

/* Folders that are still there; what a test that failed has left goes when its program
 * ends, unless WW_TEST_KEEP is set. */
static char *ww_test_folders[64];
static pid_t ww_test_owner;

static inline void ww_test_remove(const char *path)
{
    char *command = NULL;
    if (asprintf(&command, "rm -rf '%s'", path) > 0 && system(command) != 0) {
        fprintf(stderr, "left behind: %s\n", path);
    }
    free(command);
}

static inline void ww_test_tidy(void)
{
    for (size_t i = 0; getpid() == ww_test_owner && i < 64; i++) {
        if (ww_test_folders[i]) {
            ww_test_remove(ww_test_folders[i]);
        }
    }
}

/* A fresh folder under $TMPDIR; the caller removes it with ww_test_rmdir. */
static inline char *ww_test_mkdir(void)
{
    const char *base = getenv("TMPDIR");
    char *path = NULL;
    size_t at = 0;
    if (asprintf(&path, "%s/ww-test-XXXXXX", base ? base : "/tmp") < 0 ||
        !mkdtemp(path)) {
        fail_msg("no temporary folder");
    }
    if (!ww_test_owner && !getenv("WW_TEST_KEEP")) {
        ww_test_owner = getpid();
        atexit(ww_test_tidy);
    }
    while (at < 64 && ww_test_folders[at]) {
        at++;
    }
    if (at < 64) {
        ww_test_folders[at] = path;
    }
    return path;
}

static inline void ww_test_rmdir(char *path)
{
    for (size_t i = 0; i < 64; i++) {
        ww_test_folders[i] = ww_test_folders[i] == path ? NULL : ww_test_folders[i];
    }
    if (path) {
        ww_test_remove(path);
    }
    free(path);
}

#endif
