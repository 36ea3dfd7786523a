/* SPDX-License-Identifier: Apache-2.0 */
/* Recipients of a sealed folder come and go by its keys file alone. */
#include "seal_fixture.h"

#include "crypto/base64.h"
#include "crypto/sealed.h"

static void change(const struct fx *f, unsigned by, const struct ww_seal_change *change,
                   enum ww_err want)
{
    struct ww_error err = {0};
    const struct ww_unsealer unsealer = {NULL, f->keys[by], NULL};
    FAILS(ww_seal_change_recipients(f->sealed, &unsealer, change, &err), want);
}

static size_t count(const struct fx *f)
{
    struct ww_error err = {0};
    struct ww_seal_access access;
    OK(ww_seal_access_read(f->sealed, &access, &err));
    assert_int_equal(access.sealing, WW_SEALED_RECIPIENTS);
    size_t n = access.n_recipients;
    ww_seal_access_release(&access);
    return n;
}

static void someone_added_opens_and_someone_removed_does_not(void **state)
{
    struct fx *f = fx_new(200);
    struct ww_error err = {0};
    struct ww_buf before;
    char id[33];
    (void)state;
    fx_seal(f);
    get_file(in(f->sealed, SHARD_1 ".sealed"), &before);
    const char *const stranger[] = {f->pubs[2]};
    change(f, 2, &(struct ww_seal_change){.add = stranger, .n_add = 1}, WW_E_NOT_FOR_YOU);
    change(f, 0, &(struct ww_seal_change){.add = stranger, .n_add = 1}, WW_OK);
    assert_int_equal(count(f), 3);
    OK(fx_unseal(f, 2, &err));
    check_back(f);

    OK(ww_recipient_id_of(f->pubs[0], id, &err));
    const char *const ids[] = {id};
    const char *const bad[] = {"xyz"};
    change(f, 1, &(struct ww_seal_change){.remove = bad, .n_remove = 1}, WW_E_USAGE);
    change(f, 1, &(struct ww_seal_change){.remove = ids, .n_remove = 1}, WW_OK);
    assert_int_equal(count(f), 2);
    change(f, 1, &(struct ww_seal_change){.remove = ids, .n_remove = 1}, WW_E_USAGE);
    snprintf(f->back, sizeof(f->back), "%s/back2", f->dir);
    FAILS(fx_unseal(f, 0, &err), WW_E_NOT_FOR_YOU);
    OK(fx_unseal(f, 1, &err));

    /* Only the keys file changed. */
    struct ww_buf after;
    get_file(in(f->sealed, SHARD_1 ".sealed"), &after);
    assert_int_equal(after.len, before.len);
    assert_memory_equal(after.data, before.data, before.len);
    ww_buf_release(&before);
    ww_buf_release(&after);
    fx_free(f);
}

/* NAME.pub of somebody whose secret nobody needs. */
static char *put_pub(const struct fx *f, unsigned i)
{
    struct ww_error err = {0};
    uint8_t key[WW_X25519_BYTES] = {9};
    uint8_t id[WW_RECORD_ID_BYTES];
    char hex[33];
    char text[200];
    char *path = NULL;
    struct ww_buf base64;
    ww_put_u32le(key + 4, i);
    ww_recipient_id(key, id);
    ww_hex(hex, id, sizeof(id));
    ww_buf_init(&base64, 100);
    OK(ww_base64_encode(&base64, key, sizeof(key), &err));
    snprintf(text, sizeof(text), "weightward-recipient 1 %.*s %s\n", (int)base64.len,
             (const char *)base64.data, hex);
    assert_true(asprintf(&path, "%s/many-%u.pub", f->dir, i) > 0);
    put_text(path, text);
    ww_buf_release(&base64);
    return path;
}

#define MANY 5000

static void a_model_is_sealed_for_five_thousand(void **state)
{
    struct fx *f = fx_new(200);
    struct ww_error err = {0};
    struct ww_seal_report report;
    const char **to = calloc(MANY, sizeof(*to));
    (void)state;
    for (unsigned i = 0; i + 1 < MANY; i++) {
        to[i] = put_pub(f, i);
    }
    to[MANY - 1] = f->pubs[0];
    const struct ww_seal_options options = {.sealer = {NULL, to, MANY},
                                            .run = {.threads = 2}};
    OK(ww_seal_folder_at(f->model, f->sealed, &options, 64, &cheap, &report, &err));
    ww_seal_report_release(&report);
    assert_int_equal(count(f), MANY);
    const char *const stranger[] = {f->pubs[2]};
    change(f, 0, &(struct ww_seal_change){.add = stranger, .n_add = 1}, WW_OK);
    assert_int_equal(count(f), MANY + 1);
    OK(fx_unseal(f, 2, &err));
    check_back(f);
    snprintf(f->back, sizeof(f->back), "%s/back2", f->dir);
    FAILS(fx_unseal(f, 1, &err), WW_E_NOT_FOR_YOU);

    /* The same one twice is told among all of them. */
    const char *mine = to[7];
    to[7] = to[4000];
    FAILS(ww_seal_folder_at(f->model, in(f->dir, "twice"), &options, 64, &cheap, &report,
                            &err),
          WW_E_USAGE);
    assert_non_null(strstr(err.text, "many-4000.pub' are the same"));
    to[7] = mine;
    for (unsigned i = 0; i + 1 < MANY; i++) {
        free((void *)(uintptr_t)to[i]);
    }
    free(to);
    fx_free(f);
}

static void the_last_recipient_stays(void **state)
{
    struct fx *f = fx_new(0);
    struct ww_error err = {0};
    char id[33];
    (void)state;
    fx_seal_as(f, f->model, f->sealed, 1, WW_SEAL_CIPHER_BEST);
    OK(ww_recipient_id_of(f->pubs[0], id, &err));
    const char *const ids[] = {id};
    change(f, 0, &(struct ww_seal_change){.remove = ids, .n_remove = 1}, WW_E_USAGE);
    OK(fx_unseal(f, 0, &err));
    fx_free(f);
}

/* A keys file put here from another seal is not carried on. */
static void a_foreign_keys_file_is_not_rewritten(void **state)
{
    struct fx *f = fx_new(10);
    char other[300];
    struct ww_buf theirs;
    (void)state;
    fx_seal(f);
    snprintf(other, sizeof(other), "%s/other", f->dir);
    fx_seal_as(f, f->model, other, 2, WW_SEAL_CIPHER_BEST);
    get_file(in(other, WW_SEAL_KEYS_FILE), &theirs);
    put_file(in(f->sealed, WW_SEAL_KEYS_FILE), theirs.data, theirs.len);
    const char *const stranger[] = {f->pubs[2]};
    change(f, 0, &(struct ww_seal_change){.add = stranger, .n_add = 1}, WW_E_SEALED);
    ww_buf_release(&theirs);
    fx_free(f);
}

static void a_folder_that_is_not_sealed_is_named(void **state)
{
    struct fx *f = fx_new(0);
    struct ww_error err = {0};
    struct ww_seal_access access;
    (void)state;
    FAILS(ww_seal_access_read(f->model, &access, &err), WW_E_NOTFOUND);
    assert_non_null(strstr(err.text, "model"));
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(someone_added_opens_and_someone_removed_does_not),
        cmocka_unit_test(a_model_is_sealed_for_five_thousand),
        cmocka_unit_test(the_last_recipient_stays),
        cmocka_unit_test(a_foreign_keys_file_is_not_rewritten),
        cmocka_unit_test(a_folder_that_is_not_sealed_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
