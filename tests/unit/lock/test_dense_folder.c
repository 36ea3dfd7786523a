/* SPDX-License-Identifier: Apache-2.0 */
/* Dense locks of whole folders: every byte comes back, and each way in which key, weights
 * and residual can fail to belong together has its own name. */
#include "folder_fixture.h"

#include "util/fail.h"

#define RESIDUAL "attestations/residual.sealed"

static void dense_init(struct folders *f)
{
    folders_init(f);
    f->options.dense = true;
}

static void use_model(struct folders *f, const char *path)
{
    shell("rm -r '%s' && cp -r '%s' '%s' && chmod -R u+w '%s'", f->model, path, f->model,
          f->model);
}

static void unlock_gives_every_file_back(void **state)
{
    (void)state;
    for (int c = 0; c < 4; c++) {
        struct folders f;
        dense_init(&f);
        f.options.condition = c % 2 ? 4 : 0;
        f.options.scale = c >= 2;
        must(&f, do_lock(&f), WW_OK);
        assert_true(f.report.dense.used);
        /* q, k, v and o of 4 layers; width 128, 4 heads of 32, 2 groups */
        assert_int_equal(f.report.dense.weights, 4 * 2 * (128 + 64) * 128);
        assert_true(f.report.dense.bits_per_weight > 1.2 &&
                    f.report.dense.bits_per_weight < 2.3);
        assert_true(f.report.dense.projection_error > 1e-3 &&
                    f.report.dense.projection_error < 5e-3);
        assert_true(f.report.dense.output_change > 1e-4 &&
                    f.report.dense.output_change < 2e-2);
        assert_int_equal(f.report.dense.blocks_run, 4);
        assert_int_equal(f.report.check.linears, 4 * 7 + 2);
        assert_true(f.report.check.max_relative_error < 1e-5);
        must(&f, do_unlock(&f), WW_OK);
        assert_true(f.report.dense.used);
        assert_int_equal(f.report.n_warnings, 0);
        same_folders(f.model, f.back);
        folders_free(&f);
    }
}

static void blocks_say_what_is_mixed(void **state)
{
    (void)state;
    struct folders f;
    dense_init(&f);
    must(&f, do_lock(&f), WW_OK);
    const struct ww_block_moves *b = &f.report.blocks[0];
    assert_string_equal(b->moved[b->n_moved - 2], "qk-phases");
    assert_string_equal(b->moved[b->n_moved - 1], "vo-dense");
    folders_free(&f);
}

/* Threads, memory and a second run change no byte, the residual's included. */
static void bytes_do_not_depend_on_threads_or_run(void **state)
{
    (void)state;
    uint8_t weights[3][32], residual[3][32];
    for (unsigned i = 0; i < 3; i++) {
        struct folders f;
        dense_init(&f);
        f.options.run.threads = i + 1;
        f.options.run.memory_bytes = i == 2 ? UINT64_C(16) << 20 : 0;
        must(&f, do_lock(&f), WW_OK);
        file_digest(f.locked, "model.safetensors", weights[i]);
        file_digest(f.locked, RESIDUAL, residual[i]);
        folders_free(&f);
    }
    for (unsigned i = 1; i < 3; i++) {
        assert_memory_equal(weights[i], weights[0], 32);
        assert_memory_equal(residual[i], residual[0], 32);
    }
}

static void wrong_key_is_called_so(void **state)
{
    (void)state;
    struct folders f;
    dense_init(&f);
    must(&f, do_lock(&f), WW_OK);
    ww_secret_free(f.secret);
    f.options.secret = f.secret = fx_secret(8);
    must(&f, do_unlock(&f), WW_E_WRONG_KEY);
    nothing_at(f.back);
    folders_free(&f);
}

static void changed_weights_are_named(void **state)
{
    (void)state;
    struct folders f;
    const uint8_t one = 0x11;
    dense_init(&f);
    must(&f, do_lock(&f), WW_OK);
    poke(f.locked, "model.safetensors", -3, &one, 1);
    must(&f, do_unlock(&f), WW_E_DAMAGED);
    says(&f, "tensor '");
    nothing_at(f.back);
    folders_free(&f);
}

/* A weight that was mixed, so that its residual is read with wrong predictions. */
static void changed_mixed_weights_are_named(void **state)
{
    (void)state;
    struct folders f;
    dense_init(&f);
    must(&f, do_lock(&f), WW_OK);
    shell("python3 - '%s/model.safetensors' <<'END'\n"
          "import json, struct, sys\n"
          "f = open(sys.argv[1], 'r+b')\n"
          "n = struct.unpack('<Q', f.read(8))[0]\n"
          "at = json.loads(f.read(n))['model.layers.1.self_attn.v_proj.weight']\n"
          "f.seek(8 + n + at['data_offsets'][0] + 200)\n"
          "f.write(bytes([1] * 40))\n"
          "END",
          f.locked);
    must(&f, do_unlock(&f), WW_E_DAMAGED);
    says(&f, "model.layers.1.self_attn.v_proj.weight");
    nothing_at(f.back);
    folders_free(&f);
}

static void weights_of_another_model_are_called_so(void **state)
{
    (void)state;
    struct folders f;
    dense_init(&f);
    must(&f, do_lock(&f), WW_OK);
    shell("cp '" FX_OTHER "/model.safetensors' '%s/'", f.locked);
    must(&f, do_unlock(&f), WW_E_WRONG_MODEL);
    nothing_at(f.back);
    folders_free(&f);
}

static void a_damaged_residual_is_called_so(void **state)
{
    (void)state;
    static const off_t places[] = {3, 20, 30, 60, 5000, -1};
    struct folders f;
    const uint8_t odd = 0xa5;
    dense_init(&f);
    must(&f, do_lock(&f), WW_OK);
    shell("cp '%s/" RESIDUAL "' '%s/spare'", f.locked, f.dir);
    for (size_t i = 0; i < WW_LEN(places); i++) {
        poke(f.locked, RESIDUAL, places[i], &odd, 1);
        must(&f, do_unlock(&f), WW_E_SEALED);
        says(&f, "residual.sealed");
        nothing_at(f.back);
        shell("cp '%s/spare' '%s/" RESIDUAL "'", f.dir, f.locked);
    }
    shell("truncate -s -1 '%s/" RESIDUAL "'", f.locked);
    must(&f, do_unlock(&f), WW_E_SEALED);
    shell("rm '%s/" RESIDUAL "'", f.locked);
    must(&f, do_unlock(&f), WW_E_NOTFOUND);
    nothing_at(f.back);
    shell("cp '%s/spare' '%s/" RESIDUAL "'", f.dir, f.locked);
    must(&f, do_unlock(&f), WW_OK);
    same_folders(f.model, f.back);
    folders_free(&f);
}

/* Same key, same shapes, another model's residual. */
static void an_exchanged_residual_is_called_so(void **state)
{
    (void)state;
    struct folders f, g;
    dense_init(&f);
    dense_init(&g);
    use_model(&g, FX_OTHER);
    must(&f, do_lock(&f), WW_OK);
    must(&g, do_lock(&g), WW_OK);
    shell("cp '%s/" RESIDUAL "' '%s/" RESIDUAL "'", g.locked, f.locked);
    must(&f, do_unlock(&f), WW_E_SEALED);
    nothing_at(f.back);
    folders_free(&f);
    folders_free(&g);
}

static void bad_conditions_are_refused(void **state)
{
    (void)state;
    struct folders f;
    dense_init(&f);
    f.options.condition = 5;
    must(&f, do_lock(&f), WW_E_USAGE);
    nothing_at(f.locked);
    folders_free(&f);
}

static void nan_is_refused_and_nothing_stays(void **state)
{
    (void)state;
    struct folders f;
    dense_init(&f);
    shell("python3 - '%s/model.safetensors' <<'END'\n"
          "import json, struct, sys\n"
          "f = open(sys.argv[1], 'r+b')\n"
          "n = struct.unpack('<Q', f.read(8))[0]\n"
          "at = json.loads(f.read(n))['model.layers.3.self_attn.o_proj.weight']\n"
          "f.seek(8 + n + at['data_offsets'][0] + 200)\n"
          "f.write(bytes([0xc0, 0x7f]))\n"
          "END",
          f.model);
    enum ww_err rc = do_lock(&f);
    assert_true(rc == WW_E_NONFINITE || rc == WW_E_CHECK_FAILED);
    nothing_at(f.locked);
    folders_free(&f);
}

static void a_copy_for_a_recipient_comes_back(void **state)
{
    (void)state;
    struct folders f;
    const struct ww_handout handout = {"somebody", {1, 2, 3}};
    uint8_t a[32], b[32];
    dense_init(&f);
    must(&f, do_lock(&f), WW_OK);
    file_digest(f.locked, "model.safetensors", a);
    shell("rm -r '%s'", f.locked);
    f.options.handout = &handout;
    must(&f, do_lock(&f), WW_OK);
    file_digest(f.locked, "model.safetensors", b);
    assert_memory_not_equal(a, b, 32);
    f.options.handout = NULL;
    must(&f, do_unlock(&f), WW_OK);
    same_folders(f.model, f.back);
    folders_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unlock_gives_every_file_back),
        cmocka_unit_test(blocks_say_what_is_mixed),
        cmocka_unit_test(bytes_do_not_depend_on_threads_or_run),
        cmocka_unit_test(wrong_key_is_called_so),
        cmocka_unit_test(changed_weights_are_named),
        cmocka_unit_test(changed_mixed_weights_are_named),
        cmocka_unit_test(weights_of_another_model_are_called_so),
        cmocka_unit_test(a_damaged_residual_is_called_so),
        cmocka_unit_test(an_exchanged_residual_is_called_so),
        cmocka_unit_test(bad_conditions_are_refused),
        cmocka_unit_test(nan_is_refused_and_nothing_stays),
        cmocka_unit_test(a_copy_for_a_recipient_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
