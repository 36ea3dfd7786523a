/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/chain.h"

#include "../sign/signed_folder.h"

#define TENSORS WW_TENSORS_FILE

static struct ww_chain_report report;

static enum ww_err walk(struct signed_folder *f)
{
    const char *keys[] = {f->public_key};
    const struct ww_chain_options options = {
        .keys = keys, .n_keys = 1, .run = {.threads = 1}};

    ww_chain_report_release(&report);
    ww_error_clear(&f->err);
    return ww_verify_chain(f->demo, &options, &report, &f->err);
}

static void make_origin(struct signed_folder *f)
{
    f->sign.tensors = true;
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, ww_origin_state(f->demo, &f->signer, false, &f->err), WW_OK);
}

static void an_origin_is_a_chain_of_one(void **state)
{
    struct signed_folder *f = *state;

    make_origin(f);
    CODE(f, walk(f), WW_OK);
    assert_int_equal(report.n_links, 1);
    assert_string_equal(report.links[0].action, "origin");
    assert_string_equal(report.links[0].root_sha256, report.model.root_sha256);
    assert_string_equal(report.links[0].tensor_root, report.model.tensor_root);
    assert_int_equal(report.n_not_checked, 0);
    CODE(f, ww_origin_state(f->demo, &f->signer, false, &f->err), WW_E_EXISTS);
    CODE(f, ww_origin_state(f->demo, &f->signer, true, &f->err), WW_OK);
}

static void load(struct signed_folder *f, const char *name, struct ww_buf *text)
{
    struct ww_error err = {0};
    char *path = path_in(f->demo, name);

    ww_buf_init(text, 1 << 20);
    OK(ww_file_read(path, text, &err));
    ww_free(path);
}

static bool accepted(const struct ww_chain_keys *keys, const struct ww_buf *text,
                     enum ww_evidence_kind kind)
{
    struct ww_error err = {0};
    struct ww_chain_evidence evidence;
    const enum ww_err rc = ww_chain_evidence_open(keys, text, kind, &evidence, &err);

    assert_true(rc == WW_OK || err.text[0]);
    ww_chain_evidence_release(&evidence);
    return rc == WW_OK;
}

/* An ancestor's file with one bit changed would not even have its name; the model's own
 * has no name of that kind, so the signature must tell. */
static void every_bit_and_every_length(const struct ww_chain_keys *keys,
                                       struct ww_buf *text, enum ww_evidence_kind kind)
{
    const size_t len = text->len;

    assert_true(accepted(keys, text, kind));
    for (size_t bit = 0; bit < 8 * len; bit++) {
        text->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (accepted(keys, text, kind)) {
            fail_msg("bit %zu of byte %zu changed and accepted", bit % 8, bit / 8);
        }
        text->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (text->len = 0; text->len < len; text->len++) {
        assert_false(accepted(keys, text, kind));
    }
}

static void every_bit_of_provenance_and_signature_counts(void **state)
{
    struct signed_folder *f = *state;
    struct ww_error err = {0};
    const char *paths[] = {f->public_key};
    struct ww_chain_keys keys;
    struct ww_buf text;

    make_origin(f);
    const struct ww_chain_options options = {.keys = paths, .n_keys = 1};
    OK(ww_chain_keys_open(&options, &keys, &err));
    load(f, WW_PROVENANCE_FILE, &text);
    every_bit_and_every_length(&keys, &text, WW_EVIDENCE_PROVENANCE);
    ww_buf_release(&text);
    load(f, WW_SIGNATURE_FILE, &text);
    every_bit_and_every_length(&keys, &text, WW_EVIDENCE_SIGNATURE);
    ww_buf_release(&text);
    ww_chain_keys_release(&keys);
}

/* Without the syncs of a durable write: thousands of them take minutes. */
static void write_quickly(const struct signed_folder *f, const char *name,
                          const uint8_t *bytes, size_t len)
{
    char *path = path_in(f->demo, name);
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    ww_free(path);
}

/* In the folder, where the walk reads it: one bit of each byte, and each fifth length. */
static void every_byte_of_the_tensor_statement_counts(void **state)
{
    struct signed_folder *f = *state;
    struct ww_buf text;

    make_origin(f);
    load(f, TENSORS, &text);
    for (size_t i = 0; i < text.len; i++) {
        text.data[i] ^= (uint8_t)(1u << i % 7);
        write_quickly(f, TENSORS, text.data, text.len);
        if (walk(f) == WW_OK) {
            fail_msg("byte %zu changed and accepted", i);
        }
        text.data[i] ^= (uint8_t)(1u << i % 7);
    }
    for (size_t n = 0; n < text.len; n += 5) {
        write_quickly(f, TENSORS, text.data, n);
        assert_int_not_equal(walk(f), WW_OK);
    }
    write_quickly(f, TENSORS, text.data, text.len);
    CODE(f, walk(f), WW_OK);
    ww_buf_release(&text);
}

static void a_folder_without_provenance_is_a_root_that_is_noted(void **state)
{
    struct signed_folder *f = *state;

    CODE(f, walk(f), WW_E_NOT_SIGNED);
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, walk(f), WW_OK);
    assert_string_equal(report.links[0].action, "signed");
    assert_true(any_has(report.not_checked, report.n_not_checked, "origin of 'demo'"));
    write_text(f->demo, WW_PROVENANCE_PLAIN_FILE, "{}");
    CODE(f, walk(f), WW_E_NOT_SIGNED);
}

static void files_that_changed_since_are_refused(void **state)
{
    struct signed_folder *f = *state;

    make_origin(f);
    write_text(f->demo, "config.json", "{ }");
    CODE(f, walk(f), WW_E_TAMPERED);
    /* signed anew, but its provenance speaks of what it was */
    f->sign.replace = true;
    CODE(f, sign_demo(f, NULL), WW_OK);
    CODE(f, walk(f), WW_E_WRONG_MODEL);
    CODE(f, ww_origin_state(f->demo, &f->signer, true, &f->err), WW_OK);
    CODE(f, walk(f), WW_OK);
}

/* What a source's evidence says against what was used of it. */
static enum ww_err match(const char *files, const struct ww_chain_evidence *e,
                         bool has_tree, struct ww_notes *notes, struct ww_error *err)
{
    struct ww_json *json = NULL;
    struct ww_provenance_link used = {.name = "s", .has_tree = has_tree, .tree = {9}};
    enum ww_err rc = WW_OK;

    ww_error_clear(err);
    assert_int_equal(ww_json_parse((const uint8_t *)files, strlen(files),
                                   &ww_json_limits_small, &json, err),
                     WW_OK);
    used.files = ww_json_root(json);
    rc = ww_chain_match(&used, e, notes, err);
    ww_json_free(json);
    return rc;
}

#define HEX_AB "abababababababababababababababababababababababababababababababab"
#define FILE_AB(name) "{\"name\":\"" name "\",\"digest\":{\"sha256\":\"" HEX_AB "\"}}"

static void evidence_must_speak_of_what_was_used(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_notes notes = {0};
    struct ww_resource files[] = {{"a.json", {0}}, {"m.safetensors", {0}}};
    struct ww_chain_evidence e = {.kind = WW_EVIDENCE_PROVENANCE,
                                  .provenance = {.files = files, .n_files = 2}};

    memset(files[0].sha256, 0xcd, WW_SHA256_BYTES);
    memset(files[1].sha256, 0xab, WW_SHA256_BYTES);
    OK(match("[" FILE_AB("m.safetensors") "]", &e, true, &notes, &err));
    assert_int_equal(notes.list.n, 0);
    FAILS(match("[" FILE_AB("a.json") "]", &e, false, &notes, &err), WW_E_WRONG_MODEL);
    FAILS(match("[" FILE_AB("n.safetensors") "]", &e, false, &notes, &err),
          WW_E_WRONG_MODEL);
    OK(match("[" FILE_AB("other.json") "]", &e, false, &notes, &err));
    assert_int_equal(notes.list.n, 1);
    e.provenance.has_tree = true;
    FAILS(match("[" FILE_AB("m.safetensors") "]", &e, true, &notes, &err),
          WW_E_WRONG_MODEL);
    ww_notes_release(&notes);
}

/* A source that its publisher signed without a key, by a bundle of a public release. */
static void a_keyless_signature_is_evidence_under_its_identity(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_chain_options options = {
        .trusted_root = WW_VECTORS "/oms/cases-keyless/trusted_root.json",
        .identity = "stefanb@us.ibm.com",
        .identity_provider = "https://sigstore.verify.ibm.com/oauth2"};
    struct ww_chain_evidence e;
    struct ww_chain_keys keys;
    struct ww_buf text;

    ww_buf_init(&text, 1 << 20);
    OK(ww_file_read(WW_VECTORS "/oms/cases-keyless/historical-v1.1.0-sigstore/bundle.sig",
                    &text, &err));
    OK(ww_chain_keys_open(&options, &keys, &err));
    OK(ww_chain_evidence_open(&keys, &text, WW_EVIDENCE_SIGNATURE, &e, &err));
    assert_string_equal(e.hint, "");
    assert_non_null(strstr(e.signer, "stefanb"));
    assert_true(e.signature.n_resources > 0);
    ww_chain_evidence_release(&e);
    ww_chain_keys_release(&keys);

    options.identity = "somebody@else.example";
    OK(ww_chain_keys_open(&options, &keys, &err));
    FAILS(ww_chain_evidence_open(&keys, &text, WW_EVIDENCE_SIGNATURE, &e, &err),
          WW_E_UNTRUSTED);
    ww_chain_keys_release(&keys);
    ww_buf_release(&text);
}

static int leave(void **state)
{
    ww_chain_report_release(&report);
    return tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_origin_is_a_chain_of_one, set_up, leave),
        cmocka_unit_test_setup_teardown(every_bit_of_provenance_and_signature_counts,
                                        set_up, leave),
        cmocka_unit_test_setup_teardown(every_byte_of_the_tensor_statement_counts, set_up,
                                        leave),
        cmocka_unit_test_setup_teardown(
            a_folder_without_provenance_is_a_root_that_is_noted, set_up, leave),
        cmocka_unit_test_setup_teardown(files_that_changed_since_are_refused, set_up,
                                        leave),
        cmocka_unit_test(evidence_must_speak_of_what_was_used),
        cmocka_unit_test(a_keyless_signature_is_evidence_under_its_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
