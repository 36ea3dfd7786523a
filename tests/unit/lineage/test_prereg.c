/* SPDX-License-Identifier: Apache-2.0 */
/* A signed plan: its own reader refuses it with a byte changed, and cut. */
#include "lineage/prereg.h"

#include <string.h>

#include "crypto/signkey.h"
#include "util/fs.h"
#include "ww_changes.h"
#include "ww_test.h"

#define BASE WW_VECTORS "/amber/base"
#define EXPERT WW_VECTORS "/amber/expert-rev"

struct desk {
    char *dir;
    char plan[400];
    char key[400];
};

/* The signature is what is checked first: a plan that holds fails at the missing base,
 * and a changed one before. */
static bool accepts(void *payload, const uint8_t *bytes, size_t len)
{
    static const char *const candidates[] = {EXPERT};
    static const struct ww_run_options run = {.threads = 1};
    const struct desk *d = payload;
    const struct ww_prereg_run what = {
        .base = "/nowhere", .candidates = candidates, .n_candidates = 1, .run = &run};
    struct ww_error err = {0};

    write_quickly(d->plan, bytes, len);
    const enum ww_err rc = ww_prereg_check(d->plan, d->key, &what, &err);
    assert_int_not_equal(rc, WW_OK);
    return strstr(err.text, "/nowhere") != NULL;
}

static void every_change_of_a_plan_is_refused(void **state)
{
    static const char *const candidates[] = {EXPERT};
    const struct ww_decompose_options options = {
        .base = BASE, .candidates = candidates, .n_candidates = 1, .run = {.threads = 1}};
    struct desk d = {.dir = ww_test_mkdir()};
    struct ww_signkey *key = NULL;
    struct ww_error err = {0};
    struct ww_buf text;
    char path[400];
    (void)state;
    snprintf(path, sizeof(path), "%s/me", d.dir);
    OK(ww_signkey_create(path, WW_CURVE_P256, NULL, &err));
    snprintf(path, sizeof(path), "%s/me.key", d.dir);
    OK(ww_signkey_load(path, NULL, &key, &err));
    snprintf(d.key, sizeof(d.key), "%s/me.pub", d.dir);
    snprintf(d.plan, sizeof(d.plan), "%s/plan", d.dir);
    const struct ww_signer signer = {.key = key};
    OK(ww_lineage_plan(&options, &signer, d.plan, &err));
    ww_buf_init(&text, 1 << 20);
    OK(ww_file_read(d.plan, &text, &err));
    refuses_changes(accepts, &d, text.data, text.len, 9);
    /* Another number of models is told before one of them is read. */
    const struct ww_prereg_run fewer = {.base = "/nowhere", .run = &options.run};
    write_quickly(d.plan, text.data, text.len);
    FAILS(ww_prereg_check(d.plan, d.key, &fewer, &err), WW_E_DIFFERS);
    ww_buf_release(&text);
    ww_signkey_free(key);
    ww_test_rmdir(d.dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_of_a_plan_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
