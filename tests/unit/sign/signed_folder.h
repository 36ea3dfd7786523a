/* SPDX-License-Identifier: Apache-2.0 */
/* A folder with the worked example, a key, and short ways to sign and verify it. */
#ifndef WW_TEST_SIGNED_FOLDER_H
#define WW_TEST_SIGNED_FOLDER_H

#include "fixture.h"

struct signed_folder {
    char *root;
    char *demo;
    char *public_key;
    struct ww_signer signer;
    struct ww_sign_options sign;
    struct ww_verify_options verify;
    struct ww_verify_report report; /* of the last verification */
    struct ww_error err;
};

static inline int set_up(void **state)
{
    struct signed_folder *f = ww_calloc(1, sizeof(*f));
    struct ww_error err = {0};
    f->root = ww_test_mkdir();
    f->demo = make_demo(f->root);
    char *base = path_in(f->root, "me");
    char *key = path_in(f->root, "me.key");
    f->public_key = path_in(f->root, "me.pub");
    OK(ww_signkey_create(base, WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_load(key, NULL, &f->signer.key, &err));
    f->verify.public_key = f->public_key;
    f->sign.run.threads = 2;
    f->verify.run.threads = 2;
    ww_free(base);
    ww_free(key);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct signed_folder *f = *state;
    ww_verify_report_release(&f->report);
    ww_signkey_free(f->signer.key);
    ww_free(f->demo);
    ww_free(f->public_key);
    ww_test_rmdir(f->root);
    ww_free(f);
    return 0;
}

static inline enum ww_err sign_demo(struct signed_folder *f,
                                    struct ww_sign_report *report)
{
    struct ww_sign_report own;
    ww_error_clear(&f->err);
    return ww_sign_folder(f->demo, &f->signer, &f->sign, report ? report : &own, &f->err);
}

static inline enum ww_err verify_demo(struct signed_folder *f)
{
    ww_error_clear(&f->err);
    ww_verify_report_release(&f->report);
    return ww_verify_folder(f->demo, &f->verify, &f->report, &f->err);
}

#define CODE(f, call, want)                                                              \
    do {                                                                                 \
        enum ww_err code_rc_ = (call);                                                   \
        if (code_rc_ != (want)) {                                                        \
            fail_msg("%s: got %s (%s), want %s", #call, ww_err_name(code_rc_),           \
                     (f)->err.text, ww_err_name(want));                                  \
        }                                                                                \
    } while (0)

static inline bool noted(const struct signed_folder *f, const char *part)
{
    return any_has(f->report.not_checked, f->report.n_not_checked, part);
}

#endif
