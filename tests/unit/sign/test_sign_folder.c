/* SPDX-License-Identifier: Apache-2.0 */
#include "signed_folder.h"

#include "crypto/base64.h"
#include "json/json.h"
#include "util/fault.h"

static void report_and_statement_are_those_of_the_worked_example(void **state)
{
    struct signed_folder *f = *state;
    struct ww_sign_report report;
    struct ww_error err = {0};
    struct ww_json *json = NULL;
    struct ww_buf payload;
    const char *base64 = NULL;

    CODE(f, sign_demo(f, &report), WW_OK);
    assert_int_equal(report.files, 2);
    assert_int_equal(report.bytes, 70);
    assert_string_equal(report.root_sha256, DEMO_ROOT);
    assert_int_equal(strlen(report.hint), 64);

    char *path = path_in(f->demo, "model.sig");
    char *text = read_text(path);
    OK(ww_json_parse((uint8_t *)text, strlen(text), &ww_json_limits_bundle, &json, &err));
    assert_true(ww_jstr(ww_jget(ww_jget(ww_json_root(json), "dsseEnvelope"), "payload"),
                        &base64));
    ww_buf_init(&payload, 4096);
    OK(ww_base64_decode(&payload, base64, strlen(base64), &err));
    assert_string_equal(ww_buf_cstr(&payload), DEMO_STATEMENT);
    ww_buf_release(&payload);
    ww_json_free(json);
    ww_free(text);
    ww_free(path);
}

static void what_was_signed_verifies(void **state)
{
    struct signed_folder *f = *state;

    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.files_checked, 2);
    assert_int_equal(f->report.bytes_checked, 70);
    assert_int_equal(f->report.tensors_checked, 0);
    assert_string_equal(f->report.root_sha256, DEMO_ROOT);
    assert_int_equal(f->report.n_not_checked, 0);
    assert_non_null(strstr(f->report.signer, "(P-256)"));
    assert_false(f->report.locked);
}

static void an_existing_signature_is_kept_unless_told(void **state)
{
    struct signed_folder *f = *state;

    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, sign_demo(f, NULL), WW_E_EXISTS);
    f->sign.replace = true;
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.files_checked, 2);
}

static void links_and_special_files_are_not_signed(void **state)
{
    struct signed_folder *f = *state;
    char *link = path_in(f->demo, "link.json");
    char *folder_link = path_in(f->demo, "sub");
    char *fifo = path_in(f->demo, "fifo");

    assert_int_equal(symlink("config.json", link), 0);
    CODE(f, sign_demo(f, NULL), WW_E_PATH);
    assert_non_null(strstr(f->err.text, "link.json"));
    assert_non_null(strstr(f->err.text, "symbolic link"));
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink("..", folder_link), 0);
    CODE(f, sign_demo(f, NULL), WW_E_PATH);
    assert_int_equal(unlink(folder_link), 0);
    assert_int_equal(mkfifo(fifo, 0644), 0);
    CODE(f, sign_demo(f, NULL), WW_E_PATH);
    assert_non_null(strstr(f->err.text, "FIFO"));
    assert_false(exists_in(f->demo, "model.sig"));
    ww_free(link);
    ww_free(folder_link);
    ww_free(fifo);
}

static void an_ignored_link_does_not_matter(void **state)
{
    struct signed_folder *f = *state;
    static const char *const ignored[] = {"link.json"};
    char *link = path_in(f->demo, "link.json");

    assert_int_equal(symlink("/etc/passwd", link), 0);
    f->sign.ignore_paths = ignored;
    f->sign.n_ignore_paths = 1;
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_true(noted(f, "'link.json' is left out"));
    ww_free(link);
}

static void a_folder_without_files_is_not_signed(void **state)
{
    struct signed_folder *f = *state;

    remove_file(f->demo, "config.json");
    remove_file(f->demo, "model.safetensors");
    write_text(f->demo, ".gitignore", "x");
    write_text(f->demo, "attestations/a", "x");
    CODE(f, sign_demo(f, NULL), WW_E_MALFORMED);
}

static void a_lone_file_is_not_signed(void **state)
{
    struct signed_folder *f = *state;
    struct ww_sign_report report;
    char *path = path_in(f->demo, "model.safetensors");

    ww_error_clear(&f->err);
    CODE(f, ww_sign_folder(path, &f->signer, &f->sign, &report, &f->err), WW_E_USAGE);
    ww_free(path);
}

static void names_that_cannot_be_stated_are_refused(void **state)
{
    struct signed_folder *f = *state;
    char *bad = path_in(f->demo, "a\nb");
    int fd = open(bad, O_CREAT | O_WRONLY, 0644);

    assert_true(fd >= 0);
    close(fd);
    CODE(f, sign_demo(f, NULL), WW_E_PATH);
    ww_free(bad);
}

static void odd_names_survive(void **state)
{
    struct signed_folder *f = *state;

    write_text(f->demo, "sub/deep/\xc3\xa9 \"q\" \\ *?[x]", "1");
    write_text(f->demo, "-rf", "2");
    write_text(f->demo, "a.txt", "3");
    write_text(f->demo, "a/b.txt", "");
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.files_checked, 6);
}

static void ignored_paths_are_left_out_and_reported(void **state)
{
    struct signed_folder *f = *state;
    static const char *const ignored[] = {"cache/", "notes.txt"};

    write_text(f->demo, "cache/a", "1");
    write_text(f->demo, "cache2", "2");
    write_text(f->demo, ".git/HEAD", "3");
    f->sign.ignore_paths = ignored;
    f->sign.n_ignore_paths = 2;
    CODE(f, sign_demo(f, NULL), WW_OK);
    write_text(f->demo, "notes.txt", "new");
    write_text(f->demo, "cache/b", "new");
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.files_checked, 3);
    assert_true(noted(f, "'cache'"));
    assert_true(noted(f, "'notes.txt'"));
    assert_true(noted(f, "'.git'"));
    write_text(f->demo, "cache2", "changed");
    CODE(f, verify_demo(f), WW_E_TAMPERED);
}

static void patterns_and_foreign_paths_are_no_ignore_paths(void **state)
{
    struct signed_folder *f = *state;
    static const char *const bad[] = {"*.py", "a?", "[x]", "../x", "/etc", ".", ""};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        f->sign.ignore_paths = &bad[i];
        f->sign.n_ignore_paths = 1;
        CODE(f, sign_demo(f, NULL), WW_E_USAGE);
    }
}

static void the_signature_may_lie_elsewhere(void **state)
{
    struct signed_folder *f = *state;
    char *outside = path_in(f->root, "demo.sig");
    char *inside = path_in(f->demo, "sub/own.sig");

    f->sign.signature = outside;
    f->verify.signature = outside;
    CODE(f, sign_demo(f, NULL), WW_OK);
    assert_false(exists_in(f->demo, "model.sig"));
    CODE(f, verify_demo(f), WW_OK);
    write_text(f->demo, "model.sig", "{}"); /* an ordinary file to this signature */
    CODE(f, verify_demo(f), WW_E_EXTRA_FILE);
    remove_file(f->demo, "model.sig");

    write_text(f->demo, "sub/x", "1");
    f->sign.signature = inside;
    f->verify.signature = inside;
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.files_checked, 3);
    ww_free(outside);
    ww_free(inside);
}

static void a_leftover_of_a_killed_run_is_not_signed(void **state)
{
    struct signed_folder *f = *state;

    write_text(f->demo, "model.sig.partial", "half");
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.files_checked, 2);
}

/* Fail the n-th call of a kind for every n. What is left either verifies or is no
 * signature, and the next run is not in the way of itself. */
static void torture(struct signed_folder *f, enum ww_fault kind, unsigned long least)
{
    f->sign.tensors = true;
    f->sign.replace = true;
    for (unsigned long n = 1;; n++) {
        ww_fault_arm(kind, n);
        enum ww_err rc = sign_demo(f, NULL);
        unsigned long seen = ww_fault_seen(kind);
        ww_fault_arm(kind, 0);
        if (seen < n) {
            CODE(f, rc, WW_OK);
            assert_true(n > least);
            CODE(f, verify_demo(f), WW_OK);
            return;
        }
        assert_int_equal(ww_err_class_of(rc), WW_CLASS_SYSTEM);
        assert_false(exists_in(f->demo, "model.sig.partial"));
        if (exists_in(f->demo, "model.sig")) {
            CODE(f, verify_demo(f), WW_OK);
            remove_file(f->demo, "model.sig");
        }
    }
}

static void a_failed_write_leaves_nothing_that_lies(void **state)
{
    torture(*state, WW_FAULT_WRITE, 2);
    torture(*state, WW_FAULT_FSYNC, 4);
    torture(*state, WW_FAULT_RENAME, 2);
}

static void a_failed_read_or_allocation_signs_nothing(void **state)
{
    torture(*state, WW_FAULT_READ, 2);
    torture(*state, WW_FAULT_ALLOC, 50);
}

static void a_missing_folder_is_not_found(void **state)
{
    struct signed_folder *f = *state;
    struct ww_sign_report report;

    ww_error_clear(&f->err);
    CODE(f, ww_sign_folder("/nonexistent/model", &f->signer, &f->sign, &report, &f->err),
         WW_E_NOTFOUND);
}

static char *vector(const char *name)
{
    return path_in(WW_VECTORS "/sign", name);
}

/* Sign with the stored key and a certificate of choice, verify under the stored root. */
static enum ww_err sign_with(struct signed_folder *f, const char *certificate,
                             const char *chain)
{
    struct ww_error err = {0};
    char *stored = vector("leaf.key");
    char *pem = read_text(stored);
    char *key = path_in(f->root, "leaf.key");
    char *leaf = vector(certificate);
    char *above = vector(chain);
    const char *const chain_list[] = {above};

    write_text(f->root, "leaf.key", pem);
    assert_int_equal(chmod(key, 0600), 0);
    ww_signkey_free(f->signer.key);
    f->signer.key = NULL;
    OK(ww_signkey_load(key, NULL, &f->signer.key, &err));
    f->signer.certificate = leaf;
    f->signer.chain = chain_list;
    f->signer.n_chain = 1;
    f->sign.replace = true;
    enum ww_err rc = sign_demo(f, NULL);
    f->signer.certificate = NULL;
    ww_free(stored);
    ww_free(pem);
    ww_free(key);
    ww_free(leaf);
    ww_free(above);
    return rc;
}

static void certificates_sign_and_verify(void **state)
{
    struct signed_folder *f = *state;
    char *root = vector("root.pem");
    char *other = path_in(WW_VECTORS "/oms/cases/certificate-simple", "ca.pem");
    const char *const anchors[] = {root};
    const char *const wrong[] = {other};

    CODE(f, sign_with(f, "leaf.pem", "chain.pem"), WW_OK);
    CODE(f, verify_demo(f), WW_E_UNTRUSTED); /* a key where a certificate is asked for */
    f->verify.method = WW_VERIFY_CERTIFICATE;
    f->verify.chain = anchors;
    f->verify.n_chain = 1;
    CODE(f, verify_demo(f), WW_OK);
    assert_string_equal(f->report.signer, "CN=test signer");
    f->verify.at_unix = 4102444800 + 86400 * 365 * 25; /* 2125 */
    CODE(f, verify_demo(f), WW_E_EXPIRED);
    f->verify.at_unix = 0;
    f->verify.chain = wrong;
    CODE(f, verify_demo(f), WW_E_UNTRUSTED);
    ww_free(root);
    ww_free(other);
}

static void certificates_that_nobody_would_accept_do_not_sign(void **state)
{
    struct signed_folder *f = *state;

    CODE(f, sign_with(f, "expired.pem", "chain.pem"), WW_E_EXPIRED);
    CODE(f, sign_with(f, "other.pem", "chain.pem"), WW_E_KEY);
    CODE(f, sign_with(f, "leaf.pem", "root.pem"),
         WW_E_UNTRUSTED);                                         /* a gap in the chain */
    CODE(f, sign_with(f, "chain.pem", "root.pem"), WW_E_KEYFILE); /* not one leaf */
    CODE(f, sign_with(f, "leaf.key", "chain.pem"), WW_E_KEYFILE);
    CODE(f, sign_with(f, "nothing.pem", "chain.pem"), WW_E_NOTFOUND);
    assert_false(exists_in(f->demo, "model.sig"));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(report_and_statement_are_those_of_the_worked_example),
        EACH(what_was_signed_verifies),
        EACH(an_existing_signature_is_kept_unless_told),
        EACH(links_and_special_files_are_not_signed),
        EACH(an_ignored_link_does_not_matter),
        EACH(a_folder_without_files_is_not_signed),
        EACH(a_lone_file_is_not_signed),
        EACH(names_that_cannot_be_stated_are_refused),
        EACH(odd_names_survive),
        EACH(ignored_paths_are_left_out_and_reported),
        EACH(patterns_and_foreign_paths_are_no_ignore_paths),
        EACH(the_signature_may_lie_elsewhere),
        EACH(a_leftover_of_a_killed_run_is_not_signed),
        EACH(a_failed_write_leaves_nothing_that_lies),
        EACH(a_failed_read_or_allocation_signs_nothing),
        EACH(a_missing_folder_is_not_found),
        EACH(certificates_sign_and_verify),
        EACH(certificates_that_nobody_would_accept_do_not_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
