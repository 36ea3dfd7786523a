/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/bom.h"

#include "../sign/signed_folder.h"
#include "sign/tensors.h"
#include "util/fail.h"
#include "ww_changes.h"

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

/* A reader with its keys, and where it looks for the file. */
struct reader {
    const struct ww_chain_keys *keys;
    enum ww_evidence_kind kind;
    int dirfd;
    char *path;
};

static bool accepts_evidence(void *payload, const uint8_t *bytes, size_t len)
{
    const struct reader *r = payload;
    struct ww_error err = {0};
    struct ww_chain_evidence evidence;
    const struct ww_buf text = {.data = (uint8_t *)(uintptr_t)bytes, .len = len};
    const enum ww_err rc =
        ww_chain_evidence_open(r->keys, &text, r->kind, &evidence, &err);

    assert_true(rc == WW_OK || err.text[0]);
    ww_chain_evidence_release(&evidence);
    return rc == WW_OK;
}

/* An ancestor's file with one bit changed would not even have its name; the model's own
 * has no name of that kind, so the signature must tell. */
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
    struct reader reader = {.keys = &keys, .kind = WW_EVIDENCE_PROVENANCE};
    load(f, WW_PROVENANCE_FILE, &text);
    refuses_every_change(accepts_evidence, &reader, text.data, text.len);
    ww_buf_release(&text);
    reader.kind = WW_EVIDENCE_SIGNATURE;
    load(f, WW_SIGNATURE_FILE, &text);
    refuses_every_change(accepts_evidence, &reader, text.data, text.len);
    ww_buf_release(&text);
    ww_chain_keys_release(&keys);
}

static bool accepts_tensors(void *payload, const uint8_t *bytes, size_t len)
{
    const struct reader *r = payload;
    struct ww_error err = {0};
    struct ww_tensor_statement statement = {0};

    write_quickly(r->path, bytes, len);
    const enum ww_err rc =
        ww_tensors_read_by(r->dirfd, &r->keys->items[0], NULL, &statement, &err);
    ww_tensors_release(&statement);
    return rc == WW_OK;
}

static bool accepts_bom(void *payload, const uint8_t *bytes, size_t len)
{
    const struct reader *r = payload;
    struct ww_error err = {0};
    bool found = false;

    write_quickly(r->path, bytes, len);
    return ww_bom_check(r->dirfd, r->keys, &report, &found, &err) == WW_OK && found;
}

static void every_bit_of_what_lies_beside_counts(void **state)
{
    struct signed_folder *f = *state;
    struct ww_error err = {0};
    const char *paths[] = {f->public_key};
    struct reader reader = {.dirfd = -1};
    struct ww_chain_keys keys;
    const struct {
        const char *name;
        ww_accepts_fn accepts;
    } files[] = {{TENSORS, accepts_tensors}, {WW_BOM_SIGNED_FILE, accepts_bom}};

    make_origin(f);
    const struct ww_chain_options options = {.keys = paths, .n_keys = 1};
    OK(ww_chain_keys_open(&options, &keys, &err));
    OK(ww_bom_attach(f->demo, &f->signer, &err));
    CODE(f, walk(f), WW_OK);
    OK(ww_dir_open(f->demo, &reader.dirfd, &err));
    reader.keys = &keys;
    for (size_t i = 0; i < WW_LEN(files); i++) {
        struct ww_buf text;
        load(f, files[i].name, &text);
        reader.path = path_in(f->demo, files[i].name);
        refuses_every_change(files[i].accepts, &reader, text.data, text.len);
        write_quickly(reader.path, text.data, text.len);
        ww_free(reader.path);
        ww_buf_release(&text);
    }
    CODE(f, walk(f), WW_OK);
    close(reader.dirfd);
    ww_chain_keys_release(&keys);
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
    struct ww_chain_evidence e = {
        .kind = WW_EVIDENCE_PROVENANCE,
        .provenance = {.action = "merge", .files = files, .n_files = 2}};

    memset(files[0].sha256, 0xcd, WW_SHA256_BYTES);
    memset(files[1].sha256, 0xab, WW_SHA256_BYTES);
    OK(match("[" FILE_AB("m.safetensors") "]", &e, true, &notes, &err));
    assert_int_equal(notes.list.n, 0);
    FAILS(match("[" FILE_AB("a.json") "]", &e, false, &notes, &err), WW_E_WRONG_MODEL);
    FAILS(match("[" FILE_AB("n.safetensors") "]", &e, false, &notes, &err),
          WW_E_WRONG_MODEL);
    OK(match("[" FILE_AB("other.json") "]", &e, false, &notes, &err));
    assert_int_equal(notes.list.n, 1);
    e.provenance.action = "pack"; /* sections have names of members */
    FAILS(match("[" FILE_AB("member") "]", &e, false, &notes, &err), WW_E_WRONG_MODEL);
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

    options = (struct ww_chain_options){0};
    FAILS(ww_chain_keys_open(&options, &keys, &err), WW_E_USAGE);
}

/* Of a chain of two: the licence of the first, the name of the second. */
static void serial_of(const char *license, char *name, char out[WW_BOM_SERIAL_BYTES])
{
    struct ww_error err = {0};
    struct ww_chain_link links[2] = {{.name = (char[]){"m"}}, {.name = name}};
    const struct ww_chain_report chain = {.links = links, .n_links = 2};

    snprintf(links[0].license, sizeof(links[0].license), "%s", license);
    OK(ww_bom_serial(&chain, out, &err));
}

static void serials_of_unlike_chains_differ(void **state)
{
    char first[WW_BOM_SERIAL_BYTES];
    char again[WW_BOM_SERIAL_BYTES];
    char other[WW_BOM_SERIAL_BYTES];
    (void)state;

    serial_of("mi", (char[]){"tb"}, first);
    serial_of("mi", (char[]){"tb"}, again);
    assert_string_equal(first, again);
    assert_int_equal(first[23], '8'); /* the version of the UUID */
    serial_of("mit", (char[]){"b"}, other);
    assert_string_not_equal(first, other);
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
        cmocka_unit_test_setup_teardown(every_bit_of_what_lies_beside_counts, set_up,
                                        leave),
        cmocka_unit_test_setup_teardown(
            a_folder_without_provenance_is_a_root_that_is_noted, set_up, leave),
        cmocka_unit_test_setup_teardown(files_that_changed_since_are_refused, set_up,
                                        leave),
        cmocka_unit_test(evidence_must_speak_of_what_was_used),
        cmocka_unit_test(a_keyless_signature_is_evidence_under_its_identity),
        cmocka_unit_test(serials_of_unlike_chains_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
