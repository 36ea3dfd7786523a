/* SPDX-License-Identifier: Apache-2.0 */
/* The 110 stored cases cover the format; here are the folder, the report and the tensors.
 */
#include "signed_folder.h"

#include "util/fault.h"
#include "util/str.h"

static void changed_missing_and_added_files_are_told_apart(void **state)
{
    struct signed_folder *f = *state;

    CODE(f, sign_demo(f, NULL), WW_OK);
    write_text(f->demo, "config.json", "[]");
    CODE(f, verify_demo(f), WW_E_TAMPERED);
    assert_non_null(strstr(f->err.text, "config.json"));
    assert_int_equal(f->report.files_checked, 0);
    remove_file(f->demo, "config.json");
    CODE(f, verify_demo(f), WW_E_MISSING_FILE);
    write_text(f->demo, "config.json", "{}");
    CODE(f, verify_demo(f), WW_OK);
    write_text(f->demo, "sub/planted.py", "1");
    CODE(f, verify_demo(f), WW_E_EXTRA_FILE);
    assert_non_null(strstr(f->err.text, "sub/planted.py"));
    f->verify.ignore_unsigned_files = true;
    CODE(f, verify_demo(f), WW_OK);
    assert_true(noted(f, "'sub/planted.py' is not signed"));
    write_text(f->demo, "config.json", "[]");
    CODE(f, verify_demo(f), WW_E_TAMPERED);
}

static void a_path_the_verifier_ignores_must_not_hide_a_change(void **state)
{
    struct signed_folder *f = *state;
    static const char *const ignored[] = {"config.json", "extra"};

    CODE(f, sign_demo(f, NULL), WW_OK);
    write_text(f->demo, "extra/x", "1");
    f->verify.ignore_paths = ignored;
    f->verify.n_ignore_paths = 2;
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.files_checked, 2);
    assert_true(noted(f, "'extra'"));
    write_text(f->demo, "config.json", "[]");
    CODE(f, verify_demo(f), WW_E_TAMPERED);
    remove_file(f->demo, "config.json");
    CODE(f, verify_demo(f), WW_E_MISSING_FILE);
}

static void links_in_place_of_files_and_folders_are_refused(void **state)
{
    struct signed_folder *f = *state;
    char *config = path_in(f->demo, "config.json");
    char *sub = path_in(f->demo, "sub");
    char *extra = path_in(f->demo, "extra");

    write_text(f->demo, "sub/x", "1");
    CODE(f, sign_demo(f, NULL), WW_OK);
    write_text(f->root, "elsewhere", "{}");
    write_text(f->root, "copy/x", "1");
    assert_int_equal(unlink(config), 0);
    assert_int_equal(symlink("../elsewhere", config), 0);
    CODE(f, verify_demo(f), WW_E_TAMPERED);
    assert_non_null(strstr(f->err.text, "symbolic link"));
    assert_int_equal(unlink(config), 0);
    write_text(f->demo, "config.json", "{}");

    remove_file(f->demo, "sub/x");
    assert_int_equal(rmdir(sub), 0);
    assert_int_equal(symlink("../copy", sub), 0);
    CODE(f, verify_demo(f), WW_E_TAMPERED);
    assert_int_equal(unlink(sub), 0);
    write_text(f->demo, "sub/x", "1");

    assert_int_equal(symlink("config.json", extra), 0);
    CODE(f, verify_demo(f), WW_E_EXTRA_FILE);
    f->verify.ignore_unsigned_files = true;
    CODE(f, verify_demo(f), WW_E_EXTRA_FILE);
    ww_free(config);
    ww_free(sub);
    ww_free(extra);
}

static void a_folder_in_place_of_a_file_is_refused(void **state)
{
    struct signed_folder *f = *state;
    char *config = path_in(f->demo, "config.json");

    CODE(f, sign_demo(f, NULL), WW_OK);
    assert_int_equal(unlink(config), 0);
    assert_int_equal(mkdir(config, 0755), 0);
    CODE(f, verify_demo(f), WW_E_TAMPERED);
    assert_non_null(strstr(f->err.text, "folder"));
    ww_free(config);
}

static void modes_are_reported_since_nothing_signs_them(void **state)
{
    struct signed_folder *f = *state;
    char *config = path_in(f->demo, "config.json");

    CODE(f, sign_demo(f, NULL), WW_OK);
    assert_int_equal(chmod(config, 0755), 0);
    CODE(f, verify_demo(f), WW_OK);
    assert_true(noted(f, "mode of 'config.json' is not signed: 0755"));
    assert_int_equal(chmod(config, 04644), 0);
    CODE(f, verify_demo(f), WW_OK);
    assert_true(noted(f, "mode of 'config.json' is not signed: 4644"));
    ww_free(config);
}

static void many_executable_files_are_counted(void **state)
{
    struct signed_folder *f = *state;

    for (int i = 0; i < 12; i++) {
        char *name = ww_asprintf("run%02d", i);
        char *path = path_in(f->demo, name);
        write_text(f->demo, name, "x");
        assert_int_equal(chmod(path, 0755), 0);
        ww_free(name);
        ww_free(path);
    }
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.n_not_checked, 9);
    assert_true(noted(f, "4 more files are executable"));
}

static void an_unreadable_file_is_no_verdict(void **state)
{
    struct signed_folder *f = *state;
    char *config = path_in(f->demo, "config.json");

    CODE(f, sign_demo(f, NULL), WW_OK);
    assert_int_equal(chmod(config, 0), 0);
    if (access(config, R_OK) != 0) { /* the superuser can read everything */
        CODE(f, verify_demo(f), WW_E_IO);
    }
    assert_int_equal(chmod(config, 0644), 0);
    CODE(f, verify_demo(f), WW_OK);
    ww_free(config);
}

static void a_read_error_is_no_verdict(void **state)
{
    struct signed_folder *f = *state;

    CODE(f, sign_demo(f, NULL), WW_OK);
    for (unsigned long n = 1;; n++) {
        ww_fault_arm(WW_FAULT_READ, n);
        enum ww_err rc = verify_demo(f);
        unsigned long seen = ww_fault_seen(WW_FAULT_READ);
        ww_fault_arm(WW_FAULT_READ, 0);
        if (seen < n) {
            assert_int_equal(rc, WW_OK);
            assert_true(n > 3); /* key, bundle, two files */
            return;
        }
        assert_int_equal(ww_err_class_of(rc), WW_CLASS_SYSTEM);
    }
}

static void a_failed_allocation_is_no_verdict(void **state)
{
    struct signed_folder *f = *state;

    f->sign.tensors = true;
    CODE(f, sign_demo(f, NULL), WW_OK);
    for (unsigned long n = 1;; n++) {
        ww_fault_arm(WW_FAULT_ALLOC, n);
        enum ww_err rc = verify_demo(f);
        unsigned long seen = ww_fault_seen(WW_FAULT_ALLOC);
        ww_fault_arm(WW_FAULT_ALLOC, 0);
        if (seen < n) {
            assert_int_equal(rc, WW_OK);
            assert_true(n > 20);
            return;
        }
        CODE(f, rc, WW_E_NOMEM);
    }
}

static void no_signature_and_a_wrong_path_are_told_apart(void **state)
{
    struct signed_folder *f = *state;

    CODE(f, verify_demo(f), WW_E_NOT_SIGNED);
    f->verify.signature = "/nonexistent/model.sig";
    CODE(f, verify_demo(f), WW_E_NOTFOUND);
    f->verify.signature = NULL;
    CODE(f, sign_demo(f, NULL), WW_OK);
    f->verify.public_key = "/nonexistent/key.pub";
    CODE(f, verify_demo(f), WW_E_NOTFOUND);
}

static void another_key_is_refused_before_anything_is_read(void **state)
{
    struct signed_folder *f = *state;
    struct ww_error err = {0};
    char *base = path_in(f->root, "other");
    char *other = path_in(f->root, "other.pub");

    CODE(f, sign_demo(f, NULL), WW_OK);
    OK(ww_signkey_create(base, WW_CURVE_P384, NULL, &err));
    f->verify.public_key = other;
    remove_file(f->demo, "config.json"); /* would be found if files were looked at */
    CODE(f, verify_demo(f), WW_E_UNTRUSTED);
    assert_string_equal(f->report.signer, "");
    ww_free(base);
    ww_free(other);
}

static void no_state_survives_into_the_next_model(void **state)
{
    struct signed_folder *f = *state;
    static const char *const ignored[] = {"planted.py"};

    f->sign.ignore_paths = ignored;
    f->sign.n_ignore_paths = 1;
    CODE(f, sign_demo(f, NULL), WW_OK);
    write_text(f->demo, "planted.py", "1");
    CODE(f, verify_demo(f), WW_OK);
    f->sign.n_ignore_paths = 0;
    f->sign.replace = true;
    remove_file(f->demo, "planted.py");
    CODE(f, sign_demo(f, NULL), WW_OK);
    write_text(f->demo, "planted.py", "1");
    CODE(f, verify_demo(f), WW_E_EXTRA_FILE);
}

static void a_lone_file_finds_its_signature_beside_it(void **state)
{
    struct signed_folder *f = *state;
    char *model =
        path_in(WW_VECTORS "/oms/cases/own-lone-file-dot/model", "model.safetensors");
    char *key = path_in(WW_VECTORS "/oms/cases/own-lone-file-dot", "key.pub");
    char *sig = path_in(WW_VECTORS "/oms/cases/own-lone-file-dot", "bundle.sig");
    char *bytes = read_text(sig);
    char *copy = path_in(f->root, "w.bin");
    struct ww_buf weights;
    struct ww_error err = {0};

    ww_buf_init(&weights, 1 << 20);
    OK(ww_file_read(model, &weights, &err));
    write_bytes(f->root, "w.bin", weights.data, weights.len);
    write_text(f->root, "w.bin.sig", bytes);
    ww_free(f->demo);
    f->demo = copy;
    f->verify.public_key = key;
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.files_checked, 1);
    weights.data[weights.len - 1] ^= 1;
    write_bytes(f->root, "w.bin", weights.data, weights.len);
    CODE(f, verify_demo(f), WW_E_TAMPERED);
    remove_file(f->root, "w.bin.sig");
    CODE(f, verify_demo(f), WW_E_NOT_SIGNED);
    ww_buf_release(&weights);
    ww_free(bytes);
    ww_free(model);
    ww_free(key);
    ww_free(sig);
}

static void tensors_are_signed_and_one_verifies_alone(void **state)
{
    struct signed_folder *f = *state;

    f->verify.tensor = "w";
    CODE(f, verify_demo(f), WW_E_NOT_SIGNED);
    f->sign.tensors = true;
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.tensors_checked, 1);
    assert_int_equal(f->report.files_checked, 0);
    assert_int_equal(f->report.bytes_checked, 4);
    assert_string_equal(
        f->report.tensor_root,
        "07d4fd7f8c2d1279be8f358f8f8cf184462075214864dcb25e2440fccea03f44");
    assert_non_null(strstr(f->report.signer, "key "));
    assert_true(noted(f, "the other 0 tensors and the files"));
    f->verify.tensor = "v";
    CODE(f, verify_demo(f), WW_E_TENSOR);

    char *path = path_in(f->demo, "model.safetensors");
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "\x01", 1, 64), 1);
    close(fd);
    f->verify.tensor = "w";
    CODE(f, verify_demo(f), WW_E_TAMPERED);
    ww_free(path);
}

static void the_tensor_statement_is_looked_at_with_the_folder(void **state)
{
    struct signed_folder *f = *state;
    char *path = path_in(f->demo, WW_TENSORS_FILE);

    f->sign.tensors = true;
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.files_checked, 2);
    assert_true(noted(f, "'attestations' is left out"));
    assert_true(noted(f, "tensor tree: its signature"));
    assert_int_equal(f->report.n_not_checked, 2);
    assert_string_equal(
        f->report.tensor_root,
        "07d4fd7f8c2d1279be8f358f8f8cf184462075214864dcb25e2440fccea03f44");

    char *text = read_text(path);
    text[strlen(text) / 2] ^= 1;
    write_text(f->demo, WW_TENSORS_FILE, text);
    CODE(f, verify_demo(f), WW_OK);
    assert_true(noted(f, "tensor statement and lock are not trusted"));
    assert_string_equal(f->report.tensor_root, "");
    ww_free(text);
    ww_free(path);
}

/* The plain statement of an unsigned lock, over the demo's one tensor. */
#define LOCKED_DEMO                                                                      \
    "{\"subject\":[{\"name\":\"demo\",\"digest\":{\"sha256\":"                           \
    "\"07d4fd7f8c2d1279be8f358f8f"                                                       \
    "8cf184462075214864dcb25e2440fccea03f44\"}}],\"_type\":\"https://in-toto.io/"        \
    "Statement/v1\",\"predicateType\":\"" WW_TENSORS_PREDICATE                           \
    "\",\"predicate\":{\"tensors\":{\"algorithm\":\"sha256-tree\",\"chunk\":1048576,"    \
    "\"count\":1,\"root\":"                                                              \
    "\"07d4fd7f8c2d1279be8f358f8f8cf184462075214864dcb25e2440fccea0"                     \
    "3f44\",\"items\":[{\"name\":\"w\",\"dtype\":\"F32\",\"shape\":[1],\"bytes\":4,"     \
    "\"root\":\"07d4fd7f8c2d1279be8f358f8f8cf184462075214864dcb25e2440fccea03f44\"}]},"  \
    "\"lock\":{\"level\":\"exact\",\"big\":9007199254740991,\"half\":0.5,\"list\":[[],{" \
    "}]}}}"

static void signing_a_locked_folder_keeps_its_lock(void **state)
{
    struct signed_folder *f = *state;

    write_text(f->demo, WW_TENSORS_PLAIN_FILE, LOCKED_DEMO);
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_true(noted(f, "carries no signature"));
    assert_false(f->report.locked);

    f->sign.tensors = true;
    f->sign.replace = true;
    CODE(f, sign_demo(f, NULL), WW_OK);
    assert_false(exists_in(f->demo, WW_TENSORS_PLAIN_FILE));
    CODE(f, verify_demo(f), WW_OK);
    assert_true(f->report.locked);
    CODE(f, sign_demo(f, NULL), WW_OK); /* and from the signed one */
    CODE(f, verify_demo(f), WW_OK);
    assert_true(f->report.locked);

    char *path = path_in(f->demo, "model.safetensors");
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "\x01", 1, 64), 1);
    close(fd);
    CODE(f, sign_demo(f, NULL), WW_E_WRONG_MODEL);
    ww_free(path);
}

static int stop(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase;
    (void)done;
    (void)total;
    (*(int *)payload)++;
    return 1;
}

static void a_caller_can_stop_the_check_of_a_tensor(void **state)
{
    struct signed_folder *f = *state;
    int calls = 0;

    f->sign.tensors = true;
    CODE(f, sign_demo(f, NULL), WW_OK);
    f->verify.tensor = "w";
    f->verify.run.progress = stop;
    f->verify.run.progress_payload = &calls;
    CODE(f, verify_demo(f), WW_E_CANCELLED);
    assert_int_equal(calls, 1);
}

static void a_model_of_many_files_needs_few_descriptors(void **state)
{
    struct signed_folder *f = *state;

    for (int i = 0; i < 400; i++) {
        char *name = ww_asprintf("part-%03d", i);
        write_text(f->demo, name, name);
        ww_free(name);
    }
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, verify_demo(f), WW_OK);
    assert_int_equal(f->report.files_checked, 402);
    write_text(f->demo, "part-399", "other");
    CODE(f, verify_demo(f), WW_E_TAMPERED);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(changed_missing_and_added_files_are_told_apart),
        EACH(a_path_the_verifier_ignores_must_not_hide_a_change),
        EACH(links_in_place_of_files_and_folders_are_refused),
        EACH(a_folder_in_place_of_a_file_is_refused),
        EACH(modes_are_reported_since_nothing_signs_them),
        EACH(many_executable_files_are_counted),
        EACH(an_unreadable_file_is_no_verdict),
        EACH(a_read_error_is_no_verdict),
        EACH(a_failed_allocation_is_no_verdict),
        EACH(no_signature_and_a_wrong_path_are_told_apart),
        EACH(another_key_is_refused_before_anything_is_read),
        EACH(no_state_survives_into_the_next_model),
        EACH(a_lone_file_finds_its_signature_beside_it),
        EACH(tensors_are_signed_and_one_verifies_alone),
        EACH(the_tensor_statement_is_looked_at_with_the_folder),
        EACH(signing_a_locked_folder_keeps_its_lock),
        EACH(a_caller_can_stop_the_check_of_a_tensor),
        EACH(a_model_of_many_files_needs_few_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
