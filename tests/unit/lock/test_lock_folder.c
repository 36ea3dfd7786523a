/* SPDX-License-Identifier: Apache-2.0 */
/* Folders locked and unlocked through the public functions: what comes back, what is
 * refused, what is left behind. */
#include "folder_fixture.h"

#include "weightward/key.h"

static void unlock_gives_every_file_back(void **state)
{
    (void)state;
    for (int scale = 0; scale < 2; scale++) {
        struct folders f;
        folders_init(&f);
        f.options.scale = scale;
        shell("mkdir '%s/extra' && echo hello > '%s/extra/note.txt' && : > '%s/empty'",
              f.model, f.model, f.model);
        must(&f, do_lock(&f), WW_OK);
        assert_int_equal(f.report.tensors_total, 39);
        assert_int_equal(f.report.tensors_changed, 39);
        assert_int_equal(f.report.check.blocks, 4);
        assert_int_equal(f.report.check.linears, 4 * 7 + 2);
        assert_true(f.report.check.max_relative_error > 0);
        assert_true(f.report.check.max_relative_error < 1e-5);
        assert_int_equal(strlen(f.report.lock_id), 64);
        assert_int_equal(strlen(f.report.tensor_root), 64);
        assert_int_equal(strlen(f.report.root_sha256), 0);
        assert_int_equal(f.report.n_blocks, 4);
        char id[65];
        memcpy(id, f.report.lock_id, 65);
        uint8_t a[32], b[32];
        file_digest(f.model, "model.safetensors", a);
        file_digest(f.locked, "model.safetensors", b);
        assert_memory_not_equal(a, b, 32);
        file_digest(f.model, "tokenizer.json", a);
        file_digest(f.locked, "tokenizer.json", b);
        assert_memory_equal(a, b, 32);
        must(&f, do_unlock(&f), WW_OK);
        assert_string_equal(f.report.lock_id, id);
        assert_int_equal(f.report.n_warnings, 0);
        same_folders(f.model, f.back);
        folders_free(&f);
    }
}

/* Experts with tensors of their own trade names, so that sources are read out of order.
 */
static void experts_that_trade_places_come_back(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        struct folders f;
        folders_init(&f);
        f.options.run.threads = threads;
        shell("rm -r '%s' && cp -r '" WW_VECTORS "/forward/mixtral' '%s'", f.model,
              f.model);
        shell("chmod -R u+w '%s'", f.model);
        must(&f, do_lock(&f), WW_OK);
        assert_string_equal(f.report.blocks[0].moved[f.report.blocks[0].n_moved - 1],
                            "experts");
        must(&f, do_unlock(&f), WW_OK);
        same_folders(f.model, f.back);
        folders_free(&f);
    }
}

static void bytes_do_not_depend_on_threads_or_run(void **state)
{
    (void)state;
    static const unsigned threads[] = {1, 2, 3, 8};
    uint8_t first[2][32], next[32];
    char id[65] = "";
    for (size_t i = 0; i < 4; i++) {
        struct folders f;
        folders_init(&f);
        f.options.run.threads = threads[i];
        f.options.run.memory_bytes = i == 1 ? 64 << 20 : 0;
        must(&f, do_lock(&f), WW_OK);
        file_digest(f.locked, "model.safetensors", i ? next : first[0]);
        if (i) {
            assert_memory_equal(next, first[0], 32);
            assert_string_equal(id, f.report.lock_id);
        }
        memcpy(id, f.report.lock_id, 65);
        file_digest(f.locked, WW_TENSORS_PLAIN_FILE, i ? next : first[1]);
        if (i) {
            assert_memory_equal(next, first[1], 32);
        }
        folders_free(&f);
    }
}

static void one_key_moves_siblings_alike(void **state)
{
    (void)state;
    struct folders f, g;
    folders_init(&f);
    folders_init(&g);
    shell("rm -r '%s' && cp -r '" FX_OTHER "' '%s' && chmod -R u+w '%s'", g.model,
          g.model, g.model);
    must(&f, do_lock(&f), WW_OK);
    must(&g, do_lock(&g), WW_OK);
    assert_string_not_equal(f.report.lock_id, g.report.lock_id);
    ww_secret_free(g.secret);
    g.secret = g.options.secret = fx_secret(9);
    ww_test_rmdir(strdup(g.locked));
    uint8_t a[32], b[32];
    file_digest(f.locked, "model.safetensors", a);
    free(f.model);
    f.model = strdup(FX_MODEL);
    ww_test_rmdir(strdup(f.locked));
    ww_secret_free(f.secret);
    f.secret = f.options.secret = fx_secret(9);
    must(&f, do_lock(&f), WW_OK);
    file_digest(f.locked, "model.safetensors", b);
    assert_memory_not_equal(a, b, 32); /* another key, another file */
    folders_free(&f);
    folders_free(&g);
}

static void wrong_key_is_called_so(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    must(&f, do_lock(&f), WW_OK);
    struct ww_secret *other = fx_secret(8);
    f.options.secret = other;
    must(&f, do_unlock(&f), WW_E_WRONG_KEY);
    nothing_at(f.back);
    ww_secret_free(other);
    folders_free(&f);
}

static void changed_weights_are_named(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    must(&f, do_lock(&f), WW_OK);
    poke(f.locked, "model.safetensors", -2, "\x11\x22", 2);
    must(&f, do_unlock(&f), WW_E_DAMAGED);
    says(&f, "'model.safetensors'");
    says(&f, "tensor '");
    nothing_at(f.back);
    poke(f.locked, "model.safetensors", -2, "\x80\x7f", 2); /* infinity */
    must(&f, do_unlock(&f), WW_E_DAMAGED);
    nothing_at(f.back);
    folders_free(&f);
}

static void a_manifest_of_other_weights_is_called_so(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    must(&f, do_lock(&f), WW_OK);
    shell("cp '" FX_OTHER "/model.safetensors' '%s/'", f.locked);
    must(&f, do_unlock(&f), WW_E_WRONG_MODEL);
    says(&f, "other weights");
    nothing_at(f.back);
    folders_free(&f);
}

static void a_manifest_of_another_structure_is_called_so(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    must(&f, do_lock(&f), WW_OK);
    shell("cp '" WW_VECTORS "/forward/llama/model.safetensors' '%s/'", f.locked);
    must(&f, do_unlock(&f), WW_E_WRONG_MODEL);
    nothing_at(f.back);
    folders_free(&f);
}

static void changed_side_files_are_named(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    must(&f, do_lock(&f), WW_OK);
    poke(f.locked, "tokenizer.json", 5, "x", 1);
    must(&f, do_unlock(&f), WW_E_DAMAGED);
    says(&f, "'tokenizer.json'");
    nothing_at(f.back);
    shell("cp '%s/tokenizer.json' '%s/' && echo >> '%s/generation_config.json'", f.model,
          f.locked, f.locked);
    must(&f, do_unlock(&f), WW_E_DAMAGED);
    says(&f, "'generation_config.json' has");
    shell("rm '%s/generation_config.json'", f.locked);
    must(&f, do_unlock(&f), WW_E_DAMAGED);
    says(&f, "missing");
    nothing_at(f.back);
    folders_free(&f);
}

static void a_changed_manifest_is_refused(void **state)
{
    (void)state;
    /* One digit of a size, of a digest, the schema, and a member that nobody knows. */
    static const struct {
        const char *edit;
        enum ww_err want;
    } rows[] = {
        {"s/\"scale\":false/\"scale\":true/", WW_E_MANIFEST},
        {"s/\"path\":\"config.json\"/\"path\":\"..\\/etc.json\"/", WW_E_MANIFEST},
        {"s/weightward.lock\\/1/weightward.lock\\/2/", WW_E_VERSION},
        {"s/\"level\":\"exact\"/\"level\":\"steel\"/", WW_E_VERSION},
        {"s/\"level\":\"exact\"/\"level\":\"dense\"/", WW_E_MANIFEST},
        {"s/\"schema\":\"weightward.lock/\"extra\":1,&/", WW_E_MANIFEST},
        {"s/\"commitment\":\"..../\"commitment\":\"0000/", WW_E_MANIFEST},
        {"s/\"mac\":\"[0-9a-f]*\"/\"mac\":\"00\"/", WW_E_MANIFEST},
        {"s/\"key_check\":\"..../\"key_check\":\"0000/", WW_E_WRONG_KEY},
    };
    struct folders f;
    folders_init(&f);
    must(&f, do_lock(&f), WW_OK);
    char *file = path_in(f.locked, WW_TENSORS_PLAIN_FILE);
    shell("cp '%s' '%s/kept'", file, f.dir);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        shell("cp '%s/kept' '%s' && sed -i '%s' '%s' && ! cmp -s '%s' '%s/kept'", f.dir,
              file, rows[i].edit, file, file, f.dir);
        must(&f, do_unlock(&f), rows[i].want);
        nothing_at(f.back);
    }
    shell("echo '{' > '%s'", file);
    must(&f, do_unlock(&f), WW_E_JSON);
    shell("rm '%s'", file);
    must(&f, do_unlock(&f), WW_E_MANIFEST);
    says(&f, "not locked");
    free(file);
    folders_free(&f);
}

static void output_must_be_new_and_outside(void **state)
{
    (void)state;
    struct folders f;
    struct ww_lock_report report;
    folders_init(&f);
    shell("mkdir '%s'", f.locked);
    must(&f, do_lock(&f), WW_E_EXISTS);
    shell("rmdir '%s' && ln -s nowhere '%s'", f.locked, f.locked);
    must(&f, do_lock(&f), WW_E_EXISTS);
    must(&f, ww_lock_folder(f.model, f.model, &f.options, &report, &f.err), WW_E_EXISTS);
    char *inside = path_in(f.model, "inside");
    ww_error_clear(&f.err);
    must(&f, ww_lock_folder(f.model, inside, &f.options, &report, &f.err), WW_E_USAGE);
    says(&f, "inside the model");
    assert_false(exists(inside));
    shell("ln -s model '%s/alias'", f.dir);
    char *alias = path_in(f.dir, "alias/inside//");
    ww_error_clear(&f.err);
    must(&f, ww_lock_folder(f.model, alias, &f.options, &report, &f.err), WW_E_USAGE);
    ww_error_clear(&f.err);
    must(&f, ww_lock_folder(f.model, "/nowhere/at/all", &f.options, &report, &f.err),
         WW_E_NOTFOUND);
    free(inside);
    free(alias);
    folders_free(&f);
}

static void a_locked_model_is_not_locked_again(void **state)
{
    (void)state;
    struct folders f;
    struct ww_error err = {0};
    folders_init(&f);
    must(&f, do_lock(&f), WW_OK);
    struct ww_model *model = NULL;
    OK(ww_model_open(f.model, &model, &err));
    assert_false(ww_model_is_locked(model));
    ww_model_close(model);
    OK(ww_model_open(f.locked, &model, &err));
    assert_true(ww_model_is_locked(model));
    ww_model_close(model);
    ww_lock_report_release(&f.report);
    must(&f, ww_lock_folder(f.locked, f.back, &f.options, &f.report, &f.err),
         WW_E_UNSUPPORTED);
    says(&f, "locked already");
    nothing_at(f.back);
    folders_free(&f);
}

static void nan_is_refused_and_nothing_stays(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    poke(f.model, "model.safetensors", -2, "\xc0\x7f", 2);
    must(&f, do_lock(&f), WW_E_NONFINITE);
    says(&f, "element");
    nothing_at(f.locked);
    folders_free(&f);
}

static void added_files_are_warned_about(void **state)
{
    (void)state;
    struct folders f;
    folders_init(&f);
    must(&f, do_lock(&f), WW_OK);
    shell("echo new > '%s/NEW.md'", f.locked);
    must(&f, do_unlock(&f), WW_OK);
    assert_int_equal(f.report.n_warnings, 1);
    assert_non_null(strstr(f.report.warnings[0], "'NEW.md'"));
    same_folders(f.model, f.back);
    folders_free(&f);
}

static void signed_locks_verify_and_give_evidence_back(void **state)
{
    (void)state;
    struct folders f;
    struct ww_error err = {0};
    folders_init(&f);
    char *base = path_in(f.dir, "key");
    char *private_key = path_in(f.dir, "key.key");
    char *public_key = path_in(f.dir, "key.pub");
    struct ww_signkey *key = NULL;
    struct ww_sign_report signed_report;
    struct ww_verify_report verified = {0};
    OK(ww_signkey_create(base, WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_load(private_key, NULL, &key, &err));
    const struct ww_signer signer = {.key = key};
    const struct ww_sign_options with_tensors = {.tensors = true};
    const struct ww_verify_options verify = {.method = WW_VERIFY_KEY,
                                             .public_key = public_key};
    shell("echo '*.bin' > '%s/.gitattributes'", f.model);
    OK(ww_sign_folder(f.model, &signer, &with_tensors, &signed_report, &err));
    f.options.signer = &signer;
    must(&f, do_lock(&f), WW_OK);
    assert_int_equal(strlen(f.report.root_sha256), 64);
    OK(ww_verify_folder(f.locked, &verify, &verified, &err));
    assert_true(verified.locked);
    assert_string_equal(verified.root_sha256, f.report.root_sha256);
    assert_string_equal(verified.tensor_root, f.report.tensor_root);
    ww_verify_report_release(&verified);
    must(&f, do_unlock(&f), WW_OK);
    same_folders(f.model, f.back);
    OK(ww_verify_folder(f.back, &verify, &verified, &err));
    assert_string_equal(verified.root_sha256, signed_report.root_sha256);
    ww_verify_report_release(&verified);
    ww_signkey_free(key);
    free(base);
    free(private_key);
    free(public_key);
    folders_free(&f);
}

static void moves_are_told_without_a_key(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *model = NULL;
    struct ww_layout *layout = NULL;
    struct ww_block_moves *blocks = NULL;
    size_t n = 0;
    static const char *const want[] = {"residual",
                                       "kv-groups",
                                       "query-heads",
                                       "qk-quarter-turns",
                                       "vo-signed-permutation",
                                       "neurons",
                                       "neuron-signs",
                                       "scales"};
    OK(ww_model_open(FX_MODEL, &model, &err));
    OK(ww_layout_resolve(model, NULL, &layout, &err));
    OK(ww_lock_moves(layout, true, &blocks, &n, &err));
    assert_int_equal(n, 4);
    assert_int_equal(blocks[0].n_moved, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_string_equal(blocks[0].moved[i], want[i]);
    }
    assert_null(blocks[0].reason);
    ww_block_moves_free(blocks, n);
    ww_layout_free(layout);
    ww_model_close(model);
}

static void check_layout_passes_on_a_real_model(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_model *model = NULL;
    struct ww_layout *layout = NULL;
    struct ww_check_report report;
    OK(ww_model_open(FX_MODEL, &model, &err));
    OK(ww_layout_resolve(model, NULL, &layout, &err));
    OK(ww_check_layout(layout, NULL, &report, &err));
    assert_int_equal(report.blocks, 4);
    assert_true(report.max_relative_error < 1e-12);
    assert_true(report.min_illegal_error > 1e-3);
    layout->mlps[0].sign_moves = true;
    layout->mlps[0].act = WW_FN_GELU;
    layout->mlps[0].gated = false; /* a lie: signs on GELU neurons without a gate */
    FAILS(ww_check_layout(layout, NULL, &report, &err), WW_E_CHECK_FAILED);
    assert_non_null(strstr(err.text, "'decoder.0'"));
    ww_layout_free(layout);
    ww_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unlock_gives_every_file_back),
        cmocka_unit_test(experts_that_trade_places_come_back),
        cmocka_unit_test(bytes_do_not_depend_on_threads_or_run),
        cmocka_unit_test(one_key_moves_siblings_alike),
        cmocka_unit_test(wrong_key_is_called_so),
        cmocka_unit_test(changed_weights_are_named),
        cmocka_unit_test(a_manifest_of_other_weights_is_called_so),
        cmocka_unit_test(a_manifest_of_another_structure_is_called_so),
        cmocka_unit_test(changed_side_files_are_named),
        cmocka_unit_test(a_changed_manifest_is_refused),
        cmocka_unit_test(output_must_be_new_and_outside),
        cmocka_unit_test(a_locked_model_is_not_locked_again),
        cmocka_unit_test(nan_is_refused_and_nothing_stays),
        cmocka_unit_test(added_files_are_warned_about),
        cmocka_unit_test(signed_locks_verify_and_give_evidence_back),
        cmocka_unit_test(moves_are_told_without_a_key),
        cmocka_unit_test(check_layout_passes_on_a_real_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
