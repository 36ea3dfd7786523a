/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing and opening folders. */
#include "seal_fixture.h"

#include "util/fault.h"

static void each_recipient_gets_every_byte_back(void **state)
{
    static const enum ww_seal_cipher ciphers[] = {WW_SEAL_CIPHER_AES256_GCM,
                                                  WW_SEAL_CIPHER_CHACHA20_POLY1305};
    /* No data, less than a chunk, whole chunks, a rest. */
    static const unsigned sizes[] = {0, 1, 63, 64, 65, 640, 1000};
    (void)state;
    for (unsigned c = 0; c < 2; c++) {
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            struct fx *f = fx_new(sizes[s]);
            struct ww_error err = {0};
            fx_seal_as(f, f->model, f->sealed, 2, ciphers[c]);
            OK(fx_unseal(f, s % 2, &err));
            check_back(f);
            fx_free(f);
        }
    }
}

static void a_file_comes_through_a_pipe(void **state)
{
    struct fx *f = fx_new(1000);
    struct ww_error err = {0};
    static const char *const names[] = {SHARD_1, SHARD_2, "model.sig"};
    struct ww_buf got;
    struct ww_buf want;
    (void)state;
    fx_seal(f);
    for (unsigned i = 0; i < 3; i++) {
        OK(fx_pipe(f, names[i], &got, &err));
        get_file(in(f->model, names[i]), &want);
        assert_int_equal(got.len, want.len);
        assert_memory_equal(got.data, want.data, want.len);
        ww_buf_release(&got);
        ww_buf_release(&want);
    }
    FAILS(fx_pipe(f, "config.json", &got, &err), WW_E_NOTFOUND);
    ww_buf_release(&got);
    fx_free(f);
}

static bool holds(const char *path, const void *bytes, size_t n)
{
    struct ww_buf buf;
    get_file(path, &buf);
    bool found = buf.len && memmem(buf.data, buf.len, bytes, n);
    ww_buf_release(&buf);
    return found;
}

/* Neither the weights nor a digest of them can be read from the sealed folder. */
static void plaintext_and_its_digests_do_not_show(void **state)
{
    struct fx *f = fx_new(1000);
    struct ww_buf shard;
    uint8_t sha[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
    (void)state;
    fx_seal(f);
    get_file(in(f->model, SHARD_1), &shard);
    ww_sha256_of(shard.data, shard.len, sha);
    ww_hex(hex, sha, sizeof(sha));
    assert_true(holds(in(f->sealed, SHARD_1 ".sealed"), "\"dtype\":\"U8\"", 12));
    assert_false(
        holds(in(f->sealed, SHARD_1 ".sealed"), shard.data + shard.len - 64, 16));
    assert_false(holds(in(f->sealed, SHARD_1 ".sealed"), sha, 8));
    assert_false(holds(in(f->sealed, "sealed.json"), hex, 16));
    assert_false(
        holds(in(f->sealed, "attestations/source/model.sig.sealed"), "evidence", 8));
    assert_false(there(in(f->sealed, SHARD_1)));
    assert_false(there(in(f->sealed, "model.sig")));
    ww_buf_release(&shard);
    fx_free(f);
}

static void a_stranger_is_told_and_gets_nothing(void **state)
{
    struct fx *f = fx_new(100);
    struct ww_error err = {0};
    const struct ww_unsealer nothing = {NULL, NULL, NULL};
    struct ww_seal_report report;
    (void)state;
    fx_seal(f);
    FAILS(fx_unseal(f, 2, &err), WW_E_NOT_FOR_YOU);
    ww_error_clear(&err);
    FAILS(ww_unseal_folder(f->sealed, f->back, &nothing, NULL, &report, &err),
          WW_E_PASSPHRASE);
    assert_false(there(f->back));
    assert_false(there(in(f->dir, "back.partial")));
    fx_free(f);
}

static struct ww_secret *text_secret(const char *text)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    OK(ww_secret_new(strlen(text), &secret, &err));
    memcpy(ww_secret_open(secret), text, strlen(text));
    ww_secret_close(secret);
    return secret;
}

static void a_passphrase_opens_what_it_sealed(void **state)
{
    struct fx *f = fx_new(300);
    struct ww_error err = {0};
    struct ww_seal_options options = {.sealer = {text_secret("open sesame"), NULL, 0}};
    struct ww_secret *wrong = text_secret("open barley");
    struct ww_seal_report report;
    struct ww_unsealer unsealer = {wrong, NULL, NULL};
    (void)state;
    OK(ww_seal_folder_at(f->model, f->sealed, &options, 64, &cheap, &report, &err));
    assert_int_equal(report.recipients, 0);
    assert_int_equal(report.files, 3);
    ww_seal_report_release(&report);
    FAILS(ww_unseal_folder(f->sealed, f->back, &unsealer, NULL, &report, &err),
          WW_E_PASSPHRASE);
    unsealer.passphrase = options.sealer.passphrase;
    OK(ww_unseal_folder(f->sealed, f->back, &unsealer, NULL, &report, &err));
    ww_seal_report_release(&report);
    check_back(f);
    ww_secret_free(wrong);
    ww_secret_free(options.sealer.passphrase);
    fx_free(f);
}

static void two_seals_of_one_model_share_no_byte_of_ciphertext(void **state)
{
    struct fx *f = fx_new(1000);
    struct ww_buf a;
    struct ww_buf b;
    (void)state;
    fx_seal(f);
    char again[300];
    snprintf(again, sizeof(again), "%s/again", f->dir);
    fx_seal_as(f, f->model, again, 2, WW_SEAL_CIPHER_BEST);
    get_file(in(f->sealed, SHARD_1 ".sealed"), &a);
    get_file(in(again, SHARD_1 ".sealed"), &b);
    assert_int_equal(a.len, b.len);
    for (size_t i = a.len - 1000; i + 16 <= a.len; i += 16) {
        assert_memory_not_equal(a.data + i, b.data + i, 16);
    }
    ww_buf_release(&a);
    ww_buf_release(&b);
    fx_free(f);
}

static void impossible_requests_write_nothing(void **state)
{
    struct fx *f = fx_new(100);
    struct ww_error err = {0};
    struct ww_seal_report report;
    const char *const to[] = {f->pubs[0]};
    struct ww_seal_options options = {0};
    (void)state;
    FAILS(ww_seal_folder(f->model, f->sealed, &options, &report, &err), WW_E_USAGE);
    options.sealer = (struct ww_sealer){NULL, to, 1};
    options.run.resume = true;
    FAILS(ww_seal_folder(f->model, f->sealed, &options, &report, &err), WW_E_USAGE);
    options.run.resume = false;
    FAILS(ww_seal_folder(f->model, in(f->model, "x"), &options, &report, &err),
          WW_E_USAGE);
    FAILS(ww_seal_folder(f->model, f->model, &options, &report, &err), WW_E_EXISTS);
    put_text(in(f->model, "sealed.json"), "mine");
    FAILS(ww_seal_folder(f->model, f->sealed, &options, &report, &err), WW_E_UNSUPPORTED);
    assert_int_equal(unlink(in(f->model, "sealed.json")), 0);
    put_text(in(f->model, SHARD_1 ".sealed"), "mine");
    FAILS(ww_seal_folder(f->model, f->sealed, &options, &report, &err), WW_E_UNSUPPORTED);
    assert_int_equal(unlink(in(f->model, SHARD_1 ".sealed")), 0);
    assert_false(there(f->sealed));
    assert_false(there(in(f->dir, "sealed.partial")));
    fx_seal(f);
    FAILS(ww_seal_folder(f->sealed, f->back, &options, &report, &err), WW_E_UNSUPPORTED);
    assert_false(ww_folder_is_sealed(f->model));
    assert_true(ww_folder_is_sealed(f->sealed));
    fx_free(f);
}

static void a_file_that_came_later_is_named(void **state)
{
    struct fx *f = fx_new(100);
    struct ww_error err = {0};
    const struct ww_unsealer unsealer = {NULL, f->keys[0], NULL};
    struct ww_seal_report report;
    (void)state;
    fx_seal(f);
    put_text(in(f->sealed, "NOTES.md"), "later");
    OK(ww_unseal_folder(f->sealed, f->back, &unsealer, NULL, &report, &err));
    assert_int_equal(report.n_warnings, 1);
    assert_non_null(strstr(report.warnings[0], "NOTES.md"));
    assert_false(there(in(f->back, "NOTES.md")));
    ww_seal_report_release(&report);
    fx_free(f);
}

static int stop_at_once(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (void)payload;
    (void)phase;
    (void)done;
    (void)total;
    return 1;
}

/* Whatever fails, there is no folder, and nothing that opens. */
static void a_failed_run_leaves_nothing_that_opens(void **state)
{
    struct fx *f = fx_new(500);
    const char *const to[] = {f->pubs[0]};
    const struct ww_seal_options options = {
        .sealer = {NULL, to, 1}, .run = {.threads = 1, .memory_bytes = 1 << 24}};
    unsigned n_failed = 0;
    (void)state;
    for (unsigned long n = 1; n < 200; n++) {
        struct ww_error err = {0};
        struct ww_seal_report report;
        ww_fault_arm(WW_FAULT_ALLOC, n);
        enum ww_err rc =
            ww_seal_folder_at(f->model, f->sealed, &options, 64, &cheap, &report, &err);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        if (rc == WW_OK) {
            ww_seal_report_release(&report);
            break;
        }
        assert_int_equal(rc, WW_E_NOMEM);
        assert_false(there(f->sealed));
        assert_false(there(in(f->dir, "sealed.partial")));
        n_failed++;
    }
    assert_true(n_failed > 20);
    fx_free(f);
}

static void an_interrupt_ends_a_pipe(void **state)
{
    struct fx *f = fx_new(100);
    const struct ww_unsealer unsealer = {NULL, f->keys[0], NULL};
    const struct ww_run_options run = {.progress = stop_at_once};
    struct ww_error err = {0};
    struct ww_seal_report report;
    struct ww_buf got;
    (void)state;
    fx_seal(f);
    ww_buf_init(&got, 10); /* what takes the bytes fails */
    enum ww_err rc =
        ww_unseal_file(f->sealed, SHARD_1, &unsealer, &run, collect, &got, &report, &err);
    assert_int_equal(rc, WW_E_LIMIT);
    ww_buf_release(&got);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_recipient_gets_every_byte_back),
        cmocka_unit_test(a_file_comes_through_a_pipe),
        cmocka_unit_test(plaintext_and_its_digests_do_not_show),
        cmocka_unit_test(a_stranger_is_told_and_gets_nothing),
        cmocka_unit_test(a_passphrase_opens_what_it_sealed),
        cmocka_unit_test(two_seals_of_one_model_share_no_byte_of_ciphertext),
        cmocka_unit_test(impossible_requests_write_nothing),
        cmocka_unit_test(a_file_that_came_later_is_named),
        cmocka_unit_test(a_failed_run_leaves_nothing_that_opens),
        cmocka_unit_test(an_interrupt_ends_a_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
